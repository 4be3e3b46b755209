//! Properties: what a guest can ask about its stream and itself, under the names of Envoy's attributes.

use serde_json::Value;
use weir_wasm::{PropertyPath, Status};

use super::encode::{self, Found, address, boolean, bytes, duration, field, map, time, uint};
use super::load::Identity;
use crate::filter::StreamState;
use crate::http::{HeaderMap, Pseudo};
use crate::telemetry::{CertificateInfo, StreamInfo, TlsInfo};

/// This gateway as control planes know it (`node` in the bootstrap).
#[derive(Debug, Default)]
pub struct Node {
    /// `id`
    pub id: String,
    /// `cluster`
    pub cluster: String,
    /// `metadata`
    pub metadata: Value,
    /// `locality`
    pub locality: Locality,
}

/// Where a node runs.
#[derive(Debug, Default)]
pub struct Locality {
    /// `region`
    pub region: String,
    /// `zone`
    pub zone: String,
    /// `sub_zone`
    pub sub_zone: String,
}

/// A property of a stream or of its plugin.
pub(super) fn of_stream(state: &StreamState, identity: &Identity, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    let (first, rest) = path.split_first();
    let info = &state.info;
    match first {
        b"request" => request(state, rest, out),
        b"response" => response(state, rest, out),
        b"source" => endpoint(info.client, rest, out),
        b"destination" => endpoint(info.connection.local, rest, out),
        b"connection" => connection(info, rest, out),
        b"connection_id" => uint(info.connection.id, out),
        b"upstream" => upstream(info, rest, out),
        b"xds" => match rest.split_first() {
            (b"cluster_name", _) => bytes(info.cluster.as_deref()?, out),
            (b"route_name", _) => bytes(info.route.as_deref()?, out),
            (b"virtual_host_name", _) => bytes(info.virtual_host.as_deref()?, out),
            (b"filter_chain_name", _) => bytes(&*info.connection.filter_chain, out),
            (b"node", rest) => node(identity, rest, out),
            _ => None,
        },
        b"cluster_name" => bytes(info.cluster.as_deref()?, out),
        b"route_name" => bytes(info.route.as_deref()?, out),
        b"metadata" => match rest.split_first() {
            (b"filter_metadata", rest) => {
                let (namespace, rest) = rest.split_first();
                let (_, value) = info.metadata.iter().find(|(name, _)| name.as_bytes() == namespace)?;
                encode::json(value, rest.segments(), out)
            }
            _ => None,
        },
        b"filter_state" => filter_state(info, rest.raw(), out),
        _ => of_plugin(identity, path, out).or_else(|| filter_state(info, &own_key(path), out)),
    }
}

/// What a guest can ask without a stream.
pub(super) fn of_plugin(identity: &Identity, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    let (first, rest) = path.split_first();
    match first {
        b"plugin_name" => bytes(&identity.name, out),
        b"plugin_root_id" => bytes(&identity.root_id, out),
        b"plugin_vm_id" => bytes(&identity.vm_id, out),
        b"node" => node(identity, rest, out),
        b"xds" => match rest.split_first() {
            (b"node", rest) => node(identity, rest, out),
            _ => None,
        },
        _ => None,
    }
}

/// Keeps a value under `wasm.<path>`, as Envoy does: filters behind and logs can read it, and the guest itself by `path`.
/// All values of a stream together may have `limit` bytes.
pub(super) fn set(info: &mut StreamInfo, path: PropertyPath<'_>, value: &[u8], limit: usize) -> Result<(), Status> {
    let key = String::from_utf8(own_key(path)).map_err(|_| Status::BadArgument)?;
    let held: usize = info.filter_state.iter().map(|(name, value)| name.len() + value.len()).sum();
    if held + key.len() + value.len() > limit {
        return Err(Status::BadArgument);
    }
    match info.filter_state.iter_mut().find(|(name, _)| *name == key) {
        Some((_, standing)) => *standing = value.to_vec(),
        None => info.filter_state.push((key, value.to_vec())),
    }
    Ok(())
}

