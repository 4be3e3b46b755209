//! TLS towards clients (Envoy's `DownstreamTlsContext`).

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::BytesMut;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, InvalidMessage, NamedGroup, ServerConfig, SignatureScheme};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::certificate;
use super::client_hello::{Inspection, Inspector, MAX_CLIENT_HELLO};
use super::error::TlsError;
use super::handshake::Handshake;
use super::io::Io;
use super::protocol::Protocol;
use super::secret::{Certificate, SecretError, SecretSlot};
use super::session::{Sources, describe};
use super::ticket::{Identity, TicketStore, Ticketer};
use super::validation::Validation;
use super::verifier::ClientVerifier;
use crate::telemetry::TlsInfo;

/// Room for one read of a ClientHello, in bytes: with a post-quantum key share it has about 1,800.
const HELLO_READ: usize = 4096;

/// What a context is made of.
#[derive(Debug)]
pub struct DownstreamParams {
    /// Versions, suites and curves.
    pub protocol: Protocol,
    /// Certificates, one at least; several for several key types or names.
    pub certificates: Vec<Arc<SecretSlot>>,
    /// What clients are verified against, the later merged over the earlier; empty for nothing.
    pub validation: Vec<Arc<SecretSlot>>,
    /// `require_client_certificate`
    pub require_client_certificate: bool,
    /// `require_sni`
    pub require_sni: bool,
    /// `full_scan_certs_on_sni_mismatch`
    pub full_scan: bool,
    /// `prefer_client_ciphers`
    pub prefer_client_ciphers: bool,
    /// `alpn_protocols`, in our order of preference.
    pub alpn: Vec<Arc<str>>,
    /// How sessions are resumed.
    pub resumption: Resumption,
    /// `session_timeout`: how long a ticket is good for.
    pub session_timeout: Duration,
}

/// How sessions are resumed. There is no cache of sessions, which workers would contend for: tickets only.
#[derive(Debug)]
pub enum Resumption {
    /// With keys made here.
    Own,
    /// With keys of the configuration.
    Given(Arc<SecretSlot>),
    /// `disable_stateless_session_resumption`
    Off,
}

/// A client's handshake that failed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: TlsError,
    /// The certificates, as far as they are known: ours, and the client's if that was refused.
    pub tls: Option<TlsInfo>,
}

impl From<TlsError> for Failed {
    fn from(error: TlsError) -> Self {
        Self { error, tls: None }
    }
}

/// TLS towards clients.
#[derive(Debug)]
pub struct DownstreamTls {
    params: DownstreamParams,
    tickets: Arc<TicketStore>,
    built: ArcSwapOption<Built>,
}

/// Everything for handshakes, made from what the slots held.
#[derive(Debug)]
struct Built {
    sources: Sources,
    config: Arc<ServerConfig>,
    /// The same without ALPN: rustls ends a handshake without a common protocol, Envoy goes on without one.
    without_alpn: Arc<ServerConfig>,
    verifier: Option<Arc<ClientVerifier>>,
}

impl DownstreamTls {
    /// A context. Errors of the secrets that are there already show now, missing ones are waited for.
    pub fn new(params: DownstreamParams, tickets: Arc<TicketStore>) -> Result<Self, SecretError> {
        let tls = Self { params, tickets, built: ArcSwapOption::empty() };
        match tls.current() {
            Ok(_) | Err(TlsError::SecretMissing(_)) => Ok(tls),
            Err(TlsError::Unusable(error)) => Err(error),
            Err(error) => Err(SecretError::Context(error.to_string())),
        }
    }

