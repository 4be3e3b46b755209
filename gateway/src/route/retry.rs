//! When a request is tried again (Envoy's `RetryPolicy`).

use std::time::Duration;

use super::matcher::HeaderMatcher;
use crate::http::{RequestHead, ResponseHead};

/// Reasons to try again: Envoy's `retry_on` and `x-envoy-retry-on`, and the gRPC ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

/// Every reason by its name.
const NAMES: [(&str, RetryOn); 16] = [
    ("5xx", RetryOn::SERVER_ERROR),
    ("gateway-error", RetryOn::GATEWAY_ERROR),
    ("connect-failure", RetryOn::CONNECT_FAILURE),
    ("retriable-4xx", RetryOn::RETRIABLE_4XX),
    ("refused-stream", RetryOn::REFUSED_STREAM),
    ("retriable-status-codes", RetryOn::RETRIABLE_STATUS_CODES),
    ("retriable-headers", RetryOn::RETRIABLE_HEADERS),
    ("reset", RetryOn::RESET),
    ("reset-before-request", RetryOn::RESET_BEFORE_REQUEST),
    ("envoy-ratelimited", RetryOn::RATE_LIMITED),
    ("http3-post-connect-failure", RetryOn::HTTP3_POST_CONNECT_FAILURE),
    ("cancelled", RetryOn::GRPC_CANCELLED),
    ("deadline-exceeded", RetryOn::GRPC_DEADLINE_EXCEEDED),
    ("internal", RetryOn::GRPC_INTERNAL),
    ("resource-exhausted", RetryOn::GRPC_RESOURCE_EXHAUSTED),
    ("unavailable", RetryOn::GRPC_UNAVAILABLE),
];

impl RetryOn {
    /// Never.
    pub const NONE: Self = Self(0);
    /// Status 5xx, or no response at all.
    pub const SERVER_ERROR: Self = Self(1);
    /// Status 502, 503 or 504, or no response at all.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// No connection came about.
    pub const CONNECT_FAILURE: Self = Self(1 << 2);
    /// Status 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 3);
    /// The endpoint refused the stream unprocessed.
    pub const REFUSED_STREAM: Self = Self(1 << 4);
    /// A status of the policy's list.
    pub const RETRIABLE_STATUS_CODES: Self = Self(1 << 5);
    /// A response that a matcher of the policy takes.
    pub const RETRIABLE_HEADERS: Self = Self(1 << 6);
    /// No response at all: disconnect, reset, time-out of the try.
    pub const RESET: Self = Self(1 << 7);
    /// The connection broke before the request's head was sent.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 8);
    /// The response has `x-envoy-ratelimited`.
    pub const RATE_LIMITED: Self = Self(1 << 9);
    /// For HTTP/3 upstreams.
    pub const HTTP3_POST_CONNECT_FAILURE: Self = Self(1 << 10);
    /// `grpc-status: 1` in the head.
    pub const GRPC_CANCELLED: Self = Self(1 << 11);
    /// `grpc-status: 4` in the head.
    pub const GRPC_DEADLINE_EXCEEDED: Self = Self(1 << 12);
    /// `grpc-status: 13` in the head.
    pub const GRPC_INTERNAL: Self = Self(1 << 13);
    /// `grpc-status: 8` in the head.
    pub const GRPC_RESOURCE_EXHAUSTED: Self = Self(1 << 14);
    /// `grpc-status: 14` in the head.
    pub const GRPC_UNAVAILABLE: Self = Self(1 << 15);

    const GRPC: Self = Self::GRPC_CANCELLED
        .with(Self::GRPC_DEADLINE_EXCEEDED)
        .with(Self::GRPC_INTERNAL)
        .with(Self::GRPC_RESOURCE_EXHAUSTED)
        .with(Self::GRPC_UNAVAILABLE);

