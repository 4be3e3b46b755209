//! What a route asks of a request beside its path: looked at only for routes whose path matches.

use std::cell::OnceCell;

use smallvec::SmallVec;

use super::string_matcher::StringMatcher;
use crate::http::{HeaderMap, Pseudo, RequestHead, ResponseHead};
use crate::telemetry::TlsInfo;

/// The request that is matched, with what is found out on the way.
#[derive(Debug)]
pub struct MatchInput<'a> {
    /// Its head, path already canonical.
    pub head: &'a RequestHead,
    /// One random number per request: Envoy uses the same for fractions and for weights.
    pub random: u64,
    /// TLS towards the client.
    pub tls: Option<&'a TlsInfo>,
    query: OnceCell<SmallVec<[Parameter<'a>; 8]>>,
}

/// Name and value of a query parameter as they stand in the query.
type Parameter<'a> = (&'a [u8], &'a [u8]);

impl<'a> MatchInput<'a> {
    /// A request that is about to be matched.
    pub fn new(head: &'a RequestHead, random: u64, tls: Option<&'a TlsInfo>) -> Self {
        Self { head, random, tls, query: OnceCell::new() }
    }

    /// The first value of a query parameter, as it stands in the query (not decoded, as in Envoy).
    fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        let parameters = self.query.get_or_init(|| {
            let query = self.head.query().unwrap_or_default();
            query.split(|&b| b == b'&').filter(|part| !part.is_empty()).map(split_parameter).collect()
        });
        parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

fn split_parameter(part: &[u8]) -> Parameter<'_> {
    match memchr::memchr(b'=', part) {
        Some(at) => (part.get(..at).unwrap_or_default(), part.get(at + 1..).unwrap_or_default()),
        None => (part, b""),
    }
}

/// All conditions of a route beside its path; all of them have to hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Only for this part of the requests.
    pub fraction: Option<Fraction>,
    /// Only for gRPC: content-type `application/grpc` or `application/grpc+…`.
    pub grpc: bool,
    /// Of the header fields.
    pub headers: Box<[HeaderMatcher]>,
    /// Of the query.
    pub query: Box<[QueryMatcher]>,
    /// Of the client's certificate.
    pub tls: Option<TlsMatcher>,
}

impl Conditions {
    /// Whether every request passes.
    pub fn is_empty(&self) -> bool {
        self.fraction.is_none_or(|f| f.numerator >= f.denominator)
            && !self.grpc
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.tls.is_none()
    }

    /// Whether the request passes, cheapest test first.
    pub fn pass(&self, input: &MatchInput<'_>) -> bool {
        self.fraction.is_none_or(|fraction| fraction.includes(input.random))
            && (!self.grpc || is_grpc(&input.head.headers))
            && self.headers.iter().all(|header| header.matches_request(input.head))
            && self.query.iter().all(|parameter| parameter.matches(input))
            && self.tls.is_none_or(|tls| tls.matches(input.tls))
    }
}

/// Whether the content type is gRPC's (and not grpc-web's).
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    headers
        .get("content-type")
        .and_then(|value| value.strip_prefix(TYPE))
        .is_some_and(|rest| rest.first().is_none_or(|&next| next == b'+'))
}

/// A part of all requests (Envoy's `RuntimeFractionalPercent`, its default value).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// How many
    pub numerator: u32,
    /// of how many: 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

impl Fraction {
    /// Whether a request with this random number belongs to the part.
    pub fn includes(self, random: u64) -> bool {
        random % u64::from(self.denominator.max(1)) < u64::from(self.numerator)
    }
}

/// One test of a header field (Envoy's `HeaderMatcher`).
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    name: HeaderName,
    test: HeaderTest,
    invert: bool,
    missing_is_empty: bool,
}

/// The fields that are not among a request's headers but beside them.
#[derive(Clone, Debug)]
enum HeaderName {
    Pseudo(Pseudo),
    Status,
    Field(Box<str>),
}

/// What is asked of a field's value.
#[derive(Clone, Debug)]
pub enum HeaderTest {
    /// There is one (or, if false, none).
    Present(bool),
    /// It is an integer from `start` up to and without `end`.
    Range {
        /// The lowest.
        start: i64,
        /// Above the highest.
        end: i64,
    },
    /// Its text passes.
    Text(StringMatcher),
}

