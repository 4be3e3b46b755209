//! How long a try may take.

use std::time::{Duration, Instant};

use crate::proxy::alarm::{due, earlier};

/// Limits of each try, and when they are reached. Few routes have any.
#[derive(Debug)]
pub(super) struct TryLimits {
    /// From the end of the request to the head of the answer (`per_try_timeout`).
    whole: Option<Duration>,
    /// Of silence, from the end of the request to the end of the answer (`per_try_idle_timeout`).
    idle: Option<Duration>,
    /// Of the try from when it has a connection (the cluster's `max_stream_duration`).
    life: Option<Duration>,
    whole_at: Option<Instant>,
    idle_at: Option<Instant>,
    life_at: Option<Instant>,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TryLimit {
    Whole,
    Idle,
    Life,
}

impl TryLimits {
    /// `None` if there is no limit. Zero is none, too.
    pub(super) fn new(whole: Option<Duration>, idle: Option<Duration>, life: Option<Duration>) -> Option<Box<Self>> {
        let [whole, idle, life] = [whole, idle, life].map(|limit| limit.filter(|limit| !limit.is_zero()));
        let any = whole.or(idle).or(life).is_some();
        any.then(|| Box::new(Self { whole, idle, life, whole_at: None, idle_at: None, life_at: None }))
    }

    /// The try has a connection.
    pub(super) fn connected(&mut self, now: Instant) {
        self.life_at = due(now, self.life);
    }

    /// The try has a connection, and the request has come whole.
    pub(super) fn requested(&mut self, now: Instant) {
        self.whole_at = due(now, self.whole);
        self.idle_at = due(now, self.idle);
    }

    /// The head of the answer came.
    pub(super) fn answered(&mut self, now: Instant) {
        self.whole_at = None;
        self.moved(now);
    }

    /// A piece of the answer came.
    pub(super) fn moved(&mut self, now: Instant) {
        if self.idle_at.is_some() {
            self.idle_at = due(now, self.idle);
        }
    }

    /// The try is over.
    pub(super) fn stop(&mut self) {
        (self.whole_at, self.idle_at, self.life_at) = (None, None, None);
    }

    /// When the next limit is reached.
    pub(super) fn next(&self) -> Option<Instant> {
        earlier(earlier(self.whole_at, self.idle_at), self.life_at)
    }

    /// The limit that has been reached.
    pub(super) fn reached(&self, now: Instant) -> Option<TryLimit> {
        let limits = [(self.whole_at, TryLimit::Whole), (self.idle_at, TryLimit::Idle), (self.life_at, TryLimit::Life)];
        let reached = limits.into_iter().filter_map(|(at, limit)| Some((at.filter(|at| *at <= now)?, limit)));
        reached.min_by_key(|(at, _)| *at).map(|(_, limit)| limit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_limit_has_its_time() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert!(TryLimits::new(None, ms(0), None).is_none());
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut limits = TryLimits::new(ms(30), ms(20), ms(100)).unwrap();
        assert_eq!(limits.next(), None);
        limits.connected(start);
        limits.moved(start);
        assert_eq!(limits.next(), Some(after(100)));
        limits.requested(start);
        assert_eq!((limits.next(), limits.reached(after(19))), (Some(after(20)), None));
        assert_eq!(limits.reached(after(200)), Some(TryLimit::Idle), "the first of them");
        limits.answered(after(15));
        assert_eq!(limits.next(), Some(after(35)));
        limits.moved(after(90));
        assert_eq!(limits.reached(after(100)), Some(TryLimit::Life));
        limits.stop();
        assert_eq!(limits.next(), None);
    }
}
