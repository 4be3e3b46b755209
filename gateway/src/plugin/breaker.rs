//! How fast a failing guest is started again.
//!
//! A guest that fails now and then is replaced at once: a bucket of starts refills steadily. When the bucket is empty the
//! guest is in a crash loop: no start for a while, doubled each time it happens again, reset after a quiet time. It
//! always ends by itself.

use std::time::{Duration, Instant};

use super::config::RestartBackoff;

/// Starts in a row without waiting.
const BURST: f64 = 20.0;
/// Starts that come back each second.
const REFILL_PER_SECOND: f64 = 10.0;

/// A start that takes so long counts as one more, up to `MOST_FOR_A_START`: a worker that waits for its turn on a busy
/// machine must not count as a crash loop.
const SLOW_START: Duration = Duration::from_millis(50);
/// Most starts that a slow one counts as.
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
        if self.starts >= 1.0 {
            self.starts -= 1.0;
            return Permit::Yes;
        }
        Permit::OpensFor(self.open(now))
    }

    /// A start took that long: while it does, the worker serves nobody.
    pub(super) fn charge(&mut self, took: Duration) {
        self.starts -= (took.as_secs_f64() / SLOW_START.as_secs_f64()).min(MOST_FOR_A_START - 1.0);
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
        }
        let second = Duration::from_secs(1);
        assert_eq!(breaker.permit(start), Permit::OpensFor(second));
        assert_eq!(breaker.permit(start + second / 2), Permit::No);
        let again = start + second;
        assert_eq!(breaker.permit(again), Permit::Yes);
        assert_eq!(breaker.permit(again), Permit::OpensFor(2 * second));
        assert_eq!(breaker.permit(again + 2 * second), Permit::Yes);
        // A quiet time later all is as at the beginning.
        let later = again + 10 * second;
        assert_eq!(breaker.permit(later), Permit::Yes);
        assert_eq!(breaker.start_failed(later), second);
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
