//! The compiled HTTP connection manager: how requests of a filter chain are read, cleaned, routed and logged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::http::KeyFormat;
use crate::http::h1::HeadLimits;
use crate::http::path::PathRules;
use crate::snapshot::compile::filter::HttpFilters;
use crate::snapshot::local_reply::LocalReplies;
use crate::snapshot::snapshot::RouteConfig;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::{Scope, names};

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`, ready to serve.
#[derive(Debug)]
pub struct ConnectionManager {
    /// Counters under `http.<stat_prefix>.`.
    pub scope: Scope<names::Http>,
    /// What metrics call it.
    pub stat_prefix: Box<str>,
    /// Which protocol its connections speak.
    pub codec: Codec,
    /// Where its routes are.
    pub routes: RouteSource,
    /// Its HTTP filters, without the router.
    pub filters: HttpFilters,
    /// Its access logs.
    pub access_logs: Box<[AccessLog]>,
    /// What becomes of the gateway's own answers (`local_reply_config`).
    pub local_replies: Option<Box<LocalReplies>>,
    /// What `server` says in responses.
    pub server: ServerHeader,
    /// Added to `via` both ways; empty for none.
    pub via: Bytes,
    /// Who is believed about the client's address.
    pub trust: Trust,
    /// What becomes of `x-forwarded-client-cert`.
    pub client_cert: ClientCert,
    /// Rules of `x-request-id`.
    pub request_id: RequestId,
    /// How the path is made canonical.
    pub path: PathRules,
    /// How the host is made canonical.
    pub host: HostRules,
    /// HTTP/1 settings.
    pub http1: Http1,
    /// HTTP/2 settings.
    pub http2: Http2,
    /// Size of heads.
    pub limits: HeadLimits,
    /// What becomes of header names with underscores.
    pub underscores: Underscores,
    /// Where that is counted.
    pub codecs: (Scope<names::Http1>, Scope<names::Http2>),
    /// When to give up waiting.
    pub timeouts: Timeouts,
    /// After so many requests a connection is closed; 0 for no limit (`max_requests_per_connection`).
    pub max_requests: u32,
    /// 100-continue goes to the endpoint and back instead of being answered here (`proxy_100_continue`).
    pub proxy_100_continue: bool,
    /// The router adds no `x-envoy-*` of its own (`suppress_envoy_headers`).
    pub suppress_envoy_headers: bool,
    /// Bytes of a body that a filter may hold, that are kept for a retry unless the route says otherwise, and that may wait
    /// for a slow peer.
    pub buffer_limit: usize,
}

/// `codec_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// By ALPN, else by the first bytes.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Where routes are found.
#[derive(Clone, Debug)]
pub enum RouteSource {
    /// In the listener.
    Inline(Arc<RouteConfig>),
    /// In the snapshot's route configuration of that name.
    Named(Arc<str>),
}

/// `server_name` and `server_header_transformation`.
#[derive(Clone, Debug)]
pub struct ServerHeader {
    /// Its value, `envoy` by default, so that nothing that looks at it notices a change of gateway.
    pub name: Bytes,
    /// When it is set.
    pub when: ServerHeaderWhen,
}

/// `server_header_transformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHeaderWhen {
    /// Always.
    Overwrite,
    /// If the endpoint set none.
    AppendIfAbsent,
    /// Never.
    PassThrough,
}

/// Who is believed about the client's address and scheme.
#[derive(Clone, Debug)]
pub struct Trust {
    /// This is the edge: the peer is the client (`use_remote_address`).
    pub use_remote_address: bool,
    /// Proxies in front whose entries in x-forwarded-for are believed.
    pub trusted_hops: u32,
    /// Leave x-forwarded-for alone.
    pub skip_append: bool,
    /// Add x-forwarded-port.
    pub append_port: bool,
    /// Ranges that count as internal; Envoy's default is none configured, meaning RFC 1918 and loopback do not count.
    pub internal: Box<[IpRange]>,
}

impl Trust {
    /// The peer is the client itself: nobody in front of it is believed to have ended its TLS.
    pub fn is_front(&self) -> bool {
        self.use_remote_address && self.trusted_hops == 0
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug)]
pub struct IpRange {
    /// Its first address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl IpRange {
    /// Whether `ip` is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                u32::from(a) & mask == u32::from(b) & mask
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                u128::from(a) & mask == u128::from(b) & mask
            }
            _ => false,
        }
    }
}

