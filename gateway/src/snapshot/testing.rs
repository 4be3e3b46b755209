//! What the tests share: a publisher, and resources from YAML.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use weir_xds::{Kind, Resource, read_resource};

use super::{Publisher, PublisherSettings, Report, SnapshotStore, Update};
use crate::plugin::{EngineSettings, Node, Plugins};
use crate::telemetry::access_log::Sinks;
use crate::telemetry::metrics::Registry;

/// A publisher whose access logs write nothing.
pub(crate) fn publisher() -> Publisher {
    publisher_with(Registry::new(1))
}

/// The same with metrics that the test looks at.
pub(crate) fn publisher_with(registry: Arc<Registry>) -> Publisher {
    let plugins = Plugins::new(Arc::clone(&registry), Node::default(), EngineSettings::default());
    let access_logs = Arc::new(Sinks::dry(&registry));
    Publisher::new(PublisherSettings { registry, plugins, access_logs }, SnapshotStore::new())
}

/// A resource, standing at `here` in its document.
pub(crate) fn resource(kind: Kind, yaml: &str) -> Resource {
    Resource { path: "here".to_owned(), ..read_resource(kind, yaml) }
}

/// All that a source has.
pub(crate) fn update(source: &str, kind: Kind, yamls: &[&str]) -> Update {
    Update { source: source.into(), kind, resources: yamls.iter().map(|yaml| resource(kind, yaml)).collect() }
}

/// What was refused, as `name: path: reason`.
pub(crate) fn reasons(report: &Report) -> Vec<String> {
    let all = report.rejected.iter();
    all.flat_map(|r| r.problems.iter().map(move |p| format!("{}: {}: {}", r.name, p.path, p.reason))).collect()
}

/// A listener with that network filter configuration, indented by eight.
pub(crate) fn listener(name: &str, port: u16, manager: &str) -> String {
    let manager = manager.replace('\n', "\n        ");
    format!(
        r#"
name: {name}
address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
filter_chains:
- filters:
  - name: hcm
    typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        {manager}
"#
    )
}

/// The end of every list of HTTP filters.
pub(crate) const ROUTER: &str = r#"http_filters: [{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]"#;

/// A connection manager with routes of its own to a cluster.
pub(crate) fn inline(cluster: &str) -> String {
    format!(
        "stat_prefix: p\n{ROUTER}\nroute_config: {{name: r, virtual_hosts: [{{name: h, domains: ['*'], \
         routes: [{{match: {{prefix: /}}, route: {{cluster: {cluster}}}}}]}}]}}"
    )
}

/// A connection manager with routes from a file.
pub(crate) fn rds(name: &str) -> String {
    format!(
        "stat_prefix: p\n{ROUTER}\nrds: {{route_config_name: {name}, config_source: {{path_config_source: \
         {{path: /etc/weir/rds.yaml}}}}}}"
    )
}

/// A route configuration.
pub(crate) fn routes(name: &str, cluster: &str) -> String {
    format!(
        "name: {name}\nvirtual_hosts: [{{name: h, domains: ['*'], routes: [{{match: {{prefix: /}}, \
         route: {{cluster: {cluster}}}}}]}}]"
    )
}

/// A static cluster with one endpoint.
pub(crate) fn cluster(name: &str, port: u16) -> String {
    format!(
        "name: {name}\nload_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: \
         {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}"
    )
}

/// A cluster with endpoints from a file.
pub(crate) fn eds(name: &str, service: &str) -> String {
    format!(
        "name: {name}\ntype: EDS\neds_cluster_config: {{service_name: '{service}', eds_config: {{path_config_source: \
         {{path: /etc/weir/eds.yaml, watched_directory: {{path: /etc/weir}}}}}}}}"
    )
}

/// Endpoints of a service.
pub(crate) fn assignment(service: &str, ports: &[u16]) -> String {
    let endpoint = |port: &u16| {
        format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}")
    };
    let endpoints: Vec<_> = ports.iter().map(endpoint).collect();
    format!("cluster_name: {service}\nendpoints: [{{lb_endpoints: [{}]}}]", endpoints.join(", "))
}
