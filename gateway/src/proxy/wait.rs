//! Waiting for clients, and parting from them: what both versions of HTTP have in common.

use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::alarm::{Alarm, due, earlier};
use super::connection::ConnectionContext;
use super::error::Cause;
use crate::snapshot::connection_manager::Timeouts;
use crate::telemetry::metrics::names::http;
use crate::upstream::Wire;

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
pub(super) const LAST_WRITE: Duration = Duration::from_secs(1);

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

/// Writes what is left of a connection that is dropped next, until `deadline` at the latest.
pub(super) async fn finish(wire: &mut Wire, alarm: &mut Alarm, deadline: Option<Instant>) {
    std::future::poll_fn(|cx| match wire.poll_finish(cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => alarm.poll(cx, deadline),
    })
    .await;
}

/// Closes so that the client can still read the answer: our end first, then what it still sends is thrown away for a
/// while (RFC 9112 section 9.6).
pub(super) async fn linger(cx: &ConnectionContext, wire: &mut Wire, alarm: &mut Alarm, limit: Option<Duration>) {
    let deadline = due(Instant::now(), limit.or(Some(LAST_WRITE)));
    let closed = std::future::poll_fn(|cx| match wire.poll_close(cx) {
        Poll::Ready(closed) => Poll::Ready(closed.is_ok()),
        Poll::Pending => alarm.poll(cx, deadline).map(|()| false),
    });
    if !closed.await || limit.is_none() {
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
