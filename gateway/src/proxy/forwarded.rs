//! Who the client is, and what is told about it: x-forwarded-*, x-envoy-*, x-request-id, x-forwarded-client-cert.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use bytes::Bytes;

use crate::http::RequestHead;
use crate::snapshot::connection_manager::{ClientCertMode, ConnectionManager};
use crate::telemetry::{StreamInfo, unique_id};

/// Fields that only callers inside the mesh may set, for they steer the router.
const INTERNAL_ONLY: [&str; 15] = [
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
];

/// Applies the connection manager's rules to a request's head, in Envoy's order, and notes the client's address.
pub(crate) fn apply(
    manager: &ConnectionManager,
    head: &mut RequestHead,
    info: &mut StreamInfo,
    random: impl Fn() -> u64,
) {
    let connection = info.connection.clone();
    let tls = connection.tls.is_some();
    let trust = &manager.trust;
    let headers = &mut head.headers;
    let mut scratch = String::new();

    let (client, single) = if trust.use_remote_address {
        let single = !headers.contains("x-forwarded-for");
        let believed = match trust.trusted_hops {
            0 => None,
            hops => headers.get("x-forwarded-for").and_then(|xff| hop(xff, hops - 1)),
        };
        if !trust.skip_append {
            let _ = write!(scratch, "{}", told_address(connection.remote.ip()));
            append_to_list(headers, "x-forwarded-for", ",", &scratch);
        }
        if trust.trusted_hops == 0 {
            headers.set("x-forwarded-proto", if tls { "https" } else { "http" });
        }
        if trust.append_port && (trust.trusted_hops == 0 || !headers.contains("x-forwarded-port")) {
            headers.set("x-forwarded-port", connection.local.port().to_string());
        }
        (Some(believed.unwrap_or_else(|| connection.remote.ip())), single)
    } else {
        let xff = headers.get("x-forwarded-for");
        let single = xff.is_some_and(|xff| !xff.contains(&b','));
        (xff.and_then(|xff| hop(xff, trust.trusted_hops)), single)
    };
    let scheme = client_scheme(headers, tls);
    // HTTP/2 and an absolute target name theirs.
    if head.scheme.is_empty() {
        head.scheme = Bytes::from_static(scheme.as_bytes());
    }
    let internal = single && client.is_some_and(|ip| trust.internal.iter().any(|range| range.contains(ip)));
    let edge = !internal && trust.use_remote_address;
    info.client = match client {
        Some(ip) if ip == connection.remote.ip() => connection.remote,
        Some(ip) => SocketAddr::new(ip, 0),
        None => connection.remote,
    };

    if internal {
        headers.set("x-envoy-internal", "true");
    } else {
        headers.remove("x-envoy-internal");
        if headers.names_with(b"x-envoy-").next().is_some() {
            INTERNAL_ONLY.iter().for_each(|name| {
                headers.remove(name);
            });
            if edge {
                for name in [
                    "x-envoy-decorator-operation",
                    "x-envoy-downstream-service-cluster",
                    "x-envoy-downstream-service-node",
                    "x-envoy-original-host",
                    "x-envoy-original-path",
                ] {
                    headers.remove(name);
                }
            }
        }
    }
    if edge {
        scratch.clear();
        let _ = write!(scratch, "{}", info.client.ip());
        headers.set("x-envoy-external-address", &scratch);
    }
    request_id(manager, head, edge, random);
    client_cert(manager, head, info);
    if !manager.via.is_empty() {
        append_to_list(&mut head.headers, "via", ", ", &manager.via);
    }
}

/// What the client spoke as far as is known: what x-forwarded-proto says, if it says one of two things. It is set if it is
/// absent.
fn client_scheme(headers: &mut crate::http::HeaderMap, tls: bool) -> &'static str {
    let own = if tls { "https" } else { "http" };
    match headers.get("x-forwarded-proto") {
        None => {
            headers.append("x-forwarded-proto", own);
            own
        }
        Some(proto) if proto.eq_ignore_ascii_case(b"https") => "https",
        Some(proto) if proto.eq_ignore_ascii_case(b"http") => "http",
        Some(_) => own,
    }
}

