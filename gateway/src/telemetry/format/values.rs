//! Where the values of operators come from.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::FormatCx;
use super::operator::Text;
use crate::http::{HeaderMap, Pseudo, RequestHead};
use crate::telemetry::{HandshakeFailure, StreamInfo, WireBytes};

/// A header field or pseudo-header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeaderName {
    Pseudo(Pseudo),
    Status,
    /// In lower case.
    Field(Box<str>),
}

impl HeaderName {
    pub(super) fn of(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        match Pseudo::of(lower.as_bytes()) {
            Some(which) => Self::Pseudo(which),
            None if lower == ":status" => Self::Status,
            // Envoy's documentation writes `X-ENVOY-ORIGINAL-PATH?:PATH`, so a name without colon is a field.
            None => Self::Field(lower.into()),
        }
    }

    pub(super) fn in_request<'a>(&self, head: &'a RequestHead) -> Option<&'a [u8]> {
        match self {
            Self::Pseudo(which) => Some(head.pseudo(*which)),
            Self::Status => None,
            Self::Field(name) => return head.headers.get(name.as_bytes()),
        }
        .map(|value: &bytes::Bytes| value.as_ref())
        .filter(|value: &&[u8]| !value.is_empty())
    }

    pub(super) fn in_fields<'a>(&self, fields: &'a HeaderMap) -> Option<&'a [u8]> {
        match self {
            Self::Field(name) => fields.get(name.as_bytes()),
            _ => None,
        }
    }
}

/// Operators with a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    BytesReceived,
    BytesSent,
    /// Bytes on a connection.
    Wire(Connection, WirePart),
    RequestFieldBytes,
    ResponseFieldBytes,
    TrailerFieldBytes,
    ResponseCode,
    Attempts,
    ConnectionId,
    UpstreamConnectionId,
    /// Milliseconds until the handshake was over.
    Handshake,
    Port(Peer),
    /// Milliseconds between two points of time.
    Between(Point, Point),
}

impl Number {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BYTES_RECEIVED" => Self::BytesReceived,
            "BYTES_SENT" => Self::BytesSent,
            "REQUEST_HEADERS_BYTES" => Self::RequestFieldBytes,
            "RESPONSE_HEADERS_BYTES" => Self::ResponseFieldBytes,
            "RESPONSE_TRAILERS_BYTES" => Self::TrailerFieldBytes,
            "RESPONSE_CODE" => Self::ResponseCode,
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Self::Attempts,
            "CONNECTION_ID" => Self::ConnectionId,
            "UPSTREAM_CONNECTION_ID" => Self::UpstreamConnectionId,
            "DOWNSTREAM_HANDSHAKE_DURATION" => Self::Handshake,
            "DURATION" => Self::Between(Point::Start, Point::End),
            "REQUEST_DURATION" => Self::Between(Point::Start, Point::RequestComplete),
            "REQUEST_TX_DURATION" => Self::Between(Point::Start, Point::UpstreamTxLast),
            "RESPONSE_DURATION" => Self::Between(Point::Start, Point::UpstreamRxFirst),
            "RESPONSE_TX_DURATION" => Self::Between(Point::UpstreamRxFirst, Point::End),
            "DOWNSTREAM_REMOTE_PORT" => Self::Port(Peer::Client),
            "DOWNSTREAM_DIRECT_REMOTE_PORT" => Self::Port(Peer::ClientDirect),
            "DOWNSTREAM_LOCAL_PORT" | "DOWNSTREAM_DIRECT_LOCAL_PORT" => Self::Port(Peer::Local),
            "UPSTREAM_REMOTE_PORT" => Self::Port(Peer::Upstream),
            "UPSTREAM_LOCAL_PORT" => Self::Port(Peer::UpstreamLocal),
            _ => {
                let (connection, rest) = Connection::split(name)?;
                Self::Wire(connection, WirePart::parse(rest)?)
            }
        })
    }

    pub(super) fn of(self, cx: &FormatCx<'_>) -> Option<u64> {
        let info = cx.info;
        Some(match self {
            Self::BytesReceived => info.bytes_received,
            Self::BytesSent => info.bytes_sent,
            Self::Wire(side, part) => part.of(side.bytes(info)),
            Self::RequestFieldBytes => cx.request.map_or(0, |head| head.byte_size() as u64),
            Self::ResponseFieldBytes => cx.response.map_or(0, |head| head.byte_size() as u64),
            Self::TrailerFieldBytes => cx.response_trailers.map_or(0, |fields| fields.byte_size() as u64),
            Self::ResponseCode => u64::from(info.status),
            Self::Attempts => u64::from(info.attempts),
            Self::ConnectionId => info.connection.id,
            Self::UpstreamConnectionId => info.upstream_connection,
            Self::Handshake => {
                // As in Envoy: what begins on a connection begins after its handshake.
                info.connection.shaken?.saturating_duration_since(info.start).as_millis() as u64
            }
            Self::Port(peer) => u64::from(peer.of(info)?.port()),
            Self::Between(from, to) => between(info, from, to)?.as_millis() as u64,
        })
    }
}

