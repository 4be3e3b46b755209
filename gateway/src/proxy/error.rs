//! Causes to status, response flag and details: the only place that says how a failure looks to a client and in the log.

use std::borrow::Cow;

use bytes::Bytes;

use super::downstream::DownstreamError;
use crate::filter::{Answer, Direction, Failure, LocalReply};
use crate::http::h1::{BodyError, HeadError, HeadFault};
use crate::telemetry::{Details, ResponseFlags};

/// Why the gateway answers by itself. What a filter or a route answers of its own is none of these
/// ([`Answer::Reply`]).
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
    /// The path is not canonical, and the client is sent to the one that is.
    PathRedirect(Bytes),
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
    /// The route configuration has not come yet or is gone.
    NoRouteConfiguration,
    /// The filters cannot go on.
    Filters(Failure),
    /// The route's cluster does not exist; answered with the route's status for it.
    NoCluster(u16),
    /// No endpoint may be used.
    NoEndpoint,
    /// A circuit breaker is open.
    Overflow,
    /// No connection could be made; the text is Envoy's reason.
    ConnectFailure(String),
    /// The address that connections are to come from cannot be used; the text is Envoy's reason.
    BindFailure(String),
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
}

/// What the answer to a failure says of the way to the endpoint.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// An answer had begun, if only by an interim one.
    pub(super) begun: bool,
    /// It was not the first try.
    pub(super) retried: bool,
    /// An answer that is too late is an empty success (`x-envoy-upstream-rq-timeout-alt-response`).
    pub(super) late_is_empty: bool,
    /// Nobody is to see `x-envoy-*` (`suppress_envoy_headers`).
    pub(super) no_envoy_headers: bool,
    /// How many there were, where the virtual host wants that to be seen.
    pub(super) shown: Option<u32>,
}

/// A failure and the gateway's answer to it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(super) cause: Cause,
    pub(super) flags: ResponseFlags,
    pub(super) reply: LocalReply,
}

impl From<Cause> for Failed {
    fn from(cause: Cause) -> Self {
        Self::after(cause, &Tries::default())
    }
}

impl Failed {
    /// A failure after these tries.
    pub(super) fn after(cause: Cause, tries: &Tries) -> Self {
        let Look { flags, status, details, body } = cause.look(tries);
        let mut reply = LocalReply::new(status, into_bytes(body), details);
        match &cause {
            Cause::PathRedirect(path) => reply.headers.append("location", path),
            Cause::Overflow if !tries.no_envoy_headers => reply.headers.append("x-envoy-overloaded", "true"),
            Cause::DropOverload if !tries.no_envoy_headers => reply.headers.append("x-envoy-drop-overload", "true"),
            Cause::UnconditionalDropOverload if !tries.no_envoy_headers => {
                reply.headers.append("x-envoy-unconditional-drop-overload", "true");
            }
            _ => {}
        }
        if let Some(attempts) = tries.shown.filter(|attempts| *attempts > 0) {
            reply.headers.append("x-envoy-attempt-count", itoa::Buffer::new().format(attempts));
        }
        Self { cause, flags, reply }
    }

    /// What the filters are given.
    pub(super) fn into_answer(self) -> Answer {
        Answer::from(self.reply)
    }
}

/// How a cause looks.
struct Look {
    flags: ResponseFlags,
    status: u16,
    details: Details,
    body: Cow<'static, str>,
}

impl Cause {
    /// The status of its answer.
    pub(super) fn status(&self) -> u16 {
        self.look(&Tries::default()).status
    }

    /// What the log says where the client has a part of the endpoint's answer already.
    pub(super) fn details_of_a_cut(&self) -> Details {
        self.look(&Tries { begun: true, ..Tries::default() }).details
    }

    /// Whether a limit of heads or trailers was exceeded.
    pub(super) fn is_header_limit(&self) -> bool {
        match self {
            Self::Malformed(error) => error.fault == HeadFault::TooLarge,
            Self::MalformedBody(error) => matches!(error, BodyError::TooLarge | BodyError::TooMany),
            _ => false,
        }
    }

    /// Whether what follows a request that is refused for this may be a request as well. Otherwise it was written for
    /// another reader (an upgrade, a tunnel), or cannot be told from the refused one: it is never served.
    pub(super) fn leaves_connection_usable(&self) -> bool {
        matches!(self, Self::PathRedirect(_) | Self::NotAPath)
    }

    /// Whether the endpoint's answer is too late.
    fn is_late(&self) -> bool {
        matches!(self, Self::UpstreamTimeout | Self::PerTryTimeout | Self::PerTryIdleTimeout)
    }

