//! Connections over TLS.

use super::*;

fn upstream_tls() -> Arc<UpstreamTls> {
    let params = UpstreamParams {
        protocol: Protocol::default(),
        certificates: Vec::new(),
        validation: Vec::new(),
        sni: Some("configured.test".into()),
        verify_server_name: false,
        alpn: Vec::new(),
        max_session_keys: 1,
    };
    Arc::new(UpstreamTls::new(params).unwrap())
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(vec!["endpoint.test".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_server_name_of_the_request_has_connections_of_its_own() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|config| {
                config.tls = Some(upstream_tls());
                config.http.auto_sni = true;
            })
            .await;
            let acceptor = acceptor();
            let connect = async |host: &[u8]| {
                let endpoint = &bench.cluster.endpoints.hosts()[0].endpoint;
                let wanted = Acquire { cluster: &bench.cluster, endpoint, priority: DEFAULT, host };
                take(&bench.pools, wanted).await.unwrap()
            };
            let serve = async || {
                let stream = acceptor.accept(bench.accept().await).await.unwrap();
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                (stream, name)
            };
            let mut kept = Vec::new();
            for (host, sni) in [("a.test:443", "a.test"), ("B.test", "b.test"), ("127.0.0.1", "configured.test")] {
                let (lease, (stream, name)) = tokio::join!(connect(host.as_bytes()), serve());
                assert!(fresh(&lease) && lease.tls.is_some());
                assert_eq!(name.as_deref(), Some(sni));
                lease.release(Instant::now());
                kept.push(stream);
            }
            for host in ["a.test", "b.test:8443", "[::1]"] {
                let lease = connect(host.as_bytes()).await;
                assert!(!fresh(&lease), "{host}");
                lease.release(Instant::now());
            }
            assert_eq!(bench.count(metric::UPSTREAM_CX_TOTAL), 3);
        })
        .await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_tls_says_so() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|config| config.tls = Some(upstream_tls())).await;
            let serve = async {
                let mut stream = bench.accept().await;
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
                stream
            };
            let (error, _stream) = tokio::join!(bench.acquire(), serve);
            let error = error.unwrap_err();
            assert!(matches!(error, UpstreamError::Tls { .. }), "{error:?}");
            assert!(error.to_string().starts_with("TLS_error:|"), "{error:?}");
            assert_eq!(bench.in_use(BreakerKind::Connections), 0);
        })
        .await;
}
