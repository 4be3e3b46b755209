//! Parts of certificates in a format.

use std::fmt::Write as _;

use crate::telemetry::{CertificateInfo, StreamInfo, TlsInfo};

/// Whose certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    DownstreamPeer,
    DownstreamLocal,
    UpstreamPeer,
    UpstreamLocal,
}

impl Side {
    pub(super) fn certificate(self, info: &StreamInfo) -> Option<&CertificateInfo> {
        let tls: &TlsInfo = match self {
            Self::DownstreamPeer | Self::DownstreamLocal => info.connection.tls.as_ref()?,
            Self::UpstreamPeer | Self::UpstreamLocal => info.upstream_tls.as_deref()?,
        };
        match self {
            Self::DownstreamPeer | Self::UpstreamPeer => tls.peer.as_deref(),
            Self::DownstreamLocal | Self::UpstreamLocal => tls.local.as_deref(),
        }
    }
}

/// A part of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum CertificatePart {
    Subject,
    Issuer,
    Serial,
    Fingerprint,
    Sha1,
    UriSans,
    DnsSans,
    IpSans,
    EmailSans,
    /// PEM, URL-encoded.
    Pem,
}

impl CertificatePart {
    pub(super) fn parse(name: &str) -> Option<(Side, Self)> {
        let (side, part) = [
            ("DOWNSTREAM_PEER_", Side::DownstreamPeer),
            ("DOWNSTREAM_LOCAL_", Side::DownstreamLocal),
            ("UPSTREAM_PEER_", Side::UpstreamPeer),
            ("UPSTREAM_LOCAL_", Side::UpstreamLocal),
        ]
        .into_iter()
        .find_map(|(prefix, side)| Some((side, name.strip_prefix(prefix)?)))?;
        let peer = matches!(side, Side::DownstreamPeer | Side::UpstreamPeer);
        let part = match part {
            "SUBJECT" => Self::Subject,
            "URI_SAN" => Self::UriSans,
            "DNS_SAN" => Self::DnsSans,
            "IP_SAN" => Self::IpSans,
            "EMAIL_SAN" => Self::EmailSans,
            "ISSUER" if peer => Self::Issuer,
            "SERIAL" if peer => Self::Serial,
            "FINGERPRINT_256" if peer => Self::Fingerprint,
            "FINGERPRINT_1" if peer => Self::Sha1,
            "CERT" if peer => Self::Pem,
            _ => return None,
        };
        Some((side, part))
    }

    pub(super) fn write(self, side: Side, info: &StreamInfo, out: &mut Vec<u8>) -> bool {
        let Some(certificate) = side.certificate(info) else { return false };
        let start = out.len();
        match self {
            Self::Subject => out.extend_from_slice(certificate.subject.as_bytes()),
            Self::Issuer => out.extend_from_slice(certificate.issuer.as_bytes()),
            Self::Serial => out.extend_from_slice(certificate.serial.as_bytes()),
            Self::Fingerprint => out.extend_from_slice(certificate.sha256.as_bytes()),
            Self::Sha1 => out.extend_from_slice(certificate.sha1.as_bytes()),
            Self::UriSans => join(&certificate.uri_sans, out),
            Self::DnsSans => join(&certificate.dns_sans, out),
            Self::IpSans => join(&certificate.ip_sans, out),
            Self::EmailSans => join(&certificate.email_sans, out),
            Self::Pem => url_encode(&certificate.pem, out),
        }
        out.len() > start
    }
}

fn join(names: &[String], out: &mut Vec<u8>) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
}

/// Encodes what Envoy encodes in PEM: line ends, blanks and the characters of base64 that a URL gives a meaning to.
fn url_encode(text: &str, out: &mut Vec<u8>) {
    let mut code = String::with_capacity(3);
    for byte in text.bytes() {
        if matches!(byte, b'\n' | b' ' | b'+' | b'/' | b'=') {
            code.clear();
            // Writing to a String cannot fail.
            let _ = write!(code, "%{byte:02X}");
            out.extend_from_slice(code.as_bytes());
        } else {
            out.push(byte);
        }
    }
}