    const GRPC_BY_STATUS: [(&'static [u8], Self); 5] = [
        (b"1", Self::GRPC_CANCELLED),
        (b"4", Self::GRPC_DEADLINE_EXCEEDED),
        (b"8", Self::GRPC_RESOURCE_EXHAUSTED),
        (b"13", Self::GRPC_INTERNAL),
        (b"14", Self::GRPC_UNAVAILABLE),
    ];

    /// Reads a comma-separated list. `unknown` hears of each word that is none of them: a configuration refuses it, a
    /// request's header leaves it out.
    pub fn parse(list: &str, mut unknown: impl FnMut(&str)) -> Self {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.fold(Self::NONE, |all, word| match NAMES.iter().find(|(name, _)| *name == word) {
            Some((_, reason)) => all.with(*reason),
            None => {
                unknown(word);
                all
            }
        })
    }

    /// The reasons of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The reasons that a response's `grpc-status` gives.
    #[must_use]
    pub const fn only_grpc(self) -> Self {
        Self(self.0 & Self::GRPC.0)
    }

    /// The other reasons.
    #[must_use]
    pub const fn without_grpc(self) -> Self {
        Self(self.0 & !Self::GRPC.0)
    }

    /// Whether there is one of those reasons among these.
    pub const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How a try ended without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about; the request was not sent.
    Connect,
    /// The endpoint refused the stream unprocessed (HTTP/2 REFUSED_STREAM, or after GOAWAY).
    Refused,
    /// The connection broke or was reset, or the try took too long. `head_sent` says whether the request's head had
    /// been sent.
    Reset {
        /// The request's head had been sent.
        head_sent: bool,
    },
    /// The circuit breaker or the pool let nothing through: never tried again.
    Overflow,
}

/// When and how often a request is tried again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// For which reasons.
    pub on: RetryOn,
    /// At most this often beside the first try; 1 by default.
    pub retries: u32,
    /// Limit of one try; the route's time-out holds for all together.
    pub per_try_timeout: Option<Duration>,
    /// Limit of one try's silence.
    pub per_try_idle_timeout: Option<Duration>,
    /// For [`RetryOn::RETRIABLE_STATUS_CODES`].
    pub status_codes: Box<[u16]>,
    /// For [`RetryOn::RETRIABLE_HEADERS`].
    pub response_headers: Box<[HeaderMatcher]>,
    /// Only requests that one of these takes are tried again; empty: all.
    pub request_headers: Box<[HeaderMatcher]>,
    /// Pause between tries.
    pub back_off: BackOff,
    /// Endpoints that were tried are avoided (`envoy.retry_host_predicates.previous_hosts`).
    pub avoid_previous_hosts: bool,
    /// How often another endpoint is picked instead of an avoided one, before an avoided one is taken; 1 by default.
    pub host_selection_attempts: u32,
    /// Priorities that were tried are avoided; how many tries pass between two looks
    /// (`envoy.retry_priorities.previous_priorities`).
    pub avoid_previous_priorities: Option<u32>,
}

/// Exponential back-off with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The first pause is below this.
    pub base: Duration,
    /// Every pause is below this.
    pub max: Duration,
}

impl Default for BackOff {
    /// Envoy's defaults: 25 ms, 250 ms.
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

impl BackOff {
    /// The pause before the retry number `retry` (from 1), as Envoy's `JitteredExponentialBackOffStrategy`: a random
    /// time below `base * 2^(retry - 1)`, and below `max`.
    pub fn pause(self, retry: u32, random: u64) -> Duration {
        let factor = 2_u32.saturating_pow(retry.saturating_sub(1));
        let limit = self.base.saturating_mul(factor).min(self.max).as_millis().max(1);
        Duration::from_millis((u128::from(random) % limit) as u64)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            on: RetryOn::NONE,
            retries: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            status_codes: Box::default(),
            response_headers: Box::default(),
            request_headers: Box::default(),
            back_off: BackOff::default(),
            avoid_previous_hosts: false,
            host_selection_attempts: 1,
            avoid_previous_priorities: None,
        }
    }
}

impl RetryPolicy {
    /// Whether this request may be tried again at all.
    pub fn applies_to(&self, request: &RequestHead) -> bool {
        !self.on.is_empty()
            && (self.request_headers.is_empty() || self.request_headers.iter().any(|m| m.matches_request(request)))
    }