fn own_key(path: PropertyPath<'_>) -> Vec<u8> {
    [b"wasm.", path.raw()].concat()
}

fn filter_state(info: &StreamInfo, key: &[u8], out: &mut Vec<u8>) -> Found {
    let (_, value) = info.filter_state.iter().find(|(name, _)| name.as_bytes() == key)?;
    bytes(value, out)
}

fn request(state: &StreamState, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    let (head, info) = (&state.request, &state.info);
    match path.split_first() {
        (b"path", _) => bytes(&head.path, out),
        (b"url_path", _) => bytes(head.path_only(), out),
        (b"host", _) => bytes(&head.authority, out),
        (b"scheme", _) => bytes(&head.scheme, out),
        (b"method", _) => bytes(&head.method, out),
        (b"headers", name) => match name.raw() {
            b"" => map(head.headers.iter(), out),
            name => match Pseudo::of(name) {
                Some(which) => bytes(head.pseudo(which), out),
                None => field(&head.headers, name, out),
            },
        },
        (b"referer", _) => bytes(head.headers.get("referer")?, out),
        (b"useragent", _) => bytes(head.headers.get("user-agent")?, out),
        (b"id", _) => bytes(head.headers.get("x-request-id")?, out),
        (b"protocol", _) => bytes(info.protocol?.as_str(), out),
        (b"query", _) => bytes(head.query().unwrap_or_default(), out),
        (b"time", _) => time(info.start_wall, out),
        (b"duration", _) => duration(info.end?.saturating_duration_since(info.start), out),
        (b"size", _) => uint(announced(&head.headers).unwrap_or(info.bytes_received), out),
        (b"total_size", _) => uint(info.bytes_received + head.byte_size() as u64, out),
        (b"headers_bytes", _) => uint(head.byte_size() as u64, out),
        _ => None,
    }
}

fn response(state: &StreamState, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    let info = &state.info;
    let headers = state.response.as_ref().map(|head| &head.headers);
    let trailers = state.response_trailers.as_ref();
    let head_bytes = || state.response.as_ref().map_or(0, |head| head.byte_size() as u64);
    match path.split_first() {
        (b"code", _) => match state.response.as_ref().map_or(info.status, |head| head.status) {
            0 => None,
            status => uint(u64::from(status), out),
        },
        (b"code_details", _) => bytes(&**info.details.as_ref()?, out),
        (b"flags", _) => uint(legacy_flags(info), out),
        (b"grpc_status", _) => {
            let raw = trailers.and_then(|t| t.get_str("grpc-status")).or_else(|| headers?.get_str("grpc-status"))?;
            uint(raw.parse().ok()?, out)
        }
        (b"headers", name) if name.is_empty() => map(headers?.iter(), out),
        (b"headers", name) => field(headers?, name.raw(), out),
        (b"trailers", name) if name.is_empty() => map(trailers?.iter(), out),
        (b"trailers", name) => field(trailers?, name.raw(), out),
        (b"headers_bytes", _) => uint(head_bytes(), out),
        (b"size", _) => uint(info.bytes_sent, out),
        (b"total_size", _) => uint(info.bytes_sent + head_bytes(), out),
        (b"backend_latency", _) => {
            duration(info.upstream_rx_first?.saturating_duration_since(info.upstream_tx_first?), out)
        }
        _ => None,
    }
}

fn endpoint(value: std::net::SocketAddr, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    match path.raw() {
        b"address" => address(value, out),
        b"port" => uint(u64::from(value.port()), out),
        _ => None,
    }
}

fn connection(info: &StreamInfo, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    let connection = &info.connection;
    let tls = connection.tls.as_ref();
    match path.raw() {
        b"id" => uint(connection.id, out),
        b"mtls" => boolean(tls.is_some_and(|tls| tls.peer.is_some()), out),
        b"requested_server_name" => bytes(connection.requested_server_name.as_deref()?, out),
        other => tls_property(tls?, other, out),
    }
}

