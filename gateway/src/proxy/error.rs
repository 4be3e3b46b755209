//! Causes to status, response flag and details: the only place that says how a failure looks to a client and in the log.

use crate::filter::LocalReply;
use crate::http::h1::{BodyError, HeadError};
use crate::telemetry::ResponseFlags;

/// How the body of an answer begins that says why a try failed.
pub(super) const RESET: &str = "upstream connect error or disconnect/reset before headers. ";

/// Why the gateway answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The client's bytes are not HTTP/1.
    Malformed(HeadError),
    /// The body's framing is broken, or its trailers are too large.
    MalformedBody(BodyError),
    /// No host.
    MissingHost,
    /// A host that is none.
    InvalidHost,
    /// A target that is no path.
    NotAPath,
    /// The path cannot be made canonical.
    BadPath,
    /// HTTP/1.0 where it is not accepted.
    LowVersion,
    /// A header name with an underscore, which the listener refuses.
    Underscore,
    /// Another protocol was asked for.
    UpgradeRefused,
    /// The head took too long.
    HeadTimeout,
    /// The request took too long.
    RequestTimeout,
    /// Nothing moved for too long; says whether the request had come whole.
    IdleTimeout(bool),
    /// The stream lived for too long; says whether the request had come whole.
    StreamDuration(bool),
    /// No route matched.
    NoRoute,
    /// The route's cluster does not exist; answered with the route's status for it.
    NoCluster(u16),
    /// No endpoint may be used.
    NoEndpoint,
    /// A circuit breaker is open.
    Overflow,
    /// No connection could be made; the text is Envoy's reason.
    ConnectFailure(String),
    /// No connection came about within `connect_timeout`.
    ConnectTimeout,
    /// The cluster's endpoints asked for less (`drop_overloads`).
    DropOverload,
    /// They asked for nothing at all.
    UnconditionalDropOverload,
    /// The endpoint ended the connection before it had answered.
    UpstreamClosed,
    /// The endpoint broke the protocol.
    UpstreamProtocol,
    /// The endpoint did not answer in time.
    UpstreamTimeout,
    /// One try took too long.
    PerTryTimeout,
    /// The endpoint was silent for too long.
    PerTryIdleTimeout,
    /// The try lived for too long (the cluster's `max_stream_duration`); says whether the request had come whole.
    UpstreamStreamDuration(bool),
    /// The body became too large to be kept for another try, and no try is under way.
    RetryBuffer,
    /// The route configuration has not come yet or is gone.
    NoRouteConfiguration,
}