/// RFC 9562 version 4. Kept if a caller inside sent one.
fn request_id(manager: &ConnectionManager, head: &mut RequestHead, edge: bool, random: impl Fn() -> u64) {
    let rules = &manager.request_id;
    let keep = head.headers.contains("x-request-id") && (!edge || rules.preserve_external);
    if keep {
        return;
    }
    if rules.generate {
        let random = u128::from(random()) << 64 | u128::from(random());
        head.headers.set("x-request-id", unique_id(random));
    } else if edge {
        head.headers.remove("x-request-id");
    }
}

fn client_cert(manager: &ConnectionManager, head: &mut RequestHead, info: &StreamInfo) {
    const NAME: &str = "x-forwarded-client-cert";
    let rules = &manager.client_cert;
    let tls = info.connection.tls.as_ref();
    let peer = tls.and_then(|tls| tls.peer.as_ref());
    match rules.mode {
        ClientCertMode::AlwaysForwardOnly => return,
        ClientCertMode::ForwardOnly if peer.is_some() => return,
        ClientCertMode::Sanitize | ClientCertMode::ForwardOnly => {
            head.headers.remove(NAME);
            return;
        }
        ClientCertMode::AppendForward | ClientCertMode::SanitizeSet => {}
    }
    let Some(peer) = peer else {
        head.headers.remove(NAME);
        return;
    };
    let mut element = String::new();
    for uri in tls.and_then(|tls| tls.local.as_ref()).map(|local| local.uri_sans.as_slice()).unwrap_or_default() {
        let _ = write!(element, "By={uri};");
    }
    let _ = write!(element, "Hash={}", peer.sha256);
    if rules.cert {
        let _ = write!(element, ";Cert=\"{}\"", percent_encoded(&peer.pem));
    }
    if rules.subject {
        // In RFC 2253's form a quote has its backslash already.
        let _ = write!(element, ";Subject=\"{}\"", peer.subject);
    }
    if rules.uri {
        if peer.uri_sans.is_empty() {
            element.push_str(";URI=");
        }
        for uri in &peer.uri_sans {
            let _ = write!(element, ";URI={uri}");
        }
    }
    if rules.dns {
        for dns in &peer.dns_sans {
            let _ = write!(element, ";DNS={dns}");
        }
    }
    if rules.mode == ClientCertMode::AppendForward {
        append_to_list(&mut head.headers, NAME, ",", element);
    } else {
        head.headers.set(NAME, element);
    }
}

/// RFC 3986: all but unreserved characters.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The address that stands `skip` entries from the right.
fn hop(list: &[u8], skip: u32) -> Option<IpAddr> {
    let entry = list.rsplit(|b| *b == b',').nth(skip as usize)?;
    std::str::from_utf8(entry.trim_ascii()).ok()?.parse().ok()
}

/// What the gateway calls a peer on its own machine: as Envoy, the address by which others reach this machine, since a
/// loopback address would say nothing to the next hop.
fn told_address(ip: IpAddr) -> IpAddr {
    static OWN: OnceLock<Option<IpAddr>> = OnceLock::new();
    if ip.is_loopback() { OWN.get_or_init(own_address).unwrap_or(ip) } else { ip }
}

/// The address that this machine would speak from. Connecting a datagram socket sends nothing: the kernel only looks up
/// the route (to an address of RFC 5737, which nobody has).
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

/// Adds to a list field; Envoy keeps one field and adds behind `between`, which differs from field to field.
pub(crate) fn append_to_list(headers: &mut crate::http::HeaderMap, name: &str, between: &str, value: impl AsRef<[u8]>) {
    match headers.get(name).filter(|old| !old.is_empty()) {
        None => headers.set(name, value),
        Some(old) => {
            let mut joined = Vec::with_capacity(old.len() + value.as_ref().len() + 1);
            joined.extend_from_slice(old);
            joined.extend_from_slice(between.as_bytes());
            joined.extend_from_slice(value.as_ref());
            headers.set(name, joined);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hops_from_the_right() {
        assert_eq!(hop(b"1.1.1.1, 2.2.2.2,3.3.3.3", 0), "3.3.3.3".parse().ok());
        assert_eq!(hop(b"1.1.1.1, 2.2.2.2,3.3.3.3", 2), "1.1.1.1".parse().ok());
        assert_eq!(hop(b"1.1.1.1", 1), None);
        assert_eq!(hop(b"x", 0), None);
    }
}
