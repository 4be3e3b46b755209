//! A cluster: its configuration, its endpoints, and what is in use of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::breaker::{BreakerKind, Counts, Permit, RoutingPriority};
use super::config::ClusterConfig;
use super::endpoint::{Assignment, EndpointSet, Health};
use crate::telemetry::metrics::names::{self, cluster as metric};
use crate::telemetry::metrics::{Gauge, Scope};

/// A cluster as one snapshot has it.
#[derive(Debug)]
pub struct Cluster {
    /// What the resource says.
    pub config: Arc<ClusterConfig>,
    /// Where its endpoints are.
    pub endpoints: Arc<EndpointSet>,
    /// What is in use; the same for all versions of the cluster that talk to endpoints in the same way.
    pub runtime: Arc<ClusterRuntime>,
}

impl Cluster {
    /// A cluster. Endpoints known to `previous` keep their state if it talked to them in the same way; without an
    /// assignment it takes over those that `previous` has.
    pub fn new(
        config: ClusterConfig,
        transport: u64,
        assignment: Option<Assignment>,
        metrics: Scope<names::Cluster>,
        previous: Option<&Self>,
    ) -> Self {
        let assignment = assignment.or_else(|| previous.map(|p| p.endpoints.assignment())).unwrap_or_default();
        let previous = previous.filter(|p| {
            p.runtime.transport == transport && p.config.name == config.name && p.runtime.metrics.same(&metrics)
        });
        let known = previous.map(|p| &*p.endpoints);
        let endpoints = Arc::new(EndpointSet::new(assignment, config.panic_threshold, known));
        let runtime = match previous {
            Some(previous) => Arc::clone(&previous.runtime),
            None => Arc::new(ClusterRuntime::new(transport, metrics)),
        };
        Self { config: Arc::new(config), endpoints, runtime }
    }

    /// The same cluster with other endpoints: those that stay keep their state.
    pub fn with_assignment(&self, assignment: Assignment) -> Self {
        let endpoints = EndpointSet::new(assignment, self.config.panic_threshold, Some(&self.endpoints));
        Self { config: Arc::clone(&self.config), endpoints: Arc::new(endpoints), runtime: Arc::clone(&self.runtime) }
    }

    /// What routes call it.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Asks a circuit breaker for one unit; `None` if it is open.
    pub fn permit(&self, kind: BreakerKind, priority: RoutingPriority) -> Option<Permit> {
        let counts = self.runtime.counts(priority);
        let limit = counts.limit(kind, self.config.thresholds(priority));
        counts.take(kind, limit, false).then(|| Permit::new(Arc::clone(&self.runtime), priority, kind))
    }

    /// Takes one unit without a guard: whoever does so calls [`ClusterRuntime::give_back`]. With `always` it is counted
    /// beyond the limit, too.
    pub fn take(&self, kind: BreakerKind, priority: RoutingPriority, always: bool) -> bool {
        self.runtime.take(&self.config, kind, priority, always)
    }

    /// Brings the gauges up to date that follow from what is here: endpoints and circuit breakers. For the admin
    /// interface, before it shows metrics, and for whoever has put a cluster into service.
    pub fn publish_gauges(&self) {
        let metrics = self.runtime.metrics();
        metrics.set(metric::MEMBERSHIP_TOTAL, self.endpoints.hosts().len() as u64);
        metrics.set(metric::MEMBERSHIP_HEALTHY, self.endpoints.count(Health::Healthy) as u64);
        metrics.set(metric::MEMBERSHIP_DEGRADED, self.endpoints.count(Health::Degraded) as u64);
        metrics.set(metric::MEMBERSHIP_EXCLUDED, self.endpoints.count(Health::Draining) as u64);
        // As Envoy, which knows it of endpoints that come by themselves.
        let heaviest = self.endpoints.hosts().iter().map(|host| host.weight).max();
        metrics
            .set(metric::MAX_HOST_WEIGHT, heaviest.filter(|_| self.config.eds_service.is_some()).unwrap_or(0).into());

        let all = || RoutingPriority::ALL.into_iter().flat_map(|p| BreakerKind::ALL.into_iter().map(move |k| (p, k)));
        let any_open = all().any(|(priority, kind)| self.is_open(kind, priority));
        let tracked = RoutingPriority::ALL.into_iter().any(|p| self.config.thresholds(p).track_remaining);
        if !any_open && !tracked && !self.runtime.breakers_shown.load(Relaxed) {
            return;
        }
        self.runtime.breakers_shown.store(true, Relaxed);
        for (priority, kind) in all() {
            let (open, remaining) = gauges_of(priority, kind);
            metrics.set(open, self.is_open(kind, priority).into());
            let thresholds = self.config.thresholds(priority);
            if thresholds.track_remaining {
                let counts = self.runtime.counts(priority);
                let left = counts.limit(kind, thresholds).saturating_sub(counts.used(kind));
                metrics.set(remaining, left.into());
            }
        }
    }