/// The connection of a client or those to endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) enum Connection {
    Downstream,
    Upstream,
}

impl Connection {
    /// `DOWNSTREAM_X` as a side and `X`.
    fn split(name: &str) -> Option<(Self, &str)> {
        let of = |prefix, side| Some((side, name.strip_prefix(prefix)?));
        of("DOWNSTREAM_", Self::Downstream).or_else(|| of("UPSTREAM_", Self::Upstream))
    }

    fn bytes(self, info: &StreamInfo) -> &WireBytes {
        match self {
            Self::Downstream => &info.downstream_bytes,
            Self::Upstream => &info.upstream_bytes,
        }
    }
}

/// A count of [`WireBytes`].
#[derive(Clone, Copy, Debug)]
pub(super) enum WirePart {
    Received,
    Sent,
    FieldsReceived,
    FieldsSent,
}

impl WirePart {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "WIRE_BYTES_RECEIVED" => Self::Received,
            "WIRE_BYTES_SENT" => Self::Sent,
            "HEADER_BYTES_RECEIVED" | "DECOMPRESSED_HEADER_BYTES_RECEIVED" => Self::FieldsReceived,
            "HEADER_BYTES_SENT" | "DECOMPRESSED_HEADER_BYTES_SENT" => Self::FieldsSent,
            _ => return None,
        })
    }

    fn of(self, bytes: &WireBytes) -> u64 {
        match self {
            Self::Received => bytes.received,
            Self::Sent => bytes.sent,
            Self::FieldsReceived => bytes.fields_received,
            Self::FieldsSent => bytes.fields_sent,
        }
    }
}

/// A point of time in the life of a stream (`COMMON_DURATION`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    Start,
    RequestComplete,
    UpstreamTxFirst,
    UpstreamTxLast,
    UpstreamRxFirst,
    UpstreamRxLast,
    ResponseFirst,
    End,
}

impl Point {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "DS_RX_BEG" => Self::Start,
            "DS_RX_END" => Self::RequestComplete,
            "US_TX_BEG" => Self::UpstreamTxFirst,
            "US_TX_END" => Self::UpstreamTxLast,
            "US_RX_BEG" => Self::UpstreamRxFirst,
            "US_RX_END" => Self::UpstreamRxLast,
            "DS_TX_BEG" => Self::ResponseFirst,
            "DS_TX_END" => Self::End,
            _ => return None,
        })
    }

    fn of(self, info: &StreamInfo) -> Option<Instant> {
        match self {
            Self::Start => Some(info.start),
            Self::RequestComplete => info.request_complete,
            Self::UpstreamTxFirst => info.upstream_tx_first,
            Self::UpstreamTxLast => info.upstream_tx_last,
            Self::UpstreamRxFirst => info.upstream_rx_first,
            Self::UpstreamRxLast => info.upstream_rx_last,
            Self::ResponseFirst => info.response_first,
            Self::End => info.end,
        }
    }
}

/// Time from one point to another; `None` if one was not reached, or they come in the other order.
pub(super) fn between(info: &StreamInfo, from: Point, to: Point) -> Option<Duration> {
    to.of(info)?.checked_duration_since(from.of(info)?)
}

/// Unit of a duration.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ms" => Self::Millis,
            "us" => Self::Micros,
            "ns" => Self::Nanos,
            _ => return None,
        })
    }

    pub(super) fn count(self, duration: Duration) -> u64 {
        (match self {
            Self::Millis => duration.as_millis(),
            Self::Micros => duration.as_micros(),
            Self::Nanos => duration.as_nanos(),
        }) as u64
    }
}

/// Operators with a text that is there already.
#[derive(Clone, Copy, Debug)]
pub(super) enum TextField {
    Protocol,
    UpstreamProtocol,
    RouteName,
    Cluster,
    ServerName,
    FilterChain,
    Listener,
    UpstreamFailure,
    DownstreamFailure,
    Termination,
    TlsVersion,
    TlsCipher,
    TlsGroup,
    UpstreamTlsVersion,
    UpstreamTlsCipher,
    UpstreamTlsGroup,
}

