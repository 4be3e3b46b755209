//! Envoy's substitution format strings: `%PROTOCOL%`, `%REQ(:METHOD)%`, … in access logs, header values and local
//! replies.
//!
//! A format is parsed once, into pieces; rendering allocates nothing but what it appends.

mod certificate;
mod grpc;
mod json;
mod operator;
mod parse;
mod query;
mod time;
mod unsupported;
mod values;

use crate::http::{HeaderMap, RequestHead, ResponseHead};
use crate::telemetry::StreamInfo;

pub use grpc::grpc_of_http;
pub(in crate::telemetry) use grpc::grpc_status;
pub use json::JsonFormat;
use operator::Operator;
pub use time::civil;

/// What a format may refer to.
#[derive(Clone, Copy, Debug)]
pub struct FormatCx<'a> {
    /// The request's head; absent if the stream broke before one was read.
    pub request: Option<&'a RequestHead>,
    /// The response's head.
    pub response: Option<&'a ResponseHead>,
    /// Trailers of the request.
    pub request_trailers: Option<&'a HeaderMap>,
    /// Trailers of the response.
    pub response_trailers: Option<&'a HeaderMap>,
    /// What is known of the stream.
    pub info: &'a StreamInfo,
    /// Body of a local reply (`%LOCAL_REPLY_BODY%`).
    pub local_reply_body: &'a [u8],
    /// On which occasion a log line is written.
    pub access_log_type: AccessLogType,
}

impl<'a> FormatCx<'a> {
    /// A context that knows the stream only.
    pub fn new(info: &'a StreamInfo) -> Self {
        Self {
            request: None,
            response: None,
            request_trailers: None,
            response_trailers: None,
            info,
            local_reply_body: &[],
            access_log_type: AccessLogType::NotSet,
        }
    }

    /// With a request's head.
    pub fn request(self, request: &'a RequestHead) -> Self {
        Self { request: Some(request), ..self }
    }

    /// With a response's head.
    pub fn response(self, response: &'a ResponseHead) -> Self {
        Self { response: Some(response), ..self }
    }
}

/// Occasions of a log line (`envoy.data.accesslog.v3.AccessLogType`), as far as they occur here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLogType {
    /// A header value, the body of a local reply, or as in Envoy the line of a connection.
    #[default]
    NotSet,
    /// A request ended.
    DownstreamEnd,
}

impl AccessLogType {
    /// As `%ACCESS_LOG_TYPE%` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::DownstreamEnd => "DownstreamEnd",
        }
    }
}

/// Envoy's format of access logs that name none.
pub const DEFAULT_ACCESS_LOG: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
    "\"%UPSTREAM_HOST%\"\n"
);

/// A parsed text format.
#[derive(Clone, Debug)]
pub struct Format {
    pieces: Vec<Piece>,
    omit_empty: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Vec<u8>),
    Operator(Operator),
}

impl Format {
    /// Parses a format; what has no value is rendered as `-`.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        Ok(Self { pieces: parse::pieces(text)?, omit_empty: false })
    }

    /// With `omit`, what has no value is rendered as nothing (`omit_empty_values`, and values of headers).
    pub fn omit_empty(self, omit: bool) -> Self {
        Self { omit_empty: omit, ..self }
    }

    /// The text if it has no operators: `%%` has become `%`.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(&[]),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the rendered text.
    pub fn render(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Operator(operator) => {
                    if !operator.write(cx, out) && !self.omit_empty {
                        out.push(b'-');
                    }
                }
            }
        }
    }
}

/// Why a format cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not an operator of Envoy.
    #[error("unknown operator %{0}%")]
    Unknown(String),
    /// An operator of Envoy that Weir has no data for.
    #[error("operator %{0}% is not supported by Weir: {1}")]
    Unsupported(String, &'static str),
    /// A percent sign without an operator behind it.
    #[error("no operator at byte {0} of the format: write %OPERATOR%, %OPERATOR(parameter)% or %% for a percent sign")]
    Syntax(usize),
    /// An operator with parameters that it cannot have.
    #[error("operator %{operator}%: {reason}")]
    Parameter {
        /// Its name.
        operator: String,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
