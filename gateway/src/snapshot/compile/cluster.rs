//! `envoy.config.cluster.v3.Cluster` into a [`Cluster`].

#![allow(deprecated, reason = "fields that Envoy calls deprecated are still written and sent")]

mod assignment;
mod balancer;
mod http;

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use prost::Message;
use weir_xds::{Kind, pb};

use self::assignment::compile_assignment;
pub use self::assignment::compile_update;
use super::span::limit;
use super::transport_socket::{AutoSan, TlsCx, compile_upstream_socket};
use crate::cluster::{Assignment, Cluster, ClusterConfig, RetryBudget, SocketOptions, TcpKeepalive, Thresholds};
use crate::snapshot::{Problems, Reference};
use crate::telemetry::metrics::{Registry, names};
use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
use pb::core::config_source::ConfigSourceSpecifier;
use pb::core::socket_address::{PortSpecifier, Protocol};

/// What clusters are compiled with.
#[derive(Clone, Copy, Debug)]
pub struct ClusterCx<'a> {
    /// Where metrics are.
    pub registry: &'a Registry,
    /// For transport sockets.
    pub tls: TlsCx<'a>,
    /// What EDS has for the cluster; `None` keeps what `previous` has.
    pub assignment: Option<&'a Assignment>,
    /// The cluster of that name as it is now.
    pub previous: Option<&'a Cluster>,
}

/// A cluster of CDS or of `static_resources.clusters`.
pub fn compile_cluster(
    proto: &pb::cluster::Cluster,
    cx: ClusterCx<'_>,
    problems: &mut Problems,
) -> Option<Arc<Cluster>> {
    let before = problems.len();
    unsupported(proto, problems);
    let mut config = ClusterConfig::new(proto.name.as_str());
    if proto.name.is_empty() {
        problems.push("name", "a cluster needs a name");
    }
    if !proto.alt_stat_name.is_empty() {
        config.stat_name = proto.alt_stat_name.as_str().into();
    }
    let assignment = endpoints(proto, &mut config, cx, problems);
    if let Some(timeout) = &proto.connect_timeout {
        let before = problems.len();
        match limit(timeout, "connect_timeout", problems) {
            Some(timeout) => config.connect_timeout = timeout,
            None if problems.len() > before => {}
            None => problems.push("connect_timeout", "must be longer than 0 s"),
        }
    }
    balancer::compile(proto, &mut config, problems);
    if let Some(breakers) = &proto.circuit_breakers {
        circuit_breakers(breakers, &mut config, problems);
    }
    if let Some(limit) = proto.per_connection_buffer_limit_bytes.map(|limit| limit.value) {
        // As in Envoy, 0 is no limit.
        config.buffer_limit = if limit == 0 { usize::MAX } else { limit as usize };
    }
    config.socket = socket_options(proto, problems);
    http::compile(proto, &mut config.http, problems);
    let auto_san = if config.http.auto_san_validation { AutoSan::Verify } else { AutoSan::Off };
    let mut inner = Problems::new();
    let tls = compile_upstream_socket(proto.transport_socket.as_ref(), auto_san, cx.tls, &mut inner);
    problems.nest("transport_socket", inner);
    if problems.len() > before {
        return None;
    }
    config.tls = tls?;
    let scope = scope_name(&config.stat_name);
    config.ssl = config.tls.is_some().then(|| cx.registry.scope(names::ClusterSsl, &*scope));
    let metrics = cx.registry.scope(names::Cluster, &*scope);
    Some(Arc::new(Cluster::new(config, transport_hash(proto), assignment, metrics, cx.previous)))
}

/// Where a cluster's endpoints come from, if from a file.
pub fn eds_reference(proto: &pb::cluster::Cluster) -> Option<Reference> {
    if proto.cluster_discovery_type != Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)) {
        return None;
    }
    let eds = proto.eds_cluster_config.as_ref()?;
    let (path, watched_directory) = match eds.eds_config.as_ref()?.config_source_specifier.as_ref()? {
        ConfigSourceSpecifier::Path(path) => (path, None),
        ConfigSourceSpecifier::PathConfigSource(source) => {
            (&source.path, source.watched_directory.as_ref().map(|directory| PathBuf::from(&directory.path)))
        }
        _ => return None,
    };
    Some(Reference { kind: Kind::Endpoint, name: eds_service(proto), path: path.into(), watched_directory })
}

