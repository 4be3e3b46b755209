//! The status of a gRPC call in a format.

use super::parse::Command;
use super::{FormatCx, FormatError};
use crate::http::HeaderMap;

/// How `%GRPC_STATUS%` is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

impl GrpcForm {
    pub(super) fn parse(command: &Command<'_>) -> Result<Self, FormatError> {
        command.uncut()?;
        Ok(match command.parameter {
            None | Some("" | "CAMEL_STRING") => Self::Camel,
            Some("SNAKE_STRING") => Self::Snake,
            Some("NUMBER") => Self::Number,
            Some(_) => return Err(command.wrong("the parameter is CAMEL_STRING, SNAKE_STRING or NUMBER")),
        })
    }

    /// Appends the status; says whether there is one.
    pub(super) fn write(self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> bool {
        let Some(status) = grpc_status(cx, true) else { return false };
        let named = usize::try_from(status).ok().and_then(|at| GRPC.get(at));
        match (self, named) {
            (Self::Camel, Some((camel, _))) => out.extend_from_slice(camel.as_bytes()),
            (Self::Snake, Some((_, snake))) => out.extend_from_slice(snake.as_bytes()),
            _ => out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes()),
        }
        true
    }
}

/// Names of gRPC's status codes, as `%GRPC_STATUS%` shows them.
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// The code that stands for an HTTP status which is an error (gRPC's http-grpc-status-mapping).
pub fn grpc_of_http(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The `grpc-status` of a response's trailers, or of its head if they have none; with `only_grpc`, of gRPC requests.
pub(in crate::telemetry) fn grpc_status(cx: &FormatCx<'_>, only_grpc: bool) -> Option<i64> {
    if only_grpc {
        let content_type = cx.request?.headers.get("content-type")?;
        let rest = content_type.strip_prefix(b"application/grpc")?;
        if !(rest.is_empty() || matches!(rest.first(), Some(b'+' | b';'))) {
            return None;
        }
    }
    let of = |fields: &HeaderMap| fields.get_str("grpc-status")?.parse::<i64>().ok();
    cx.response_trailers.and_then(of).or_else(|| cx.response.and_then(|head| of(&head.headers)))
}
