//! One timer for the many time-outs of a connection and its requests.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A timer that is moved only when it must ring earlier. Time-outs nearly never happen and nearly always move away, so
/// a deadline that moves later costs nothing: the timer rings at the old time, looks, and is set anew.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// Made at the first deadline: an idle connection without one holds none.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when `due` has come. `None` never comes.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        let due = tokio::time::Instant::from_std(due);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It has rung for an older deadline, or for this one.
            if tokio::time::Instant::now() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// The earlier of two deadlines.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A deadline `after` from `start`; never if there is no limit (or one beyond what the clock can say).
pub(crate) fn due(start: Instant, after: Option<Duration>) -> Option<Instant> {
    start.checked_add(after?)
}
