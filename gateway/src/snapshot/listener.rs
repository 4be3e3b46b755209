//! The compiled listener: where it listens, and which filter chain takes a connection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::compile::network_filter::NetworkFilterConfig;
use super::connection_manager::ConnectionManager;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::{Scope, names};
use crate::tls::DownstreamTls;
use crate::tls::client_hello::MAX_CLIENT_HELLO;

/// `envoy.config.listener.v3.Listener`, ready to serve.
#[derive(Debug)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its `traffic_direction` is INBOUND.
    pub inbound: bool,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: u32,
    /// Its chains in configuration order.
    pub chains: Box<[Arc<FilterChain>]>,
    /// Which chain takes a connection.
    pub index: ChainIndex,
    /// Takes what no chain matches.
    pub default_chain: Option<Arc<FilterChain>>,
    /// Chains can be told apart by what the client says first.
    pub tls_inspector: Option<HelloLimits>,
    /// How long a client may take until the inspector knows enough. Default 15 s.
    pub inspect_timeout: Option<Duration>,
    /// After that time go on without knowing (`continue_on_listener_filters_timeout`).
    pub continue_on_timeout: bool,
    /// Its connections come although the gateway has as many as it may (`ignore_global_conn_limit`).
    pub ignores_global_limit: bool,
    /// Counters under `listener.<address>.`.
    pub scope: Scope<names::Listener>,
    /// Counters of its TLS handshakes.
    pub tls_scope: Option<Scope<names::ListenerSsl>>,
    /// Counters of its tls_inspector.
    pub inspector_scope: Scope<names::TlsInspector>,
    /// Logs of connections, each at its end; shared with those that will write to them.
    pub access_logs: Arc<[AccessLog]>,
    /// Secrets and routes that must be there before it listens.
    pub waits_for: Box<[Awaited]>,
    /// How long it waits for them; `None`: for ever. Default 15 s.
    pub warming_timeout: Option<Duration>,
}

/// How the beginning of a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloLimits {
    /// Bytes that may come until the ClientHello is whole. Default 64 KiB.
    pub most: usize,
    /// What is no ClientHello ends the connection, instead of being taken as cleartext.
    pub only_tls: bool,
}

impl Default for HelloLimits {
    fn default() -> Self {
        Self { most: MAX_CLIENT_HELLO, only_tls: false }
    }
}

/// Something from a source that a listener needs before it listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Awaited {
    /// The route configuration of that name.
    Routes(Arc<str>),
    /// The secret of that name.
    Secret(Arc<str>),
}

impl Listener {
    /// The chain for a connection.
    pub fn choose(&self, hello: &Hello<'_>) -> Option<&Arc<FilterChain>> {
        self.index.find(hello).and_then(|at| self.chains.get(at)).or(self.default_chain.as_ref())
    }

    /// The chain of that name.
    pub fn chain_named(&self, name: &str) -> Option<&Arc<FilterChain>> {
        self.all_chains().find(|chain| &*chain.name == name)
    }

    /// All chains, the default one last.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.iter().chain(&self.default_chain)
    }
}

impl std::fmt::Display for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Routes(name) => write!(f, "route configuration {name}"),
            Self::Secret(name) => write!(f, "secret {name}"),
        }
    }
}

/// One filter chain.
#[derive(Debug)]
pub struct FilterChain {
    /// Its name; generated from its place if it has none.
    pub name: Arc<str>,
    /// The name that it was given; empty if it was given none.
    pub given_name: Arc<str>,
    /// TLS, if it terminates any.
    pub tls: Option<Arc<DownstreamTls>>,
    /// How long a handshake may take. Default 15 s.
    pub handshake_timeout: Option<Duration>,
    /// What its connections pass before that, in configuration order.
    pub network: Box<[NetworkFilterConfig]>,
    /// Where the connection manager stands in `filters`.
    pub manager_at: usize,
    /// What serves its requests.
    pub manager: Arc<ConnectionManager>,
    /// Counters of its requests on this listener.
    pub scope: Scope<names::ListenerHttp>,
}

/// What is known of a connection when its chain is chosen.
#[derive(Clone, Debug, Default)]
pub struct Hello<'a> {
    /// It began with a TLS ClientHello.
    pub tls: bool,
    /// SNI, lower case.
    pub server_name: Option<&'a str>,
    /// ALPN, as offered.
    pub protocols: &'a [Vec<u8>],
}

/// Filter chains by server name, then transport protocol, then application protocol. As in Envoy each step takes the most
/// specific entry and does not come back: a chain for `a.b` that wants another protocol hides the one for `*.b`.
#[derive(Debug, Default)]
pub struct ChainIndex {
    exact: HashMap<Box<str>, ByTransport>,
    /// By what follows `*`, such as `.example.com`.
    wildcard: HashMap<Box<str>, ByTransport>,
    any: ByTransport,
}