impl TextField {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "PROTOCOL" => Self::Protocol,
            "UPSTREAM_PROTOCOL" => Self::UpstreamProtocol,
            "ROUTE_NAME" => Self::RouteName,
            "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Self::Cluster,
            "FILTER_CHAIN_NAME" => Self::FilterChain,
            "LISTENER_NAME" => Self::Listener,
            "UPSTREAM_TRANSPORT_FAILURE_REASON" => Self::UpstreamFailure,
            "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => Self::DownstreamFailure,
            "CONNECTION_TERMINATION_DETAILS" => Self::Termination,
            "DOWNSTREAM_TLS_VERSION" => Self::TlsVersion,
            "DOWNSTREAM_TLS_CIPHER" => Self::TlsCipher,
            "DOWNSTREAM_TLS_GROUP" => Self::TlsGroup,
            "UPSTREAM_TLS_GROUP" => Self::UpstreamTlsGroup,
            "UPSTREAM_TLS_VERSION" => Self::UpstreamTlsVersion,
            "UPSTREAM_TLS_CIPHER" => Self::UpstreamTlsCipher,
            _ => return None,
        })
    }

    pub(super) fn of(self, info: &StreamInfo) -> Option<Text<'_>> {
        let connection = &*info.connection;
        let text: &str = match self {
            Self::Protocol => info.protocol?.as_str(),
            // Endpoints are spoken to in HTTP/1.1; as in Envoy there is none before a connection is ready.
            Self::UpstreamProtocol => info.upstream_tx_first.map(|_| "HTTP/1.1")?,
            Self::RouteName => info.route.as_deref()?,
            Self::Cluster => info.cluster.as_deref()?,
            Self::ServerName => connection.requested_server_name.as_deref()?,
            Self::FilterChain => &connection.filter_chain,
            Self::Listener => &connection.listener,
            Self::UpstreamFailure => info.upstream_failure.as_deref()?,
            Self::DownstreamFailure => match connection.failure.as_ref()? {
                HandshakeFailure::Refused(why) => why,
                HandshakeFailure::TimedOut => return None,
            },
            Self::Termination => match connection.failure.as_ref()? {
                HandshakeFailure::TimedOut => "transport socket timeout was reached",
                HandshakeFailure::Refused(_) => return None,
            },
            Self::TlsVersion => connection.tls.as_ref()?.version,
            Self::TlsCipher => connection.tls.as_ref()?.cipher,
            Self::TlsGroup => connection.tls.as_ref()?.curve,
            Self::UpstreamTlsGroup => info.upstream_tls.as_ref()?.curve,
            Self::UpstreamTlsVersion => info.upstream_tls.as_ref()?.version,
            Self::UpstreamTlsCipher => info.upstream_tls.as_ref()?.cipher,
        };
        Some(text).filter(|text| !text.is_empty()).map(Into::into)
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// The client, after x-forwarded-for.
    Client,
    /// The peer of the TCP connection.
    ClientDirect,
    Local,
    /// The endpoint that was chosen.
    Endpoint,
    /// The same, once it is connected.
    Upstream,
    UpstreamLocal,
}

impl Peer {
    fn of(self, info: &StreamInfo) -> Option<SocketAddr> {
        match self {
            Self::Client => Some(info.client),
            Self::ClientDirect => Some(info.connection.remote),
            Self::Local => Some(info.connection.local),
            Self::Endpoint => info.upstream_remote,
            Self::Upstream => info.upstream_remote.filter(|_| info.upstream_connected),
            Self::UpstreamLocal => info.upstream_local,
        }
    }
}

/// Operators with an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    peer: Peer,
    with_port: bool,
}

impl Address {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (base, with_port) = match name.strip_suffix("_WITHOUT_PORT") {
            Some(base) => (base, false),
            None => (name, true),
        };
        let peer = match base {
            "DOWNSTREAM_REMOTE_ADDRESS" => Peer::Client,
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Peer::ClientDirect,
            "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => Peer::Local,
            "UPSTREAM_HOST" if with_port => Peer::Endpoint,
            "UPSTREAM_HOST_NAME" => Peer::Endpoint,
            "UPSTREAM_REMOTE_ADDRESS" => Peer::Upstream,
            "UPSTREAM_LOCAL_ADDRESS" => Peer::UpstreamLocal,
            _ => return None,
        };
        Some(Self { peer, with_port })
    }

    pub(super) fn write(self, info: &StreamInfo, out: &mut Vec<u8>) -> bool {
        self.peer.of(info).is_some_and(|address| write_address(address, self.with_port, out))
    }
}

fn write_address(address: SocketAddr, with_port: bool, out: &mut Vec<u8>) -> bool {
    use std::io::Write as _;
    if let SocketAddr::V4(v4) = address {
        // The usual case, without the formatting machinery.
        let mut number = itoa::Buffer::new();
        for (index, octet) in v4.ip().octets().into_iter().enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            out.extend_from_slice(number.format(octet).as_bytes());
        }
        if with_port {
            out.push(b':');
            out.extend_from_slice(number.format(v4.port()).as_bytes());
        }
        return true;
    }
    // Writing to a Vec cannot fail.
    if with_port { write!(out, "{address}") } else { write!(out, "{}", address.ip()) }.is_ok()
}

/// Appends these addresses, with commas between; says whether there are any.
pub(super) fn write_attempted(addresses: &[SocketAddr], with_port: bool, out: &mut Vec<u8>) -> bool {
    for (index, address) in addresses.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_address(*address, with_port, out);
    }
    !addresses.is_empty()
}

/// A value in the dynamic metadata.
pub(super) fn json_at<'a>(info: &'a StreamInfo, namespace: &str, path: &[Box<str>]) -> Option<&'a serde_json::Value> {
    let (_, root) = info.metadata.iter().find(|(name, _)| name == namespace)?;
    path.iter().try_fold(root, |value, key| value.get(&**key))
}
