//! What looks as if it had an effect: filters that are left out, and what routes say of filters that nobody runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use weir_xds::Problem;

use super::compile::filter::{HttpFilters, LeftOut, PerRoute};
use super::connection_manager::RouteSource;
use super::publisher::Publisher;
use super::snapshot::RouteConfig;
use super::update::{Report, Warning};
use crate::route::Action;
use crate::route::action::ClusterChoice;

impl Publisher {
    /// Warns of filters that are not supported and optional, and of entries of `typed_per_filter_config` under names that no
    /// connection manager with these routes has a filter for; of each once, for as long as it is there.
    pub(super) fn warn_of_unused(&mut self, report: &mut Report) {
        let mut all = Vec::new();
        let mut users: HashMap<&Arc<str>, Vec<&HttpFilters>> = HashMap::new();
        for (_, entry) in self.listeners.entries() {
            let Some(good) = &entry.good else { continue };
            let listener = &good.value.listener;
            for (at, chain) in listener.all_chains().enumerate() {
                let chain_path = match listener.chains.get(at) {
                    Some(_) => format!("filter_chains[{at}]"),
                    None => "default_filter_chain".to_owned(),
                };
                let at = chain.manager_at;
                let path = format!("{}.{chain_path}.filters[{at}].typed_config", good.path);
                missing(&chain.manager.filters, &path, &entry.source, &mut all);
                match &chain.manager.routes {
                    RouteSource::Named(name) => users.entry(name).or_default().push(&chain.manager.filters),
                    RouteSource::Inline(routes) => {
                        let path = format!("{path}.route_config");
                        unused(routes, &path, &entry.source, &[&chain.manager.filters], &mut all);
                    }
                }
            }
        }
        for (name, entry) in self.routes.entries() {
            if let (Some(good), Some(filters)) = (&entry.good, users.get(name)) {
                unused(&good.value, &good.path, &entry.source, filters, &mut all);
            }
        }
        let key = |warning: &Warning| (Arc::clone(&warning.source), warning.problem.path.clone());
        let known: HashSet<_> = all.iter().map(key).collect();
        for warning in all.into_iter().filter(|warning| !self.warned.contains(&key(warning))) {
            report.warnings.push(warning);
        }
        self.warned = known;
    }
}

fn missing(filters: &HttpFilters, path: &str, source: &Arc<str>, all: &mut Vec<Warning>) {
    for LeftOut { at, name, type_name, .. } in filters.missing() {
        let path = format!("{path}.http_filters[{at}]");
        let path = path.strip_prefix('.').unwrap_or(&path).to_owned();
        let reason = format!("the filter {name:?} ({type_name}) is not supported, and left out: it says is_optional");
        all.push(Warning { source: Arc::clone(source), problem: Problem { path, line: None, reason } });
    }
}

fn unused(routes: &RouteConfig, path: &str, source: &Arc<str>, filters: &[&HttpFilters], all: &mut Vec<Warning>) {
    let mut look = |said: &Option<Arc<PerRoute>>, place: &dyn Fn() -> String| {
        for (name, disabled) in said.iter().flat_map(|said| said.names()) {
            if !filters.iter().any(|filters| filters.knows(name, disabled)) {
                let path = format!("{path}{}.typed_per_filter_config[{name:?}]", place());
                let path = path.strip_prefix('.').unwrap_or(&path).to_owned();
                let reason = "no filter of that name runs with these routes: it has no effect".to_owned();
                all.push(Warning { source: Arc::clone(source), problem: Problem { path, line: None, reason } });
            }
        }
    };
    look(&routes.per_filter, &String::new);
    for (h, (host, host_routes)) in routes.table.iter().enumerate() {
        look(&host.per_filter, &|| format!(".virtual_hosts[{h}]"));
        for (r, route) in host_routes.enumerate() {
            let place = || format!(".virtual_hosts[{h}].routes[{r}]");
            look(&route.per_filter, &place);
            let Action::Forward(forward) = &route.action else { continue };
            let ClusterChoice::Weighted(clusters) = &forward.cluster else { continue };
            for (c, cluster) in clusters.iter().enumerate() {
                look(&cluster.per_filter, &|| format!("{}.route.weighted_clusters.clusters[{c}]", place()));
            }
        }
    }
}