#[derive(Debug, Default)]
struct ByTransport {
    tls: Option<ByProtocol>,
    raw: Option<ByProtocol>,
    any: Option<ByProtocol>,
}

#[derive(Debug, Default)]
struct ByProtocol {
    named: HashMap<Box<[u8]>, usize>,
    any: Option<usize>,
}

/// What a chain asks of a connection.
#[derive(Clone, Debug, Default)]
pub struct ChainMatch {
    /// Exact names or `*.suffix`, lower case; empty for any.
    pub server_names: Vec<String>,
    /// `tls`, `raw_buffer`, or empty for any.
    pub transport_protocol: String,
    /// ALPN names; empty for any.
    pub application_protocols: Vec<String>,
}

/// Two chains ask for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SameMatch {
    /// The chain that asked first.
    pub first: usize,
}

impl ChainIndex {
    /// Adds the chain at `chain`.
    ///
    /// # Errors
    /// Another chain asks for exactly the same, or this one twice.
    pub fn add(&mut self, wanted: &ChainMatch, chain: usize) -> Result<(), SameMatch> {
        if wanted.server_names.is_empty() {
            return self.any.add(wanted, chain);
        }
        for name in &wanted.server_names {
            let by_transport = match name.strip_prefix('*') {
                Some("") => &mut self.any,
                Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
                None => self.exact.entry(name.as_str().into()).or_default(),
            };
            by_transport.add(wanted, chain)?;
        }
        Ok(())
    }

    /// The chain for a connection.
    pub fn find(&self, hello: &Hello<'_>) -> Option<usize> {
        let name = hello.server_name.unwrap_or_default();
        let by_transport = if name.is_empty() { &self.any } else { self.by_name(name) };
        let by_protocol = if hello.tls { &by_transport.tls } else { &by_transport.raw };
        let by_protocol = by_protocol.as_ref().or(by_transport.any.as_ref())?;
        hello.protocols.iter().find_map(|p| by_protocol.named.get(p.as_slice()).copied()).or(by_protocol.any)
    }

    fn by_name(&self, name: &str) -> &ByTransport {
        if let Some(found) = self.exact.get(name) {
            return found;
        }
        let dots = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
        dots.filter_map(|at| self.wildcard.get(name.get(at..)?)).next().unwrap_or(&self.any)
    }
}

impl ByTransport {
    fn add(&mut self, wanted: &ChainMatch, chain: usize) -> Result<(), SameMatch> {
        let by_protocol = match wanted.transport_protocol.as_str() {
            "tls" => &mut self.tls,
            "raw_buffer" => &mut self.raw,
            _ => &mut self.any,
        };
        let by_protocol = by_protocol.get_or_insert_default();
        if wanted.application_protocols.is_empty() {
            if let Some(first) = by_protocol.any {
                return Err(SameMatch { first });
            }
            by_protocol.any = Some(chain);
        }
        for protocol in &wanted.application_protocols {
            match by_protocol.named.entry(protocol.as_bytes().into()) {
                Entry::Occupied(first) => return Err(SameMatch { first: *first.get() }),
                Entry::Vacant(free) => drop(free.insert(chain)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(names: &[&str], transport: &str, protocols: &[&str]) -> ChainMatch {
        ChainMatch {
            server_names: names.iter().map(|n| (*n).to_owned()).collect(),
            transport_protocol: transport.to_owned(),
            application_protocols: protocols.iter().map(|n| (*n).to_owned()).collect(),
        }
    }

    #[test]
    fn the_most_specific_chain_wins() {
        let mut index = ChainIndex::default();
        let chains = [
            wanted(&["a.example.com"], "tls", &[]),
            wanted(&["*.example.com"], "tls", &["h2"]),
            wanted(&["*.example.com"], "tls", &[]),
            wanted(&[], "raw_buffer", &[]),
            wanted(&["*.com"], "", &[]),
        ];
        for (at, chain) in chains.iter().enumerate() {
            index.add(chain, at).unwrap();
        }
        assert_eq!(index.add(&chains[0], 9), Err(SameMatch { first: 0 }));
        let h2 = [b"h2".to_vec()];
        let cases = [
            (true, Some("a.example.com"), &h2[..], Some(0)),
            (true, Some("b.example.com"), &h2, Some(1)),
            (true, Some("c.b.example.com"), &[], Some(2)),
            (true, Some("x.com"), &[], Some(4)),
            (true, Some("example.com"), &[], Some(4)),
            (true, Some("example.org"), &[], None),
            (true, None, &[], None),
            (false, None, &[], Some(3)),
        ];
        for (tls, server_name, protocols, expected) in cases {
            assert_eq!(index.find(&Hello { tls, server_name, protocols }), expected, "{tls} {server_name:?}");
        }
    }
}
