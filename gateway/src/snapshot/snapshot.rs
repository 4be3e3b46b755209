//! The compiled configuration that requests see.

use std::collections::HashMap;
use std::sync::Arc;

use super::compile::filter::PerRoute;
use super::listener::Listener;
use crate::cluster::ClusterTable;
use crate::route::RouteConfig;

/// All that is in force at one time.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Clusters by name.
    pub clusters: ClusterTable,
    listeners: HashMap<Arc<str>, Arc<Listener>>,
    routes: HashMap<Arc<str>, Arc<RouteConfig<PerRoute>>>,
}
impl Snapshot {
    /// l
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.get(name)
    }
    /// r
    pub fn route_config(&self, name: &str) -> Option<&Arc<RouteConfig<PerRoute>>> {
        self.routes.get(name)
    }
}
