//! An HTTP/2 connection of a client: its streams side by side, each a task of its own on the same thread.

mod activity;
mod budget;
mod heads;
mod prefixed;
mod request;
mod stream;
mod toll;

use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;

use super::alarm::{Alarm, due, earlier};
use super::connection::ConnectionContext;
use super::error::Cause;
use super::request::Malformed;
use super::wait::{LAST_CALL, Waited, count_end, head_due, is_over, wait_for_bytes};
use crate::http::Version;
use crate::snapshot::connection_manager::ConnectionManager;
use crate::telemetry::metrics::names::{http as metric, weir};
use crate::upstream::Wire;
use activity::{Activity, Running};
use budget::Charged;
use heads::Heads;
use prefixed::Prefixed;
pub(crate) use stream::Http2Stream;

/// What a client that speaks HTTP/2 without ALPN sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams that a client may reset before they were looked at; beyond it the connection ends (rapid reset).
const RESETS_PENDING: usize = 200;
/// Streams that a client's own errors may reset; beyond it the connection ends.
const RESETS_BY_ERROR: usize = 1024;
/// Streams that h2 may keep of a connection beyond those that may be open at once: a few are kept for a while after their
/// end, and those that their client has reset as long as they wait in a queue for a socket or a window that has no room.
const STREAMS_KEPT: usize = 1000;
/// What small frames of uploads may cost beside their bytes until their streams have taken them; h2 counts each as 256
/// bytes. More than can come in one turn (`prefixed`): no client is cut off for them.
const SMALL_FRAMES: usize = 4 << 20;
/// Bytes of responses that may wait in one stream; those of all together are bounded by `budget`.
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
            Waited::Gone => {
                cx.client_left(false);
                return None;
            }
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
    let heads = Heads::new();
    let (head_since, is_flooded) = (heads.open_since(), heads.is_flooded());
    let opened = {
        let idle = earlier(due(Instant::now(), timeouts.idle), life);
        let stream = Prefixed::new(read, io, heads, Rc::clone(&cx));
        let handshake = settings(cx.serving().manager()).handshake::<_, Charged>(stream);
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
    let active = Rc::new(Activity::new(cx.serving().manager().buffer_limit));
    let most_kept = connection.max_concurrent_recv_streams().saturating_add(STREAMS_KEPT);
    // Once it is said that the connection ends: until when its client may still begin streams, or see what was said.
    let mut closing = None;
    let close_by = || due(Instant::now(), Some(timeouts.drain.unwrap_or_default()));
    if cx.worker.draining() {
        connection.graceful_shutdown();
        closing = close_by();
    }
    let (mut served, mut is_cut) = (0u32, false);
    loop {
        let next = std::future::poll_fn(|task| {
            if let Poll::Ready(accepted) = connection.poll_accept(task) {
                return Poll::Ready(Next::Stream(accepted));
            }
            active.watch(task);
            if is_flooded.take() && closing.is_none() {
                return Poll::Ready(Next::Flooded);
            }
            if active.too_many_resets.get() {
                return Poll::Ready(Next::Cut);
            }
            let idles = active.streams.get() == 0;
            if closing.is_some() {
                let until = if idles { closing } else { None };
                return alarm.poll(task, until).map(|()| Next::Cut);
            }
            let head = head_since.get().map(|since| head_due(since, &timeouts));
            if let Some((at, cause)) = head
                && alarm.poll(task, at).is_ready()
            {
                return Poll::Ready(Next::Overdue(cause));
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
            // Nothing else can come until the head is whole, and the stream that it begins cannot be answered before.
            Next::Overdue(cause) => {
                let serving = cx.serving();
                Malformed::new(&cx, &serving, Version::Http2, cause).log(&cx, &serving);
                connection.graceful_shutdown();
                closing = due(Instant::now(), Some(LAST_CALL));
            }
            // The client does not end it, although it has been told to.
            Next::Cut if closing.is_some() => return,
            Next::Cut => {
                if active.streams.get() > 0 {
                    cx.cut_in_request(false);
                }
                cx.count(metric::DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS);
                cx.worker.limits().inc(weir::H2_RESET_BUDGET_EXCEEDED);
                return;
            }
            Next::Flooded => {
                if active.streams.get() > 0 {
                    cx.cut_in_request(true);
                }
                is_cut = true;
                cx.count(metric::DOWNSTREAM_CX_PROTOCOL_ERROR);
                cx.worker.limits().inc(weir::H2_CONTROL_FRAMES_EXCEEDED);
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                closing = due(Instant::now(), Some(LAST_CALL));
            }
            // What was said of it is on its way.
            Next::Stream(None | Some(Err(_))) if is_cut => return,
            Next::Stream(None) => return cx.client_left(active.streams.get() > 0),
            Next::Stream(Some(Err(error))) => {
                if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                    cx.worker.limits().inc(weir::H2_RESET_BUDGET_EXCEEDED);
                }
                if error.is_io() {
                    cx.client_left(active.streams.get() > 0);
                } else {
                    if active.streams.get() > 0 {
                        cx.cut_in_request(true);
                    }
                    cx.count(metric::DOWNSTREAM_CX_PROTOCOL_ERROR);
                    cx.log.iter().for_each(|log| log.breaks_protocol());
                }
                tracing::debug!(connection = cx.info.id, "HTTP/2 connection ended: {error}");
                return;
            }
            // Only streams that were begun are kept, so this is the place to look.
            Next::Stream(Some(Ok(_))) if connection.num_wired_streams() > most_kept => {
                tracing::debug!(
                    connection = cx.info.id,
                    "HTTP/2 connection ended: too many streams are over that cannot go"
                );
                if active.streams.get() > 0 {
                    cx.cut_in_request(false);
                }
                cx.worker.limits().inc(weir::H2_KEPT_STREAMS_EXCEEDED);
                return;
            }
            Next::Stream(Some(Ok((request, respond)))) => {
                served += 1;
                tokio::task::spawn_local(request::serve(Rc::clone(&cx), Running::new(&active), request, respond));
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
        .data_frame_budget(SMALL_FRAMES)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// What a connection does next; held for a moment only, so its size costs nothing.
#[allow(clippy::large_enum_variant, clippy::type_complexity, reason = "as h2 gives it")]
enum Next {
    Stream(Option<Result<(Request<RecvStream>, SendResponse<Charged>), h2::Error>>),
    Overdue(Cause),
    Close,
    Cut,
    Flooded,
}
