//! An HTTP/1 connection of a client: its requests one after the other.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::alarm::{Alarm, due, earlier};
use super::connection::ConnectionContext;
use super::connection::Serving;
use super::downstream::{Downstream, DownstreamError};
use super::error::Cause;
use super::prepare::valid_authority;
use super::request::{self, Incoming};
use crate::http::h1::{
    BodyDecoder, BodyEvent, CHUNK_END, Framing, HeadError, HeadLimits, LAST_CHUNK, RequestOptions, RequestStart,
    chunk_head, parse_request, response_head, trailers,
};
use crate::http::{HeaderMap, ResponseHead, Version};
use crate::snapshot::connection_manager::{ConnectionManager, Timeouts};
use crate::telemetry::metrics::names::http;
use crate::upstream::Wire;

/// Bytes of a following request that are read while one is served; more stay in the kernel.
const READ_AHEAD: usize = 16 * 1024;

/// Serves a connection to its end.
pub(super) async fn serve(cx: Rc<ConnectionContext>, mut wire: Wire) {
    let mut alarm = Alarm::default();
    let mut served = 0u32;
    loop {
        let serving = cx.serving();
        let timeouts = serving.manager().timeouts;
        let life = due(cx.info.accepted, timeouts.connection);
        if wire.input.is_empty() {
            wire.release_buffers();
            drop(serving);
            let idle = earlier(due(Instant::now(), timeouts.idle), life);
            match wait_for_bytes(&cx, &mut wire, &mut alarm, idle).await {
                Waited::Came => {}
                Waited::Gone => {
                    cx.client_left(false);
                    break;
                }
                Waited::Over => {
                    count_end(&cx, life);
                    break;
                }
            }
        }
        let serving = cx.serving();
        let manager = serving.manager();
        let start = match read_head(&mut wire, manager, cx.info.tls.is_some(), &mut alarm).await {
            Ok(Some(start)) => *start,
            Ok(None) => {
                cx.client_left(!wire.input.is_empty());
                break;
            }
            Err(cause) => {
                let (head, body) = request::answer_malformed(&cx, &serving, Version::Http11, &cause);
                response_head(&head, Version::Http11, Framing::AsHead, true, wire.tail());
                wire.push(body);
                linger(&cx, &mut wire, &mut alarm, manager.timeouts.delayed_close).await;
                break;
            }
        };
        served += 1;
        let (full, old) = (manager.max_requests > 0 && served >= manager.max_requests, is_over(life));
        let last = !start.keep_alive || full || old;
        for (ends, why) in
            [(full, http::DOWNSTREAM_CX_MAX_REQUESTS_REACHED), (old, http::DOWNSTREAM_CX_MAX_DURATION_REACHED)]
        {
            if ends {
                cx.count(why);
            }
        }
        if !Box::pin(serve_one(&cx, serving, &mut wire, &mut alarm, start, last)).await {
            break;
        }
    }
    let limit = cx.serving().manager().timeouts.delayed_close;
    close(&mut wire, &mut alarm, due(Instant::now(), limit.or(Some(LAST_WRITE)))).await;
}

/// Counts why a connection ends that waited for a request.
pub(super) fn count_end(cx: &ConnectionContext, life: Option<Instant>) {
    cx.count(if cx.worker.draining() {
        http::DOWNSTREAM_CX_DRAIN_CLOSE
    } else if is_over(life) {
        http::DOWNSTREAM_CX_MAX_DURATION_REACHED
    } else {
        http::DOWNSTREAM_CX_IDLE_TIMEOUT
    });
}

pub(super) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|at| Instant::now() >= at)
}

/// How long an idle connection waits for one more request when draining begins: it may be on its way already, and closing
/// under it would lose it.
pub(super) const LAST_CALL: Duration = Duration::from_millis(500);

/// How long a client has to take the last bytes of its connection, where no `delayed_close_timeout` says it.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What came of waiting for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// Bytes, which are in the buffer.
    Came,
    /// The client closed the connection.
    Gone,
    /// Nothing: the connection has idled, or lived, for too long, or draining has begun.
    Over,
}