fn upstream(info: &StreamInfo, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    match path.raw() {
        b"address" => address(info.upstream_remote?, out),
        b"port" => uint(u64::from(info.upstream_remote?.port()), out),
        b"local_address" => address(info.upstream_local?, out),
        b"transport_failure_reason" => bytes(info.upstream_failure.as_deref()?, out),
        b"request_attempt_count" => uint(u64::from(info.attempts), out),
        other => tls_property(info.upstream_tls.as_deref()?, other, out),
    }
}

fn tls_property(tls: &TlsInfo, name: &[u8], out: &mut Vec<u8>) -> Found {
    let (local, peer) = (tls.local.as_deref(), tls.peer.as_deref());
    let first = |names: fn(&CertificateInfo) -> &Vec<String>, certificate: Option<&CertificateInfo>| {
        certificate.and_then(|certificate| names(certificate).first().cloned())
    };
    match name {
        b"tls_version" => bytes(tls.version, out),
        b"subject_local_certificate" => bytes(&local?.subject, out),
        b"subject_peer_certificate" => bytes(&peer?.subject, out),
        b"dns_san_local_certificate" => bytes(first(|c| &c.dns_sans, local)?, out),
        b"dns_san_peer_certificate" => bytes(first(|c| &c.dns_sans, peer)?, out),
        b"uri_san_local_certificate" => bytes(first(|c| &c.uri_sans, local)?, out),
        b"uri_san_peer_certificate" => bytes(first(|c| &c.uri_sans, peer)?, out),
        b"sha256_peer_certificate_digest" => bytes(&peer?.sha256, out),
        b"peer_certificate" => bytes(&peer?.pem, out),
        _ => None,
    }
}

