//! `envoy.filters.network.connection_limit`: how many connections a filter chain has at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::network::{Arrival, NetworkAction, NetworkFilter};
use crate::telemetry::metrics::Scope;
use crate::telemetry::metrics::names::{ConnectionLimit as Metrics, connection_limit as metric};

/// The limit of one filter chain, for all workers together.
#[derive(Debug)]
pub struct ConnectionLimit {
    max: u64,
    /// How long one too many is left waiting before it is closed, so that its client does not come back at once.
    delay: Duration,
    active: AtomicU64,
    metrics: Scope<Metrics>,
}

impl ConnectionLimit {
    /// `max` connections (`max_connections`); one more is closed after `delay`.
    pub fn new(max: u64, delay: Duration, metrics: Scope<Metrics>) -> Self {
        Self { max, delay, active: AtomicU64::new(0), metrics }
    }

    fn enter(&self) -> bool {
        self.active.fetch_update(Relaxed, Relaxed, |active| (active < self.max).then(|| active + 1)).is_ok()
    }
}

/// The filter on one connection.
pub struct ConnectionLimitFilter {
    limit: Arc<ConnectionLimit>,
    worker: usize,
    /// It takes one of the places.
    counted: bool,
}

impl ConnectionLimitFilter {
    /// `worker` is this thread's number in metrics.
    pub fn new(limit: Arc<ConnectionLimit>, worker: usize) -> Self {
        Self { limit, worker, counted: false }
    }
}

impl NetworkFilter for ConnectionLimitFilter {
    fn on_new_connection(&mut self, _arrival: &Arrival<'_>) -> NetworkAction {
        let metrics = self.limit.metrics.chunk(self.worker);
        // As in Envoy the gauge has those, too, that are one too many, until they are closed.
        metrics.up(metric::ACTIVE_CONNECTIONS);
        self.counted = self.limit.enter();
        if self.counted {
            return NetworkAction::Continue;
        }
        metrics.inc(metric::LIMITED_CONNECTIONS);
        NetworkAction::Close(self.limit.delay)
    }

    fn on_close(&mut self) {
        self.limit.metrics.chunk(self.worker).down(metric::ACTIVE_CONNECTIONS);
        if self.counted {
            self.limit.active.fetch_sub(1, Relaxed);
        }
    }
}
