//! Circuit breakers: how much of a cluster may be in use at once. Counts are per process, as in Envoy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::runtime::ClusterRuntime;

/// A route's priority; each has its own breakers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RoutingPriority {
    /// `DEFAULT`
    #[default]
    Default,
    /// `HIGH`
    High,
}

impl RoutingPriority {
    /// Both, in Envoy's order.
    pub const ALL: [Self; 2] = [Self::Default, Self::High];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::High => "high",
        }
    }
}

/// Limits of one routing priority (`CircuitBreakers.Thresholds`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Connections to all endpoints together. Each pool may always have one.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending: u32,
    /// Requests on their way.
    pub max_requests: u32,
    /// Retries on their way, unless there is a budget.
    pub max_retries: u32,
    /// Retries as a share of requests.
    pub retry_budget: Option<RetryBudget>,
    /// Report what is left of each limit.
    pub track_remaining: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            track_remaining: false,
        }
    }
}

/// Retries as a share of what is on its way (`Thresholds.RetryBudget`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Percent of active and pending requests.
    pub percent: f64,
    /// So many are always allowed.
    pub min_concurrency: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20.0, min_concurrency: 3 }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerKind {
    /// Connections.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests on their way.
    Requests,
    /// Retries on their way.
    Retries,
}

impl BreakerKind {
    /// All, in the order of their metrics.
    pub const ALL: [Self; 4] = [Self::Connections, Self::Pending, Self::Requests, Self::Retries];
}

/// What is in use under one routing priority.
#[derive(Debug, Default)]
pub(super) struct Counts {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Counts {
    pub(super) fn used(&self, kind: BreakerKind) -> u32 {
        self.counter(kind).load(Relaxed)
    }

    /// Counts one more, if the limit allows it or `always` says so.
    pub(super) fn take(&self, kind: BreakerKind, limit: u32, always: bool) -> bool {
        let counter = self.counter(kind);
        if counter.fetch_add(1, Relaxed) < limit || always {
            return true;
        }
        counter.fetch_sub(1, Relaxed);
        false
    }

    pub(super) fn give_back(&self, kind: BreakerKind) {
        self.counter(kind).fetch_sub(1, Relaxed);
    }

    /// The limit as it stands now: that of retries may follow the number of requests.
    pub(super) fn limit(&self, kind: BreakerKind, thresholds: &Thresholds) -> u32 {
        match kind {
            BreakerKind::Connections => thresholds.max_connections,
            BreakerKind::Pending => thresholds.max_pending,
            BreakerKind::Requests => thresholds.max_requests,
            BreakerKind::Retries => match thresholds.retry_budget {
                None => thresholds.max_retries,
                Some(budget) => {
                    let active =
                        f64::from(self.used(BreakerKind::Requests)) + f64::from(self.used(BreakerKind::Pending));
                    // A share of a u32 count: the cast cannot overflow, and saturates anyway.
                    ((active * budget.percent / 100.0) as u32).max(budget.min_concurrency)
                }
            },
        }
    }

    fn counter(&self, kind: BreakerKind) -> &AtomicU32 {
        match kind {
            BreakerKind::Connections => &self.connections,
            BreakerKind::Pending => &self.pending,
            BreakerKind::Requests => &self.requests,
            BreakerKind::Retries => &self.retries,
        }
    }
}

/// One unit of a breaker, given back on drop.
#[derive(Debug)]
pub struct Permit {
    runtime: Arc<ClusterRuntime>,
    priority: RoutingPriority,
    kind: BreakerKind,
}

impl Permit {
    pub(super) fn new(runtime: Arc<ClusterRuntime>, priority: RoutingPriority, kind: BreakerKind) -> Self {
        Self { runtime, priority, kind }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.runtime.counts(self.priority).give_back(self.kind);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_limit_holds_and_is_given_back() {
        let counts = Counts::default();
        assert!(counts.take(BreakerKind::Requests, 2, false));
        assert!(counts.take(BreakerKind::Requests, 2, false));
        assert!(!counts.take(BreakerKind::Requests, 2, false));
        assert_eq!(counts.used(BreakerKind::Requests), 2);
        assert!(counts.take(BreakerKind::Requests, 2, true), "the first connection of a pool is always allowed");
        counts.give_back(BreakerKind::Requests);
        counts.give_back(BreakerKind::Requests);
        assert!(counts.take(BreakerKind::Requests, 2, false));
        assert!(!counts.take(BreakerKind::Pending, 0, false));
    }

    #[test]
    fn a_retry_budget_follows_the_requests() {
        let budget = Some(RetryBudget { percent: 25.0, min_concurrency: 3 });
        let thresholds = Thresholds { retry_budget: budget, max_retries: 100, ..Thresholds::default() };
        let counts = Counts::default();
        assert_eq!(counts.limit(BreakerKind::Retries, &thresholds), 3);
        for _ in 0..40 {
            counts.take(BreakerKind::Requests, 1024, false);
        }
        for _ in 0..4 {
            counts.take(BreakerKind::Pending, 1024, false);
        }
        assert_eq!(counts.limit(BreakerKind::Retries, &thresholds), 11);
        assert_eq!(counts.limit(BreakerKind::Retries, &Thresholds::default()), 3);
    }
}
