//! TLS towards endpoints (Envoy's `UpstreamTlsContext`).

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::TlsError;
use super::io::Io;
use super::protocol::Protocol;
use super::secret::{Certificate, SecretError, SecretSlot};
use super::seen::observed;
use super::session::{Sources, describe};
use super::socket::Socket;
use super::validation::Refused;
use super::verifier::EndpointVerifier;
use crate::telemetry::TlsInfo;

/// What a context is made of.
#[derive(Debug)]
pub struct UpstreamParams {
    /// Versions, suites and curves.
    pub protocol: Protocol,
    /// Our certificates; empty to show none.
    pub certificates: Vec<Arc<SecretSlot>>,
    /// What endpoints are verified against, the later merged over the earlier; empty for nothing.
    pub validation: Vec<Arc<SecretSlot>>,
    /// `sni`
    pub sni: Option<Arc<str>>,
    /// The certificate must have the server name that was sent as a DNS or IP name (`auto_sni_san_validation`; also
    /// `auto_san_validation`, where [`ServerIdentity`] says which).
    pub verify_server_name: bool,
    /// `alpn_protocols`, in our order of preference.
    pub alpn: Vec<Arc<str>>,
    /// `max_session_keys`; 0 to resume nothing.
    pub max_session_keys: usize,
}

/// What requests say about the endpoint of their connection; nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerIdentity<'a> {
    /// The server name to send, before that of the context (`auto_sni`). What is no host name is not sent.
    pub sni: Option<&'a str>,
    /// The certificate must have this DNS name or address (`auto_san_validation`).
    pub san: Option<&'a str>,
}

/// TLS towards endpoints.
#[derive(Debug)]
pub struct UpstreamTls {
    params: UpstreamParams,
    built: ArcSwapOption<Built>,
}

/// Everything for handshakes, made from what the slots held.
#[derive(Debug)]
struct Built {
    sources: Sources,
    config: Arc<ClientConfig>,
    verifier: Arc<EndpointVerifier>,
    certificate: Option<Arc<Certificate>>,
}

impl UpstreamTls {
    /// A context. Errors of the secrets that are there already show now, missing ones are waited for.
    pub fn new(params: UpstreamParams) -> Result<Self, SecretError> {
        let tls = Self { params, built: ArcSwapOption::empty() };
        match tls.current() {
            Ok(_) | Err(TlsError::SecretMissing(_)) => Ok(tls),
            Err(TlsError::Unusable(error)) => Err(error),
            Err(error) => Err(SecretError::Context(error.to_string())),
        }
    }

    /// Takes a connection through the handshake. The caller limits the time.
    pub async fn connect(&self, tcp: TcpStream, identity: ServerIdentity<'_>) -> Result<(Io, TlsInfo), TlsError> {
        let built = self.current()?;
        let name = match identity.sni.or(self.params.sni.as_deref()).map(ServerName::try_from) {
            Some(Ok(name)) => name.to_owned(),
            Some(Err(_)) if self.params.verify_server_name && identity.san.is_none() => {
                return Err(TlsError::BadServerName(identity.sni.unwrap_or_default().to_owned()));
            }
            // An address is not sent as a server name: none is.
            Some(Err(_)) | None => ServerName::IpAddress(tcp.peer_addr()?.ip().into()),
        };
        let config = match identity.san {
            Some(san) if !self.params.verify_server_name || !is(&name, san) => built.expecting(san)?,
            _ => Arc::clone(&built.config),
        };
        let (stream, seen) = observed(TlsConnector::from(config).connect(name, Socket::new(tcp, Vec::new()))).await;
        let stream = stream?;
        let (session, ours) = (stream.get_ref().1, built.certificate.as_deref());
        let info = describe(session, &self.params.alpn, ours, seen.signature, built.verifier.validates());
        Ok((Io::tls(stream), info))
    }

    /// The server name of the configuration.
    pub fn sni(&self) -> Option<&Arc<str>> {
        self.params.sni.as_ref()
    }

    /// The slots of all its secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<SecretSlot>> {
        self.params.certificates.iter().chain(&self.params.validation)
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
        let unusable = |reason: String| TlsError::Unusable(SecretError::Context(reason));
        let mut sources = Sources::default();
        let certificates =
            params.certificates.iter().map(|slot| sources.certificate(slot)).collect::<Result<Vec<_>, _>>()?;
        let validation = sources.validation(&params.validation)?;
        validation.check().map_err(unusable)?;
        let proves = validation.trusted_ca.is_some() || validation.accept_untrusted;
        if !proves && (!validation.names.is_empty() || params.verify_server_name) {
            return Err(unusable("subject alternative names without trusted_ca prove nothing".to_owned()));
        }
        let verifier = Arc::new(EndpointVerifier::new(validation, params.verify_server_name).map_err(unusable)?);
        let certificate = certificates.first().cloned();
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&params.protocol.provider))
            .with_protocol_versions(params.protocol.versions)
            .map_err(|e| unusable(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<EndpointVerifier>::clone(&verifier))
            .with_client_cert_resolver(Arc::new(Ours(certificates)));
        config.alpn_protocols = params.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = match params.max_session_keys {
            0 => Resumption::disabled(),
            n => Resumption::in_memory_sessions(n),
        };
        Ok(Built { sources, config: Arc::new(config), verifier, certificate })
    }
}

impl Built {
    /// For an endpoint whose certificate must have another name than the one that is sent. Without resumption, which
    /// goes by the name that is sent.
    fn expecting(&self, san: &str) -> Result<Arc<ClientConfig>, TlsError> {
        // A `ServerName` has no dot at the end, and no certificate does.
        let name = Some(san).filter(|san| !san.ends_with('.')).and_then(|san| ServerName::try_from(san).ok());
        let name = name.ok_or_else(|| TlsError::Rustls(Refused::NotTheName.into()))?.to_owned();
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        config.dangerous().set_certificate_verifier(Arc::new(self.verifier.expecting(name)));
        Ok(Arc::new(config))
    }
}

/// Whether a name that is sent is this one, so that a verifier of the former is one of the latter.
fn is(name: &ServerName<'_>, san: &str) -> bool {
    match name {
        ServerName::DnsName(name) => name.as_ref().eq_ignore_ascii_case(san),
        ServerName::IpAddress(ip) => san.parse::<IpAddr>().is_ok_and(|san| san == IpAddr::from(*ip)),
        _ => false,
    }
}

/// Our certificates, the first that the endpoint can verify.
#[derive(Debug)]
struct Ours(Vec<Arc<Certificate>>);

impl ResolvesClientCert for Ours {
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = |c: &&Arc<Certificate>| c.certified.key.choose_scheme(schemes).is_some();
        self.0.iter().find(usable).map(|c| Arc::clone(&c.certified))
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
