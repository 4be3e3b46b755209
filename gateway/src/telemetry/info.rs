//! What is known of a connection and of a stream: filled along the path of a request, read by access logs, header
//! formatters and filters' properties.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use smallvec::SmallVec;

use super::flags::ResponseFlags;
use crate::http::Version;

/// A downstream connection, shared by its streams.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Unique within the process.
    pub id: u64,
    /// The peer of the TCP connection.
    pub remote: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// What the TLS handshake settled; `None` on cleartext. Of a handshake that failed, as
    /// far as it is known: its certificates.
    pub tls: Option<TlsInfo>,
    /// SNI of the client, also where TLS is not terminated.
    pub requested_server_name: Option<Arc<str>>,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Name of the filter chain; empty if it has none.
    pub filter_chain: Arc<str>,
    /// When it was accepted.
    pub accepted: Instant,
    /// When its handshake was over, if it speaks TLS.
    pub shaken: Option<Instant>,
    /// Why its handshake failed; such a connection has no streams.
    pub failure: Option<HandshakeFailure>,
}

/// The bytes of one stream on a connection, above TLS. Over HTTP/2 these are its heads before they are compressed and its
/// bodies without the heads of frames: what frames become of them is known to the codec alone, and later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireBytes {
    /// All that was received.
    pub received: u64,
    /// All that was sent.
    pub sent: u64,
    /// Of that the fields of heads and trailers.
    pub fields_received: u64,
    /// Of that the fields of heads and trailers.
    pub fields_sent: u64,
}

impl std::ops::AddAssign for WireBytes {
    fn add_assign(&mut self, more: Self) {
        self.received += more.received;
        self.sent += more.sent;
        self.fields_received += more.fields_received;
        self.fields_sent += more.fields_sent;
    }
}

/// Why a client's TLS handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// One side refused: the text behind `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`.
    Refused(Box<str>),
    /// It took longer than `transport_socket_connect_timeout`.
    TimedOut,
}

/// What a TLS handshake settled.
#[derive(Debug, Clone, Default)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// OpenSSL's name of the cipher suite, as Envoy prints it, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// BoringSSL's name of the key exchange's group, such as `X25519`.
    pub curve: &'static str,
    /// BoringSSL's name of the algorithm with which the peer signed, such as `rsa_pss_rsae_sha256`; empty if it did not.
    pub signature: &'static str,
    /// Negotiated application protocol; empty if none.
    pub alpn: Arc<str>,
    /// The certificate that the peer showed; `None` if it showed none.
    pub peer: Option<Arc<CertificateInfo>>,
    /// That certificate was held against something and found good. Where untrusted ones are let in, it may not be.
    pub validated: bool,
    /// The certificate that was shown to the peer.
    pub local: Option<Arc<CertificateInfo>>,
}

/// The parts of an X.509 certificate that logs, headers and filters ask for.
#[derive(Debug, Clone, Default)]
pub struct CertificateInfo {
    /// RFC 2253 form.
    pub subject: String,
    /// RFC 2253 form.
    pub issuer: String,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the DER form, lower-case hexadecimal.
    pub sha256: String,
    /// SHA-1 of the same.
    pub sha1: String,
    /// URI names.
    pub uri_sans: Vec<String>,
    /// DNS names.
    pub dns_sans: Vec<String>,
    /// Addresses.
    pub ip_sans: Vec<String>,
    /// E-mail addresses.
    pub email_sans: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// PEM form.
    pub pem: String,
}

/// Why a response came to be: the text behind `%RESPONSE_CODE_DETAILS%`.
pub type Details = Cow<'static, str>;

/// A stream: one request and its response.
#[derive(Debug)]
pub struct StreamInfo {
    /// The connection it came on.
    pub connection: Rc<ConnectionInfo>,
    /// When its first byte was read.
    pub start: Instant,
    /// The same by the wall clock.
    pub start_wall: SystemTime,
    /// Protocol of the request; `None` for what is no request.
    pub protocol: Option<Version>,
    /// The client's address after x-forwarded-for was applied.
    pub client: SocketAddr,
    /// What went wrong.
    pub flags: ResponseFlags,
    /// Why the response came to be, such as `via_upstream` or `route_not_found`; empty until known.
    pub details: Option<Details>,
    /// Status sent downstream; 0 if none was.
    pub status: u16,
    /// Name of the route; empty if it has none.
    pub route: Option<Arc<str>>,
    /// Name of the virtual host.
    pub virtual_host: Option<Arc<str>>,
    /// Name of the cluster.
    pub cluster: Option<Arc<str>>,
    /// The endpoint that was tried last.
    pub upstream_remote: Option<SocketAddr>,
    /// There was a connection to it.
    pub upstream_connected: bool,
    /// The number of that connection; 0 if there is none.
    pub upstream_connection: u64,
    /// The endpoints that had a connection for it, each once. Most requests have one.
    pub upstream_attempted: SmallVec<[SocketAddr; 1]>,
    /// The local end of that connection.
    pub upstream_local: Option<SocketAddr>,
    /// TLS towards the endpoint.
    pub upstream_tls: Option<Rc<TlsInfo>>,
    /// Why the upstream connection failed.
    pub upstream_failure: Option<Details>,
    /// How often an endpoint was tried (`%UPSTREAM_REQUEST_ATTEMPT_COUNT%`).
    pub attempts: u32,
    /// Body bytes received from the client.
    pub bytes_received: u64,
    /// Body bytes sent to the client.
    pub bytes_sent: u64,
    /// What it took of the client's connection.
    pub downstream_bytes: WireBytes,
    /// What its tries took of connections to endpoints, all together.
    pub upstream_bytes: WireBytes,
    /// Last byte of the request was read.
    pub request_complete: Option<Instant>,
    /// First byte of the request was sent to the endpoint.
    pub upstream_tx_first: Option<Instant>,
    /// Last byte of the request was sent to the endpoint.
    pub upstream_tx_last: Option<Instant>,
    /// First byte of the response was received from the endpoint.
    pub upstream_rx_first: Option<Instant>,
    /// Last byte of the response was received from the endpoint.
    pub upstream_rx_last: Option<Instant>,
    /// First byte of the response was sent to the client.
    pub response_first: Option<Instant>,
    /// The stream ended.
    pub end: Option<Instant>,
    /// Filter state: what filters left for each other and for the log, by key.
    pub filter_state: Vec<(String, Vec<u8>)>,
    /// Dynamic metadata by filter namespace, as JSON objects.
    pub metadata: Vec<(String, serde_json::Value)>,
}

impl StreamInfo {
    /// A stream that begins now.
    pub fn new(connection: Rc<ConnectionInfo>, protocol: impl Into<Option<Version>>) -> Self {
        Self {
            client: connection.remote,
            connection,
            start: Instant::now(),
            start_wall: SystemTime::now(),
            protocol: protocol.into(),
            flags: ResponseFlags::NONE,
            details: None,
            status: 0,
            route: None,
            virtual_host: None,
            cluster: None,
            upstream_remote: None,
            upstream_connected: false,
            upstream_connection: 0,
            upstream_attempted: SmallVec::new(),
            upstream_local: None,
            upstream_tls: None,
            upstream_failure: None,
            attempts: 0,
            bytes_received: 0,
            bytes_sent: 0,
            downstream_bytes: WireBytes::default(),
            upstream_bytes: WireBytes::default(),
            request_complete: None,
            upstream_tx_first: None,
            upstream_tx_last: None,
            upstream_rx_first: None,
            upstream_rx_last: None,
            response_first: None,
            end: None,
            filter_state: Vec::new(),
            metadata: Vec::new(),
        }
    }
}
