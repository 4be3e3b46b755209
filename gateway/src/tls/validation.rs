//! What a peer's certificate must satisfy (Envoy's `CertificateValidationContext`).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use regex::bytes::Regex;
use rustls::client::WebPkiServerVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, OtherError, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use super::{certificate, protocol};

/// What a peer's certificate must satisfy. The default verifies nothing.
#[derive(Clone, Debug, Default)]
pub struct Validation {
    /// The chain must end at one of these.
    pub trusted_ca: Option<Arc<TrustedCa>>,
    /// The chain must not be revoked by these; where there are any, each issuer must have one.
    pub crls: Arc<[CertificateRevocationListDer<'static>]>,
    /// `only_verify_leaf_cert_crl`
    pub only_leaf_crl: bool,
    /// `allow_expired_certificate`
    pub allow_expired: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`: whatever is wrong, the peer is let in.
    pub accept_untrusted: bool,
    /// `suppress_client_ca_list`
    pub hide_ca_names: bool,
    /// `verify_certificate_spki`: base64 of SHA-256. One of these or of `hashes` must match, if there are any.
    pub spki: Vec<String>,
    /// `verify_certificate_hash`: lower-case hexadecimal of SHA-256, without colons.
    pub hashes: Vec<String>,
    /// `match_typed_subject_alt_names`: one must match, if there are any.
    pub names: Vec<NameMatcher>,
}

/// Certificate authorities.
pub struct TrustedCa {
    roots: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
    digest: [u8; 32],
}

/// One entry of `match_typed_subject_alt_names`.
#[derive(Clone, Debug)]
pub struct NameMatcher {
    /// Which names it looks at.
    pub kind: NameKind,
    /// What they must be.
    pub matcher: TextMatcher,
}

/// Type of a subject alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// DNS names; an exact matcher honours wildcards of the certificate.
    Dns,
    /// URIs.
    Uri,
    /// E-mail addresses.
    Email,
    /// Addresses, in text form.
    Ip,
}

/// Envoy's `StringMatcher`.
#[derive(Clone, Debug)]
pub enum TextMatcher {
    /// The whole text.
    Exact(String, Case),
    /// Its beginning.
    Prefix(String, Case),
    /// Its end.
    Suffix(String, Case),
    /// Any part.
    Contains(String, Case),
    /// The whole text, by a regular expression that is anchored already.
    Regex(Regex),
}

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They do.
    Sensitive,
    /// They do not, among ASCII letters.
    Ignored,
}

impl Validation {
    /// Protobuf's merge, as for `combined_validation_context`: lists are joined, values of `over` win.
    pub fn merged(&self, over: &Self) -> Self {
        Self {
            trusted_ca: over.trusted_ca.as_ref().or(self.trusted_ca.as_ref()).cloned(),
            crls: if over.crls.is_empty() { Arc::clone(&self.crls) } else { Arc::clone(&over.crls) },
            only_leaf_crl: self.only_leaf_crl || over.only_leaf_crl,
            allow_expired: self.allow_expired || over.allow_expired,
            accept_untrusted: self.accept_untrusted || over.accept_untrusted,
            hide_ca_names: self.hide_ca_names || over.hide_ca_names,
            spki: [&self.spki[..], &over.spki].concat(),
            hashes: [&self.hashes[..], &over.hashes].concat(),
            names: [&self.names[..], &over.names].concat(),
        }
    }

    /// Whether there is anything that proves who a peer is.
    pub fn verifies(&self) -> bool {
        self.trusted_ca.is_some() || !self.spki.is_empty() || !self.hashes.is_empty()
    }

    /// Whether there is anything to hold a certificate against.
    pub(super) fn holds_against_something(&self) -> bool {
        self.verifies() || !self.names.is_empty()
    }

    /// Whether its parts fit together.
    pub fn check(&self) -> Result<(), String> {
        self.client_chain().map(drop)?;
        if self.trusted_ca.is_none() && !self.crls.is_empty() {
            return Err("crl needs trusted_ca".to_owned());
        }
        Ok(())
    }

    /// Feeds everything that decides about a peer into a hash.
    pub fn digest(&self, hash: &mut Sha256) {
        if let Some(ca) = &self.trusted_ca {
            hash.update(ca.digest);
        }
        for crl in self.crls.iter() {
            hash.update(Sha256::digest(crl));
        }
        let rest =
            (self.only_leaf_crl, self.allow_expired, self.accept_untrusted, &self.spki, &self.hashes, &self.names);
        hash.update(format!("{rest:?}"));
    }

    /// The verifier of clients' chains.
    pub(super) fn client_chain(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let Some(ca) = &self.trusted_ca else { return Ok(None) };
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&ca.roots), Arc::clone(protocol::provider()))
                .with_crls(self.crls.iter().cloned())
                .enforce_revocation_expiration();
        if self.only_leaf_crl {
            builder = builder.only_check_end_entity_revocation();
        }
        if self.hide_ca_names {
            builder = builder.clear_root_hint_subjects();
        }
        builder.build().map(Some).map_err(|e| e.to_string())
    }

    /// The verifier of servers' chains.
    pub(super) fn server_chain(&self) -> Result<Option<Arc<WebPkiServerVerifier>>, String> {
        let Some(ca) = &self.trusted_ca else { return Ok(None) };
        let mut builder =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&ca.roots), Arc::clone(protocol::provider()))
                .with_crls(self.crls.iter().cloned())
                .enforce_revocation_expiration();
        if self.only_leaf_crl {
            builder = builder.only_check_end_entity_revocation();
        }
        builder.build().map(Some).map_err(|e| e.to_string())
    }

    /// Judges a peer, also where untrusted ones are let in. `chain` verifies its chain at a time; `expected` is a name
    /// that it must have.
    pub(super) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
        expected: Option<&ServerName<'_>>,
        chain: impl Fn(UnixTime) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(ca) = &self.trusted_ca {
            match self.chain_at(now, chain) {
                Ok(()) => {}
                // webpki refuses a CA as a leaf; OpenSSL takes one that is itself trusted, as tests like to have it.
                Err(_) if self.crls.is_empty() && ca.certificates.iter().any(|c| c.as_ref() == leaf.as_ref()) => {
                    self.within_validity(leaf, now)?;
                }
                Err(e) => return Err(e),
            }
        }
        self.judge_leaf(leaf, expected)
    }

    /// Verifies a chain, at the time it was still valid if expired certificates are let in.
    fn chain_at(&self, now: UnixTime, chain: impl Fn(UnixTime) -> Result<(), Error>) -> Result<(), Error> {
        let mut at = now;
        // Each round settles one certificate of a chain, and webpki follows at most six.
        for _ in 0..8 {
            match chain(at) {
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }))
                    if self.allow_expired =>
                {
                    at = not_after;
                }
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }))
                    if self.allow_expired =>
                {
                    at = not_before;
                }
                other => return other,
            }
        }
        chain(at)
    }

    fn within_validity(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let certificate = certificate::parse(leaf).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > certificate.validity().not_after.timestamp() && !self.allow_expired {
            return Err(CertificateError::Expired.into());
        }
        if now < certificate.validity().not_before.timestamp() && !self.allow_expired {
            return Err(CertificateError::NotValidYet.into());
        }
        Ok(())
    }

    fn judge_leaf(&self, leaf: &CertificateDer<'_>, expected: Option<&ServerName<'_>>) -> Result<(), Error> {
        let pinned = !self.spki.is_empty() || !self.hashes.is_empty();
        if self.names.is_empty() && !pinned && expected.is_none() {
            return Ok(());
        }
        let certificate = certificate::parse(leaf).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let names = certificate::alt_names(&certificate);
        if expected.is_some_and(|name| !is_for(&names, name)) {
            return Err(Refused::NotTheName.into());
        }
        if !self.names.is_empty() && !self.names.iter().any(|matcher| matcher.matches(&names)) {
            return Err(Refused::NoName.into());
        }
        if pinned
            && !self.spki.contains(&certificate::spki_pin(&certificate))
            && !self.hashes.contains(&certificate::hex(&Sha256::digest(leaf)))
        {
            return Err(Refused::NotListed.into());
        }
        Ok(())
    }
}

impl TrustedCa {
    /// Authorities of a bundle; the error says which certificate is not sound.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut hash = Sha256::new();
        for (i, certificate) in certificates.iter().enumerate() {
            hash.update(Sha256::digest(certificate));
            roots.add(certificate.clone()).map_err(|e| format!("certificate {} of the bundle: {e}", i + 1))?;
        }
        Ok(Self { roots: Arc::new(roots), certificates, digest: hash.finalize().into() })
    }

    /// The authorities' certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

impl fmt::Debug for TrustedCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedCa({} certificates)", self.certificates.len())
    }
}

impl NameMatcher {
    fn matches(&self, names: &certificate::AltNames) -> bool {
        match self.kind {
            NameKind::Dns => names.dns.iter().any(|name| match &self.matcher {
                TextMatcher::Exact(wanted, _) => covers(name, wanted),
                matcher => matcher.matches(name),
            }),
            NameKind::Uri => names.uri.iter().any(|name| self.matcher.matches(name)),
            NameKind::Email => names.email.iter().any(|name| self.matcher.matches(name)),
            NameKind::Ip => names.ip.iter().any(|name| self.matcher.matches(&name.to_string())),
        }
    }
}

impl TextMatcher {
    /// Whether a name is what it asks for.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (text, wanted) = (text.as_bytes(), self);
        match wanted {
            Self::Exact(w, case) => case.equal(text, w.as_bytes()),
            Self::Prefix(w, case) => text.get(..w.len()).is_some_and(|head| case.equal(head, w.as_bytes())),
            Self::Suffix(w, case) => text
                .len()
                .checked_sub(w.len())
                .and_then(|at| text.get(at..))
                .is_some_and(|t| case.equal(t, w.as_bytes())),
            Self::Contains(w, _) if w.is_empty() => true,
            Self::Contains(w, case) => text.windows(w.len()).any(|part| case.equal(part, w.as_bytes())),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Case {
    fn equal(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Self::Sensitive => a == b,
            Self::Ignored => a.eq_ignore_ascii_case(b),
        }
    }
}

/// Whether a certificate with these names is for the server that was asked for.
fn is_for(names: &certificate::AltNames, server: &ServerName<'_>) -> bool {
    match server {
        ServerName::DnsName(name) => names.dns.iter().any(|pattern| covers(pattern, name.as_ref())),
        ServerName::IpAddress(ip) => names.ip.contains(&IpAddr::from(*ip)),
        _ => false,
    }
}

/// Whether a DNS name of a certificate covers a host: equal, or a wildcard for exactly the first label.
fn covers(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(parent), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.')) else { return false };
    !label.is_empty() && parent.contains('.') && parent.eq_ignore_ascii_case(rest)
}

/// Why a leaf is refused whose chain is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("its alternative names do not have the name that was asked for")]
    NotTheName,
    #[error("no alternative name matches")]
    NoName,
    #[error("neither its hash nor that of its key is listed")]
    NotListed,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("*.example.com", "a.example.com"));
        assert!(covers("A.example.com", "a.EXAMPLE.com"));
        for (pattern, host) in [
            ("*.example.com", "example.com"),
            ("*.example.com", "a.b.example.com"),
            ("*.example.com", ".example.com"),
            ("*.com", "example.com"),
            ("*", "example"),
            ("a.example.com", "b.example.com"),
        ] {
            assert!(!covers(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn texts_are_matched() {
        let t = |m: TextMatcher, text: &str| m.matches(text);
        assert!(t(TextMatcher::Prefix("spiffe://a/".into(), Case::Sensitive), "spiffe://a/b"));
        assert!(!t(TextMatcher::Prefix("spiffe://A/".into(), Case::Sensitive), "spiffe://a/b"));
        assert!(t(TextMatcher::Prefix("spiffe://A/".into(), Case::Ignored), "spiffe://a/b"));
        assert!(t(TextMatcher::Suffix("/b".into(), Case::Sensitive), "a/b"));
        assert!(!t(TextMatcher::Suffix("long".into(), Case::Sensitive), "ng"));
        assert!(t(TextMatcher::Contains("X".into(), Case::Ignored), "axb"));
        assert!(!t(TextMatcher::Exact("a".into(), Case::Sensitive), "ab"));
    }
}
