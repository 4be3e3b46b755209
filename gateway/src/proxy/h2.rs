//! An HTTP/2 connection of a client: its streams side by side, each a task of its own on the same thread.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, Running};
use super::alarm::{Alarm, due, earlier};
use super::connection::ConnectionContext;
use super::downstream::{Downstream, DownstreamError};
use super::h1::{LAST_CALL, Waited, count_end, is_over, wait_for_bytes};
use super::request::{self, Incoming};
use crate::http::h1::{BodyError, BodyEvent};
use crate::http::{BodyBuf, HeaderMap, RequestHead, ResponseHead, Version};
use crate::snapshot::connection_manager::ConnectionManager;
use crate::telemetry::metrics::names::{http as metric, weir};
use crate::tls::Io;
use crate::upstream::Wire;

/// What a client that speaks HTTP/2 without ALPN sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams that a client may reset before they were looked at; beyond it the connection ends (rapid reset).
const RESETS_PENDING: usize = 20;
/// Streams that a client's own errors may reset; beyond it the connection ends.
const RESETS_BY_ERROR: usize = 1024;
/// Bytes of responses that may wait in one stream.
const SEND_BUFFER: usize = 256 * 1024;

/// Whether the connection begins with the preface of HTTP/2; `None` if it ended before that was known.
pub(super) async fn begins_with_preface(cx: &ConnectionContext, wire: &mut Wire) -> Option<bool> {
    let mut alarm = Alarm::default();
    let timeouts = cx.serving().manager().timeouts;
    let life = due(cx.info.accepted, timeouts.connection);
    let idle = earlier(due(Instant::now(), timeouts.idle), life);
    while wire.input.len() < PREFACE.len() {
        if !PREFACE.starts_with(&wire.input) {
            return Some(false);
        }
        let begun = !wire.input.is_empty();
        let limit = if begun { due(Instant::now(), timeouts.request_headers) } else { None };
        match wait_for_bytes(cx, wire, &mut alarm, earlier(idle, limit)).await {
            Waited::Came => {}
            Waited::Gone => return None,
            // Half a preface is half a request line as well: HTTP/1 has an answer to that.
            Waited::Over if begun && !is_over(idle) && !cx.worker.draining() => return Some(false),
            Waited::Over => {
                count_end(cx, life);
                return None;
            }
        }
    }
    Some(wire.input.starts_with(PREFACE))
}

/// Serves a connection to its end.
pub(super) async fn serve(cx: Rc<ConnectionContext>, wire: Wire) {
    let (io, read) = wire.into_parts();
    let timeouts = cx.serving().manager().timeouts;
    let mut alarm = Alarm::default();
    let drain = cx.worker.drain_begins();
    tokio::pin!(drain);
    let life = due(cx.info.accepted, timeouts.connection);
    let opened = {
        let idle = earlier(due(Instant::now(), timeouts.idle), life);
        let handshake = settings(cx.serving().manager()).handshake::<_, Bytes>(Prefixed { prefix: read, io });
        tokio::pin!(handshake);
        let until = if cx.worker.draining() { earlier(idle, due(Instant::now(), Some(LAST_CALL))) } else { idle };
        std::future::poll_fn(|task| match handshake.as_mut().poll(task) {
            Poll::Ready(opened) => Poll::Ready(Some(opened)),
            Poll::Pending if drain.as_mut().poll(task).is_ready() => Poll::Ready(None),
            Poll::Pending => alarm.poll(task, until).map(|()| None),
        })
        .await
    };
    let mut connection = match opened {
        Some(Ok(connection)) => connection,
        Some(Err(_)) => return cx.count(metric::DOWNSTREAM_CX_PROTOCOL_ERROR),
        None => return count_end(&cx, life),
    };
    let active = Rc::new(Activity::new());
    // Once it is said that the connection ends: until when its client may still begin streams, or see what was said.
    let mut closing = None;
    let close_by = || due(Instant::now(), Some(timeouts.drain.unwrap_or_default()));
    if cx.worker.draining() {
        connection.graceful_shutdown();
        closing = close_by();
    }
    let mut served = 0u32;
    loop {
        let next = std::future::poll_fn(|task| {
            if let Poll::Ready(accepted) = connection.poll_accept(task) {
                return Poll::Ready(Next::Stream(accepted));
            }
            active.watch(task);
            if active.too_many_resets.get() {
                return Poll::Ready(Next::Cut);
            }
            let idles = active.streams.get() == 0;
            if closing.is_some() {
                let until = if idles { closing } else { None };
                return alarm.poll(task, until).map(|()| Next::Cut);
            }
            let idle = if idles { due(active.idle_since.get(), timeouts.idle) } else { None };
            let ends = drain.as_mut().poll(task).is_ready() || alarm.poll(task, earlier(idle, life)).is_ready();
            if ends { Poll::Ready(Next::Close) } else { Poll::Pending }
        });
        match next.await {
            Next::Close => {
                count_end(&cx, life);
                connection.graceful_shutdown();
                closing = close_by();
            }
            // The client does not end it, although it has been told to.
            Next::Cut if closing.is_some() => return,
            Next::Cut => {
                cx.count(metric::DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS);
                cx.worker.limits().inc(weir::H2_RESET_BUDGET_EXCEEDED);
                return;
            }
            Next::Stream(None) => return,
            Next::Stream(Some(Err(error))) => {
                if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                    cx.worker.limits().inc(weir::H2_RESET_BUDGET_EXCEEDED);
                }
                if !error.is_io() {
                    cx.count(metric::DOWNSTREAM_CX_PROTOCOL_ERROR);
                }
                tracing::debug!(connection = cx.info.id, "HTTP/2 connection ended: {error}");
                return;
            }
            Next::Stream(Some(Ok((request, respond)))) => {
                served += 1;
                tokio::task::spawn_local(stream(Rc::clone(&cx), Running::new(&active), request, respond));
                let most = cx.serving().manager().max_requests;
                let (full, drains) = (most > 0 && served >= most, cx.drains());
                if closing.is_none() && (full || drains) {
                    cx.count(match full {
                        true => metric::DOWNSTREAM_CX_MAX_REQUESTS_REACHED,
                        false => metric::DOWNSTREAM_CX_DRAIN_CLOSE,
                    });
                    connection.graceful_shutdown();
                    closing = close_by();
                }
            }
        }
    }
}