    /// Status, flags, details and body as Envoy gives them.
    fn look(&self, tries: &Tries) -> Look {
        use ResponseFlags as F;
        if self.is_late() && tries.late_is_empty {
            return Look { status: 204, body: "".into(), ..self.look(&Tries { late_is_empty: false, ..*tries }) };
        }
        let unread = |complete: bool| if complete { 504 } else { 408 };
        let (flags, status, details, body) = match self {
            Self::Malformed(error) => {
                let status = match error.fault {
                    HeadFault::Malformed => 400,
                    HeadFault::TooLarge => 431,
                    HeadFault::UnknownCoding => 501,
                    HeadFault::NotEncrypted => 403,
                };
                (F::DOWNSTREAM_PROTOCOL_ERROR, status, error.details, codec_body(status))
            }
            // Trailers have the limits of heads, and in Envoy their words too.
            Self::MalformedBody(BodyError::TooLarge) => return Self::Malformed(HeadError::TOO_LARGE).look(tries),
            Self::MalformedBody(BodyError::TooMany) => return Self::Malformed(HeadError::TOO_MANY).look(tries),
            Self::MalformedBody(_) => (F::DOWNSTREAM_PROTOCOL_ERROR, 400, "http1.codec_error", codec_body(400)),
            Self::MissingHost => (F::NONE, 400, "missing_host_header", ""),
            Self::InvalidHost => (F::DOWNSTREAM_PROTOCOL_ERROR, 400, "http1.invalid_authority", codec_body(400)),
            Self::NotAPath => (F::NONE, 404, "absolute_path_rejected", ""),
            Self::BadPath => (F::NONE, 400, "path_normalization_failed", ""),
            Self::PathRedirect(_) => (F::NONE, 307, "path_normalization_failed", ""),
            Self::LowVersion => (F::DOWNSTREAM_PROTOCOL_ERROR, 426, "low_version", "Upgrade Required"),
            Self::Underscore => (F::DOWNSTREAM_PROTOCOL_ERROR, 400, "http1.unexpected_underscore", codec_body(400)),
            Self::UpgradeRefused => (F::NONE, 403, "upgrade_failed", ""),
            Self::HeadTimeout => (F::NONE, 408, "request_header_timeout", "request header timeout"),
            Self::RequestTimeout => (F::NONE, 408, "request_overall_timeout", "request timeout"),
            Self::IdleTimeout(complete) => {
                (F::STREAM_IDLE_TIMEOUT, unread(*complete), "stream_idle_timeout", "stream timeout")
            }
            Self::StreamDuration(complete) => {
                (F::NONE, unread(*complete), "max_duration_timeout", "downstream duration timeout")
            }
            Self::NoRoute => (F::NO_ROUTE_FOUND, 404, "route_not_found", ""),
            Self::NoRouteConfiguration => (F::NO_ROUTE_FOUND, 404, "route_configuration_not_found", ""),
            Self::Filters(failure) => {
                let (status, details, body) = of_filters(*failure);
                (F::NONE, status, details, body)
            }
            Self::NoCluster(status) => (F::NO_CLUSTER_FOUND, *status, "cluster_not_found", ""),
            Self::NoEndpoint => (F::NO_HEALTHY_UPSTREAM, 503, "no_healthy_upstream", "no healthy upstream"),
            Self::Overflow => return reset(F::UPSTREAM_OVERFLOW, 503, "overflow", None, tries),
            Self::ConnectFailure(why) => {
                return reset(F::UPSTREAM_CONNECTION_FAILURE, 503, "remote connection failure", Some(why), tries);
            }
            Self::BindFailure(why) => {
                return reset(F::UPSTREAM_CONNECTION_FAILURE, 503, "local connection failure", Some(why), tries);
            }
            Self::ConnectTimeout => {
                return reset(F::UPSTREAM_CONNECTION_FAILURE, 503, "connection timeout", None, tries);
            }
            Self::UpstreamClosed => {
                return reset(F::UPSTREAM_CONNECTION_TERMINATION, 503, "connection termination", None, tries);
            }
            Self::UpstreamProtocol => return reset(F::UPSTREAM_PROTOCOL_ERROR, 502, "protocol error", None, tries),
            Self::DropOverload => (F::DROP_OVERLOAD, 503, "drop_overload", "drop overload"),
            Self::UnconditionalDropOverload => {
                (F::UNCONDITIONAL_DROP_OVERLOAD, 503, "unconditional_drop_overload", "unconditional drop overload")
            }
            Self::UpstreamTimeout => (F::UPSTREAM_REQUEST_TIMEOUT, 504, "response_timeout", "upstream request timeout"),
            Self::PerTryTimeout => {
                (F::UPSTREAM_REQUEST_TIMEOUT, 504, "upstream_per_try_timeout", "upstream request timeout")
            }
            Self::PerTryIdleTimeout => {
                (F::UPSTREAM_REQUEST_TIMEOUT, 504, "upstream_per_try_idle_timeout", "upstream request timeout")
            }
            Self::UpstreamStreamDuration(complete) => (
                F::UPSTREAM_MAX_STREAM_DURATION,
                unread(*complete),
                "upstream_max_stream_duration_reached",
                "upstream max stream duration reached",
            ),
            Self::RetryBuffer => (
                F::NONE,
                507,
                "request_payload_exceeded_retry_buffer_limit",
                "exceeded request buffer limit while retrying upstream",
            ),
        };
        Look { flags, status, details: details.into(), body: body.into() }
    }
}