/// Waits, without a buffer, until the client has sent something.
pub(super) async fn wait_for_bytes(
    cx: &ConnectionContext,
    wire: &mut Wire,
    alarm: &mut Alarm,
    idle: Option<Instant>,
) -> Waited {
    let drain = cx.worker.drain_begins();
    tokio::pin!(drain);
    let last_call = || due(Instant::now(), Some(LAST_CALL));
    let mut draining = cx.worker.draining();
    let mut until = if draining { earlier(idle, last_call()) } else { idle };
    std::future::poll_fn(|task| {
        // The system may say that there is something where nothing is, or not a whole TLS record: only bytes count.
        while let Poll::Ready(readable) = wire.io().poll_readable(task) {
            match readable.map(|()| wire.poll_fill(task)) {
                Ok(Poll::Ready(Ok(1..))) => return Poll::Ready(Waited::Came),
                Ok(Poll::Ready(_)) | Err(_) => return Poll::Ready(Waited::Gone),
                Ok(Poll::Pending) => wire.release_buffers(),
            }
        }
        if !draining && drain.as_mut().poll(task).is_ready() {
            draining = true;
            until = earlier(until, last_call());
        }
        alarm.poll(task, until).map(|()| Waited::Over)
    })
    .await
}

/// Serves one request; whether the connection may carry another.
async fn serve_one(
    cx: &Rc<ConnectionContext>,
    serving: Rc<Serving>,
    wire: &mut Wire,
    alarm: &mut Alarm,
    start: RequestStart,
    last: bool,
) -> bool {
    let manager = serving.manager();
    let delayed_close = manager.timeouts.delayed_close;
    let mut stream = Http1Stream {
        decoder: start.body,
        limits: manager.limits,
        pass_trailers: manager.http1.trailers,
        version: start.head.version,
        head_request: start.head.is_head(),
        chunked: false,
        close: last,
        ended: false,
        cut: false,
        wire,
        cx: Rc::clone(cx),
    };
    let end = stream.decoder.is_done();
    let asked_to_close = !start.keep_alive;
    let mut head = start.head;
    if start.expect_continue && !manager.proxy_100_continue {
        head.headers.remove("expect");
        // To Envoy's codec a host that is none is no request.
        if valid_authority(&head.authority) {
            stream.informational(&ResponseHead::new(100));
        }
    }
    let incoming =
        Incoming { head, end, header_bytes: start.consumed as u64, has_host: start.has_host, upgrade: start.upgrade };
    let mut down = Downstream::Http1(stream);
    request::serve(cx, serving, &mut down, alarm, incoming).await;
    let Downstream::Http1(stream) = down else { return false };
    if !stream.ended || stream.cut {
        return false;
    }
    if asked_to_close && stream.decoder.is_done() {
        // It sends no more, so nothing can make the answer unreadable.
        return false;
    }
    if stream.close || !stream.decoder.is_done() {
        linger(cx, stream.wire, alarm, delayed_close).await;
        return false;
    }
    true
}

/// Reads until a head is complete; none if the client left before it had sent all of it.
async fn read_head(
    wire: &mut Wire,
    manager: &ConnectionManager,
    tls: bool,
    alarm: &mut Alarm,
) -> Result<Option<Box<RequestStart>>, Cause> {
    let options = RequestOptions { limits: manager.limits, refuse_https: !tls && manager.trust.is_front() };
    let mut clock = None;
    let mut seen = 0;
    loop {
        if head_may_be_complete(&wire.input, seen)
            && let Some(start) = parse_request(&wire.input, &options).map_err(Cause::Malformed)?
        {
            if start.head.version == Version::Http10 && !manager.http1.accept_http_10 {
                return Err(Cause::LowVersion);
            }
            wire.input.advance(start.consumed);
            return Ok(Some(Box::new(start)));
        }
        if wire.input.len() >= manager.limits.bytes {
            return Err(Cause::Malformed(HeadError::TOO_LARGE));
        }
        seen = wire.input.len();
        // The first byte starts the clock: a head that comes in one piece never looks at it.
        let limits = &manager.timeouts;
        let (deadline, cause) = clock.get_or_insert_with(|| head_due(Instant::now(), limits));
        let filled = std::future::poll_fn(|cx| {
            if let Poll::Ready(filled) = wire.poll_fill(cx) {
                return Poll::Ready(Ok(filled));
            }
            alarm.poll(cx, *deadline).map(Err)
        });
        match filled.await {
            Ok(Ok(0) | Err(_)) => return Ok(None),
            Ok(Ok(_)) => {}
            Err(()) => return Err(cause.clone()),
        }
    }
}

/// When a head that began at `since` must be complete, and what it is otherwise.
pub(super) fn head_due(since: Instant, limits: &Timeouts) -> (Option<Instant>, Cause) {
    let all = [
        (due(since, limits.request_headers), Cause::HeadTimeout),
        (due(since, limits.request), Cause::RequestTimeout),
        (due(since, limits.stream_idle), Cause::IdleTimeout(false)),
    ];
    let first = all.into_iter().filter(|(at, _)| at.is_some()).min_by_key(|(at, _)| *at);
    first.unwrap_or((None, Cause::HeadTimeout))
}

