//! TLS of a test's client and upstream.

use super::{Authority, Identity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How a client does TLS.
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: ClientConfig,
}

impl TlsClient {
    /// Trusts this authority, has no certificate, offers no ALPN.
    pub fn trusting(authority: &Authority) -> Self {
        Self::build(authority, None, rustls::DEFAULT_VERSIONS)
    }

    /// With a client certificate.
    pub fn with_identity(authority: &Authority, identity: &Identity) -> Self {
        Self::build(authority, Some(identity), rustls::DEFAULT_VERSIONS)
    }

    /// Only this version of TLS.
    pub fn only(authority: &Authority, version: &'static SupportedProtocolVersion) -> Self {
        Self::build(authority, None, &[version])
    }

    /// Offers only these groups for the exchange of keys, in this order.
    pub fn offering(authority: &Authority, groups: &[NamedGroup]) -> Self {
        Self::with_provider(provider_with(groups), authority, None, rustls::DEFAULT_VERSIONS)
    }

    /// Takes any certificate, speaks TLS 1.3 only, exchanges keys by this group and never resumes.
    pub fn for_full_handshakes(group: NamedGroup) -> Self {
        let versions = &[&rustls::version::TLS13];
        let nobody = Authority::new("nobody");
        Self::with_provider(provider_with(&[group]), &nobody, None, versions).trusting_all().without_resumption()
    }

    /// Never resumes.
    #[must_use]
    pub fn without_resumption(mut self) -> Self {
        self.config.resumption = rustls::client::Resumption::disabled();
        self
    }

    /// Takes any certificate of the server.
    #[must_use]
    pub fn trusting_all(mut self) -> Self {
        self.config.dangerous().set_certificate_verifier(Arc::new(AnyServer));
        self
    }

    /// Offers these protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Connects; the handshake is over when this returns.
    pub async fn connect(&self, to: SocketAddr, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await
    }

    fn build(
        authority: &Authority,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        Self::with_provider(provider(), authority, identity, versions)
    }

    fn with_provider(
        provider: Arc<CryptoProvider>,
        authority: &Authority,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots(authority));
        let config = match identity {
            Some(identity) => builder.with_client_auth_cert(chain(identity), key(identity)).unwrap(),
            None => builder.with_no_client_auth(),
        };
        Self { config }
    }
}

/// TLS of an upstream; it asks for a client certificate when it is given an authority for them.
pub fn tls_acceptor(identity: &Identity, clients: Option<&Authority>) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain(identity), key(identity)).unwrap()))
}

/// The first flight of a client that asks for this name.
pub async fn client_hello(authority: &Authority, name: &'static str) -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, tls) = (listener.local_addr().unwrap(), TlsClient::trusting(authority));
    let client = tokio::spawn(async move { tls.connect(address, name).await.map(|_| ()) });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = vec![0; 4096];
    let length = stream.read(&mut bytes).await.unwrap();
    bytes.truncate(length);
    client.abort();
    bytes
}

/// With the groups of browsers, in their order.
fn provider() -> Arc<CryptoProvider> {
    provider_with(&[NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1])
}

fn provider_with(groups: &[NamedGroup]) -> Arc<CryptoProvider> {
    let known = aws_lc_rs::ALL_KX_GROUPS;
    let of_name = |name: &NamedGroup| *known.iter().find(|group| group.name() == *name).unwrap();
    Arc::new(CryptoProvider { kx_groups: groups.iter().map(of_name).collect(), ..aws_lc_rs::default_provider() })
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    roots
}

fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).map(Result::unwrap).collect()
}

fn key(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap()
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