/// `forward_client_cert_details` and `set_current_client_cert_details`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientCert {
    /// What becomes of the field.
    pub mode: ClientCertMode,
    /// Add `Subject`.
    pub subject: bool,
    /// Add `Cert`.
    pub cert: bool,
    /// Add `DNS`.
    pub dns: bool,
    /// Add `URI`.
    pub uri: bool,
}

/// `forward_client_cert_details`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertMode {
    /// Remove the field.
    #[default]
    Sanitize,
    /// Keep it on mutual TLS, else remove it.
    ForwardOnly,
    /// On mutual TLS add this client behind it, else remove it.
    AppendForward,
    /// On mutual TLS replace it by this client, else remove it.
    SanitizeSet,
    /// Keep it.
    AlwaysForwardOnly,
}

/// Rules of `x-request-id`.
#[derive(Clone, Copy, Debug)]
pub struct RequestId {
    /// Make one where there is none.
    pub generate: bool,
    /// Keep what an outside client sent.
    pub preserve_external: bool,
    /// Tell it in the response.
    pub in_response: bool,
}

/// How the host is made canonical.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostRules {
    /// Cut the port if it is the listener's (`strip_matching_host_port`).
    pub strip_matching_port: bool,
    /// Cut any port (`strip_any_host_port`).
    pub strip_any_port: bool,
    /// Cut a dot at the end (`strip_trailing_host_dot`).
    pub strip_trailing_dot: bool,
}

/// HTTP/1 settings.
#[derive(Clone, Debug, Default)]
pub struct Http1 {
    /// Take HTTP/1.0.
    pub accept_http_10: bool,
    /// The host of an HTTP/1.0 request that names none.
    pub default_host: Bytes,
    /// Pass trailers on; otherwise they are read and dropped, as in Envoy.
    pub trailers: bool,
    /// How names are spelled.
    pub key_format: KeyFormat,
}

/// HTTP/2 settings; the defaults are Envoy 1.40's.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// Concurrent streams of a connection.
    pub max_streams: u32,
    /// Bytes a client may send on a stream before it is read.
    pub stream_window: u32,
    /// Bytes a client may send on a connection before it is read.
    pub connection_window: u32,
    /// HPACK table.
    pub header_table: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self { max_streams: 1024, stream_window: 16 << 20, connection_window: 24 << 20, header_table: 4096 }
    }
}

/// `headers_with_underscores_action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// Pass them.
    #[default]
    Allow,
    /// 400.
    Reject,
    /// Remove them.
    Drop,
}

/// When to give up waiting; `None` is never (an explicit 0).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head to its end: 408. Default 15 s.
    pub request_headers: Option<Duration>,
    /// From the first byte of a request to its end: 408. Default none.
    pub request: Option<Duration>,
    /// Nothing moves on a stream. Default 5 min.
    pub stream_idle: Option<Duration>,
    /// A connection without streams. Default 1 h.
    pub idle: Option<Duration>,
    /// A connection's life. Default none.
    pub connection: Option<Duration>,
    /// A stream's life. Default none.
    pub stream: Option<Duration>,
    /// How long an answered connection stays half open for the client to read the answer. Default 1 s.
    pub delayed_close: Option<Duration>,
    /// Between announcing the end of an HTTP/2 connection and ending it. Default 5 s.
    pub drain: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request_headers: Some(Duration::from_secs(15)),
            request: None,
            stream_idle: Some(Duration::from_secs(300)),
            idle: Some(Duration::from_secs(3600)),
            connection: None,
            stream: None,
            delayed_close: Some(Duration::from_secs(1)),
            drain: Some(Duration::from_secs(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges() {
        let range = IpRange { address: "10.1.0.0".parse().unwrap(), prefix: 16 };
        assert!(range.contains("10.1.255.1".parse().unwrap()));
        assert!(!range.contains("10.2.0.1".parse().unwrap()));
        assert!(IpRange { address: "0.0.0.0".parse().unwrap(), prefix: 0 }.contains("9.9.9.9".parse().unwrap()));
        let six = IpRange { address: "fd00::".parse().unwrap(), prefix: 8 };
        assert!(six.contains("fdff::1".parse().unwrap()) && !six.contains("fe80::1".parse().unwrap()));
    }
}
