//! Versions, cipher suites and curves: names of the configuration into rustls's, and back for logs.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::{cipher_suite as suites, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, NamedGroup, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion, version};

/// What a context may negotiate.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// Versions, one at least.
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// Suites and curves.
    pub provider: Arc<CryptoProvider>,
}

/// A list of which some names are known, but of nothing that rustls offers.
#[derive(Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// Those that are offered, in the order of the list.
    pub usable: Vec<T>,
    /// Those that are passed over, such as CBC suites and P-521.
    pub passed_over: Vec<String>,
}

static TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
static TLS12_AND_TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// AES-128 first, as BoringSSL does where the processor has AES: it is the cheaper one, and no attack tells them apart.
static TLS13_SUITES: [SupportedCipherSuite; 3] =
    [suites::TLS13_AES_128_GCM_SHA256, suites::TLS13_AES_256_GCM_SHA384, suites::TLS13_CHACHA20_POLY1305_SHA256];

/// OpenSSL's name, IANA's name, rustls's value, in Envoy's default order.
static TLS12_SUITES: [(&str, &str, SupportedCipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
];

/// Suites that Envoy knows and rustls does not: without forward secrecy, or CBC.
static WEAK_SUITES: [&str; 22] = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
];

/// Envoy's default curves (`ecdh_curves`). P-384 costs nothing and serves clients that have no other. Of a client's groups
/// rustls takes the first that is here; towards endpoints their order is the preference, and over TLS 1.2 the first is left out.
static DEFAULT_CURVES: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

static DEFAULT_PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let suites = TLS12_SUITES.iter().map(|(_, _, suite)| *suite).collect();
    Arc::new(assemble(suites, DEFAULT_CURVES.to_vec()))
});

impl Protocol {
    /// `min` and `max` as minor versions, 2 and 3; suites and curves as read by [`cipher_suites`] and [`curves`],
    /// `None` for the defaults. `None` if no version is left.
    pub fn new(
        min: u8,
        max: u8,
        suites: Option<Vec<SupportedCipherSuite>>,
        curves: Option<Vec<&'static dyn SupportedKxGroup>>,
    ) -> Option<Self> {
        let versions = match (min <= 2 && max >= 2, min <= 3 && max >= 3) {
            (true, true) => TLS12_AND_TLS13,
            (true, false) => TLS12,
            (false, true) => TLS13,
            (false, false) => return None,
        };
        let provider = if suites.is_none() && curves.is_none() {
            Arc::clone(&DEFAULT_PROVIDER)
        } else {
            let suites = suites.unwrap_or_else(|| TLS12_SUITES.iter().map(|(_, _, suite)| *suite).collect());
            Arc::new(assemble(suites, curves.unwrap_or_else(|| DEFAULT_CURVES.to_vec())))
        };
        Some(Self { versions, provider })
    }
}

impl Default for Protocol {
    /// TLS 1.2 and 1.3.
    fn default() -> Self {
        Self { versions: TLS12_AND_TLS13, provider: Arc::clone(&DEFAULT_PROVIDER) }
    }
}

/// Reads `cipher_suites`, groups of equal preference (`[a|b]`) included. They are those of TLS 1.2; those of TLS 1.3
/// are not configurable, as in Envoy.
pub fn cipher_suites(names: &[String]) -> Result<Named<SupportedCipherSuite>, String> {
    let mut named = Named { usable: Vec::new(), passed_over: Vec::new() };
    for entry in names {
        let group = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']')).unwrap_or(entry);
        for name in group.split('|') {
            if let Some((_, _, suite)) =
                TLS12_SUITES.iter().find(|(openssl, iana, _)| name == *openssl || name == *iana)
            {
                named.usable.push(*suite);
            } else if WEAK_SUITES.contains(&name) {
                named.passed_over.push(name.to_owned());
            } else {
                return Err(format!("unknown cipher suite {name:?} (suites of TLS 1.3 are not configurable)"));
            }
        }
    }
    Ok(named)
}

/// Reads `ecdh_curves`.
pub fn curves(names: &[String]) -> Result<Named<&'static dyn SupportedKxGroup>, String> {
    let mut named = Named { usable: Vec::new(), passed_over: Vec::new() };
    for name in names {
        named.usable.push(match name.as_str() {
            "X25519" => kx_group::X25519,
            "P-256" | "prime256v1" | "secp256r1" => kx_group::SECP256R1,
            "P-384" | "secp384r1" => kx_group::SECP384R1,
            "X25519MLKEM768" => kx_group::X25519MLKEM768,
            "P-521" | "secp521r1" | "P-224" | "X25519Kyber768Draft00" => {
                named.passed_over.push(name.clone());
                continue;
            }
            _ => return Err(format!("unknown curve {name:?}")),
        });
    }
    Ok(named)
}

/// The provider of the defaults: keys and signatures do not depend on suites and curves.
pub fn provider() -> &'static Arc<CryptoProvider> {
    &DEFAULT_PROVIDER
}

/// As Envoy prints it.
pub fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "",
    }
}

/// OpenSSL's name, as Envoy prints it.
pub fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => {
            TLS12_SUITES.iter().find(|(_, _, suite)| suite.suite() == other).map_or("", |(openssl, _, _)| *openssl)
        }
    }
}

/// BoringSSL's name, as Envoy prints it.
pub fn curve_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "P-256",
        NamedGroup::secp384r1 => "P-384",
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        _ => "",
    }
}

fn assemble(tls12: Vec<SupportedCipherSuite>, kx_groups: Vec<&'static dyn SupportedKxGroup>) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: TLS13_SUITES.iter().copied().chain(tls12).collect(),
        kx_groups,
        ..default_provider()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn suites_by_both_names_and_in_groups() {
        let read = cipher_suites(&names(&[
            "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "ECDHE-RSA-AES128-SHA",
        ]))
        .unwrap();
        assert_eq!(read.usable.len(), 3);
        assert_eq!(read.passed_over, ["ECDHE-RSA-AES128-SHA"]);
        assert!(cipher_suites(&names(&["RC4-MD5"])).unwrap_err().contains("RC4-MD5"));
    }

    #[test]
    fn curves_by_name() {
        let read = curves(&names(&["P-256", "P-521", "X25519"])).unwrap();
        assert_eq!(
            read.usable.iter().map(|g| g.name()).collect::<Vec<_>>(),
            [NamedGroup::secp256r1, NamedGroup::X25519]
        );
        assert_eq!(read.passed_over, ["P-521"]);
        assert!(curves(&names(&["brainpool"])).is_err());
    }

    #[test]
    fn versions_between_min_and_max() {
        assert_eq!(Protocol::new(2, 3, None, None).unwrap().versions.len(), 2);
        assert_eq!(Protocol::new(0, 2, None, None).unwrap().versions.len(), 1);
        assert!(Protocol::new(0, 1, None, None).is_none());
        assert!(Protocol::new(3, 2, None, None).is_none());
    }
}
