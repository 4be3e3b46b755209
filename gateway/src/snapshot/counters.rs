//! What is counted of publications.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_xds::Kind;

use super::collection::Collection;
use super::compile::listener::CompiledListener;
use super::update::STATIC;
use super::version::version_number;
use crate::cluster::Cluster;
use crate::telemetry::metrics::names::{self, cds, cluster, cluster_manager, lds, listener_manager, rds, sds, weir};
use crate::telemetry::metrics::{Registry, Scope};

/// The control thread's place among the workers.
const CONTROL: usize = 0;

/// Scopes of the configuration as a whole.
#[derive(Debug)]
pub(super) struct Counters {
    listeners: Scope<names::ListenerManager>,
    lds: Scope<names::Lds>,
    clusters: Scope<names::ClusterManager>,
    cds: Scope<names::Cds>,
    weir: Scope<names::Weir>,
    /// By name of the secret.
    secrets: HashMap<Arc<str>, Scope<names::Sds>>,
}

/// What became of an update, for one that takes something from it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome<'a> {
    /// It came into force; with the version of it.
    Accepted(&'a str),
    /// It is what is in force already.
    Unchanged(&'a str),
    /// It has nothing at all, which means no change.
    Empty,
    /// It cannot be used, or does not have what is taken from it.
    Refused,
    /// It could not be read.
    Failed,
}

impl Outcome<'_> {
    fn version(self) -> Option<u64> {
        match self {
            Self::Accepted(version) | Self::Unchanged(version) => Some(version_number(version)),
            Self::Empty | Self::Refused | Self::Failed => None,
        }
    }
}