fn node(identity: &Identity, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Found {
    let node = &identity.node;
    match path.split_first() {
        (b"id", _) => bytes(&node.id, out),
        (b"cluster", _) => bytes(&node.cluster, out),
        (b"metadata", rest) => encode::json(&node.metadata, rest.segments(), out),
        (b"locality", rest) => match rest.raw() {
            b"region" => bytes(&node.locality.region, out),
            b"zone" => bytes(&node.locality.zone, out),
            b"sub_zone" => bytes(&node.locality.sub_zone, out),
            _ => None,
        },
        _ => None,
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get_str("content-length")?.parse().ok()
}

/// Envoy's numbers of the flags, which guests compare with.
fn legacy_flags(info: &StreamInfo) -> u64 {
    info.flags.iter().fold(0, |all, (_, short, _)| {
        all | match *short {
            "UH" => 0x2,
            "UT" => 0x4,
            "LR" => 0x8,
            "UR" => 0x10,
            "UF" => 0x20,
            "UC" => 0x40,
            "UO" => 0x80,
            "NR" => 0x100,
            "DC" => 0x4000,
            "URX" => 0x8000,
            "SI" => 0x1_0000,
            "DPE" => 0x4_0000,
            "UMSDR" => 0x8_0000,
            "DT" => 0x40_0000,
            "UPE" => 0x80_0000,
            "NC" => 0x100_0000,
            "OM" => 0x200_0000,
            "DO" => 0x800_0000,
            "DR" => 0x1000_0000,
            "UDO" => 0x2000_0000,
            _ => 0,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::filter::testing::stream;
    use crate::http::ResponseHead;
    use crate::plugin::HostLimits;
    use crate::telemetry::ResponseFlags;

    fn identity() -> Identity {
        let metadata = json!({"NAME": "edge", "N": 2, "deep": {"list": ["a", true]}});
        let locality = Locality { region: "north".into(), zone: "a".into(), sub_zone: String::new() };
        let node = Node { id: "id".into(), cluster: "c".into(), metadata, locality };
        Identity {
            name: "plugin".into(),
            root_id: "root".into(),
            vm_id: "vm".into(),
            node: Arc::new(node),
            clears_route_on_write: false,
            limits: HostLimits::default(),
            log_message_bytes: 100,
        }
    }

    fn read(state: &StreamState, path: &str) -> Option<Vec<u8>> {
        let raw = path.replace('/', "\0");
        let mut out = Vec::new();
        of_stream(state, &identity(), PropertyPath::new(raw.as_bytes()), &mut out)?;
        Some(out)
    }

    #[test]
    fn properties_have_envoys_names_and_forms() {
        let stream = stream();
        let mut state = stream.edit();
        state.request.path = "/p?q=1".into();
        state.request.headers = [("x-a", "1"), ("x-a", "2"), ("content-length", "12")].into_iter().collect();
        let mut head = ResponseHead::new(404);
        head.headers.append("grpc-status", "7");
        state.response = Some(head);
        state.info.flags.insert(ResponseFlags::NO_ROUTE_FOUND);
        state.info.details = Some("why".into());
        state.info.route = Some("r".into());
        state.info.cluster = Some("backend".into());
        state.info.attempts = 3;
        state.info.upstream_remote = Some("127.0.0.9:90".parse().unwrap());
        state.info.upstream_tx_first = Some(state.info.start);
        state.info.upstream_rx_first = Some(state.info.start + Duration::from_micros(5));
        state.info.metadata.push(("ns".into(), json!({"k": "v"})));

        let number = |value: u64| value.to_le_bytes().to_vec();
        for (path, expected) in [
            ("request/url_path", b"/p".to_vec()),
            ("request/query", b"q=1".to_vec()),
            ("request/headers/x-a", b"1,2".to_vec()),
            ("request/headers/:method", b"GET".to_vec()),
            ("request/protocol", b"HTTP/1.1".to_vec()),
            ("request/size", number(12)),
            ("response/code", number(404)),
            ("response/code_details", b"why".to_vec()),
            ("response/flags", number(0x100)),
            ("response/grpc_status", number(7)),
            ("response/backend_latency", number(5000)),
            ("source/address", b"127.0.0.1:1".to_vec()),
            ("destination/port", number(2)),
            ("connection/id", number(7)),
            ("connection_id", number(7)),
            ("connection/mtls", vec![0]),
            ("upstream/address", b"127.0.0.9:90".to_vec()),
            ("upstream/request_attempt_count", number(3)),
            ("xds/route_name", b"r".to_vec()),
            ("cluster_name", b"backend".to_vec()),
            ("metadata/filter_metadata/ns/k", b"v".to_vec()),
            ("plugin_name", b"plugin".to_vec()),
            ("plugin_root_id", b"root".to_vec()),
            ("plugin_vm_id", b"vm".to_vec()),
            ("node/id", b"id".to_vec()),
            ("node/locality/region", b"north".to_vec()),
            ("xds/node/locality/zone", b"a".to_vec()),
            ("node/locality/sub_zone", Vec::new()),
            ("node/metadata/NAME", b"edge".to_vec()),
            ("node/metadata/N", 2.0f64.to_le_bytes().to_vec()),
            ("xds/node/metadata/deep/list/1", vec![1]),
        ] {
            assert_eq!(read(&state, path).as_deref(), Some(&expected[..]), "{path}");
        }
        let names = "request request/what request/headers/none request/duration response/trailers connection/tls_version \
                     upstream/tls_version node/metadata/none node/locality/none nothing metadata/filter_metadata/none";
        for path in names.split_whitespace() {
            assert_eq!(read(&state, path), None, "{path}");
        }
    }

    #[test]
    fn what_is_set_can_be_read_and_is_bounded() {
        let stream = stream();
        let mut state = stream.edit();
        let path = PropertyPath::new(b"my\0key");
        set(&mut state.info, path, b"one", 100).unwrap();
        set(&mut state.info, path, b"two", 100).unwrap();
        assert_eq!(read(&state, "my/key").as_deref(), Some(&b"two"[..]));
        assert_eq!(read(&state, "filter_state/wasm.my/key").as_deref(), Some(&b"two"[..]));
        assert_eq!(state.info.filter_state.len(), 1);
        assert_eq!(set(&mut state.info, path, &[0; 100], 100), Err(Status::BadArgument));
    }
}
