//! `envoy.config.listener.v3.Listener` into a [`Listener`].

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use weir_xds::{Kind, pb};

use super::access_log::compile_access_log;
use super::config_source::{Sourced, sourced};
use super::connection_manager;
use super::network_filter::{self, NetworkFilterConfig};
use super::span::limit_or;
use super::transport_socket::{TlsCx, compile_downstream_socket, sds_references};
use crate::plugin::Plugins;
use crate::snapshot::connection_manager::ConnectionManager;
use crate::snapshot::listener::{Awaited, ChainIndex, ChainMatch, FilterChain, HelloLimits, Listener};
use crate::snapshot::{Problems, Reference};
use crate::telemetry::access_log::Sinks;
use crate::telemetry::metrics::{Registry, Scope, names};
use crate::tls::client_hello::MAX_CLIENT_HELLO;
use pb::core::address::Address;
use pb::core::socket_address::PortSpecifier;
use pb::hcm::http_connection_manager::RouteSpecifier;
use pb::listener::filter::ConfigType as NetworkFilterType;
use pb::listener::listener_filter::ConfigType as ListenerFilterType;

/// Bytes that may wait for a slow peer unless `per_connection_buffer_limit_bytes` says otherwise.
const BUFFER_LIMIT: usize = 1024 * 1024;
/// How long a client may take to begin, and how long for a TLS handshake, unless the configuration says otherwise.
const PATIENCE: Duration = Duration::from_secs(15);
/// The kernel cuts it down to `net.core.somaxconn`, which is Envoy's default.
const BACKLOG: u32 = i32::MAX as u32;

/// What listeners are compiled with.
#[derive(Clone, Copy)]
pub struct ListenerCx<'a> {
    /// Where metrics are.
    pub registry: &'a Registry,
    /// Loads Wasm filters.
    pub plugins: &'a Plugins,
    /// Where access logs go.
    pub access_logs: &'a Sinks,
    /// For transport sockets.
    pub tls: TlsCx<'a>,
    /// Whether there is a cluster of that name.
    pub cluster_exists: &'a dyn Fn(&str) -> bool,
}

/// A compiled listener with what it names.
#[derive(Debug)]
pub struct CompiledListener {
    /// The listener.
    pub listener: Arc<Listener>,
    /// Resources in files.
    pub references: Vec<Reference>,
    /// Metrics of its route configurations' sources, by name of the route configuration.
    pub rds: Vec<(Arc<str>, Scope<names::Rds>)>,
}

