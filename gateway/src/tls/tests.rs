//! Handshakes over real sockets.
#![allow(clippy::unwrap_used)]

mod endpoints;
mod resumption;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rcgen::{
    BasicConstraints, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::downstream::Resumption;
use super::protocol::{self, Protocol};
use super::secret::{DataSource, SecretError, SecretSource, ValidationSource};
use super::testing::{Authority, Leaf, client_hello, slot};
use super::validation::{Case, NameKind, NameMatcher, TextMatcher, Validation};
use super::verifier::EndpointVerifier;
use super::*;
use crate::telemetry::TlsInfo;

type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

fn params(certificates: &[&Leaf]) -> DownstreamParams {
    DownstreamParams {
        protocol: Protocol::default(),
        certificates: certificates.iter().map(|leaf| leaf.slot()).collect(),
        validation: Vec::new(),
        require_client_certificate: false,
        require_sni: false,
        full_scan: false,
        prefer_client_ciphers: false,
        alpn: Vec::new(),
        resumption: Resumption::Own,
        session_timeout: Duration::from_secs(3600),
    }
}

fn server(params: DownstreamParams) -> DownstreamTls {
    server_with(params, &Arc::default())
}

fn server_with(params: DownstreamParams, tickets: &Arc<TicketStore>) -> DownstreamTls {
    DownstreamTls::new(params, Arc::clone(tickets)).unwrap()
}

struct Client {
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: &'static [&'static str],
    rsa_only: bool,
    /// The only one that it knows.
    group: Option<&'static dyn SupportedKxGroup>,
}

static TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

static ANY: Client = Client { versions: rustls::ALL_VERSIONS, alpn: &[], rsa_only: false, group: None };

