//! X.509 certificates as logs, headers, filters and matchers want to see them.

use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use crate::telemetry::CertificateInfo;

/// The names under "subject alternative name", by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AltNames {
    /// DNS names, wildcards included.
    pub dns: Vec<String>,
    /// URIs, SPIFFE IDs among them.
    pub uri: Vec<String>,
    /// E-mail addresses.
    pub email: Vec<String>,
    /// Addresses.
    pub ip: Vec<IpAddr>,
}

/// A certificate that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sound X.509 certificate: {0}")]
pub struct MalformedCertificate(String);

/// Reads a certificate's DER form.
pub fn parse(der: &[u8]) -> Result<X509Certificate<'_>, MalformedCertificate> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(MalformedCertificate(error.to_string())),
    }
}

/// What is told of a certificate.
pub fn describe(der: &[u8]) -> Result<CertificateInfo, MalformedCertificate> {
    let certificate = parse(der)?;
    let names = alt_names(&certificate);
    Ok(CertificateInfo {
        subject: rfc2253(certificate.subject()),
        issuer: rfc2253(certificate.issuer()),
        serial: hex(strip_sign(certificate.raw_serial())),
        sha256: hex(&Sha256::digest(der)),
        sha1: hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()),
        uri_sans: names.uri,
        dns_sans: names.dns,
        ip_sans: names.ip.iter().map(IpAddr::to_string).collect(),
        email_sans: names.email,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        pem: pem(der),
    })
}

/// The alternative names of a certificate; empty where it has none or where they are malformed.
///
/// A name with a control character is none: no URI, host or address has one, and header fields, logs and matchers take
/// what stands here as it is. A line end would end their line, a NUL the name itself to who reads it after them.
pub fn alt_names(certificate: &X509Certificate<'_>) -> AltNames {
    let mut names = AltNames::default();
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return names };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) if is_printable(name) => names.dns.push((*name).to_owned()),
            GeneralName::URI(uri) if is_printable(uri) => names.uri.push((*uri).to_owned()),
            GeneralName::RFC822Name(address) if is_printable(address) => names.email.push((*address).to_owned()),
            GeneralName::IPAddress(bytes) => {
                if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                    names.ip.push(IpAddr::from(v4));
                } else if let Ok(v6) = <[u8; 16]>::try_from(*bytes) {
                    names.ip.push(IpAddr::from(v6));
                }
            }
            _ => {}
        }
    }
    names
}

/// The last common name of the subject, unless it has control characters.
pub fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = certificate.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
    name.filter(|name| is_printable(name)).map(str::to_owned)
}

fn is_printable(name: &str) -> bool {
    !name.contains(char::is_control)
}

/// Base64 (RFC 4648 section 4) of SHA-256 over the public key, the form of `verify_certificate_spki`.
pub fn spki_pin(certificate: &X509Certificate<'_>) -> String {
    base64(&Sha256::digest(certificate.public_key().raw))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// RFC 4648 section 4, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        // A chunk has at most three bytes.
        group[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = group.map(u32::from);
        let bits = a << 16 | b << 8 | c;
        for place in 0..4 {
            if place <= chunk.len() {
                // Six bits index 64 letters.
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 60);
    out.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: every index is a boundary.
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// DER integers have a zero byte before a set high bit.
fn strip_sign(serial: &[u8]) -> &[u8] {
    match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => serial,
    }
}

/// A distinguished name as RFC 2253 writes it: last attribute first.
fn rfc2253(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for (i, rdn) in name.iter().collect::<Vec<_>>().into_iter().rev().enumerate() {
        if i > 0 {
            out.push(',');
        }
        for (j, attribute) in rdn.iter().enumerate() {
            if j > 0 {
                out.push('+');
            }
            let oid = attribute.attr_type().to_id_string();
            match (short_name(&oid), attribute.as_str()) {
                (Some(short), Ok(value)) => {
                    out.push_str(short);
                    out.push('=');
                    escape(value, &mut out);
                }
                // RFC 2253 section 2.4: what has no name of its own is shown as the hexadecimal of its DER form.
                (short, _) => {
                    out.push_str(short.unwrap_or(&oid));
                    out.push_str("=#");
                    out.push_str(&hex(attribute.attr_value().data));
                }
            }
        }
    }
    out
}

fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.17" => "postalCode",
        "2.5.4.42" => "GN",
        "2.5.4.46" => "dnQualifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                out.push('\\');
                out.push(c);
            }
            ' ' if i == 0 || i == last => out.push_str("\\ "),
            '#' if i == 0 => out.push_str("\\#"),
            c if c.is_ascii_control() || !c.is_ascii() => {
                let mut buf = [0; 4];
                for byte in c.encode_utf8(&mut buf).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::*;

    #[test]
    fn base64_of_every_length() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_certificate_is_described() {
        let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://cluster.local/ns/a/sa/b".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Weir, Inc.");
        params.distinguished_name.push(DnType::CommonName, "a <b>");
        params.serial_number = Some(SerialNumber::from_slice(&[0xab, 0x01]));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();

        let info = describe(certificate.der()).unwrap();
        assert_eq!(info.subject, "CN=a \\<b\\>,O=Weir\\, Inc.,C=DE");
        assert_eq!(info.issuer, info.subject);
        assert_eq!(info.serial, "ab01");
        assert_eq!(info.dns_sans, ["a.example.com"]);
        assert_eq!(info.uri_sans, ["spiffe://cluster.local/ns/a/sa/b"]);
        assert_eq!(info.sha256.len(), 64);
        assert!(info.not_before < info.not_after);
        assert_eq!(info.pem.replace("\r\n", "\n"), certificate.pem().replace("\r\n", "\n"));
    }

    #[test]
    fn what_is_told_stays_on_its_line() {
        let mut params = CertificateParams::default();
        let names = ["spiffe://a\r\nx: 1", "spiffe://a\0", "spiffe://a\x7f", "spiffe://b", "spiffe://b\t"];
        params.subject_alt_names.extend(names.map(|name| SanType::URI(name.try_into().unwrap())));
        params.subject_alt_names.extend(["a\nb", "b"].map(|name| SanType::DnsName(name.try_into().unwrap())));
        params.subject_alt_names.extend(["a\r", "b"].map(|name| SanType::Rfc822Name(name.try_into().unwrap())));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "a\r\nb\u{85}\u{2028}");
        params.distinguished_name.push(DnType::CommonName, "a\nb");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();

        let parsed = parse(certificate.der()).unwrap();
        let names = alt_names(&parsed);
        assert_eq!(
            (names.uri, names.dns, names.email),
            (vec!["spiffe://b".into()], vec!["b".into()], vec!["b".into()])
        );
        assert_eq!(common_name(&parsed), None);
        let info = describe(certificate.der()).unwrap();
        assert_eq!(info.subject, r"CN=a\0Ab,O=a\0D\0Ab\C2\85\E2\80\A8");
    }

    #[test]
    fn garbage_is_no_certificate() {
        assert!(describe(b"").is_err());
        assert!(describe(b"\x30\x82\x01\x00garbage").is_err());
    }
}