/// Compiles a listener of LDS or of `static_resources.listeners`.
pub fn compile_listener(
    proto: &pb::listener::Listener,
    cx: &ListenerCx<'_>,
    problems: &mut Problems,
) -> Option<CompiledListener> {
    let before = problems.len();
    let address = address(proto.address.as_ref(), problems);
    let inspector = listener_filters(&proto.listener_filters, problems);
    let mut access_logs = Vec::with_capacity(proto.access_log.len());
    for (at, log) in proto.access_log.iter().enumerate() {
        let mut inner = Problems::new();
        access_logs.extend(compile_access_log(log, cx.access_logs, &mut inner));
        problems.nest(&format!("access_log[{at}]"), inner);
    }
    let inspect_timeout =
        limit_or(proto.listener_filters_timeout.as_ref(), Some(PATIENCE), "listener_filters_timeout", problems);
    let buffer_limit = match proto.per_connection_buffer_limit_bytes.map(|limit| limit.value) {
        None => BUFFER_LIMIT,
        // As in Envoy: no limit.
        Some(0) => usize::MAX,
        Some(limit) => limit as usize,
    };
    let stat_name = address.map(|address| scope_name(proto, address)).unwrap_or_default();
    let mut compiler =
        Chains { cx, stat_name: &stat_name, buffer_limit, names: HashSet::new(), sources: Vec::new(), rds: Vec::new() };
    let mut chains = Vec::with_capacity(proto.filter_chains.len());
    let mut index = ChainIndex::default();
    let mut needs_inspector = false;
    for (at, chain) in proto.filter_chains.iter().enumerate() {
        let path = format!("filter_chains[{at}]");
        let mut inner = Problems::new();
        let wanted = chain_match(chain.filter_chain_match.as_ref(), &mut inner);
        needs_inspector |= wanted.transport_protocol == "tls"
            || (wanted.transport_protocol.is_empty()
                && !(wanted.server_names.is_empty() && wanted.application_protocols.is_empty()));
        if let Err(same) = index.add(&wanted, at) {
            let reason = match same.first == at {
                true => "has a name or protocol twice: leave one out".to_owned(),
                false => format!("filter_chains[{}] takes the same connections", same.first),
            };
            inner.push("filter_chain_match", reason);
        }
        chains.extend(compiler.chain(chain, &path, &mut inner).map(Arc::new));
        problems.nest(&path, inner);
    }
    let default_chain = proto.default_filter_chain.as_ref().and_then(|chain| {
        let mut inner = Problems::new();
        if chain.filter_chain_match.as_ref().is_some_and(|wanted| *wanted != pb::listener::FilterChainMatch::default())
        {
            inner.push("filter_chain_match", "the default filter chain takes what no other takes: leave it out");
        }
        let compiled = compiler.chain(chain, "default_filter_chain", &mut inner);
        problems.nest("default_filter_chain", inner);
        compiled.map(Arc::new)
    });
    if proto.filter_chains.is_empty() && proto.default_filter_chain.is_none() {
        problems.push("filter_chains", "one at least is needed");
    }
    if problems.len() > before {
        return None;
    }
    let address = address?;
    let Chains { sources, rds, .. } = compiler;
    let name = if proto.name.is_empty() { address.to_string() } else { proto.name.clone() };
    // A cleartext listener shows no counters of TLS.
    let speaks_tls = chains.iter().chain(&default_chain).any(|chain| chain.tls.is_some());
    let listener = Listener {
        name: name.into(),
        address,
        inbound: proto.traffic_direction() == pb::core::TrafficDirection::Inbound,
        backlog: proto.tcp_backlog_size.map_or(BACKLOG, |size| size.value),
        chains: chains.into(),
        index,
        default_chain,
        // As in Envoy, it is added where chains cannot be told apart without it.
        tls_inspector: inspector.or_else(|| needs_inspector.then(HelloLimits::default)),
        ignores_global_limit: proto.ignore_global_conn_limit,
        inspect_timeout,
        continue_on_timeout: proto.continue_on_listener_filters_timeout,
        scope: cx.registry.scope(names::Listener, stat_name.as_str()),
        tls_scope: speaks_tls.then(|| cx.registry.scope(names::ListenerSsl, stat_name.as_str())),
        inspector_scope: cx.registry.scope(names::TlsInspector, ""),
        access_logs: access_logs.into(),
        waits_for: waits_for(&sources),
        warming_timeout: warming_timeout(&sources),
    };
    let mut references: Vec<_> = sources.into_iter().map(|source| source.reference).collect();
    references.sort();
    references.dedup();
    Some(CompiledListener { listener: Arc::new(listener), references, rds })
}

/// Where it listens: an address of this machine, never a name.
fn address(proto: Option<&pb::core::Address>, problems: &mut Problems) -> Option<SocketAddr> {
    let Some(Address::SocketAddress(socket)) = proto.and_then(|address| address.address.as_ref()) else {
        problems.push("address", "a socket_address is required");
        return None;
    };
    if socket.protocol() != pb::core::socket_address::Protocol::Tcp {
        problems.push("address.socket_address.protocol", "only TCP is supported");
    }
    let ip = socket.address.parse::<IpAddr>().map_err(|_| {
        let reason = format!("{:?} is not an IP address, such as 0.0.0.0 or ::1", socket.address);
        problems.push("address.socket_address.address", reason);
    });
    let port = match &socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(*port).map_err(|_| {
            problems.push("address.socket_address.port_value", format!("{port} is more than 65535"));
        }),
        Some(PortSpecifier::NamedPort(_)) => {
            problems.push("address.socket_address.named_port", "not supported; use port_value");
            Err(())
        }
        None => {
            problems.push("address.socket_address.port_value", "is required");
            Err(())
        }
    };
    Some(SocketAddr::new(ip.ok()?, port.ok()?))
}

