//! The client's side of one HTTP/2 stream: its body as events, its response as flow control lets it through.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;

use super::budget::{Charged, HeldBack};
use crate::http::h1::{BodyError, BodyEvent};
use crate::http::{BodyBuf, HeaderMap, ResponseHead};
use crate::proxy::downstream::DownstreamError;
use crate::telemetry::WireBytes;

/// The client's side of one HTTP/2 stream.
pub(crate) struct Http2Stream {
    body: RecvStream,
    /// What has come of the body and is not asked for yet; the client's windows hold no room for more because of it.
    unread: BodyBuf,
    respond: SendResponse<Charged>,
    send: Option<SendStream<Charged>>,
    /// What flow control does not let through yet.
    pending: HeldBack,
    /// What ends the response once `pending` has gone; none if it has gone, or is not known yet.
    end: Option<End>,
    head_request: bool,
    /// Most fields of the trailers.
    limit: usize,
    /// The client has reset it.
    reset: bool,
    bytes: WireBytes,
}

enum End {
    Data,
    Trailers(http::HeaderMap),
}

impl Http2Stream {
    /// A stream whose request's head has been read, which has so many bytes. Its trailers may have as many fields as `limit`.
    pub(super) fn new(
        body: RecvStream,
        respond: SendResponse<Charged>,
        pending: HeldBack,
        head_request: bool,
        limit: usize,
        head_bytes: u64,
    ) -> Self {
        Self {
            body,
            unread: BodyBuf::new(),
            respond,
            send: None,
            pending,
            end: None,
            head_request,
            limit,
            reset: false,
            bytes: WireBytes { received: head_bytes, fields_received: head_bytes, ..WireBytes::default() },
        }
    }

    /// Whether the client has reset it.
    pub(super) fn was_reset(&self) -> bool {
        self.reset
    }