/// Fields that are refused here whatever the table of fields says: to serve without them would be wrong.
fn unsupported(proto: &pb::cluster::Cluster, problems: &mut Problems) {
    let set = [
        ("transport_socket_matches", !proto.transport_socket_matches.is_empty()),
        ("transport_socket_matcher", proto.transport_socket_matcher.is_some()),
        ("health_checks", !proto.health_checks.is_empty()),
        ("outlier_detection", proto.outlier_detection.is_some()),
        ("http2_protocol_options", proto.http2_protocol_options.is_some()),
        ("lb_subset_config", proto.lb_subset_config.is_some()),
        ("filters", !proto.filters.is_empty()),
        ("upstream_config", proto.upstream_config.is_some()),
        ("preconnect_policy", proto.preconnect_policy.as_ref().is_some_and(|policy| *policy != Default::default())),
        ("connection_pool_per_downstream_connection", proto.connection_pool_per_downstream_connection),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set) {
        problems.push(field, "not supported");
    }
}

/// The kind of cluster, and its endpoints as far as they are known.
fn endpoints(
    proto: &pb::cluster::Cluster,
    config: &mut ClusterConfig,
    cx: ClusterCx<'_>,
    problems: &mut Problems,
) -> Option<Assignment> {
    let kind = match &proto.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).unwrap_or(DiscoveryType::OriginalDst),
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            problems.push("cluster_type", format!("{:?} is not supported; use type STATIC or EDS", custom.name));
            return None;
        }
    };
    match kind {
        DiscoveryType::Static => {
            let Some(assignment) = &proto.load_assignment else { return Some(Assignment::default()) };
            let mut inner = Problems::new();
            let compiled = compile_assignment(assignment, &mut inner);
            problems.nest("load_assignment", inner);
            Some(compiled.unwrap_or_default())
        }
        DiscoveryType::Eds => {
            config.eds_service = Some(eds_service(proto).into());
            if proto.load_assignment.is_some() {
                problems.push("load_assignment", "a cluster of type EDS takes its endpoints from eds_cluster_config");
            }
            if proto.eds_cluster_config.as_ref().is_none_or(|eds| eds.eds_config.is_none()) {
                problems.push("eds_cluster_config", "a cluster of type EDS needs an eds_config");
            } else if eds_reference(proto).is_none() {
                problems.push("eds_cluster_config.eds_config", "only path_config_source is supported");
            }
            cx.assignment.cloned()
        }
        other => {
            problems.push("type", format!("{} is not supported; use STATIC or EDS", other.as_str_name()));
            None
        }
    }
}

fn eds_service(proto: &pb::cluster::Cluster) -> String {
    let service = proto.eds_cluster_config.as_ref().map(|eds| &eds.service_name).filter(|name| !name.is_empty());
    service.unwrap_or(&proto.name).clone()
}

fn circuit_breakers(proto: &pb::cluster::CircuitBreakers, config: &mut ClusterConfig, problems: &mut Problems) {
    // As Envoy: the first entry of a priority counts.
    for (at, entry) in proto.thresholds.iter().enumerate().rev() {
        let mut limits = Thresholds { track_remaining: entry.track_remaining, ..Thresholds::default() };
        let fields = [
            (&entry.max_connections, &mut limits.max_connections),
            (&entry.max_pending_requests, &mut limits.max_pending),
            (&entry.max_requests, &mut limits.max_requests),
            (&entry.max_retries, &mut limits.max_retries),
        ];
        for (set, limit) in fields {
            if let Some(set) = set {
                *limit = set.value;
            }
        }
        if let Some(budget) = &entry.retry_budget {
            if budget.budget_interval.is_some() {
                let path = format!("circuit_breakers.thresholds[{at}].retry_budget.budget_interval");
                problems.push(path, "not supported");
            }
            let default = RetryBudget::default();
            limits.retry_budget = Some(RetryBudget {
                percent: budget.budget_percent.as_ref().map_or(default.percent, |percent| percent.value),
                min_concurrency: budget.min_retry_concurrency.as_ref().map_or(default.min_concurrency, |n| n.value),
            });
        }
        if let Some(slot) = by_priority(&mut config.breakers, entry.priority) {
            *slot = limits;
        }
    }
    for (at, entry) in proto.per_host_thresholds.iter().enumerate().rev() {
        let path = format!("circuit_breakers.per_host_thresholds[{at}]");
        let others =
            [&entry.max_pending_requests, &entry.max_requests, &entry.max_retries, &entry.max_connection_pools];
        if others.into_iter().any(Option::is_some) || entry.retry_budget.is_some() || entry.track_remaining {
            problems.push(path, "only max_connections is supported per host");
        } else if let Some(limit) = &entry.max_connections
            && let Some(slot) = by_priority(&mut config.max_connections_per_endpoint, entry.priority)
        {
            *slot = limit.value;
        }
    }
}