/// The tls_inspector among them; there is no other one.
fn listener_filters(protos: &[pb::listener::ListenerFilter], problems: &mut Problems) -> Option<HelloLimits> {
    let mut inspector = None;
    for (at, filter) in protos.iter().enumerate() {
        let path = format!("listener_filters[{at}]");
        match &filter.config_type {
            Some(ListenerFilterType::TypedConfig(any)) if pb::is::<pb::tls_inspector::TlsInspector>(any) => {
                match pb::unpack::<pb::tls_inspector::TlsInspector>(any) {
                    Ok(proto) => {
                        inspector = Some(HelloLimits {
                            most: proto.max_client_hello_size.map_or(MAX_CLIENT_HELLO, |size| size.value as usize),
                            only_tls: proto.close_connection_on_client_hello_parsing_errors,
                        });
                    }
                    Err(error) => problems.push(format!("{path}.typed_config"), error.to_string()),
                }
            }
            Some(ListenerFilterType::TypedConfig(any)) => problems.push(
                format!("{path}.typed_config"),
                format!("{} is not supported; the only listener filter is tls_inspector", pb::type_name(any)),
            ),
            Some(ListenerFilterType::ConfigDiscovery(_)) => {
                problems.push(format!("{path}.config_discovery"), "not supported; use typed_config");
            }
            None => problems.push(format!("{path}.typed_config"), "is missing: it says which filter this is"),
        }
        if filter.filter_disabled.is_some() {
            problems.push(format!("{path}.filter_disabled"), "not supported");
        }
    }
    inspector
}

fn chain_match(proto: Option<&pb::listener::FilterChainMatch>, problems: &mut Problems) -> ChainMatch {
    let Some(proto) = proto else { return ChainMatch::default() };
    let unsupported = [
        ("destination_port", proto.destination_port.is_some()),
        ("prefix_ranges", !proto.prefix_ranges.is_empty()),
        ("address_suffix", !proto.address_suffix.is_empty()),
        ("suffix_len", proto.suffix_len.is_some()),
        ("direct_source_prefix_ranges", !proto.direct_source_prefix_ranges.is_empty()),
        ("source_type", proto.source_type != 0),
        ("source_prefix_ranges", !proto.source_prefix_ranges.is_empty()),
        ("source_ports", !proto.source_ports.is_empty()),
    ];
    for (field, _) in unsupported.into_iter().filter(|(_, set)| *set) {
        let reason = "not supported: chains are told apart by server_names, transport_protocol, application_protocols";
        problems.push(format!("filter_chain_match.{field}"), reason);
    }
    for (at, name) in proto.server_names.iter().enumerate() {
        let rest = name.strip_prefix("*.").unwrap_or(name);
        if rest.is_empty() || rest.contains('*') {
            let reason = format!(
                "{name:?}: a wildcard stands for whole labels at the front, as in *.example.com; a chain for every \
                 name has no server_names"
            );
            problems.push(format!("filter_chain_match.server_names[{at}]"), reason);
        }
    }
    if !matches!(proto.transport_protocol.as_str(), "" | "tls" | "raw_buffer") {
        let reason = format!("{:?} is not known; use tls or raw_buffer", proto.transport_protocol);
        problems.push("filter_chain_match.transport_protocol", reason);
    }
    ChainMatch {
        server_names: proto.server_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
        transport_protocol: proto.transport_protocol.clone(),
        application_protocols: proto.application_protocols.clone(),
    }
}

/// What the chains of one listener have in common.
struct Chains<'a> {
    cx: &'a ListenerCx<'a>,
    stat_name: &'a str,
    buffer_limit: usize,
    names: HashSet<String>,
    sources: Vec<Sourced>,
    rds: Vec<(Arc<str>, Scope<names::Rds>)>,
}