    pub(in crate::proxy) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, DownstreamError>> {
        if let Some(piece) = self.unread.pop() {
            return Poll::Ready(Ok(self.passed_on(piece)));
        }
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(piece)) => return Poll::Ready(Ok(self.passed_on(piece))),
            Some(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
            None => {}
        }
        match ready!(self.body.poll_trailers(cx)) {
            Ok(None) => Poll::Ready(Ok(BodyEvent::End)),
            Ok(Some(fields)) if fields.len() > self.limit => {
                Poll::Ready(Err(DownstreamError::Malformed(BodyError::TooMany)))
            }
            Ok(Some(fields)) => {
                let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
                let fields: HeaderMap = fields.collect();
                self.bytes.received += fields.byte_size() as u64;
                self.bytes.fields_received += fields.byte_size() as u64;
                Poll::Ready(Ok(BodyEvent::Trailers(fields)))
            }
            Err(error) => Poll::Ready(Err(self.failed(&error))),
        }
    }

    /// The driver asks only while there is room for more, so the windows follow what was passed on.
    fn passed_on(&mut self, piece: Bytes) -> BodyEvent {
        // It fails only for more than was received.
        let _ = self.body.flow_control().release_capacity(piece.len());
        self.bytes.received += piece.len() as u64;
        BodyEvent::Data(piece)
    }

    /// Takes what has come of the body from h2, which would keep each frame by itself, however small, and looks whether the
    /// client has given up.
    pub(in crate::proxy) fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamError> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(piece))) => self.unread.push(piece),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.failed(&error)),
                Poll::Ready(None) | Poll::Pending => return self.poll_gone(cx),
            }
        }
    }

    pub(in crate::proxy) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamError> {
        let reset = match &mut self.send {
            Some(send) => ready!(send.poll_reset(cx)),
            None => ready!(self.respond.poll_reset(cx)),
        };
        self.reset |= reset.is_ok();
        Poll::Ready(if reset.is_ok() { DownstreamError::Reset } else { DownstreamError::Gone })
    }

    fn failed(&mut self, error: &h2::Error) -> DownstreamError {
        self.reset |= error.is_reset();
        failure(error)
    }

    pub(in crate::proxy) fn informational(&mut self, head: &ResponseHead) {
        if let Some(response) = response_of(head) {
            // A client that is gone will be seen at the next read.
            let _ = self.respond.send_informational(response);
            self.sends_fields(head.byte_size());
        }
    }

    fn sends_fields(&mut self, bytes: usize) {
        self.bytes.sent += bytes as u64;
        self.bytes.fields_sent += bytes as u64;
    }

    pub(in crate::proxy) fn bytes(&self) -> WireBytes {
        self.bytes
    }

    pub(in crate::proxy) fn head(&mut self, head: &ResponseHead, end: bool) -> Result<(), DownstreamError> {
        let Some(response) = response_of(head) else { return Err(DownstreamError::Reset) };
        let end = end || self.head_request;
        let send = self.respond.send_response(response, end).map_err(|error| failure(&error))?;
        self.send = Some(send);
        self.sends_fields(head.byte_size());
        Ok(())
    }

    pub(in crate::proxy) fn data(&mut self, piece: Bytes, end: bool) -> Result<(), DownstreamError> {
        if self.head_request {
            return Ok(());
        }
        self.bytes.sent += piece.len() as u64;
        self.pending.push(piece);
        if end {
            self.end = Some(End::Data);
        }
        self.pump()
    }

    pub(in crate::proxy) fn trailers(&mut self, fields: &HeaderMap) -> Result<(), DownstreamError> {
        if self.head_request {
            return Ok(());
        }
        self.sends_fields(fields.byte_size());
        self.end = Some(End::Trailers(header_map(fields)));
        self.pump()
    }

    pub(in crate::proxy) fn queued(&self) -> usize {
        // An end that waits counts as a byte: the stream is not done before it has gone.
        self.pending.len() + usize::from(self.end.is_some())
    }

    pub(in crate::proxy) fn has_room(&mut self, task: &Context<'_>, watermark: usize) -> bool {
        self.pending.has_room(task, watermark)
    }

    pub(in crate::proxy) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownstreamError>> {
        loop {
            self.pump()?;
            if self.queued() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !self.pending.may_send() {
                self.pending.wait(cx);
            }
            let Some(send) = &mut self.send else { return Poll::Ready(Err(DownstreamError::Reset)) };
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
                None => return Poll::Ready(Err(DownstreamError::Reset)),
            }
        }
    }

    /// Sends what flow control and the connection's budget allow now.
    fn pump(&mut self) -> Result<(), DownstreamError> {
        let Some(send) = &mut self.send else { return Ok(()) };
        while !self.pending.is_empty() {
            if !self.pending.may_send() {
                return Ok(());
            }
            send.reserve_capacity(self.pending.len());
            let room = send.capacity();
            if room == 0 {
                return Ok(());
            }
            let Some(piece) = self.pending.take(room) else { break };
            let last = self.pending.is_empty() && matches!(self.end, Some(End::Data));
            if last {
                self.end = None;
            }
            send.send_data(piece, last).map_err(|error| failure(&error))?;
        }
        match self.end.take() {
            None => Ok(()),
            Some(End::Data) => send.send_data(self.pending.nothing(), true).map_err(|error| failure(&error)),
            Some(End::Trailers(fields)) => send.send_trailers(fields).map_err(|error| failure(&error)),
        }
    }

    pub(in crate::proxy) fn reset(&mut self) {
        self.pending.clear();
        self.end = None;
        match &mut self.send {
            Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

fn response_of(head: &ResponseHead) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(head.status).ok()?;
    *response.headers_mut() = header_map(&head.headers);
    Some(response)
}

/// Fields that cannot be written in HTTP/2 are left out; the codecs and the sandbox let none in.
fn header_map(fields: &HeaderMap) -> http::HeaderMap {
    let mut map = http::HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(name), http::HeaderValue::from_bytes(value)) {
            let _ = map.try_append(name, value);
        }
    }
    map
}

fn failure(error: &h2::Error) -> DownstreamError {
    if error.is_reset() { DownstreamError::Reset } else { DownstreamError::Gone }
}
