//! What filters, or the chain itself, have a request answered by instead of its endpoint.

use bytes::Bytes;

use super::Direction;
use crate::http::HeaderMap;
use crate::telemetry::Details;

/// What a request is answered by.
#[derive(Debug)]
pub enum Answer {
    /// This, as it is: a filter's own answer, or one that the driver has made.
    Reply(Box<LocalReply>),
    /// The filters cannot go on; what that looks like is the driver's matter.
    Failure(Failure),
}

/// Why the filters cannot go on with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// They would have to hold more of its body than they may (`stream.buffer_limit`).
    BodyTooLarge(Direction),
    /// One of them changed a body whose length had been announced.
    LengthChanged,
    /// A guest failed, and its plugin may not be passed by.
    GuestFailed,
    /// A guest's own answer is larger than its limit.
    ReplyTooLarge,
    /// A guest's own answer has a status that is none.
    ReplyWithoutStatus,
}

/// An answer that the gateway gives by itself.
#[derive(Clone, Debug)]
pub struct LocalReply {
    /// 200 to 599.
    pub status: u16,
    /// Further fields; content-length and, with a body, content-type are added when absent.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Why (`%RESPONSE_CODE_DETAILS%`). Words for the log, which a guest chooses freely: nothing may hang on them.
    pub details: Details,
    /// gRPC status for gRPC requests; chosen from `status` if absent.
    pub grpc_status: Option<u32>,
}

impl LocalReply {
    /// An answer without further fields.
    pub fn new(status: u16, body: impl Into<Bytes>, details: impl Into<Details>) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into(), details: details.into(), grpc_status: None }
    }
}

impl From<LocalReply> for Answer {
    fn from(reply: LocalReply) -> Self {
        Self::Reply(Box::new(reply))
    }
}
