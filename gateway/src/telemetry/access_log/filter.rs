//! Which requests an access log shows.

use std::fmt;
use std::time::Instant;

use crate::http::{NO_REQUEST, RequestHead};
use crate::telemetry::ResponseFlags;
use crate::telemetry::format::{AccessLogType, FormatCx, grpc_of_http, grpc_status};

/// A filter of an access log (`envoy.config.accesslog.v3.AccessLogFilter`).
#[derive(Debug)]
pub enum LogFilter {
    /// The status of the response, 0 if there was none.
    Status(Comparison),
    /// Milliseconds from the first byte of the request to the end of the stream, or until now.
    Duration(Comparison),
    /// A field of the request.
    Header(HeaderTest),
    /// One of these flags, or any at all if there are none.
    Flags(ResponseFlags),
    /// One of these gRPC status codes (a set of bits), or with `exclude` none of them.
    Grpc {
        /// Bit n stands for code n.
        codes: u32,
        /// Whether it is turned around.
        exclude: bool,
    },
    /// One of these occasions, or with `exclude` none of them.
    Occasion {
        /// The occasions.
        types: Vec<AccessLogType>,
        /// Whether it is turned around.
        exclude: bool,
    },
    /// A share of the requests.
    Fraction(Fraction),
    /// All of them.
    And(Vec<Self>),
    /// At least one of them.
    Or(Vec<Self>),
    /// Every request: a filter that takes out what does not occur.
    Always,
}

impl LogFilter {
    /// Whether a stream is to be logged, or its local reply changed.
    pub fn passes(&self, cx: &FormatCx<'_>) -> bool {
        match self {
            Self::Status(comparison) => comparison.holds(u64::from(cx.info.status)),
            Self::Duration(comparison) => {
                let end = cx.info.end.unwrap_or_else(Instant::now);
                comparison.holds(end.saturating_duration_since(cx.info.start).as_millis() as u64)
            }
            Self::Header(test) => test.holds(cx.request.unwrap_or(&NO_REQUEST)),
            Self::Flags(ResponseFlags::NONE) => !cx.info.flags.is_empty(),
            Self::Flags(flags) => flags.iter().any(|(flag, _, _)| cx.info.flags.contains(*flag)),
            Self::Grpc { codes, exclude } => {
                let code = grpc_status(cx, false).unwrap_or_else(|| match cx.info.status {
                    200 => 0,
                    status => grpc_of_http(status).into(),
                });
                (0..32).contains(&code) && (codes >> code & 1 == 1) != *exclude
            }
            Self::Occasion { types, exclude } => types.contains(&cx.access_log_type) != *exclude,
            Self::Fraction(fraction) => fraction.picks(cx.request),
            Self::And(filters) => filters.iter().all(|filter| filter.passes(cx)),
            Self::Or(filters) => filters.iter().any(|filter| filter.passes(cx)),
            Self::Always => true,
        }
    }
}

/// A comparison with a fixed number.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// How.
    pub comparator: Comparator,
    /// With what.
    pub value: u64,
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// Equal.
    Equal,
    /// At least.
    AtLeast,
    /// At most.
    AtMost,
    /// Different.
    Different,
}

impl Comparison {
    fn holds(self, actual: u64) -> bool {
        match self.comparator {
            Comparator::Equal => actual == self.value,
            Comparator::AtLeast => actual >= self.value,
            Comparator::AtMost => actual <= self.value,
            Comparator::Different => actual != self.value,
        }
    }
}

/// A test of a request's fields. The matchers live with the routes, which build on this folder, so a test is handed in.
pub struct HeaderTest(Box<dyn Fn(&RequestHead) -> bool + Send + Sync>);

impl HeaderTest {
    /// A test by a function.
    pub fn new(test: impl Fn(&RequestHead) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(test))
    }

    fn holds(&self, head: &RequestHead) -> bool {
        (self.0)(head)
    }
}

impl fmt::Debug for HeaderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderTest")
    }
}

/// A share of the requests: by x-request-id, so that all logs of a request agree, or by chance.
#[derive(Clone, Copy, Debug)]
pub struct Fraction {
    /// Share out of `denominator`.
    pub numerator: u32,
    /// 100, 10,000 or 1,000,000.
    pub denominator: u32,
    /// Whether x-request-id is not looked at.
    pub independent: bool,
}

impl Fraction {
    fn picks(self, request: Option<&RequestHead>) -> bool {
        let by_id = if self.independent { None } else { request.and_then(request_number) };
        let number = by_id.unwrap_or_else(random);
        number % u64::from(self.denominator.max(1)) < u64::from(self.numerator)
    }
}

/// The first eight hexadecimal digits of a UUID in x-request-id, as Envoy takes them.
fn request_number(head: &RequestHead) -> Option<u64> {
    let id = head.headers.get_str("x-request-id").filter(|id| id.len() == 36)?;
    u64::from_str_radix(id.get(..8)?, 16).ok()
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    thread_local! {
        static KEYS: RandomState = RandomState::new();
        static NEXT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    NEXT.set(NEXT.get().wrapping_add(1));
    KEYS.with(|keys| keys.hash_one(NEXT.get()))
}