    /// Takes a client through the handshake. `peeked` has what was read from the connection so far, from its first
    /// byte on; it may be empty. The caller limits the time.
    pub async fn accept(&self, mut tcp: TcpStream, mut peeked: BytesMut) -> Result<(Io, TlsInfo), Failed> {
        let built = self.current()?;
        let mut inspector = Inspector::default();
        let config = loop {
            match inspector.inspect(&peeked) {
                Inspection::Tls(hello) => {
                    let tls13 = hello.tls13 && self.params.protocol.versions.contains(&&rustls::version::TLS13);
                    CURVES_BIND.set(!tls13);
                    if self.params.require_sni && hello.server_name.is_none() {
                        return Err(TlsError::NoServerName.into());
                    }
                    let offers = |name: &Arc<str>| hello.alpn().any(|offered| offered == name.as_bytes());
                    break if self.params.alpn.iter().any(offers) { &built.config } else { &built.without_alpn };
                }
                // rustls would put it together once more, and wait for the rest of it.
                Inspection::NotTls(_) if peeked.len() >= MAX_CLIENT_HELLO => {
                    return Err(TlsError::Rustls(InvalidMessage::HandshakePayloadTooLarge.into()).into());
                }
                // rustls says what is wrong with it, and tells the client.
                Inspection::NotTls(_) => break &built.config,
                Inspection::Incomplete => {
                    // One read takes a usual ClientHello whole.
                    peeked.reserve(HELLO_READ);
                    if tcp.read_buf(&mut peeked).await.map_err(TlsError::from)? == 0 {
                        return Err(TlsError::Closed.into());
                    }
                }
            }
        };

        CHOSEN.take();
        let mut handshake = Handshake::new(config)?;
        let taken = handshake.take(&peeked, &tcp);
        let chosen = CHOSEN.take();
        drop(peeked);
        taken?;
        let known = |peer: Option<&CertificateDer<'_>>| TlsInfo {
            peer: peer.and_then(|der| certificate::describe(der).ok()).map(Arc::new),
            local: chosen.as_deref().map(Certificate::info),
            ..TlsInfo::default()
        };
        if let Err(error) = handshake.finish(&mut tcp).await {
            return Err(Failed { error, tls: Some(known(handshake.seen.refused.as_ref())) });
        }
        let signature = handshake.seen.signature;
        let stream = handshake.into_stream(tcp).await.map_err(TlsError::from)?;
        let session = stream.get_ref().1;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let validated = match (session.peer_certificates(), &built.verifier) {
            (Some(chain), Some(verifier)) => verifier
                .validates(chain, resumed)
                .map_err(|error| Failed { error: TlsError::Resumption(error), tls: Some(known(chain.first())) })?,
            _ => false,
        };
        let info = describe(session, &self.params.alpn, chosen.as_deref(), signature, validated);
        Ok((Io::tls(stream), info))
    }

    /// The slots of all its secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<SecretSlot>> {
        let keys = match &self.params.resumption {
            Resumption::Given(slot) => Some(slot),
            Resumption::Own | Resumption::Off => None,
        };
        self.params.certificates.iter().chain(&self.params.validation).chain(keys)
    }

    fn current(&self) -> Result<Arc<Built>, TlsError> {
        if let Some(built) = self.built.load_full().filter(|built| built.sources.are_current()) {
            return Ok(built);
        }
        // Two workers may build at the same time; either result is good.
        let built = Arc::new(self.build()?);
        self.built.store(Some(Arc::clone(&built)));
        Ok(built)
    }

    fn build(&self) -> Result<Built, TlsError> {
        let params = &self.params;
        let mut sources = Sources::default();
        let certificates =
            params.certificates.iter().map(|slot| sources.certificate(slot)).collect::<Result<Vec<_>, _>>()?;
        let validation = sources.validation(&params.validation)?;
        let unusable = |reason: String| TlsError::Unusable(SecretError::Context(reason));
        validation.check().map_err(unusable)?;
        let asks = params.require_client_certificate || validation.verifies() || validation.accept_untrusted;
        if params.require_client_certificate && !validation.verifies() && !validation.accept_untrusted {
            return Err(unusable(
                "require_client_certificate needs something to verify clients against: trusted_ca, \
                 verify_certificate_spki or verify_certificate_hash"
                    .to_owned(),
            ));
        }
        if !validation.names.is_empty() && validation.trusted_ca.is_none() && !validation.accept_untrusted {
            return Err(unusable("subject alternative names without trusted_ca prove nothing".to_owned()));
        }

        let identity = self.identity(&certificates, &validation);
        let ticketer = match &params.resumption {
            Resumption::Off => None,
            Resumption::Own => Some(self.tickets.ticketer(identity, params.session_timeout)),
            Resumption::Given(slot) => {
                let keys = sources.ticket_keys(slot)?;
                Some(Ticketer::given(&keys, &identity, params.session_timeout).map(Arc::new))
            }
        };
        let verifier = match asks {
            true => {
                Some(Arc::new(ClientVerifier::new(validation, params.require_client_certificate).map_err(unusable)?))
            }
            false => None,
        };
        let client_auth: Arc<dyn ClientCertVerifier> = match &verifier {
            Some(verifier) => Arc::<ClientVerifier>::clone(verifier),
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&params.protocol.provider))
            .with_protocol_versions(params.protocol.versions)
            .map_err(|e| unusable(e.to_string()))?
            .with_client_cert_verifier(client_auth)
            .with_cert_resolver(Arc::new(Chooser::new(certificates, params.full_scan)));
        // rustls has one switch for all versions; BoringSSL goes by the client's order in TLS 1.3 in any case.
        config.ignore_client_order = !params.prefer_client_ciphers;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // One ticket serves a client that comes back; one that opens many connections gets another with each.
        config.send_tls13_tickets = 0;
        if let Some(ticketer) = ticketer {
            config.ticketer = ticketer.map_err(|_| unusable("no randomness for session tickets".to_owned()))?;
            config.send_tls13_tickets = 1;
        }
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = params.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Built { sources, config: Arc::new(config), without_alpn, verifier })
    }

    /// What a session of this context is worth: sessions of equal contexts may be resumed on each other.
    fn identity(&self, certificates: &[Arc<Certificate>], validation: &Validation) -> Identity {
        let mut hash = Sha256::new();
        for certificate in certificates {
            hash.update(Sha256::digest(&certificate.identity));
        }
        hash.update([u8::from(self.params.require_client_certificate)]);
        hash.update(self.params.session_timeout.as_secs().to_be_bytes());
        validation.digest(&mut hash);
        hash.finalize().into()
    }
}

