//! One state of the whole configuration.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::compile::filter::PerRoute;
use super::listener::Listener;
use crate::cluster::ClusterTable;

/// A compiled route configuration with what it says about filters.
pub type RouteConfig = crate::route::RouteConfig<PerRoute>;

/// One state of the whole configuration. Never changes: a request that holds it sees one truth from its first byte to
/// its last. Snapshots share what is equal in them, so that the next one costs what has changed.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts publications that changed anything; 0 before the first.
    pub version: u64,
    /// The clusters by name.
    pub clusters: ClusterTable,
    /// Names of the clusters that stand in the bootstrap.
    pub(super) static_clusters: Arc<HashSet<Arc<str>>>,
    pub(super) listeners: Arc<BTreeMap<Arc<str>, Arc<Listener>>>,
    pub(super) routes: Arc<HashMap<Arc<str>, Arc<RouteConfig>>>,
}

impl Snapshot {
    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.get(name)
    }

    /// Whether the cluster of that name stands in the bootstrap, and does not come from a source.
    pub fn is_static_cluster(&self, name: &str) -> bool {
        self.static_clusters.contains(name)
    }

    /// All listeners in the order of their names.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values()
    }

    /// The route configuration of that name, of RDS; those inside listeners stand there.
    pub fn route_config(&self, name: &str) -> Option<&Arc<RouteConfig>> {
        self.routes.get(name)
    }
}