impl Counters {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            listeners: registry.scope(names::ListenerManager, ""),
            lds: registry.scope(names::Lds, ""),
            clusters: registry.scope(names::ClusterManager, ""),
            cds: registry.scope(names::Cds, ""),
            weir: registry.scope(names::Weir, ""),
            secrets: HashMap::new(),
        }
    }

    /// An update of a source was taken, or a part of it was refused; `reloaded`: something of it came into force.
    pub(super) fn source(&self, kind: Kind, source: &str, version: &str, accepted: bool, reloaded: bool) {
        if source == STATIC {
            return;
        }
        match kind {
            // What became of it shows when sockets are bound.
            Kind::Listener => self.lds.inc(lds::UPDATE_ATTEMPT),
            Kind::Cluster => {
                self.cds.inc(cds::UPDATE_ATTEMPT);
                self.cds.inc(if accepted { cds::UPDATE_SUCCESS } else { cds::UPDATE_REJECTED });
                if accepted {
                    self.cds.set(cds::UPDATE_TIME, now_ms());
                    self.cds.set(cds::VERSION, version_number(version));
                }
                if reloaded {
                    self.cds.inc(cds::CONFIG_RELOAD);
                    self.cds.set(cds::CONFIG_RELOAD_TIME_MS, now_ms());
                }
            }
            // Counted for each resource.
            Kind::Route | Kind::Endpoint | Kind::Secret | Kind::Extension => {}
        }
    }

    /// What a source has could not be read as a whole.
    pub(super) fn source_failed(&self, kind: Kind) {
        match kind {
            Kind::Listener => {
                self.lds.inc(lds::UPDATE_ATTEMPT);
                self.lds.inc(lds::UPDATE_FAILURE);
            }
            Kind::Cluster => {
                self.cds.inc(cds::UPDATE_ATTEMPT);
                self.cds.inc(cds::UPDATE_FAILURE);
            }
            // Counted for each that names the source.
            Kind::Route | Kind::Endpoint | Kind::Secret | Kind::Extension => {}
        }
    }

    /// An update of a route configuration, for all listeners that name it.
    pub(super) fn routes(&self, listeners: &Collection<CompiledListener>, name: &str, outcome: Outcome<'_>) {
        let users = listeners.all().flat_map(|(_, good)| &good.value.rds).filter(|(of, _)| **of == *name);
        for (_, scope) in users {
            scope.inc(rds::UPDATE_ATTEMPT);
            match outcome {
                Outcome::Accepted(_) | Outcome::Unchanged(_) => scope.inc(rds::UPDATE_SUCCESS),
                Outcome::Empty => {
                    scope.inc(rds::UPDATE_SUCCESS);
                    scope.inc(rds::UPDATE_EMPTY);
                }
                Outcome::Refused => scope.inc(rds::UPDATE_REJECTED),
                Outcome::Failed => scope.inc(rds::UPDATE_FAILURE),
            }
            if let Outcome::Accepted(_) = outcome {
                scope.inc(rds::CONFIG_RELOAD);
                scope.set(rds::CONFIG_RELOAD_TIME_MS, now_ms());
            }
            if let Some(version) = outcome.version() {
                scope.set(rds::UPDATE_TIME, now_ms());
                scope.set(rds::VERSION, version);
            }
        }
    }

    /// An update of a secret.
    pub(super) fn secret(&mut self, registry: &Registry, name: &str, outcome: Outcome<'_>) {
        let scope = self.sds(registry, name);
        scope.inc(sds::UPDATE_ATTEMPT);
        scope.inc(match outcome {
            Outcome::Accepted(_) | Outcome::Unchanged(_) | Outcome::Empty => sds::UPDATE_SUCCESS,
            Outcome::Refused => sds::UPDATE_REJECTED,
            Outcome::Failed => sds::UPDATE_FAILURE,
        });
        if let Some(version) = outcome.version() {
            scope.set(sds::UPDATE_TIME, now_ms());
            scope.set(sds::VERSION, version);
        }
    }

    /// An update of a cluster's endpoints.
    pub(super) fn endpoints(&self, cluster: &Cluster, outcome: Outcome<'_>) {
        let metrics = cluster.runtime.metrics();
        metrics.inc(cluster::UPDATE_ATTEMPT);
        match outcome {
            Outcome::Accepted(_) | Outcome::Unchanged(_) => metrics.inc(cluster::UPDATE_SUCCESS),
            Outcome::Empty => {
                metrics.inc(cluster::UPDATE_SUCCESS);
                metrics.inc(cluster::UPDATE_EMPTY);
            }
            Outcome::Refused => metrics.inc(cluster::UPDATE_REJECTED),
            Outcome::Failed => metrics.inc(cluster::UPDATE_FAILURE),
        }
        if let Some(version) = outcome.version() {
            metrics.set(cluster::VERSION, version);
        }
    }

    /// A secret's files changed, and cannot be used.
    pub(super) fn key_rotation_failed(&mut self, registry: &Registry, name: &str) {
        self.sds(registry, name).inc(sds::KEY_ROTATION_FAILED);
    }

    pub(super) fn secret_removed(&mut self, name: &str) {
        self.secrets.remove(name);
    }

    fn sds(&mut self, registry: &Registry, name: &str) -> &Scope<names::Sds> {
        self.secrets.entry(name.into()).or_insert_with(|| registry.scope(names::Sds, name))
    }

    /// A cluster has other endpoints now.
    pub(super) fn members(&self, before: &Cluster, cluster: &Cluster) {
        let changed = cluster.endpoints.changed_priorities(Some(&before.endpoints)) as u64;
        cluster.runtime.metrics().add(cluster::MEMBERSHIP_CHANGE, changed);
        cluster.publish_gauges();
    }

    pub(super) fn cluster(&self, cluster: &Cluster, known: bool) {
        self.clusters.inc(if known { cluster_manager::CLUSTER_MODIFIED } else { cluster_manager::CLUSTER_ADDED });
        if cluster.config.eds_service.is_some() {
            // As in Envoy those have it from the start, and others not at all.
            cluster.runtime.metrics().add(cluster::UPDATE_REJECTED, 0);
        }
        // Also of one that was known: as in Envoy its endpoints come anew.
        cluster.runtime.metrics().add(cluster::MEMBERSHIP_CHANGE, cluster.endpoints.changed_priorities(None) as u64);
        cluster.publish_gauges();
    }

    pub(super) fn cluster_removed(&self) {
        self.clusters.inc(cluster_manager::CLUSTER_REMOVED);
    }

    pub(super) fn listener(&self, known: bool, has_socket: bool) {
        let id = if known { listener_manager::LISTENER_MODIFIED } else { listener_manager::LISTENER_ADDED };
        self.listeners.inc(id);
        self.listeners.add(listener_manager::LISTENER_CREATE_SUCCESS, u64::from(has_socket));
    }

    /// Listeners got sockets, and others could not be bound.
    pub(super) fn sockets(&self, opened: usize, failed: usize) {
        self.listeners.add(listener_manager::LISTENER_CREATE_SUCCESS, opened as u64);
        self.listeners.add(listener_manager::LISTENER_CREATE_FAILURE, failed as u64);
    }

    /// What became of an update of listeners.
    pub(super) fn listeners_updated(&self, accepted: bool, version: &str) {
        self.lds.inc(if accepted { lds::UPDATE_SUCCESS } else { lds::UPDATE_REJECTED });
        if accepted {
            self.lds.set(lds::UPDATE_TIME, now_ms());
            self.lds.set(lds::VERSION, version_number(version));
        }
    }

    pub(super) fn listener_removed(&self) {
        self.listeners.inc(listener_manager::LISTENER_REMOVED);
    }

    pub(super) fn listeners_stopped(&self, count: usize) {
        self.listeners.add(listener_manager::LISTENER_STOPPED, count as u64);
    }

    pub(super) fn clusters(&self, count: usize) {
        self.clusters.set(cluster_manager::ACTIVE_CLUSTERS, count as u64);
    }

    pub(super) fn publication(&self, took: Duration, version: u64, published: bool, rejected: usize) {
        if published {
            self.weir.inc(weir::SNAPSHOT_PUBLISHED);
            self.weir.set(weir::SNAPSHOT_VERSION, version);
        }
        self.weir.add(weir::RESOURCE_REJECTED, rejected as u64);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.weir.chunk(CONTROL).record(weir::SNAPSHOT_COMPILE_MS, milliseconds);
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