/// Whether parsing is worth while: always at first (garbage is told early), then only when an empty line has come. A
/// client that sends its head byte by byte must not have it parsed for each of them.
fn head_may_be_complete(input: &[u8], seen: usize) -> bool {
    if input.is_empty() {
        return false;
    }
    seen == 0 || memchr::memmem::find(&input[seen.saturating_sub(3)..], b"\n\r\n").is_some() || {
        memchr::memmem::find(&input[seen.saturating_sub(1)..], b"\n\n").is_some()
    }
}

/// Writes what is left and closes our end, until `deadline` at the latest; whether all of it went.
async fn close(wire: &mut Wire, alarm: &mut Alarm, deadline: Option<Instant>) -> bool {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(closed) = wire.poll_close(cx) {
            return Poll::Ready(closed.is_ok());
        }
        alarm.poll(cx, deadline).map(|()| false)
    })
    .await
}

/// Closes so that the client can still read the answer: our end first, then what it still sends is thrown away for a
/// while (RFC 9112 section 9.6).
async fn linger(cx: &ConnectionContext, wire: &mut Wire, alarm: &mut Alarm, limit: Option<Duration>) {
    let deadline = due(Instant::now(), limit.or(Some(LAST_WRITE)));
    if !close(wire, alarm, deadline).await || limit.is_none() {
        return;
    }
    let left = std::future::poll_fn(|task| {
        loop {
            if alarm.poll(task, deadline).is_ready() {
                return Poll::Ready(false);
            }
            wire.input.clear();
            match ready!(wire.poll_fill(task)) {
                Ok(0) | Err(_) => return Poll::Ready(true),
                Ok(_) => {}
            }
        }
    });
    if left.await {
        cx.client_left(false);
    } else {
        cx.count(http::DOWNSTREAM_CX_DELAYED_CLOSE_TIMEOUT);
    }
}

/// The client's side of one request on an HTTP/1 connection.
pub(crate) struct Http1Stream<'a> {
    cx: Rc<ConnectionContext>,
    wire: &'a mut Wire,
    decoder: BodyDecoder,
    limits: HeadLimits,
    pass_trailers: bool,
    version: Version,
    head_request: bool,
    /// The response's body is chunked.
    chunked: bool,
    /// The connection ends with this response.
    close: bool,
    /// The response is complete.
    ended: bool,
    /// The response was cut off.
    cut: bool,
}

impl Http1Stream<'_> {
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, DownstreamError>> {
        loop {
            match self.decoder.decode(&mut self.wire.input, self.limits) {
                Ok(Some(BodyEvent::Trailers(_))) if !self.pass_trailers => return Poll::Ready(Ok(BodyEvent::End)),
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(DownstreamError::Malformed(error))),
            }
            match ready!(self.wire.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) => return Poll::Ready(Err(self.left(DownstreamError::Gone))),
                Err(error) => return Poll::Ready(Err(self.left(DownstreamError::Io(error)))),
            }
        }
    }

    /// Reads ahead a little, so that the end of the connection is seen while a request is served.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<DownstreamError> {
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

    pub(super) fn informational(&mut self, head: &ResponseHead) {
        if self.version == Version::Http11 {
            response_head(head, self.version, Framing::AsHead, false, self.wire.tail());
        }
    }

    pub(super) fn head(&mut self, head: &ResponseHead, end: bool) {
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
        response_head(head, self.version, framing, self.close, self.wire.tail());
    }

    pub(super) fn data(&mut self, piece: Bytes, end: bool) {
        if self.head_request {
            self.ended |= end;
            return;
        }
        if !self.chunked {
            self.wire.push(piece);
        } else if !piece.is_empty() {
            chunk_head(piece.len(), self.wire.tail());
            self.wire.push(piece);
            self.wire.push_static(CHUNK_END);
        }
        if end {
            self.end(None);
        }
    }

    pub(super) fn trailers(&mut self, fields: &HeaderMap) {
        self.end(self.pass_trailers.then_some(fields));
    }

    fn end(&mut self, fields: Option<&HeaderMap>) {
        self.ended = true;
        if self.chunked {
            match fields {
                Some(fields) => trailers(fields, self.wire.tail()),
                None => self.wire.push_static(LAST_CHUNK),
            }
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.wire.queued()
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownstreamError>> {
        self.wire.poll_flush(cx).map_err(|error| self.left(DownstreamError::Io(error)))
    }

    #[cold]
    fn left(&self, error: DownstreamError) -> DownstreamError {
        self.cx.client_left(true);
        error
    }

    pub(super) fn reset(&mut self) {
        self.cut = true;
    }

    pub(super) fn close_after(&mut self) {
        self.close = true;
    }
}
