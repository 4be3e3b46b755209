//! One HTTP/1 request and its response on a connection to an endpoint.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;

use super::{Lease, Wire};
use crate::http::h1::{
    Arrival, BodyDecoder, BodyError, BodyEvent, CHUNK_END, Framing, HeadError, LAST_CHUNK, ResponseOptions, chunk_head,
    parse_response, request_head, trailers,
};
use crate::http::one_line::{Of, join_lines};
use crate::http::{HeaderMap, NameCase, RequestHead, ResponseHead};
use crate::telemetry::WireBytes;

/// Where one exchange stands. The connection is handed in with each call, so that it can go back to its pool.
#[derive(Debug)]
pub struct Exchange {
    head_request: bool,
    chunked: bool,
    request_done: bool,
    body: BodyDecoder,
    keep_alive: bool,
    /// Bytes of a response were seen: the endpoint has begun to answer.
    begun: bool,
    head_done: bool,
    arrival: Arrival,
    /// The endpoint ended the body by closing the connection.
    closed: bool,
    read: ResponseOptions,
    /// Bytes of fields that were queued and read since they were asked for.
    fields: WireBytes,
}

/// What came first of a response.
#[derive(Debug)]
pub enum Head {
    /// 1xx; the real head follows.
    Informational(ResponseHead),
    /// The head; `end` says that no body follows.
    Final {
        /// Status and fields.
        head: ResponseHead,
        /// Nothing follows.
        end: bool,
    },
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The head is not HTTP/1.
    #[error("the endpoint broke the protocol: {0}")]
    Head(#[from] HeadError),
    /// The body's framing is broken.
    #[error("the endpoint broke the protocol: {0}")]
    Body(#[from] BodyError),
    /// It speaks another protocol from here on.
    #[error("the endpoint switched to a protocol that nobody asked for")]
    Switched,
    /// The connection ended; `begun` says whether the endpoint had begun to answer.
    #[error("the endpoint closed the connection {}", if *.begun { "in mid-response" } else { "before it answered" })]
    Closed {
        /// Bytes of a response were seen.
        begun: bool,
    },
    /// The connection failed.
    #[error("the connection to the endpoint failed: {source}")]
    Io {
        /// Bytes of a response were seen.
        begun: bool,
        /// The system's reason.
        source: io::Error,
    },
}

impl Exchange {
    /// Queues the head, its names spelled as `names` says unless the request remembers better. `end` says that no body
    /// follows; `read` is for the response.
    pub fn start(wire: &mut Wire, head: &RequestHead, end: bool, names: NameCase, read: ResponseOptions) -> Self {
        let framing = match (head.headers.contains("content-length"), end) {
            (true, _) => Framing::AsHead,
            (false, true) if has_no_body(&head.method) => Framing::AsHead,
            (false, true) => Framing::Zero,
            (false, false) => Framing::Chunked,
        };
        let fields_sent = request_head(head, framing, names, wire.tail()) as u64;
        Self {
            head_request: head.is_head(),
            chunked: framing == Framing::Chunked,
            request_done: end,
            body: BodyDecoder::empty(),
            keep_alive: false,
            begun: false,
            head_done: false,
            arrival: Arrival::default(),
            closed: false,
            read,
            fields: WireBytes { fields_sent, ..WireBytes::default() },
        }
    }

    /// Queues a piece of the request's body.
    pub fn send(&mut self, wire: &mut Wire, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.chunked {
            chunk_head(piece.len(), wire.tail());
            wire.push(piece);
            wire.push_static(CHUNK_END);
        } else {
            wire.push(piece);
        }
    }

    /// Queues the end of the request. Trailers go only with a chunked body.
    pub fn finish(&mut self, wire: &mut Wire, fields: Option<&HeaderMap>) {
        if std::mem::replace(&mut self.request_done, true) || !self.chunked {
            return;
        }
        match fields {
            Some(fields) => self.fields.fields_sent += trailers(fields, wire.tail()) as u64,
            None => wire.push_static(LAST_CHUNK),
        }
    }

    /// Waits for the head of the response.
    ///
    /// # Errors
    /// The connection must not be used again.
    pub fn poll_head(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<Head, ExchangeError>> {
        loop {
            if !wire.input.is_empty() {
                self.begun = true;
                if self.arrival.is_worth_parsing(&wire.input, self.read.limits)
                    && let Some(start) = parse_response(&wire.input, self.head_request, &self.read)?
                {
                    bytes::Buf::advance(&mut wire.input, start.consumed);
                    self.fields.fields_received += start.field_bytes as u64;
                    if start.head.status == 101 {
                        // Nobody asks for another protocol, so whatever follows is in none that could be understood.
                        return Poll::Ready(Err(ExchangeError::Switched));
                    }
                    if start.head.status < 200 {
                        // The real answer has not begun.
                        (self.begun, self.arrival) = (false, Arrival::default());
                        return Poll::Ready(Ok(Head::Informational(start.head)));
                    }
                    self.head_done = true;
                    self.keep_alive = start.keep_alive;
                    self.body = start.body;
                    return Poll::Ready(Ok(Head::Final { head: start.head, end: self.body.is_done() }));
                }
            }
            let begun = self.begun;
            match ready!(wire.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Err(ExchangeError::Closed { begun })),
                Ok(_) => {}
                Err(source) => return Poll::Ready(Err(ExchangeError::Io { begun, source })),
            }
        }
    }

    /// Waits for the next part of the response's body. Call it only after the final head, and not after the end.
    ///
    /// # Errors
    /// The connection must not be used again.
    pub fn poll_body(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, ExchangeError>> {
        loop {
            if let Some(mut event) = self.body.decode(&mut wire.input, self.read.limits)? {
                if let BodyEvent::Trailers(fields) = &mut event {
                    join_lines(fields, Of::ResponseTrailers);
                }
                return Poll::Ready(Ok(event));
            }
            match ready!(wire.poll_fill(cx)) {
                Ok(0) => {
                    if self.body.closed().is_err() {
                        return Poll::Ready(Err(ExchangeError::Closed { begun: true }));
                    }
                    self.closed = true;
                }
                Ok(_) => {}
                Err(source) => return Poll::Ready(Err(ExchangeError::Io { begun: true, source })),
            }
        }
    }

    /// Bytes of fields that were queued and read since this was asked last; of trailers that were read only the router knows
    /// whether anybody takes them.
    pub fn take_fields(&mut self) -> WireBytes {
        std::mem::take(&mut self.fields)
    }

    /// Whether all of the response was read.
    pub fn response_done(&self) -> bool {
        self.head_done && self.body.is_done()
    }

    /// Whether both messages have ended.
    pub fn is_done(&self) -> bool {
        self.request_done && self.response_done()
    }

    /// The exchange is over: its connection may carry another, or is closed.
    pub fn give_back(self, lease: Lease, now: Instant) {
        if self.reusable(&lease.wire) {
            lease.release(now);
        } else if self.is_done() {
            lease.retire(self.closed);
        }
    }

    /// Whether the connection may carry another request: both messages ended cleanly and nothing is left over. Bytes
    /// behind the response were not asked for; trusting them would hand them to somebody else.
    pub fn reusable(&self, wire: &Wire) -> bool {
        self.keep_alive && self.is_done() && wire.input.is_empty() && wire.queued() == 0
    }
}

/// Methods whose requests have no body unless they say so; for others a length of 0 is written.
fn has_no_body(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT")
}
