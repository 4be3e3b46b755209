//! Fields that have one line only: of two the values are joined by a comma, as in Envoy. What looks at such a field (a
//! route, a filter, the endpoint) so sees all that was said, and not the first of it. Empty values say nothing.

use smallvec::SmallVec;

use super::HeaderMap;

/// Whose fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A request's.
    Request,
    /// A response's.
    Response,
    /// A response's trailers.
    ResponseTrailers,
}

/// What Envoy 1.40 joins of requests (asked of it; sorted).
const OF_REQUESTS: [&str; 53] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "proxy-status",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-is-timeout-retry",
    "x-envoy-max-retries",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// What Envoy 1.40 joins of responses (asked of it; sorted).
const OF_RESPONSES: [&str; 30] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "content-encoding",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "last-modified",
    "location",
    "proxy-status",
    "server",
    "vary",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-ratelimited",
    "x-envoy-upstream-canary",
    "x-envoy-upstream-healthchecked-cluster",
    "x-envoy-upstream-service-time",
    "x-request-id",
];

/// The field of that name, if it has one line only. The name is in lower case.
fn one_line(of: Of, name: &[u8]) -> Option<&'static str> {
    let names: &'static [&'static str] = match of {
        Of::Request => &OF_REQUESTS,
        Of::Response => &OF_RESPONSES,
        Of::ResponseTrailers => &["grpc-message", "grpc-status"],
    };
    names.binary_search_by(|known| known.as_bytes().cmp(name)).ok().and_then(|at| names.get(at).copied())
}

/// Joins what came twice. Nearly every message ends at the first look.
#[inline]
pub fn join_lines(headers: &mut HeaderMap, of: Of) {
    if headers.may_repeat() {
        join_repeated(headers, of);
    }
}

#[cold]
fn join_repeated(headers: &mut HeaderMap, of: Of) {
    let mut names: SmallVec<[&str; 4]> = SmallVec::new();
    for name in headers.repeated().filter_map(|name| one_line(of, name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        if headers.get_all(name).nth(1).is_some() {
            let said: Vec<&[u8]> = headers.get_all(name).filter(|value| !value.is_empty()).collect();
            let joined = said.join(&b","[..]);
            headers.set(name, joined);
        }
    }
}

/// Adds a field as a line of its own, or to the one line that it has.
pub fn add(headers: &mut HeaderMap, of: Of, name: &[u8], value: &[u8]) {
    match headers.get(name) {
        Some(old) if one_line(of, &name.to_ascii_lowercase()).is_some() => {
            if old.is_empty() {
                headers.set(name, value);
            } else if !value.is_empty() {
                let joined = [old, value].join(&b","[..]);
                headers.set(name, joined);
            }
        }
        _ => headers.append(name, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted() {
        assert!(OF_REQUESTS.is_sorted() && OF_RESPONSES.is_sorted());
    }

    #[test]
    fn lines_are_joined_where_the_first_stood() {
        let fields = [("Accept", "a"), ("x", "1"), ("ACCEPT", "b"), ("x", "2"), ("accept", ""), ("etag", "e")];
        let map: HeaderMap = fields.into_iter().collect();
        let mut request = map.clone();
        join_lines(&mut request, Of::Request);
        assert_eq!(format!("{request:?}"), r#"{"accept": "a,b", "x": "1", "x": "2", "etag": "e"}"#);
        let mut response = map;
        join_lines(&mut response, Of::Response);
        assert_eq!(response.len(), 6);
        add(&mut response, Of::Response, b"ETag", b"f");
        add(&mut response, Of::Response, b"Accept", b"c");
        assert_eq!((response.get("etag"), response.len()), (Some(&b"e,f"[..]), 7));
    }
}