fn settings(manager: &ConnectionManager) -> h2::server::Builder {
    let options = &manager.http2;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_concurrent_streams(options.max_streams)
        .max_header_list_size(manager.limits.bytes.try_into().unwrap_or(u32::MAX))
        .header_table_size(options.header_table)
        .max_pending_accept_reset_streams(RESETS_PENDING)
        .max_local_error_reset_streams(Some(RESETS_BY_ERROR))
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// What a connection does next; held for a moment only, so its size costs nothing.
#[allow(clippy::large_enum_variant, clippy::type_complexity, reason = "as h2 gives it")]
enum Next {
    Stream(Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>>),
    Close,
    Cut,
}

async fn stream(
    cx: Rc<ConnectionContext>,
    mut running: Running,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    // h2 compares one length with the body; two would reach an HTTP/1 endpoint that takes the other one. Two hosts
    // name nobody.
    let twice = |name: &str| request.headers().get_all(name).iter().nth(1).is_some();
    if twice("content-length") || twice("host") {
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return;
    }
    let serving = cx.serving();
    let manager = serving.manager();
    let limit = manager.limits.fields;
    if request.headers().len() > limit {
        cx.worker.limits().inc(weir::HEADER_LIMIT_EXCEEDED);
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return;
    }
    let (parts, body) = request.into_parts();
    let end = body.is_end_stream();
    let head_request = parts.method == http::Method::HEAD;
    let (mut head, header_bytes) = head_of(parts);
    let mut stream = Http2Stream {
        body,
        respond,
        send: None,
        pending: BodyBuf::new(),
        end: None,
        head_request,
        limit,
        reset: false,
    };
    if !manager.proxy_100_continue
        && head.headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    {
        head.headers.remove("expect");
        if !end {
            stream.informational(&ResponseHead::new(100));
        }
    }
    let has_host = !head.authority.is_empty();
    let incoming = Incoming { head, end, header_bytes, has_host, upgrade: false };
    let mut down = Downstream::Http2(stream);
    request::serve(&cx, serving, &mut down, &mut Alarm::default(), incoming).await;
    running.was_reset = matches!(down, Downstream::Http2(Http2Stream { reset: true, .. }));
}

/// h2 has checked what RFC 9113 section 8.3 asks of the head.
fn head_of(parts: http::request::Parts) -> (RequestHead, u64) {
    let mut headers = HeaderMap::with_capacity(parts.headers.len() + 8, 1024);
    let mut cookies: Vec<u8> = Vec::new();
    let mut host = None;
    for (name, value) in &parts.headers {
        match name.as_str() {
            // Crumbs are joined (RFC 9113 section 8.2.3).
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value.as_bytes());
            }
            "host" => host = host.or(Some(value.as_bytes())),
            name => headers.append(name, value.as_bytes()),
        }
    }
    if !cookies.is_empty() {
        headers.append("cookie", cookies);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes()).or(host).unwrap_or_default();
    let path = parts.uri.path_and_query().map(|path| path.as_str()).unwrap_or_default();
    let header_bytes = headers.byte_size() + authority.len() + path.len() + parts.method.as_str().len() + 37;
    let head = RequestHead {
        method: method_bytes(&parts.method),
        scheme: Bytes::from_static(if parts.uri.scheme_str() == Some("https") { b"https" } else { b"http" }),
        authority: Bytes::copy_from_slice(authority),
        path: Bytes::copy_from_slice(path.as_bytes()),
        version: Version::Http2,
        headers,
    };
    (head, header_bytes as u64)
}