impl HeaderMatcher {
    /// A test of the field `name` (any case; `:method`, `:scheme`, `:authority` or `host`, `:path` and `:status` are
    /// known). With `missing_is_empty` a missing field counts as an empty one; otherwise it fails every test but that
    /// for its absence, inverted or not.
    pub fn new(name: &str, test: HeaderTest, invert: bool, missing_is_empty: bool) -> Self {
        let lower = name.to_ascii_lowercase();
        let name = match Pseudo::of(lower.as_bytes()) {
            Some(which) => HeaderName::Pseudo(which),
            None if lower == ":status" => HeaderName::Status,
            None => HeaderName::Field(lower.into()),
        };
        Self { name, test, invert, missing_is_empty }
    }

    /// Whether a request passes.
    pub fn matches_request(&self, head: &RequestHead) -> bool {
        match &self.name {
            HeaderName::Pseudo(which) => self.check(Some(head.pseudo(*which))),
            HeaderName::Status => self.check(None),
            HeaderName::Field(name) => self.check_field(name, &head.headers),
        }
    }

    /// Whether a response passes.
    pub fn matches_response(&self, head: &ResponseHead) -> bool {
        match &self.name {
            HeaderName::Status => self.check(Some(itoa::Buffer::new().format(head.status).as_bytes())),
            HeaderName::Field(name) => self.check_field(name, &head.headers),
            HeaderName::Pseudo(_) => self.check(None),
        }
    }

    fn check_field(&self, name: &str, headers: &HeaderMap) -> bool {
        self.check_all(headers.get_all(name))
    }

    fn check(&self, value: Option<&[u8]>) -> bool {
        self.check_all(value.into_iter())
    }

    /// One value that passes is enough; inverted, none may. (Envoy 1.40 no longer joins them by commas.)
    fn check_all<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut values = values.peekable();
        let any = match values.peek() {
            Some(_) => values.any(|value| self.test.passes(value)),
            None if self.missing_is_empty => self.test.passes(b""),
            None => return matches!(self.test, HeaderTest::Present(present) if present == self.invert),
        };
        any != self.invert
    }
}

impl HeaderTest {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::Present(present) => *present,
            Self::Range { start, end } => integer(value).is_some_and(|n| (*start..*end).contains(&n)),
            Self::Text(matcher) => matcher.is_match(value),
        }
    }
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// One test of a query parameter (Envoy's `QueryParameterMatcher`).
#[derive(Clone, Debug)]
pub struct QueryMatcher {
    /// Its name, as it stands in the query.
    pub name: Box<str>,
    /// What is asked of its first value.
    pub test: QueryTest,
}

/// What is asked of a query parameter.
#[derive(Clone, Debug)]
pub enum QueryTest {
    /// There is one (or, if false, none).
    Present(bool),
    /// Its text passes.
    Text(StringMatcher),
}

impl QueryMatcher {
    fn matches(&self, input: &MatchInput<'_>) -> bool {
        let value = input.parameter(self.name.as_bytes());
        match &self.test {
            QueryTest::Present(present) => value.is_some() == *present,
            QueryTest::Text(matcher) => value.is_some_and(|value| matcher.is_match(value)),
        }
    }
}

/// What is asked of the client's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsMatcher {
    /// It showed one, or showed none.
    pub presented: Option<bool>,
    /// It was verified, or was not.
    pub validated: Option<bool>,
}