/// The way to the endpoint broke off.
fn reset(flags: ResponseFlags, status: u16, reason: &str, why: Option<&String>, tries: &Tries) -> Look {
    let when = if tries.begun { "after" } else { "before" };
    let (more, why) = why.map_or(("", ""), |why| ("|", why));
    let details = format!("upstream_reset_{when}_response_started{{{reason}{more}{why}}}").replace(' ', "_");
    let again = if tries.retried { "retried and the latest " } else { "" };
    let body = format!("upstream connect error or disconnect/reset before headers. {again}reset reason: {reason}");
    Look { flags, status, details: details.into(), body: body.into() }
}

/// Status, details and body of what filters cannot go on with.
fn of_filters(failure: Failure) -> (u16, &'static str, &'static str) {
    match failure {
        Failure::BodyTooLarge(Direction::Request) => (413, "request_payload_too_large", "Payload Too Large"),
        Failure::BodyTooLarge(Direction::Response) => (500, "response_payload_too_large", "Internal Server Error"),
        Failure::LengthChanged => (500, "filter_changed_announced_length", ""),
        Failure::GuestFailed => (503, "wasm_fail_stream", ""),
        Failure::ReplyTooLarge => (500, "wasm_local_reply_too_large", ""),
        Failure::ReplyWithoutStatus => (500, "wasm_local_reply_without_status", ""),
    }
}

/// What Envoy's HTTP/1 codec writes as the body of its own errors.
fn codec_body(status: u16) -> &'static str {
    match status {
        403 => "Forbidden",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        _ => "Bad Request",
    }
}

fn into_bytes(text: Cow<'static, str>) -> Bytes {
    match text {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    }
}

/// What the log says of a client that went away before its answer was complete.
pub(super) fn of_client(error: &DownstreamError) -> (ResponseFlags, Details) {
    let flags = match error {
        DownstreamError::Reset => ResponseFlags::DOWNSTREAM_REMOTE_RESET,
        _ => ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION,
    };
    (flags, "downstream_remote_disconnect".into())
}

/// What the log says of a request whose connection the gateway ends, perhaps for what the client broke of its protocol.
pub(super) fn of_cut(broken: bool) -> (ResponseFlags, Details) {
    if broken {
        (ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR, "codec_error".into())
    } else {
        (ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION, "downstream_local_disconnect".into())
    }
}

/// What is wrong with a head over HTTP/2 that h2 lets through: it is answered by a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHead {
    /// A field that may stand once stands twice.
    Repeated,
    /// More fields than are let in.
    TooMany,
}

impl BadHead {
    /// What the log says of it.
    pub(super) fn look(self) -> (ResponseFlags, Details) {
        let details = match self {
            Self::Repeated => "http2.invalid.header.field",
            Self::TooMany => "http2.too_many_headers",
        };
        (ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR, details.into())
    }
}

/// What the log says of a connection that no filter chain took.
pub(super) const NO_FILTER_CHAIN: (ResponseFlags, Details) =
    (ResponseFlags::NO_ROUTE_FOUND, Cow::Borrowed("filter_chain_not_found"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_how_far_the_tries_came() {
        let refused = Cause::ConnectFailure("connection refused".into());
        let retried = Tries { retried: true, shown: Some(2), ..Tries::default() };
        let empty = Tries { late_is_empty: true, ..Tries::default() };
        let hidden = Tries { no_envoy_headers: true, ..Tries::default() };
        let first = Tries::default();
        const RESET: &str = "upstream connect error or disconnect/reset before headers. ";
        for (cause, tries, expected) in [
            (
                refused,
                &retried,
                "503 upstream_reset_before_response_started{remote_connection_failure|connection_refused} \
                 [retried and the latest reset reason: remote connection failure] x-envoy-attempt-count",
            ),
            (
                Cause::Overflow,
                &first,
                "503 upstream_reset_before_response_started{overflow} [reset reason: overflow] x-envoy-overloaded",
            ),
            (Cause::DropOverload, &hidden, "503 drop_overload [drop overload] "),
            (Cause::PerTryTimeout, &first, "504 upstream_per_try_timeout [upstream request timeout] "),
            (Cause::PerTryTimeout, &empty, "204 upstream_per_try_timeout [] "),
            (Cause::NoEndpoint, &empty, "503 no_healthy_upstream [no healthy upstream] "),
            (Cause::PathRedirect("/a".into()), &first, "307 path_normalization_failed [] location"),
            (
                Cause::Filters(Failure::BodyTooLarge(Direction::Response)),
                &first,
                "500 response_payload_too_large [Internal Server Error] ",
            ),
        ] {
            let Failed { reply, .. } = Failed::after(cause, tries);
            let body = String::from_utf8_lossy(&reply.body).replace(RESET, "");
            let fields: Vec<_> = reply.headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
            assert_eq!(format!("{} {} [{body}] {}", reply.status, reply.details, fields.join(" ")), expected);
        }
        let cut = Cause::UpstreamClosed.details_of_a_cut();
        assert_eq!(cut, "upstream_reset_after_response_started{connection_termination}");
    }
}
