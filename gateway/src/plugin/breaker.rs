//! How fast a failing guest is started again.
//!
//! A guest that fails is replaced at once as long as that is cheap: a bucket of starts refills steadily, and a start takes
//! of it what it took of the worker's time. So a client that makes a quickly started guest trap as often as it can fails
//! its own requests only. When the bucket is empty, no start for a while, doubled each time it happens again, reset after
//! a quiet time. It always ends by itself.

use std::time::{Duration, Instant};

use super::config::RestartBackoff;

/// Starts in a row without waiting, each as long as [`FULL_START`].
const BURST: f64 = 20.0;
/// Starts that come back each second: half of a worker's time.
const REFILL_PER_SECOND: f64 = 10.0;
/// A start that takes so long counts as one.
const FULL_START: Duration = Duration::from_millis(50);
/// Least that a start counts as.
const LEAST_FOR_A_START: f64 = 0.01;
/// Most that a start counts as: a worker that waits for its turn on a busy machine must not count as a crash loop.
const MOST_FOR_A_START: f64 = 5.0;

/// One for each plugin and worker.
#[derive(Debug)]
pub(super) struct Breaker {
    backoff: RestartBackoff,
    starts: f64,
    refilled: Instant,
    open_until: Option<Instant>,
    next_wait: Duration,
}

/// Whether an instance may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    Yes,
    /// The breaker has opened just now.
    OpensFor(Duration),
    /// It is open.
    No,
}

impl Breaker {
    pub(super) fn new(backoff: RestartBackoff, now: Instant) -> Self {
        Self { backoff, starts: BURST, refilled: now, open_until: None, next_wait: backoff.base }
    }

    /// Asks for a start.
    pub(super) fn permit(&mut self, now: Instant) -> Permit {
        if self.open_until.is_some_and(|until| now < until) {
            return Permit::No;
        }
        self.open_until = None;
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.starts = (self.starts + elapsed * REFILL_PER_SECOND).min(BURST);
        if self.starts >= BURST {
            self.next_wait = self.backoff.base;
        }
        if self.starts > 0.0 {
            return Permit::Yes;
        }
        Permit::OpensFor(self.open(now))
    }

    /// A start took that long: while it does, the worker serves nobody.
    pub(super) fn charge(&mut self, took: Duration) {
        let share = took.as_secs_f64() / FULL_START.as_secs_f64();
        self.starts -= share.clamp(LEAST_FOR_A_START, MOST_FOR_A_START);
    }

    /// A start failed: the next one would too.
    pub(super) fn start_failed(&mut self, now: Instant) -> Duration {
        self.open(now)
    }

    fn open(&mut self, now: Instant) -> Duration {
        let wait = self.next_wait;
        self.open_until = Some(now + wait);
        self.next_wait = (wait * 2).min(self.backoff.max).max(self.backoff.base);
        // The time that it is open gives nothing back but one try.
        self.refilled = now + wait;
        self.starts = 1.0;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_in_a_crash_loop_and_closes_by_itself() {
        let start = Instant::now();
        let mut breaker = Breaker::new(RestartBackoff::default(), start);
        for _ in 0..20 {
            assert_eq!(breaker.permit(start), Permit::Yes);
            breaker.charge(FULL_START);
        }
        let second = Duration::from_secs(1);
        assert_eq!(breaker.permit(start), Permit::OpensFor(second));
        assert_eq!(breaker.permit(start + second / 2), Permit::No);
        let again = start + second;
        assert_eq!(breaker.permit(again), Permit::Yes);
        breaker.charge(FULL_START);
        assert_eq!(breaker.permit(again), Permit::OpensFor(2 * second));
        assert_eq!(breaker.permit(again + 2 * second), Permit::Yes);
        // A quiet time later all is as at the beginning.
        let later = again + 10 * second;
        assert_eq!(breaker.permit(later), Permit::Yes);
        assert_eq!(breaker.start_failed(later), second);
    }

    #[test]
    fn quick_starts_never_open_it() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(RestartBackoff::default(), now);
        for _ in 0..10_000 {
            assert_eq!(breaker.permit(now), Permit::Yes);
            breaker.charge(Duration::from_micros(300));
            now += Duration::from_millis(2);
        }
    }

    #[test]
    fn slow_starts_count_for_more() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RestartBackoff::default(), now);
        for _ in 0..4 {
            assert_eq!(breaker.permit(now), Permit::Yes);
            breaker.charge(Duration::from_secs(5));
        }
        assert_eq!(breaker.permit(now), Permit::OpensFor(Duration::from_secs(1)));
    }

    #[test]
    fn waits_are_bounded() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(RestartBackoff::default(), now);
        for _ in 0..10 {
            let wait = breaker.start_failed(now);
            assert!(wait <= Duration::from_secs(10));
            now += wait;
            assert_eq!(breaker.permit(now), Permit::Yes);
        }
    }
}