impl Client {
    /// Trusts every server, and keeps its sessions.
    fn config(&self, certificate: Option<&Leaf>) -> Arc<ClientConfig> {
        let verifier = EndpointVerifier::new(Validation::default(), false).unwrap();
        let verifier: Arc<dyn ServerCertVerifier> =
            if self.rsa_only { Arc::new(RsaOnly(verifier)) } else { Arc::new(verifier) };
        let mut provider = (**protocol::provider()).clone();
        if let Some(group) = self.group {
            provider.kx_groups = vec![group];
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder
                .with_client_auth_cert(
                    CertificateDer::pem_slice_iter(leaf.chain.as_bytes()).map(Result::unwrap).collect(),
                    PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

#[derive(Debug)]
struct RsaOnly(EndpointVerifier);

impl ServerCertVerifier for RsaOnly {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::RSA_PSS_SHA256, rustls::SignatureScheme::RSA_PKCS1_SHA256]
    }
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// A handshake, then a byte from the server, so that the client has read what follows the handshake.
async fn handshake(
    server: &DownstreamTls,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> Result<(TlsInfo, ClientStream, Io), TlsError> {
    let (to_server, to_client) = connected().await;
    let client = async {
        let connector = TlsConnector::from(Arc::clone(client));
        let mut stream = connector.connect(ServerName::try_from(name).unwrap(), to_server).await?;
        stream.read_u8().await?;
        Ok::<_, std::io::Error>(stream)
    };
    let server = async {
        let (mut io, info) = server.accept(to_client, BytesMut::new()).await.map_err(|failed| failed.error)?;
        io.write_u8(7).await.map_err(TlsError::from)?;
        io.flush().await?;
        Ok::<_, TlsError>((io, info))
    };
    let (stream, accepted) = tokio::join!(client, server);
    let (io, info) = accepted?;
    Ok((info, stream.unwrap(), io))
}

async fn kind(server: &DownstreamTls, client: &Arc<ClientConfig>) -> HandshakeKind {
    handshake(server, client, "a.test").await.unwrap().1.get_ref().1.handshake_kind().unwrap()
}

fn names(info: &TlsInfo) -> Vec<String> {
    info.local.as_ref().unwrap().dns_sans.clone()
}

#[tokio::test]
async fn every_version_and_key_type() {
    let ca = Authority::new("ca");
    for (algorithm, tls12) in [
        (&PKCS_ECDSA_P256_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (&PKCS_ECDSA_P384_SHA384, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (&PKCS_ED25519, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (&PKCS_RSA_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    ] {
        let leaf = ca.leaf_with(&["a.test"], algorithm, |_| {});
        let server = server(DownstreamParams { alpn: vec!["h2".into(), "http/1.1".into()], ..params(&[&leaf]) });
        for (versions, name, cipher) in [(TLS12, "TLSv1.2", tls12), (TLS13, "TLSv1.3", "TLS_AES_128_GCM_SHA256")] {
            let client = Client { versions, alpn: &["http/1.1", "h2"], ..ANY }.config(None);
            let (info, mut stream, mut io) = handshake(&server, &client, "a.test").await.unwrap();
            assert_eq!((info.version, info.cipher, &*info.alpn), (name, cipher, "h2"));
            assert_eq!(names(&info), ["a.test"]);
            assert!(info.peer.is_none());

            stream.write_all(b"ping").await.unwrap();
            let mut buf = [0; 4];
            io.readable().await.unwrap();
            io.read_exact(&mut buf).await.unwrap();
            io.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut buf).await.unwrap(), 0, "close_notify arrives");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_dropped_has_said_so() {
    let server = server(params(&[&Authority::new("ca").leaf(&["a.test"])]));
    let (_, mut stream, mut io) = handshake(&server, &ANY.config(None), "a.test").await.unwrap();
    for _ in 0..2 {
        std::future::poll_fn(|cx| io.poll_last_words(cx)).await.unwrap();
    }
    drop(io);
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0, "close_notify arrives");
}

#[tokio::test]
async fn a_peer_that_has_cut_the_connection_is_told_nothing() {
    let server = server(params(&[&Authority::new("ca").leaf(&["a.test"])]));
    let (_, stream, mut io) = handshake(&server, &ANY.config(None), "a.test").await.unwrap();
    let (mut tcp, _) = stream.into_inner();
    tcp.shutdown().await.unwrap();
    assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
    std::future::poll_fn(|cx| io.poll_last_words(cx)).await.unwrap();
    drop(io);
    assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0, "no alert");
}

#[tokio::test]
async fn versions_are_limited() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let protocol = Protocol::new(3, 3, None, None).unwrap();
    let server = server(DownstreamParams { protocol, ..params(&[&leaf]) });
    let old = Client { versions: TLS12, ..ANY }.config(None);
    assert!(matches!(handshake(&server, &old, "a.test").await, Err(TlsError::Rustls(_))));
    assert!(handshake(&server, &ANY.config(None), "a.test").await.is_ok());
}

#[tokio::test]
async fn without_a_common_protocol_there_is_none() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let server = server(DownstreamParams { alpn: vec!["h2".into()], ..params(&[&leaf]) });
    for alpn in [&["acme-tls/1"][..], &[]] {
        let (info, ..) = handshake(&server, &Client { alpn, ..ANY }.config(None), "a.test").await.unwrap();
        assert_eq!(&*info.alpn, "");
    }
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_key_type() {
    let ca = Authority::new("ca");
    let [first, exact, wildcard] = [&["first.test"][..], &["a.test"], &["*.b.test"]].map(|names| ca.leaf(names));
    let rsa = ca.leaf_with(&["a.test", "rsa.test"], &PKCS_RSA_SHA256, |_| {});
    let all = [&first, &rsa, &exact, &wildcard];
    let client = ANY.config(None);

    let tls = server(params(&all));
    let chosen = async |name| names(&handshake(&tls, &client, name).await.unwrap().0);
    assert_eq!(chosen("a.test").await, ["a.test"]);
    assert_eq!(chosen("x.b.test").await, ["*.b.test"]);
    assert_eq!(chosen("x.y.b.test").await, ["first.test"]);
    assert_eq!(chosen("rsa.test").await, ["a.test", "rsa.test"]);
    assert_eq!(chosen("unknown.test").await, ["first.test"]);

    // Over TLS 1.2 the curve of an ECDSA key must be one that the client knows.
    for (versions, curve, expected) in [
        (TLS12, kx_group::X25519, &["a.test", "rsa.test"][..]),
        (TLS12, kx_group::SECP256R1, &["a.test"]),
        (TLS13, kx_group::X25519, &["a.test"]),
    ] {
        let client = Client { versions, group: Some(curve), ..ANY }.config(None);
        let (info, ..) = handshake(&tls, &client, "a.test").await.unwrap();
        assert_eq!(names(&info), expected, "{versions:?} {curve:?}");
    }

    for versions in [TLS12, TLS13] {
        let old = Client { rsa_only: true, versions, ..ANY }.config(None);
        let (info, ..) = handshake(&tls, &old, "a.test").await.unwrap();
        assert_eq!(names(&info), ["a.test", "rsa.test"]);
        let scanning = server(DownstreamParams { full_scan: true, ..params(&all) });
        let (info, ..) = handshake(&scanning, &old, "unknown.test").await.unwrap();
        assert_eq!(names(&info), ["a.test", "rsa.test"]);
    }
}

#[tokio::test]
async fn a_server_name_can_be_required() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let server = server(DownstreamParams { require_sni: true, ..params(&[&leaf]) });
    let client = ANY.config(None);
    assert!(handshake(&server, &client, "a.test").await.is_ok());
    assert!(matches!(handshake(&server, &client, "127.0.0.1").await, Err(TlsError::NoServerName)));
}

#[tokio::test]
async fn clients_are_verified() {
    let (ca, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let leaf = ca.leaf(&["a.test"]);
    let good = ca.leaf(&["spiffe://cluster.local/ns/x/sa/good", "client.test"]);
    let bad = stranger.leaf(&["spiffe://cluster.local/ns/x/sa/good"]);
    let uri = |prefix: &str| NameMatcher {
        kind: NameKind::Uri,
        matcher: TextMatcher::Prefix(prefix.to_owned(), Case::Sensitive),
    };
    let der = CertificateDer::from_pem_slice(good.chain.as_bytes()).unwrap();
    let hash = certificate::hex(&Sha256::digest(&der));
    let pin = certificate::spki_pin(&certificate::parse(&der).unwrap());

    let with = |rules: Validation, require| {
        let validation = vec![ca.validation(rules)];
        server(DownstreamParams { validation, require_client_certificate: require, ..params(&[&leaf]) })
    };
    let pinned_only = |rules: Validation| {
        let source = SecretSource::Validation(Box::new(ValidationSource { rules, ..Default::default() }));
        server(DownstreamParams {
            validation: vec![slot(source)],
            require_client_certificate: true,
            ..params(&[&leaf])
        })
    };
    let rules = |change: fn(&mut Validation)| {
        let mut rules = Validation::default();
        change(&mut rules);
        rules
    };
    let names = |prefix| Validation { names: vec![uri(prefix)], ..Validation::default() };
    let hashes = |hash: &str| Validation { hashes: vec![hash.to_owned()], ..Validation::default() };
    let spki = |pin: &str| Validation { spki: vec![pin.to_owned()], ..Validation::default() };
    let other_hash = "00".repeat(32);

    for versions in [TLS12, TLS13] {
        let client = |leaf| Client { versions, ..ANY }.config(leaf);
        let verdicts = async |server: DownstreamTls| {
            let mut verdicts = [false; 3];
            for (verdict, leaf) in verdicts.iter_mut().zip([None, Some(&good), Some(&bad)]) {
                *verdict = handshake(&server, &client(leaf), "a.test").await.is_ok();
            }
            verdicts
        };
        // None, one of our authority, one of another.
        assert_eq!(verdicts(with(rules(|_| {}), true)).await, [false, true, false], "required");
        assert_eq!(verdicts(with(rules(|_| {}), false)).await, [true, true, false], "optional");
        assert_eq!(verdicts(with(rules(|r| r.accept_untrusted = true), false)).await, [true, true, true], "untrusted");
        assert_eq!(verdicts(with(names("spiffe://cluster.local/"), true)).await, [false, true, false], "name");
        assert_eq!(verdicts(with(names("spiffe://other/"), true)).await, [false, false, false], "other name");
        assert_eq!(verdicts(with(hashes(&hash), true)).await, [false, true, false], "hash");
        assert_eq!(verdicts(with(hashes(&other_hash), true)).await, [false, false, false], "other hash");
        assert_eq!(verdicts(pinned_only(hashes(&hash))).await, [false, true, false], "hash without authority");
        assert_eq!(verdicts(pinned_only(spki(&pin))).await, [false, true, false], "key");
    }

    let (info, ..) = handshake(&with(rules(|_| {}), true), &ANY.config(Some(&good)), "a.test").await.unwrap();
    let peer = info.peer.unwrap();
    assert_eq!(peer.uri_sans, ["spiffe://cluster.local/ns/x/sa/good"]);
    assert_eq!(peer.sha256, hash);
}

#[tokio::test]
async fn expired_revoked_and_self_signed_clients() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let expired = ca.leaf_with(&["old.test"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    });
    let revoked = ca.leaf_with(&["revoked.test"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.serial_number = Some(rcgen::SerialNumber::from(77));
    });
    let fine = ca.leaf(&["fine.test"]);
    let mutual = |validation| {
        server(DownstreamParams { validation: vec![validation], require_client_certificate: true, ..params(&[&leaf]) })
    };
    let admits =
        async |server: &DownstreamTls, leaf| handshake(server, &ANY.config(Some(leaf)), "a.test").await.is_ok();

    let strict = mutual(ca.validation(Validation::default()));
    assert!(!admits(&strict, &expired).await);
    let lenient = mutual(ca.validation(Validation { allow_expired: true, ..Validation::default() }));
    assert!(admits(&lenient, &expired).await);

    assert!(admits(&strict, &revoked).await);
    let crl = mutual(slot(SecretSource::Validation(Box::new(ValidationSource {
        trusted_ca: Some(DataSource::Inline(ca.pem.clone().into_bytes())),
        crl: Some(DataSource::Inline(ca.revoking(77).into_bytes())),
        ..Default::default()
    }))));
    assert!(!admits(&crl, &revoked).await);
    assert!(admits(&crl, &fine).await);

    // What openssl's examples make: one certificate that is its own authority.
    let mut own = rcgen::CertificateParams::new(vec!["self.test".to_owned()]).unwrap();
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let own = Leaf { chain: own.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let pinned = mutual(slot(SecretSource::Validation(Box::new(ValidationSource {
        trusted_ca: Some(DataSource::Inline(own.chain.clone().into_bytes())),
        ..Default::default()
    }))));
    assert!(admits(&pinned, &own).await);
    assert!(!admits(&strict, &own).await);
}

#[tokio::test]
async fn a_rotated_certificate_is_seen_by_the_next_handshake() {
    let ca = Authority::new("ca");
    let secrets = Secrets::default();
    let server = server(DownstreamParams { certificates: vec![secrets.slot("cert")], ..params(&[]) });
    let client = ANY.config(None);
    assert!(
        matches!(handshake(&server, &client, "a.test").await, Err(TlsError::SecretMissing(name)) if name == "cert")
    );

    secrets.publish("cert", Arc::new(ca.leaf(&["one.test"]).source().load().unwrap()));
    let (info, mut stream, mut io) = handshake(&server, &client, "a.test").await.unwrap();
    assert_eq!(names(&info), ["one.test"]);

    secrets.publish("cert", Arc::new(ca.leaf(&["two.test"]).source().load().unwrap()));
    let (info, ..) = handshake(&server, &client, "a.test").await.unwrap();
    assert_eq!(names(&info), ["two.test"]);

    io.write_all(b"still here").await.unwrap();
    let mut buf = [0; 10];
    stream.read_exact(&mut buf).await.unwrap();
    secrets.remove("cert");
    assert!(handshake(&server, &client, "a.test").await.is_err());
}

#[tokio::test]
async fn a_hello_may_be_peeked_in_part_or_whole() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let server = server(params(&[&leaf]));
    for part in [1, 5, 100, usize::MAX] {
        let (to_server, mut to_client) = connected().await;
        let client = TlsConnector::from(ANY.config(None)).connect(ServerName::try_from("a.test").unwrap(), to_server);
        let accept = async {
            let mut peeked = BytesMut::new();
            while !matches!(client_hello::inspect(&peeked), Inspection::Tls(_)) && peeked.len() < part {
                let mut byte = [0; 1];
                to_client.read_exact(&mut byte).await.unwrap();
                peeked.extend_from_slice(&byte);
            }
            server.accept(to_client, peeked).await
        };
        let (client, accepted) = tokio::join!(client, accept);
        assert!(client.is_ok() && accepted.is_ok());
    }
}

#[tokio::test]
async fn garbage_and_truncation_end_the_handshake() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let server = server(params(&[&leaf]));

    let (mut client, to_client) = connected().await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(server.accept(to_client, BytesMut::new()).await, Err(Failed { error: TlsError::Rustls(_), .. })));
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    assert_eq!(answer.first(), Some(&21), "the client is told by an alert");

    // The beginning of a long message in records of a byte, whose end nobody waits for.
    let (mut client, to_client) = connected().await;
    let endless = [1, 0, 0xfd, 0xe8].into_iter().chain([0; 12_000]).flat_map(|byte| [22, 3, 1, 0, 1, byte]);
    let sending = tokio::spawn(async move {
        // It is cut off before it has sent all.
        let _ = client.write_all(&endless.collect::<Vec<u8>>()).await;
        client
    });
    assert!(matches!(server.accept(to_client, BytesMut::new()).await, Err(Failed { error: TlsError::Rustls(_), .. })));
    sending.await.unwrap();

    let hello = client_hello("a.test", &[]);
    for end in (0..=hello.len()).step_by(7) {
        let (mut client, to_client) = connected().await;
        client.write_all(&hello[..end]).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(
            matches!(server.accept(to_client, BytesMut::new()).await, Err(Failed { error: TlsError::Closed, .. })),
            "after {end} bytes"
        );
    }
}