impl Cause {
    /// Status, flags, details and body as Envoy gives them.
    pub(crate) fn reply(&self) -> (ResponseFlags, LocalReply) {
        use ResponseFlags as F;
        let (flags, status, details, body): (F, u16, &'static str, String) = match self {
            Self::Malformed(error) => {
                (F::DOWNSTREAM_PROTOCOL_ERROR, error.status, error.details, codec_body(error.status))
            }
            // Trailers have the limits of heads, and in Envoy their words too.
            Self::MalformedBody(BodyError::TooLarge) => return Self::Malformed(HeadError::TOO_LARGE).reply(),
            Self::MalformedBody(BodyError::TooMany) => return Self::Malformed(HeadError::TOO_MANY).reply(),
            Self::MalformedBody(_) => (F::DOWNSTREAM_PROTOCOL_ERROR, 400, "http1.codec_error", codec_body(400)),
            Self::MissingHost => (F::NONE, 400, "missing_host_header", String::new()),
            Self::InvalidHost => (F::DOWNSTREAM_PROTOCOL_ERROR, 400, "http1.invalid_authority", codec_body(400)),
            Self::NotAPath => (F::NONE, 404, "absolute_path_rejected", String::new()),
            Self::BadPath => (F::NONE, 400, "path_normalization_failed", String::new()),
            Self::LowVersion => (F::DOWNSTREAM_PROTOCOL_ERROR, 426, "low_version", "Upgrade Required".into()),
            Self::Underscore => (F::DOWNSTREAM_PROTOCOL_ERROR, 400, "http1.unexpected_underscore", codec_body(400)),
            Self::UpgradeRefused => (F::NONE, 403, "upgrade_failed", String::new()),
            Self::HeadTimeout => (F::NONE, 408, "request_header_timeout", "request header timeout".into()),
            Self::RequestTimeout => (F::NONE, 408, "request_overall_timeout", "request timeout".into()),
            Self::IdleTimeout(complete) => {
                let status = if *complete { 504 } else { 408 };
                (F::STREAM_IDLE_TIMEOUT, status, "stream_idle_timeout", "stream timeout".into())
            }
            Self::StreamDuration(complete) => {
                let status = if *complete { 504 } else { 408 };
                (F::NONE, status, "max_duration_timeout", "downstream duration timeout".into())
            }
            Self::NoRoute => (F::NO_ROUTE_FOUND, 404, "route_not_found", String::new()),
            Self::NoRouteConfiguration => (F::NO_ROUTE_FOUND, 404, "route_configuration_not_found", String::new()),
            Self::NoCluster(status) => (F::NO_CLUSTER_FOUND, *status, "cluster_not_found", String::new()),
            Self::NoEndpoint => (F::NO_HEALTHY_UPSTREAM, 503, "no_healthy_upstream", "no healthy upstream".into()),
            Self::Overflow => (
                F::UPSTREAM_OVERFLOW,
                503,
                "upstream_reset_before_response_started{overflow}",
                format!("{RESET}reset reason: overflow"),
            ),
            Self::ConnectFailure(reason) => {
                let body = format!("{RESET}reset reason: remote connection failure");
                let details = format!(
                    "upstream_reset_before_response_started{{remote_connection_failure|{}}}",
                    reason.replace(' ', "_")
                );
                return (F::UPSTREAM_CONNECTION_FAILURE, LocalReply::new(503, body, details));
            }
            Self::ConnectTimeout => (
                F::UPSTREAM_CONNECTION_FAILURE,
                503,
                "upstream_reset_before_response_started{connection_timeout}",
                format!("{RESET}reset reason: connection timeout"),
            ),
            Self::DropOverload => (F::DROP_OVERLOAD, 503, "drop_overload", "drop overload".into()),
            Self::UnconditionalDropOverload => (
                F::UNCONDITIONAL_DROP_OVERLOAD,
                503,
                "unconditional_drop_overload",
                "unconditional drop overload".into(),
            ),
            Self::UpstreamClosed => (
                F::UPSTREAM_CONNECTION_TERMINATION,
                503,
                "upstream_reset_before_response_started{connection_termination}",
                format!("{RESET}reset reason: connection termination"),
            ),
            Self::UpstreamProtocol => (
                F::UPSTREAM_PROTOCOL_ERROR,
                502,
                "upstream_reset_before_response_started{protocol_error}",
                format!("{RESET}reset reason: protocol error"),
            ),
            Self::UpstreamTimeout => {
                (F::UPSTREAM_REQUEST_TIMEOUT, 504, "response_timeout", "upstream request timeout".into())
            }
            Self::PerTryTimeout => {
                (F::UPSTREAM_REQUEST_TIMEOUT, 504, "upstream_per_try_timeout", "upstream request timeout".into())
            }
            Self::PerTryIdleTimeout => {
                (F::UPSTREAM_REQUEST_TIMEOUT, 504, "upstream_per_try_idle_timeout", "upstream request timeout".into())
            }
            Self::UpstreamStreamDuration(complete) => (
                F::UPSTREAM_MAX_STREAM_DURATION,
                if *complete { 504 } else { 408 },
                "upstream_max_stream_duration_reached",
                "upstream max stream duration reached".into(),
            ),
            Self::RetryBuffer => (
                F::NONE,
                507,
                "request_payload_exceeded_retry_buffer_limit",
                "exceeded request buffer limit while retrying upstream".into(),
            ),
        };
        let mut reply = LocalReply::new(status, body, details);
        match self {
            Self::Overflow => reply.headers.append("x-envoy-overloaded", "true"),
            Self::DropOverload => reply.headers.append("x-envoy-drop-overload", "true"),
            Self::UnconditionalDropOverload => reply.headers.append("x-envoy-unconditional-drop-overload", "true"),
            _ => {}
        }
        (flags, reply)
    }
}

/// What Envoy's HTTP/1 codec writes as the body of its own errors.
fn codec_body(status: u16) -> String {
    match status {
        403 => "Forbidden",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        _ => "Bad Request",
    }
    .to_owned()
}
