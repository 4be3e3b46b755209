//! A cluster: its configuration, its endpoints, and what is in use of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::breaker::{BreakerKind, Counts, Permit, RoutingPriority};
use super::config::ClusterConfig;
use super::endpoint::{Assignment, EndpointSet};

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
    /// A cluster; endpoints known to `previous` keep their state if it talked to them in the same way.
    pub fn new(config: ClusterConfig, transport: u64, assignment: Assignment, previous: Option<&Self>) -> Self {
        let previous = previous.filter(|p| p.runtime.transport == transport && p.config.name == config.name);
        let known = previous.map(|p| &*p.endpoints);
        let endpoints = Arc::new(EndpointSet::new(assignment, config.panic_threshold, known));
        let runtime = previous.map_or_else(|| Arc::new(ClusterRuntime::new(transport)), |p| Arc::clone(&p.runtime));
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
        let counts = self.runtime.counts(priority);
        counts.take(kind, counts.limit(kind, self.config.thresholds(priority)), always)
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
}

impl ClusterRuntime {
    fn new(transport: u64) -> Self {
        Self { id: next_id(), transport, counts: Default::default() }
    }

    /// How many units of a breaker are in use.
    pub fn used(&self, kind: BreakerKind, priority: RoutingPriority) -> u32 {
        self.counts(priority).used(kind)
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

/// Numbers clusters, endpoints and their sets: workers' tables are keyed by them, so they are never used twice.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}
