//! How a cluster is configured, once compiled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{RoutingPriority, Thresholds};
use crate::http::KeyFormat;
use crate::http::h1::{HeadLimits, ResponseOptions};
use crate::telemetry::metrics::{Scope, names};
use crate::tls::UpstreamTls;

/// What a cluster is, apart from its endpoints. Shared by all versions of the cluster that differ in endpoints only.
#[derive(Debug)]
pub struct ClusterConfig {
    /// What routes call it.
    pub name: Arc<str>,
    /// What metrics call it: `alt_stat_name`, or the name.
    pub stat_name: Arc<str>,
    /// For a cluster of type EDS: whose ClusterLoadAssignment it takes (`service_name`, or the name).
    pub eds_service: Option<Arc<str>>,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// `lb_policy` or `load_balancing_policy`.
    pub balancer: Balancer,
    /// Below this share of usable endpoints, in percent, health is no longer looked at; 0 turns that off.
    pub panic_threshold: u32,
    /// In such a panic, fail requests instead of spreading them over all endpoints.
    pub fail_traffic_on_panic: bool,
    /// By routing priority.
    pub breakers: [Thresholds; 2],
    /// Connections that one endpoint may have (`per_host_thresholds`), by routing priority.
    pub max_connections_per_endpoint: [u32; 2],
    /// TLS towards its endpoints; `None` for cleartext.
    pub tls: Option<Arc<UpstreamTls>>,
    /// Where its handshakes are counted; there if `tls` is.
    pub ssl: Option<Scope<names::ClusterSsl>>,
    /// Bytes that may wait for an endpoint, and that are read from it at once (`per_connection_buffer_limit_bytes`).
    pub buffer_limit: usize,
    /// Options of its sockets.
    pub socket: SocketOptions,
    /// HTTP towards its endpoints.
    pub http: HttpOptions,
}

impl ClusterConfig {
    /// A cluster as Envoy's defaults have it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self {
            stat_name: Arc::clone(&name),
            name,
            eds_service: None,
            connect_timeout: Duration::from_secs(5),
            balancer: Balancer::RoundRobin,
            panic_threshold: 50,
            fail_traffic_on_panic: false,
            breakers: [Thresholds::default(), Thresholds::default()],
            max_connections_per_endpoint: [u32::MAX; 2],
            tls: None,
            ssl: None,
            buffer_limit: 1024 * 1024,
            socket: SocketOptions::default(),
            http: HttpOptions::default(),
        }
    }

    /// How its endpoints' responses are read.
    pub fn response_options(&self) -> ResponseOptions {
        ResponseOptions {
            limits: HeadLimits {
                bytes: self.http.max_response_headers_kb as usize * 1024,
                fields: self.http.max_headers_count as usize,
            },
            preserve_case: self.http.http1.key_format.preserved(),
        }
    }

    /// The circuit breakers of a routing priority.
    pub fn thresholds(&self, priority: RoutingPriority) -> &Thresholds {
        match priority {
            RoutingPriority::Default => &self.breakers[0],
            RoutingPriority::High => &self.breakers[1],
        }
    }

    /// Connections that one endpoint may have.
    pub fn endpoint_max_connections(&self, priority: RoutingPriority) -> u32 {
        match priority {
            RoutingPriority::Default => self.max_connections_per_endpoint[0],
            RoutingPriority::High => self.max_connections_per_endpoint[1],
        }
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Balancer {
    /// In turn, more often by weight.
    RoundRobin,
    /// The least busy of a few chosen at random, or by weight over active requests when weights differ.
    LeastRequest(LeastRequest),
    /// At random; weights are not looked at, as in Envoy.
    Random,
}

/// Settings of [`Balancer::LeastRequest`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeastRequest {
    /// How many are compared.
    pub choices: u32,
    /// Compare all instead.
    pub full_scan: bool,
    /// With differing weights: weight / (active requests + 1) ^ bias.
    pub bias: f64,
}

impl LeastRequest {
    /// Envoy's defaults: the better of two.
    pub const DEFAULT: Self = Self { choices: 2, full_scan: false, bias: 1.0 };
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Options of sockets to endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Where connections start from (`upstream_bind_config.source_address`).
    pub source: Option<SocketAddr>,
    /// `upstream_connection_options.tcp_keepalive`.
    pub keepalive: Option<TcpKeepalive>,
}

/// TCP keep-alive; what is `None` is left to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Probes without an answer before the connection is dropped.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// HTTP towards the endpoints (`HttpProtocolOptions`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// How long a connection may idle in a pool; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become.
    pub max_connection_duration: Option<Duration>,
    /// Requests over one connection; 0: no limit.
    pub max_requests_per_connection: u32,
    /// Fields of a response.
    pub max_headers_count: u32,
    /// Size of a response's head, in KiB.
    pub max_response_headers_kb: u32,
    /// How long a request may take in all.
    pub max_stream_duration: Option<Duration>,
    /// HTTP/1 only.
    pub http1: Http1Options,
    /// SNI is the request's host.
    pub auto_sni: bool,
    /// The certificate must be for the request's host.
    pub auto_san_validation: bool,
}

impl HttpOptions {
    /// Whether the host of a request decides whom its connection leads to.
    pub fn by_host(&self) -> bool {
        self.auto_sni || self.auto_san_validation
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_requests_per_connection: 0,
            max_headers_count: 100,
            max_response_headers_kb: 60,
            max_stream_duration: None,
            http1: Http1Options::default(),
            auto_sni: false,
            auto_san_validation: false,
        }
    }
}

/// `Http1ProtocolOptions` towards endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http1Options {
    /// Pass trailers on to the endpoint, and back.
    pub trailers: bool,
    /// How names are spelled.
    pub key_format: KeyFormat,
}