impl TlsMatcher {
    fn matches(self, tls: Option<&TlsInfo>) -> bool {
        let presented = tls.is_some_and(|tls| tls.peer.is_some());
        let validated = presented && tls.is_some_and(|tls| tls.validated);
        self.presented.is_none_or(|wanted| wanted == presented)
            && self.validated.is_none_or(|wanted| wanted == validated)
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::http::Version;

    pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method: bytes::Bytes::copy_from_slice(method.as_bytes()),
            scheme: "http".into(),
            authority: "a.com".into(),
            path: bytes::Bytes::copy_from_slice(path.as_bytes()),
            version: Version::Http11,
            headers: headers.iter().copied().collect(),
        }
    }

    fn text(matcher: StringMatcher) -> HeaderTest {
        HeaderTest::Text(matcher)
    }

    #[test]
    fn header_fields() {
        let head =
            request("GET", "/p?q", &[("X-One", "1"), ("many", "a"), ("many", "b"), ("n", " -5 "), ("empty", "")]);
        let exact = |value| text(StringMatcher::exact(value, false));
        let range = |start, end| HeaderTest::Range { start, end };
        for (name, test, invert, missing_is_empty, want) in [
            ("x-one", exact("1"), false, false, true),
            ("X-ONE", exact("2"), false, false, false),
            ("x-one", exact("2"), true, false, true),
            ("none", exact("2"), true, false, false),
            ("none", exact("2"), true, true, true),
            ("none", exact(""), false, true, true),
            ("empty", exact(""), false, false, true),
            ("many", exact("a,b"), false, false, false),
            ("many", exact("b"), false, false, true),
            ("many", exact("b"), true, false, false),
            ("many", exact("c"), true, false, true),
            ("many", text(StringMatcher::suffix("b", false)), false, false, true),
            ("x-one", HeaderTest::Present(true), false, false, true),
            ("x-one", HeaderTest::Present(true), true, false, false),
            ("x-one", HeaderTest::Present(false), false, false, false),
            ("none", HeaderTest::Present(true), false, false, false),
            ("none", HeaderTest::Present(true), true, false, true),
            ("none", HeaderTest::Present(false), false, false, true),
            ("none", HeaderTest::Present(false), true, false, false),
            ("none", HeaderTest::Present(true), false, true, true),
            ("n", range(-10, 0), false, false, true),
            ("n", range(-5, -4), false, false, true),
            ("n", range(-10, -5), false, false, false),
            ("many", range(0, 9), false, false, false),
            ("many", range(0, 9), true, false, true),
            (":method", exact("GET"), false, false, true),
            (":path", exact("/p?q"), false, false, true),
            (":authority", exact("a.com"), false, false, true),
            ("Host", exact("a.com"), false, false, true),
            (":scheme", exact("http"), false, false, true),
        ] {
            let matcher = HeaderMatcher::new(name, test, invert, missing_is_empty);
            assert_eq!(matcher.matches_request(&head), want, "{matcher:?}");
        }
        let mut response = ResponseHead::new(503);
        response.headers.append("retry", "1");
        assert!(HeaderMatcher::new(":status", exact("503"), false, false).matches_response(&response));
        assert!(HeaderMatcher::new("retry", HeaderTest::Present(true), false, false).matches_response(&response));
    }

    #[test]
    fn query_parameters() {
        let head = request("GET", "/p?a=1&b&a=2&&c=%20&d=x=y&=v", &[]);
        let input = MatchInput::new(&head, 0, None);
        for (name, want) in [("a", Some("1")), ("b", Some("")), ("c", Some("%20")), ("d", Some("x=y")), ("e", None)] {
            assert_eq!(input.parameter(name.as_bytes()), want.map(str::as_bytes), "{name}");
            let test = |test| QueryMatcher { name: name.into(), test }.matches(&input);
            assert_eq!(test(QueryTest::Present(true)), want.is_some());
            assert_eq!(test(QueryTest::Present(false)), want.is_none());
            assert!(!test(QueryTest::Text(StringMatcher::exact("2", false))));
        }
        assert_eq!(MatchInput::new(&request("GET", "/p", &[]), 0, None).parameter(b"a"), None);
    }

    #[test]
    fn fractions_grpc_and_certificates() {
        let half = Fraction { numerator: 50, denominator: 100 };
        assert!(half.includes(149) && !half.includes(150) && !half.includes(99));
        assert!(!Fraction { numerator: 0, denominator: 10_000 }.includes(0));
        for (value, want) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&[("content-type", value)].into_iter().collect()), want, "{value}");
        }
        let tls = TlsInfo {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            curve: "X25519",
            signature: "",
            alpn: "".into(),
            peer: Some(Arc::default()),
            validated: false,
            local: None,
        };
        let good = TlsInfo { validated: true, ..tls.clone() };
        let matches = |presented, validated, tls| TlsMatcher { presented, validated }.matches(tls);
        for (tls, presented, validated) in [(None, false, false), (Some(&tls), true, false), (Some(&good), true, true)]
        {
            assert!(matches(Some(presented), Some(validated), tls) && matches(None, None, tls));
            assert!(!matches(Some(!presented), None, tls) && !matches(None, Some(!validated), tls));
        }
    }
}
