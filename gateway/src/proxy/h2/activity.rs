//! What the streams of an HTTP/2 connection tell the connection: whether it idles, and whether its client resets too many.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::budget::{Budget, HeldBack};

/// After so many streams that were reset early the connection ends, if they are most of its streams (rapid reset; Envoy:
/// `overload.premature_reset_total_stream_count`).
const PREMATURE_RESETS: u32 = 500;
/// A stream that its client resets sooner was reset early (Envoy: `overload.premature_reset_min_stream_lifetime_seconds`).
const PREMATURE: Duration = Duration::from_secs(1);

/// The streams of a connection.
pub(super) struct Activity {
    /// How many there are now.
    pub(super) streams: Cell<usize>,
    /// When the last one ended.
    pub(super) idle_since: Cell<Instant>,
    /// The client resets streams for no good.
    pub(super) too_many_resets: Cell<bool>,
    budget: Rc<Budget>,
    ended: Cell<u32>,
    reset_early: Cell<u32>,
    connection: RefCell<Option<Waker>>,
}

impl Activity {
    /// Without streams yet; so many bytes may wait for the client.
    pub(super) fn new(buffer_limit: usize) -> Self {
        Self {
            streams: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            too_many_resets: Cell::new(false),
            budget: Budget::new(buffer_limit),
            ended: Cell::new(0),
            reset_early: Cell::new(0),
            connection: RefCell::new(None),
        }
    }

    /// Wakes the connection's task when it may idle from now on, or has to end.
    pub(super) fn watch(&self, task: &Context<'_>) {
        let mut waker = self.connection.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(task.waker()),
            None => *waker = Some(task.waker().clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.connection.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// A stream in the count of its connection.
pub(super) struct Running {
    activity: Rc<Activity>,
    began: Instant,
    /// The client has reset it.
    pub(super) was_reset: bool,
}

impl Running {
    pub(super) fn new(activity: &Rc<Activity>) -> Self {
        activity.streams.set(activity.streams.get() + 1);
        Self { activity: Rc::clone(activity), began: Instant::now(), was_reset: false }
    }

    /// The place for what is held back of this stream.
    pub(super) fn held_back(&self) -> HeldBack {
        HeldBack::new(Rc::clone(&self.activity.budget))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (activity, now) = (&self.activity, Instant::now());
        activity.streams.set(activity.streams.get().saturating_sub(1));
        activity.idle_since.set(now);
        activity.ended.set(activity.ended.get().saturating_add(1));
        if self.was_reset && now.saturating_duration_since(self.began) < PREMATURE {
            let early = activity.reset_early.get().saturating_add(1);
            activity.reset_early.set(early);
            activity.too_many_resets.set(early >= PREMATURE_RESETS && early > activity.ended.get() / 2);
        }
        if activity.streams.get() == 0 || activity.too_many_resets.get() {
            activity.wake();
        }
    }
}