    /// Whether a response is a reason to try again. As in Envoy, a rate limiter's answer is one only if asked for.
    pub fn retries_response(&self, response: &ResponseHead) -> bool {
        if response.headers.contains("x-envoy-ratelimited") {
            return self.on.has(RetryOn::RATE_LIMITED);
        }
        let status = response.status;
        let on = |reason| self.on.has(reason);
        on(RetryOn::SERVER_ERROR) && (500..600).contains(&status)
            || on(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status)
            || on(RetryOn::RETRIABLE_4XX) && status == 409
            || on(RetryOn::RETRIABLE_STATUS_CODES) && self.status_codes.contains(&status)
            || on(RetryOn::RETRIABLE_HEADERS) && self.response_headers.iter().any(|m| m.matches_response(response))
            || response.headers.get("grpc-status").is_some_and(|code| {
                RetryOn::GRPC_BY_STATUS.iter().any(|(number, reason)| *number == code && on(*reason))
            })
    }

    /// Whether a try that ended without a response is to be repeated.
    pub fn retries_failure(&self, failure: Failure) -> bool {
        let on = |reasons| self.on.has(reasons);
        let no_response = RetryOn::SERVER_ERROR.with(RetryOn::GATEWAY_ERROR).with(RetryOn::RESET);
        match failure {
            Failure::Overflow => false,
            Failure::Connect => on(no_response.with(RetryOn::CONNECT_FAILURE).with(RetryOn::RESET_BEFORE_REQUEST)),
            Failure::Refused => on(no_response.with(RetryOn::REFUSED_STREAM)),
            Failure::Reset { head_sent } => on(no_response) || !head_sent && on(RetryOn::RESET_BEFORE_REQUEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &str) -> RetryPolicy {
        let on = RetryOn::parse(on, |word| panic!("{word}"));
        RetryPolicy { on, status_codes: [418].into(), ..RetryPolicy::default() }
    }

    #[test]
    fn names() {
        let mut unknown = Vec::new();
        let on = RetryOn::parse(" 5xx, reset ,,nope,unavailable", |word| unknown.push(word.to_owned()));
        assert_eq!(on, RetryOn::SERVER_ERROR.with(RetryOn::RESET).with(RetryOn::GRPC_UNAVAILABLE));
        assert_eq!(unknown, ["nope"]);
    }

    #[test]
    fn reasons() {
        type Field = Option<(&'static str, &'static str)>;
        let cases: [(&str, u16, Field, bool); 12] = [
            ("5xx", 500, None, true),
            ("5xx", 499, None, false),
            ("gateway-error", 503, None, true),
            ("gateway-error", 500, None, false),
            ("retriable-4xx", 409, None, true),
            ("retriable-4xx", 404, None, false),
            ("retriable-status-codes", 418, None, true),
            ("5xx", 418, None, false),
            ("unavailable", 200, Some(("grpc-status", "14")), true),
            ("unavailable", 200, Some(("grpc-status", "13")), false),
            ("5xx", 503, Some(("x-envoy-ratelimited", "true")), false),
            ("envoy-ratelimited", 429, Some(("x-envoy-ratelimited", "true")), true),
        ];
        for (on, status, field, want) in cases {
            let response = ResponseHead { status, headers: field.into_iter().collect() };
            assert_eq!(policy(on).retries_response(&response), want, "{on} {status} {field:?}");
        }
        for (on, failure, want) in [
            ("connect-failure", Failure::Connect, true),
            ("connect-failure", Failure::Reset { head_sent: true }, false),
            ("5xx", Failure::Connect, true),
            ("reset", Failure::Reset { head_sent: true }, true),
            ("reset-before-request", Failure::Reset { head_sent: false }, true),
            ("reset-before-request", Failure::Reset { head_sent: true }, false),
            ("refused-stream", Failure::Refused, true),
            ("retriable-4xx", Failure::Refused, false),
            ("5xx", Failure::Overflow, false),
        ] {
            assert_eq!(policy(on).retries_failure(failure), want, "{on} {failure:?}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_below_the_limit() {
        let back_off = BackOff::default();
        for (retry, limit) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (100, 250)] {
            assert_eq!(back_off.pause(retry, limit - 1), Duration::from_millis(limit - 1), "{retry}");
            assert_eq!(back_off.pause(retry, limit), Duration::ZERO, "{retry}");
        }
    }
}