thread_local! {
    /// The certificate that the handshake in progress on this thread was given: rustls does not tell, and asks for it
    /// while it is fed the ClientHello.
    static CHOSEN: Cell<Option<Arc<Certificate>>> = const { Cell::new(None) };
    /// Whether that handshake is one of TLS 1.2, where a client must know the curve of the certificate's key (RFC 8422
    /// section 5.1.1); rustls does not tell that either.
    static CURVES_BIND: Cell<bool> = const { Cell::new(false) };
}

/// Chooses among the certificates of a context as Envoy does: by server name, then by the key types that the client
/// can verify, ECDSA before RSA.
#[derive(Debug)]
struct Chooser {
    certificates: Vec<Arc<Certificate>>,
    /// By DNS name; wildcards as `.example.com`.
    by_name: HashMap<String, SmallVec<[usize; 2]>>,
    full_scan: bool,
}

impl Chooser {
    fn new(certificates: Vec<Arc<Certificate>>, full_scan: bool) -> Self {
        let mut by_name: HashMap<String, SmallVec<[usize; 2]>> = HashMap::new();
        // With one certificate there is nothing to choose.
        for (i, certificate) in certificates.iter().enumerate().filter(|_| certificates.len() > 1) {
            for name in &certificate.names {
                let key = name.strip_prefix('*').unwrap_or(name);
                by_name.entry(key.to_owned()).or_default().push(i);
            }
        }
        Self { certificates, by_name, full_scan }
    }

    fn choose(&self, name: Option<&str>, knows: &Known<'_>) -> Option<&Arc<Certificate>> {
        let first = self.certificates.first()?;
        if self.certificates.len() == 1 {
            return Some(first);
        }
        let lookup = |name: &str| {
            let at = self.by_name.get(name)?;
            knows.best(at.iter().filter_map(|i| self.certificates.get(*i)))
        };
        if let Some(name) = name {
            let name = name.to_ascii_lowercase();
            let parent = || name.find('.').and_then(|dot| name.get(dot..)).and_then(lookup);
            if let Some(certificate) = lookup(&name).or_else(parent) {
                return Some(certificate);
            }
            if !self.full_scan {
                return Some(first);
            }
        }
        knows.best(self.certificates.iter()).or(Some(first))
    }
}

/// What a client can verify.
struct Known<'a> {
    schemes: &'a [SignatureScheme],
    /// None where curves do not bind.
    curves: Option<&'a [NamedGroup]>,
}

impl Known<'_> {
    fn verifies(&self, certificate: &Certificate) -> bool {
        let knows = |curve| self.curves.is_none_or(|curves| curves.contains(&curve));
        certificate.certified.key.choose_scheme(self.schemes).is_some() && certificate.curve.is_none_or(knows)
    }

    fn best<'c>(&self, candidates: impl Iterator<Item = &'c Arc<Certificate>>) -> Option<&'c Arc<Certificate>> {
        let mut fallback = None;
        for certificate in candidates.filter(|certificate| self.verifies(certificate)) {
            if !certificate.rsa {
                return Some(certificate);
            }
            fallback = fallback.or(Some(certificate));
        }
        fallback
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let curves = hello.named_groups().filter(|_| CURVES_BIND.get());
        let knows = Known { schemes: hello.signature_schemes(), curves };
        let certificate = self.choose(hello.server_name(), &knows)?;
        CHOSEN.set(Some(Arc::clone(certificate)));
        Some(Arc::clone(&certificate.certified))
    }
}