impl Chains<'_> {
    fn chain(&mut self, proto: &pb::listener::FilterChain, path: &str, problems: &mut Problems) -> Option<FilterChain> {
        // Connections follow their chain by its name when the listener changes, so no two may share one.
        let mut name = if proto.name.is_empty() { path.to_owned() } else { proto.name.clone() };
        if !self.names.insert(name.clone()) {
            name = format!("{name} ({path})");
            self.names.insert(name.clone());
        }
        let (network, manager) = self.network_filters(&proto.filters, problems);
        let mut inner = Problems::new();
        let tls = compile_downstream_socket(proto.transport_socket.as_ref(), self.cx.tls, &mut inner);
        self.sources.append(&mut secrets(proto.transport_socket.as_ref(), &mut inner));
        problems.nest("transport_socket", inner);
        let field = "transport_socket_connect_timeout";
        let handshake_timeout =
            limit_or(proto.transport_socket_connect_timeout.as_ref(), Some(PATIENCE), field, problems);
        let (tls, manager, manager_at) = (tls?, manager?, proto.filters.len().saturating_sub(1));
        let scope = self.cx.registry.scope(names::ListenerHttp, (self.stat_name, &*manager.stat_prefix));
        let (name, given_name) = (name.into(), proto.name.as_str().into());
        Some(FilterChain { name, given_name, tls, handshake_timeout, network, manager_at, manager, scope })
    }

    /// The connection manager, which ends every chain, and what stands before it.
    fn network_filters(
        &mut self,
        protos: &[pb::listener::Filter],
        problems: &mut Problems,
    ) -> (Box<[NetworkFilterConfig]>, Option<Arc<ConnectionManager>>) {
        let manager_of = |filter: &pb::listener::Filter| match &filter.config_type {
            Some(NetworkFilterType::TypedConfig(any)) => pb::unpack::<pb::hcm::HttpConnectionManager>(any).ok(),
            _ => None,
        };
        let (mut network, mut manager) = (Vec::new(), None);
        for (at, filter) in protos.iter().enumerate() {
            let mut inner = Problems::new();
            match manager_of(filter) {
                Some(_) if at + 1 < protos.len() => {
                    inner.push("", "an HTTP connection manager ends its chain: it must be the last filter");
                }
                Some(proto) => manager = self.manager(&proto, &mut inner),
                None => network.extend(network_filter::compile(filter, self.cx.registry, &mut inner)),
            }
            problems.nest(&format!("filters[{at}].typed_config"), inner);
        }
        if protos.last().and_then(manager_of).is_none() {
            problems.push("filters", "the last one must be an HTTP connection manager, which serves the requests");
        }
        (network.into(), manager)
    }

    fn manager(
        &mut self,
        proto: &pb::hcm::HttpConnectionManager,
        problems: &mut Problems,
    ) -> Option<Arc<ConnectionManager>> {
        let compiled = connection_manager::compile(proto, self.buffer_limit, self.cx, problems)?;
        if let Some((source, scope)) = compiled.rds {
            self.rds.push((source.reference.name.as_str().into(), scope));
            self.sources.push(source);
        }
        Some(compiled.manager)
    }
}

/// Secrets from files that a transport socket names.
pub(in crate::snapshot) fn secrets(
    socket: Option<&pb::core::TransportSocket>,
    problems: &mut Problems,
) -> Vec<Sourced> {
    let mut sources = Vec::new();
    for sds in socket.map(sds_references).unwrap_or_default().iter().filter(|sds| sds.sds_config.is_some()) {
        let mut inner = Problems::new();
        sources.extend(sourced(Kind::Secret, &sds.name, sds.sds_config.as_ref(), &mut inner));
        problems.nest("typed_config.common_tls_context", inner);
    }
    sources
}

/// Route configurations from files that connection managers name.
pub(in crate::snapshot) fn named_routes(filters: &[pb::listener::Filter], problems: &mut Problems) -> Vec<Sourced> {
    let managers = filters.iter().filter_map(|filter| match &filter.config_type {
        Some(NetworkFilterType::TypedConfig(any)) => pb::unpack::<pb::hcm::HttpConnectionManager>(any).ok(),
        _ => None,
    });
    let sources = managers.filter_map(|manager| match manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => {
            sourced(Kind::Route, &rds.route_config_name, rds.config_source.as_ref(), problems)
        }
        _ => None,
    });
    sources.collect()
}

fn waits_for(sources: &[Sourced]) -> Box<[Awaited]> {
    let mut awaited: Vec<_> = sources
        .iter()
        .map(|source| {
            let name = source.reference.name.as_str().into();
            if source.reference.kind == Kind::Secret { Awaited::Secret(name) } else { Awaited::Routes(name) }
        })
        .collect();
    awaited.sort();
    awaited.dedup();
    awaited.into()
}

/// The longest of all; `None`, which is for ever, is longer than any.
fn warming_timeout(sources: &[Sourced]) -> Option<Duration> {
    sources.iter().map(|source| source.timeout).reduce(|a, b| Some(a?.max(b?))).unwrap_or(Some(PATIENCE))
}

/// As Envoy: `stat_prefix`, else the address without colons.
fn scope_name(proto: &pb::listener::Listener, address: SocketAddr) -> String {
    let name = if proto.stat_prefix.is_empty() { &address.to_string() } else { &proto.stat_prefix };
    name.replace(':', "_")
}
