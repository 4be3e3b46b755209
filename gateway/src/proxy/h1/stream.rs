//! The client's side of one request on an HTTP/1 connection.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::http::h1::{
    BodyDecoder, BodyEvent, CHUNK_END, Framing, HeadLimits, LAST_CHUNK, chunk_head, response_head, trailer_bytes,
    trailers,
};
use crate::http::{HeaderMap, NameCase, ResponseHead, Version};
use crate::proxy::connection::ConnectionContext;
use crate::proxy::downstream::DownstreamError;
use crate::telemetry::WireBytes;
use crate::telemetry::metrics::names::http;
use crate::upstream::Wire;

/// Bytes of a following request that are read while one is served; more stay in the kernel.
const READ_AHEAD: usize = 16 * 1024;

/// The client's side of one request on an HTTP/1 connection.
pub(crate) struct Http1Stream<'a> {
    pub(super) cx: Rc<ConnectionContext>,
    pub(super) wire: &'a mut Wire,
    pub(super) decoder: BodyDecoder,
    pub(super) limits: HeadLimits,
    pub(super) pass_trailers: bool,
    pub(super) names: NameCase,
    pub(super) version: Version,
    pub(super) head_request: bool,
    /// The response's body is chunked.
    pub(super) chunked: bool,
    /// The connection ends with this response.
    pub(super) close: bool,
    /// The response is complete.
    pub(super) ended: bool,
    /// The response was cut off.
    pub(super) cut: bool,
    /// What was read of the request, and queued of the response.
    pub(super) bytes: WireBytes,
}

impl Http1Stream<'_> {
    pub(in crate::proxy) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, DownstreamError>> {
        loop {
            let before = self.wire.input.len();
            let decoded = self.decoder.decode(&mut self.wire.input, self.limits);
            self.bytes.received += (before - self.wire.input.len()) as u64;
            match decoded {
                Ok(Some(BodyEvent::Trailers(_))) if !self.pass_trailers => return Poll::Ready(Ok(BodyEvent::End)),
                Ok(Some(event)) => {
                    if let BodyEvent::Trailers(trailers) = &event {
                        self.bytes.fields_received += trailer_bytes(trailers) as u64;
                    }
                    return Poll::Ready(Ok(event));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(DownstreamError::Malformed(error))),
            }
            match ready!(self.wire.poll_fill(cx)) {
                Ok(1..) => self.cx.count_bytes(self.wire),
                Ok(0) => return Poll::Ready(Err(self.left(DownstreamError::Gone))),
                Err(error) => return Poll::Ready(Err(self.left(DownstreamError::Io(error)))),
            }
        }
    }

    /// Reads ahead a little, so that the end of the connection is seen while a request is served.
    pub(in crate::proxy) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamError> {
        while self.wire.input.len() < READ_AHEAD {
            if ready!(self.wire.io().poll_readable(cx)).is_err() {
                return Poll::Ready(self.left(DownstreamError::Gone));
            }
            match ready!(self.wire.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(self.left(DownstreamError::Gone)),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    pub(in crate::proxy) fn informational(&mut self, head: &ResponseHead) {
        if self.version == Version::Http11 {
            self.write_head(head, Framing::AsHead);
        }
    }

    /// Queues the response's head, and notes in it what it says of the connection: the log shows that as well.
    pub(in crate::proxy) fn head(&mut self, head: &mut ResponseHead, end: bool) {
        let bodiless = self.head_request || head.status < 200 || matches!(head.status, 204 | 304);
        let framing = match (head.headers.contains("content-length"), end) {
            (true, _) => Framing::AsHead,
            (false, true) if bodiless => Framing::AsHead,
            (false, true) => Framing::Zero,
            (false, false) if self.version == Version::Http11 => Framing::Chunked,
            (false, false) => Framing::UntilClose,
        };
        self.chunked = framing == Framing::Chunked && !bodiless;
        self.close |= framing == Framing::UntilClose || !self.decoder.is_done();
        if !self.close && self.cx.drains() {
            self.close = true;
            self.cx.count(http::DOWNSTREAM_CX_DRAIN_CLOSE);
        }
        self.ended = end;
        if self.close {
            head.headers.append("connection", "close");
        } else if self.version == Version::Http10 {
            head.headers.append("connection", "keep-alive");
        }
        self.write_head(head, framing);
    }

    fn write_head(&mut self, head: &ResponseHead, framing: Framing) {
        let before = self.wire.queued();
        let fields = response_head(head, self.version, framing, self.names, self.wire.tail());
        self.bytes.fields_sent += fields as u64;
        self.bytes.sent += (self.wire.queued() - before) as u64;
    }

    pub(in crate::proxy) fn data(&mut self, piece: Bytes, end: bool) {
        if self.head_request {
            self.ended |= end;
            return;
        }
        let before = self.wire.queued();
        if !self.chunked {
            self.wire.push(piece);
        } else if !piece.is_empty() {
            chunk_head(piece.len(), self.wire.tail());
            self.wire.push(piece);
            self.wire.push_static(CHUNK_END);
        }
        self.bytes.sent += (self.wire.queued() - before) as u64;
        if end {
            self.end(None);
        }
    }

    pub(in crate::proxy) fn trailers(&mut self, fields: &HeaderMap) {
        self.end(self.pass_trailers.then_some(fields));
    }

    fn end(&mut self, fields: Option<&HeaderMap>) {
        self.ended = true;
        if self.chunked {
            let before = self.wire.queued();
            match fields {
                Some(fields) => self.bytes.fields_sent += trailers(fields, self.wire.tail()) as u64,
                None => self.wire.push_static(LAST_CHUNK),
            }
            self.bytes.sent += (self.wire.queued() - before) as u64;
        }
    }

    pub(in crate::proxy) fn bytes(&self) -> WireBytes {
        // What is left of a body that nobody reads is nothing else: no request follows it.
        let unread = if self.decoder.is_done() { 0 } else { self.wire.input.len() as u64 };
        WireBytes { received: self.bytes.received + unread, ..self.bytes }
    }

    pub(in crate::proxy) fn queued(&self) -> usize {
        self.wire.queued()
    }

    pub(in crate::proxy) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownstreamError>> {
        let flushed = self.wire.poll_flush(cx);
        self.cx.count_bytes(self.wire);
        flushed.map_err(|error| self.left(DownstreamError::Io(error)))
    }

    #[cold]
    fn left(&self, error: DownstreamError) -> DownstreamError {
        self.cx.client_left(true);
        error
    }

    pub(in crate::proxy) fn reset(&mut self) {
        self.cut = true;
    }

    pub(in crate::proxy) fn close_after(&mut self) {
        self.close = true;
    }
}