fn method_bytes(method: &http::Method) -> Bytes {
    match *method {
        http::Method::GET => Bytes::from_static(b"GET"),
        http::Method::POST => Bytes::from_static(b"POST"),
        ref other => Bytes::copy_from_slice(other.as_str().as_bytes()),
    }
}

/// The client's side of one HTTP/2 stream.
pub(crate) struct Http2Stream {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    /// What flow control does not let through yet.
    pending: BodyBuf,
    /// What ends the response once `pending` has gone; none if it has gone, or is not known yet.
    end: Option<End>,
    head_request: bool,
    /// Most fields of the trailers.
    limit: usize,
    /// The client has reset it.
    reset: bool,
}

enum End {
    Data,
    Trailers(http::HeaderMap),
}

impl Http2Stream {
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, DownstreamError>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(piece)) => {
                // The driver asks only while there is room for more, so the window follows what was passed on.
                let _ = self.body.flow_control().release_capacity(piece.len());
                return Poll::Ready(Ok(BodyEvent::Data(piece)));
            }
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
                Poll::Ready(Ok(BodyEvent::Trailers(fields.collect())))
            }
            Err(error) => Poll::Ready(Err(self.failed(&error))),
        }
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamError> {
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

    pub(super) fn informational(&mut self, head: &ResponseHead) {
        if let Some(response) = response_of(head) {
            // A client that is gone will be seen at the next read.
            let _ = self.respond.send_informational(response);
        }
    }

    pub(super) fn head(&mut self, head: &ResponseHead, end: bool) -> Result<(), DownstreamError> {
        let Some(response) = response_of(head) else { return Err(DownstreamError::Reset) };
        let end = end || self.head_request;
        let send = self.respond.send_response(response, end).map_err(|error| failure(&error))?;
        self.send = Some(send);
        Ok(())
    }

    pub(super) fn data(&mut self, piece: Bytes, end: bool) -> Result<(), DownstreamError> {
        if self.head_request {
            return Ok(());
        }
        self.pending.push(piece);
        if end {
            self.end = Some(End::Data);
        }
        self.pump()
    }

    pub(super) fn trailers(&mut self, fields: &HeaderMap) -> Result<(), DownstreamError> {
        if self.head_request {
            return Ok(());
        }
        self.end = Some(End::Trailers(header_map(fields)));
        self.pump()
    }

    pub(super) fn queued(&self) -> usize {
        // An end that waits counts as a byte: the stream is not done before it has gone.
        self.pending.len() + usize::from(self.end.is_some())
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownstreamError>> {
        loop {
            self.pump()?;
            if self.queued() == 0 {
                return Poll::Ready(Ok(()));
            }
            let Some(send) = &mut self.send else { return Poll::Ready(Err(DownstreamError::Reset)) };
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
                None => return Poll::Ready(Err(DownstreamError::Reset)),
            }
        }
    }

    /// Sends what flow control allows now.
    fn pump(&mut self) -> Result<(), DownstreamError> {
        let Some(send) = &mut self.send else { return Ok(()) };
        while !self.pending.is_empty() {
            send.reserve_capacity(self.pending.len());
            let room = send.capacity();
            if room == 0 {
                return Ok(());
            }
            let Some(mut piece) = self.pending.pop() else { break };
            if piece.len() > room {
                self.pending.prepend(piece.split_off(room));
            }
            let last = self.pending.is_empty() && matches!(self.end, Some(End::Data));
            if last {
                self.end = None;
            }
            send.send_data(piece, last).map_err(|error| failure(&error))?;
        }
        match self.end.take() {
            None => Ok(()),
            Some(End::Data) => send.send_data(Bytes::new(), true).map_err(|error| failure(&error)),
            Some(End::Trailers(fields)) => send.send_trailers(fields).map_err(|error| failure(&error)),
        }
    }

    pub(super) fn reset(&mut self) {
        self.pending = BodyBuf::new();
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

/// A connection whose first bytes were read already.
struct Prefixed {
    prefix: BytesMut,
    io: Io,
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let take = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..take]);
        self.prefix.advance(take);
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