/// The slot of a routing priority as the protocol numbers them.
fn by_priority<T>(slots: &mut [T; 2], priority: i32) -> Option<&mut T> {
    slots.get_mut(usize::try_from(priority).ok()?)
}

fn socket_options(proto: &pb::cluster::Cluster, problems: &mut Problems) -> SocketOptions {
    let mut options = SocketOptions::default();
    if let Some(bind) = &proto.upstream_bind_config {
        let others = [
            ("freebind", bind.freebind.as_ref().is_some_and(|freebind| freebind.value)),
            ("socket_options", !bind.socket_options.is_empty()),
            ("extra_source_addresses", !bind.extra_source_addresses.is_empty()),
            ("additional_source_addresses", !bind.additional_source_addresses.is_empty()),
            ("local_address_selector", bind.local_address_selector.is_some()),
        ];
        for (field, _) in others.into_iter().filter(|(_, set)| *set) {
            problems.push(format!("upstream_bind_config.{field}"), "not supported");
        }
        if let Some(source) = &bind.source_address {
            match socket_address(source) {
                Ok(address) => options.source = Some(address),
                Err(reason) => problems.push("upstream_bind_config.source_address", reason),
            }
        }
    }
    if let Some(connection) = &proto.upstream_connection_options {
        // As Envoy: a 0 anywhere turns it off.
        let wanted = connection.tcp_keepalive.as_ref().filter(|keepalive| {
            let fields = [keepalive.keepalive_probes, keepalive.keepalive_time, keepalive.keepalive_interval];
            !fields.into_iter().flatten().any(|field| field.value == 0)
        });
        options.keepalive = wanted.map(|keepalive| {
            let seconds = |field: &Option<pb::UInt32Value>| field.map(|s| Duration::from_secs(s.value.into()));
            TcpKeepalive {
                probes: keepalive.keepalive_probes.map(|probes| probes.value),
                time: seconds(&keepalive.keepalive_time),
                interval: seconds(&keepalive.keepalive_interval),
            }
        });
    }
    options
}

/// An address that needs no resolving; as Envoy, no name is accepted here.
fn socket_address(proto: &pb::core::SocketAddress) -> Result<SocketAddr, String> {
    if proto.protocol != Protocol::Tcp as i32 {
        return Err("only protocol TCP is supported".to_owned());
    }
    if !proto.resolver_name.is_empty() {
        return Err("resolver_name is not supported".to_owned());
    }
    if !proto.network_namespace_filepath.is_empty() {
        return Err("network_namespace_filepath is not supported".to_owned());
    }
    let ip: IpAddr = proto.address.parse().map_err(|_| {
        format!(
            "{:?} is not an IP address; names are resolved only by DNS clusters, which are not supported",
            proto.address
        )
    })?;
    let port = match &proto.port_specifier {
        None => 0,
        Some(PortSpecifier::PortValue(port)) => {
            u16::try_from(*port).map_err(|_| format!("port {port} is greater than 65535"))?
        }
        Some(PortSpecifier::NamedPort(name)) => return Err(format!("named port {name:?} is not supported")),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Hash of all that decides how endpoints are talked to: while it stays, connections stay.
fn transport_hash(proto: &pb::cluster::Cluster) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    let mut write = |part: Option<Vec<u8>>| match part {
        None => hasher.write_u8(0),
        Some(bytes) => {
            hasher.write_u8(1);
            hasher.write_usize(bytes.len());
            hasher.write(&bytes);
        }
    };
    write(proto.transport_socket.as_ref().map(Message::encode_to_vec));
    write(proto.upstream_bind_config.as_ref().map(Message::encode_to_vec));
    write(proto.upstream_connection_options.as_ref().map(Message::encode_to_vec));
    let (sni, san) = http::auto_names(proto);
    write(Some(vec![sni.into(), san.into()]));
    hasher.finish()
}

/// Envoy's metrics have no colons in names.
fn scope_name(name: &str) -> String {
    name.replace("://", "_").replace(":/", "_").replace(':', "_")
}

#[cfg(test)]
#[path = "cluster/tests.rs"]
mod tests;
