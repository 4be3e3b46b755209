//! The client's side of one request, the same for HTTP/1 and HTTP/2.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::h1::Http1Stream;
use super::h2::Http2Stream;
use crate::http::h1::{BodyError, BodyEvent};
use crate::http::{HeaderMap, ResponseHead};
use crate::telemetry::WireBytes;

/// Where a request comes from and its response goes to.
#[allow(clippy::large_enum_variant, reason = "one for each request that is under way, inside its task")]
pub(crate) enum Downstream<'a> {
    /// On an HTTP/1 connection, which it has for itself.
    Http1(Http1Stream<'a>),
    /// A stream of an HTTP/2 connection.
    Http2(Http2Stream),
}

/// Why the client's side ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownstreamError {
    /// The client went away.
    #[error("the client closed the connection")]
    Gone,
    /// The client reset the stream.
    #[error("the client reset the stream")]
    Reset,
    /// The body's framing is broken.
    #[error("the client broke the framing of its body: {0}")]
    Malformed(BodyError),
    /// The connection failed.
    #[error("the connection to the client failed: {0}")]
    Io(#[from] io::Error),
}

impl Downstream<'_> {
    /// Waits for the next part of the request's body. Not to be called after its end.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, DownstreamError>> {
        match self {
            Self::Http1(stream) => stream.poll_body(cx),
            Self::Http2(stream) => stream.poll_body(cx),
        }
    }

    /// Ready when the client has gone away; for the time when nothing is read from it.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamError> {
        match self {
            Self::Http1(stream) => stream.poll_gone(cx),
            Self::Http2(stream) => stream.poll_gone(cx),
        }
    }

    /// Ready when the client has given the request up; for the time when its body is not read. Over HTTP/1 that shows only
    /// behind the rest of it.
    pub(crate) fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamError> {
        match self {
            Self::Http1(_) => Poll::Pending,
            Self::Http2(stream) => stream.poll_unread(cx),
        }
    }

    /// Queues a 1xx.
    pub(crate) fn informational(&mut self, head: &ResponseHead) {
        match self {
            Self::Http1(stream) => stream.informational(head),
            Self::Http2(stream) => stream.informational(head),
        }
    }

    /// Queues the response's head. `end` says that nothing follows.
    pub(crate) fn head(&mut self, head: &mut ResponseHead, end: bool) -> Result<(), DownstreamError> {
        match self {
            Self::Http1(stream) => {
                stream.head(head, end);
                Ok(())
            }
            Self::Http2(stream) => stream.head(head, end),
        }
    }

    /// Queues a piece of the response's body.
    pub(crate) fn data(&mut self, piece: Bytes, end: bool) -> Result<(), DownstreamError> {
        match self {
            Self::Http1(stream) => {
                stream.data(piece, end);
                Ok(())
            }
            Self::Http2(stream) => stream.data(piece, end),
        }
    }

    /// Queues the response's trailers, which end it.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) -> Result<(), DownstreamError> {
        match self {
            Self::Http1(stream) => {
                stream.trailers(trailers);
                Ok(())
            }
            Self::Http2(stream) => stream.trailers(trailers),
        }
    }

    /// What it has taken of the connection.
    pub(crate) fn bytes(&self) -> WireBytes {
        match self {
            Self::Http1(stream) => stream.bytes(),
            Self::Http2(stream) => stream.bytes(),
        }
    }

    /// Bytes that are queued and not taken by the connection.
    pub(crate) fn queued(&self) -> usize {
        match self {
            Self::Http1(stream) => stream.queued(),
            Self::Http2(stream) => stream.queued(),
        }
    }

    /// Whether more may be queued, of which `watermark` bytes may wait; if not, the task is woken once there is room.
    pub(crate) fn has_room(&mut self, task: &Context<'_>, watermark: usize) -> bool {
        match self {
            Self::Http1(stream) => stream.queued() < watermark,
            Self::Http2(stream) => stream.has_room(task, watermark),
        }
    }

    /// Writes what is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownstreamError>> {
        match self {
            Self::Http1(stream) => stream.poll_flush(cx),
            Self::Http2(stream) => stream.poll_flush(cx),
        }
    }

    /// The response ends here, in the middle: the client must see that it is cut.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Http1(stream) => stream.reset(),
            Self::Http2(stream) => stream.reset(),
        }
    }

    /// The connection is to be closed after this response; HTTP/1 says so in its head.
    pub(crate) fn close_after(&mut self) {
        if let Self::Http1(stream) = self {
            stream.close_after();
        }
    }
}