    /// Whether a circuit breaker lets nothing more through.
    pub fn is_open(&self, kind: BreakerKind, priority: RoutingPriority) -> bool {
        let counts = self.runtime.counts(priority);
        counts.used(kind) >= counts.limit(kind, self.config.thresholds(priority))
    }
}

/// What is in use of a cluster. Carried from snapshot to snapshot by the cluster's name and transport.
#[derive(Debug)]
pub struct ClusterRuntime {
    /// Unique in the process: the key of what workers keep for it.
    pub(super) id: u64,
    /// Hash of what decides how its endpoints are talked to.
    transport: u64,
    counts: [Counts; 2],
    metrics: Scope<names::Cluster>,
    /// Whether gauges of circuit breakers were set other than 0.
    breakers_shown: AtomicBool,
}

impl ClusterRuntime {
    fn new(transport: u64, metrics: Scope<names::Cluster>) -> Self {
        let breakers_shown = AtomicBool::new(false);
        Self { id: next_id(), transport, counts: Default::default(), metrics, breakers_shown }
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Scope<names::Cluster> {
        &self.metrics
    }

    /// How many units of a breaker are in use.
    #[cfg(test)]
    pub fn used(&self, kind: BreakerKind, priority: RoutingPriority) -> u32 {
        self.counts(priority).used(kind)
    }

    /// As [`Cluster::take`].
    pub fn take(&self, config: &ClusterConfig, kind: BreakerKind, priority: RoutingPriority, always: bool) -> bool {
        let counts = self.counts(priority);
        counts.take(kind, counts.limit(kind, config.thresholds(priority)), always)
    }

    /// Gives back what [`Cluster::take`] took.
    pub fn give_back(&self, kind: BreakerKind, priority: RoutingPriority) {
        self.counts(priority).give_back(kind);
    }

    pub(super) fn counts(&self, priority: RoutingPriority) -> &Counts {
        match priority {
            RoutingPriority::Default => &self.counts[0],
            RoutingPriority::High => &self.counts[1],
        }
    }
}

/// The gauges of a circuit breaker: whether it is open, and what is left.
fn gauges_of(priority: RoutingPriority, kind: BreakerKind) -> (Gauge<names::Cluster>, Gauge<names::Cluster>) {
    use BreakerKind::{Connections, Pending, Requests, Retries};
    use RoutingPriority::{Default, High};
    match (priority, kind) {
        (Default, Connections) => {
            (metric::CIRCUIT_BREAKERS_DEFAULT_CX_OPEN, metric::CIRCUIT_BREAKERS_DEFAULT_REMAINING_CX)
        }
        (Default, Pending) => {
            (metric::CIRCUIT_BREAKERS_DEFAULT_RQ_PENDING_OPEN, metric::CIRCUIT_BREAKERS_DEFAULT_REMAINING_PENDING)
        }
        (Default, Requests) => {
            (metric::CIRCUIT_BREAKERS_DEFAULT_RQ_OPEN, metric::CIRCUIT_BREAKERS_DEFAULT_REMAINING_RQ)
        }
        (Default, Retries) => {
            (metric::CIRCUIT_BREAKERS_DEFAULT_RQ_RETRY_OPEN, metric::CIRCUIT_BREAKERS_DEFAULT_REMAINING_RETRIES)
        }
        (High, Connections) => (metric::CIRCUIT_BREAKERS_HIGH_CX_OPEN, metric::CIRCUIT_BREAKERS_HIGH_REMAINING_CX),
        (High, Pending) => {
            (metric::CIRCUIT_BREAKERS_HIGH_RQ_PENDING_OPEN, metric::CIRCUIT_BREAKERS_HIGH_REMAINING_PENDING)
        }
        (High, Requests) => (metric::CIRCUIT_BREAKERS_HIGH_RQ_OPEN, metric::CIRCUIT_BREAKERS_HIGH_REMAINING_RQ),
        (High, Retries) => {
            (metric::CIRCUIT_BREAKERS_HIGH_RQ_RETRY_OPEN, metric::CIRCUIT_BREAKERS_HIGH_REMAINING_RETRIES)
        }
    }
}

/// Numbers clusters, endpoints and their sets: workers' tables are keyed by them, so they are never used twice.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}
