//! What callers inside the mesh, and filters, may ask of the router in `x-envoy-*` fields
//! (<https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter#http-headers-consumed>).
//!
//! The connection manager has taken them from what comes from outside (`proxy/forwarded`). Each is followed once and goes
//! no further.

use std::sync::Arc;
use std::time::Duration;

use crate::http::HeaderMap;
use crate::route::matcher::{HeaderMatcher, HeaderTest};
use crate::route::{RetryOn, RetryPolicy};

/// Fields about time, and those that only stop here.
const OF_TIME: [&str; 6] = [
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-hedge-on-per-try-timeout",
];

/// Fields about retries.
const OF_RETRIES: [&str; 5] = [
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
];

/// Whether there is anything to follow. Most requests end here.
pub(super) fn any(headers: &HeaderMap) -> bool {
    let known = |name: &[u8]| OF_TIME.iter().chain(&OF_RETRIES).any(|known| known.as_bytes() == name);
    headers.names_with(b"x-envoy-").any(known)
}

/// What a request says about its time. A zero turns a limit off.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    /// For the whole request, instead of the route's.
    pub(super) whole: Option<Duration>,
    /// For each try, instead of the route's.
    pub(super) per_try: Option<Duration>,
    /// For the life of each try, instead of the cluster's.
    pub(super) life: Option<Duration>,
    /// When it is too late, 204 without a body.
    pub(super) late_is_empty: bool,
}

/// Takes the fields about time.
pub(super) fn take_time(headers: &mut HeaderMap) -> Time {
    let [whole, per_try, life, late, _, _] = OF_TIME.map(|name| take(headers, name));
    let milliseconds = |value: Option<Vec<u8>>| value.and_then(|value| number(&value)).map(Duration::from_millis);
    Time {
        whole: milliseconds(whole),
        per_try: milliseconds(per_try),
        life: milliseconds(life),
        late_is_empty: late.is_some(),
    }
}

/// Takes the fields about retries: the policy with what the request adds to it.
pub(super) fn take_retries(headers: &mut HeaderMap, policy: Option<&Arc<RetryPolicy>>) -> Option<Arc<RetryPolicy>> {
    let [on, grpc_on, retries, codes, names] = OF_RETRIES.map(|name| take(headers, name));
    if on.is_none() && grpc_on.is_none() && policy.is_none_or(|policy| policy.on.is_empty()) {
        return None;
    }
    let mut policy = policy.map(|policy| RetryPolicy::clone(policy)).unwrap_or_default();
    policy.on = policy.on.with(reasons(on.as_deref()).without_grpc()).with(reasons(grpc_on.as_deref()).only_grpc());
    if let Some(retries) = retries.as_deref().and_then(number) {
        policy.retries = u32::try_from(retries).unwrap_or(u32::MAX);
    }
    let codes = list(codes.as_deref()).filter_map(|code| u16::try_from(number(code.as_bytes())?).ok());
    policy.status_codes = policy.status_codes.iter().copied().chain(codes).collect();
    let names = list(names.as_deref()).map(|name| HeaderMatcher::new(name, HeaderTest::Present(true), false, false));
    policy.response_headers = policy.response_headers.iter().cloned().chain(names).collect();
    Some(Arc::new(policy))
}

fn reasons(words: Option<&[u8]>) -> RetryOn {
    RetryOn::parse(&list(words).collect::<Vec<_>>().join(","), |_| {})
}

/// Words between commas.
fn list(value: Option<&[u8]>) -> impl Iterator<Item = &str> {
    let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// A field's value; it is gone then.
fn take(headers: &mut HeaderMap, name: &str) -> Option<Vec<u8>> {
    let value = headers.get(name).map(<[u8]>::to_vec);
    headers.remove(name);
    value
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().copied().collect()
    }

    #[test]
    fn most_requests_ask_for_nothing() {
        assert!(!any(&fields(&[("host", "a"), ("x-envoy-internal", "true"), ("x-envoy-attempt-count", "1")])));
        assert!(any(&fields(&[("x-envoy-max-retries", "0")])));
    }

    #[test]
    fn times_are_read_and_removed() {
        let mut headers = fields(&[
            ("x-envoy-upstream-rq-timeout-ms", " 150 "),
            ("x-envoy-upstream-rq-per-try-timeout-ms", "soon"),
            ("x-envoy-upstream-stream-duration-ms", "7,8"),
            ("x-envoy-hedge-on-per-try-timeout", "true"),
            ("x-envoy-upstream-alt-stat-name", "s"),
            ("x-envoy-upstream-rq-timeout-alt-response", ""),
            ("x-a", "1"),
        ]);
        let time = take_time(&mut headers);
        let whole = Some(Duration::from_millis(150));
        assert_eq!(time, Time { whole, per_try: None, life: None, late_is_empty: true });
        assert_eq!(headers.iter().collect::<Vec<_>>(), [(&b"x-a"[..], &b"1"[..])]);
    }

    #[test]
    fn a_request_adds_to_the_policy_of_its_route() {
        let configured = Arc::new(RetryPolicy {
            on: RetryOn::CONNECT_FAILURE,
            retries: 5,
            status_codes: [418].into(),
            ..RetryPolicy::default()
        });
        let mut request = fields(&[
            ("x-envoy-retry-on", "retriable-status-codes, unavailable,nonsense"),
            ("x-envoy-retry-grpc-on", "internal,5xx"),
            ("x-envoy-max-retries", "2"),
            ("x-envoy-retriable-status-codes", "404,x,70000"),
            ("x-envoy-retriable-header-names", "x-again, x-more"),
        ]);
        let policy = take_retries(&mut request, Some(&configured)).unwrap();
        let on = RetryOn::CONNECT_FAILURE.with(RetryOn::RETRIABLE_STATUS_CODES).with(RetryOn::GRPC_INTERNAL);
        assert_eq!((policy.on, policy.retries, &*policy.status_codes), (on, 2, &[418, 404][..]));
        assert_eq!(policy.response_headers.len(), 2);
        assert!(request.is_empty());

        assert!(take_retries(&mut fields(&[("x-envoy-max-retries", "2")]), None).is_none());
        let alone = take_retries(&mut fields(&[("x-envoy-retry-on", "5xx")]), None).unwrap();
        assert_eq!((alone.on, alone.retries), (RetryOn::SERVER_ERROR, 1));
    }
}
