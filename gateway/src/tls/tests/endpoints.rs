//! Verification of endpoints.

use super::*;

#[tokio::test]
async fn endpoints_are_verified() {
    let (ca, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let leaf = ca.leaf(&["a.test", "spiffe://cluster.local/ns/x/sa/y"]);
    let ours = ca.leaf(&["gateway.test"]);
    let validation = vec![ca.validation(Validation::default())];
    let server = server(DownstreamParams { validation, alpn: vec!["http/1.1".into()], ..params(&[&leaf]) });
    let upstream = |change: fn(&mut UpstreamParams), validation: Vec<Arc<SecretSlot>>| {
        let mut params = UpstreamParams {
            protocol: Protocol::default(),
            certificates: vec![ours.slot()],
            validation,
            sni: Some("a.test".into()),
            verify_server_name: false,
            alpn: vec!["http/1.1".into()],
            max_session_keys: 1,
        };
        change(&mut params);
        UpstreamTls::new(params).unwrap()
    };
    let connect = async |tls: &UpstreamTls, identity: ServerIdentity<'_>| {
        let (to_server, to_client) = connected().await;
        let server = async {
            let (mut io, info) = server.accept(to_client, BytesMut::new()).await.map_err(|failed| failed.error)?;
            io.write_u8(7).await?;
            Ok::<_, TlsError>((io, info))
        };
        let client = async {
            let (mut io, info) = tls.connect(to_server, identity).await?;
            io.read_u8().await?;
            Ok::<_, TlsError>((io, info))
        };
        let (client, server) = tokio::join!(client, server);
        client.map(|(_, ours)| (ours, server.unwrap().1))
    };
    const ANY: ServerIdentity<'_> = ServerIdentity { sni: None, san: None };
    let sni = |name| ServerIdentity { sni: Some(name), san: None };
    let named = |kind, matcher| {
        ca.validation(Validation { names: vec![NameMatcher { kind, matcher }], ..Validation::default() })
    };
    let exact = |text: &str| TextMatcher::Exact(text.to_owned(), Case::Sensitive);
    let trusting = || vec![ca.validation(Validation::default())];

    let (here, there) = connect(&upstream(|_| {}, trusting()), ANY).await.unwrap();
    assert_eq!((&*here.alpn, here.version), ("http/1.1", "TLSv1.3"));
    assert_eq!(here.peer.unwrap().dns_sans, ["a.test"]);
    assert_eq!(there.peer.unwrap().dns_sans, ["gateway.test"]);

    assert!(connect(&upstream(|_| {}, vec![]), ANY).await.is_ok(), "without validation nothing is verified");
    let refused = connect(&upstream(|_| {}, vec![stranger.validation(Validation::default())]), ANY).await.unwrap_err();
    assert_eq!(
        refused.transport_failure_reason(),
        "TLS_error:|CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_X509_verify_cert:_unable_to_get_local_issuer_certificate:TLS_error_end"
    );
    let refused = connect(&upstream(|_| {}, vec![named(NameKind::Dns, exact("b.test"))]), ANY).await.unwrap_err();
    assert_eq!(
        refused.transport_failure_reason(),
        "TLS_error:|CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_SAN_matcher:TLS_error_end"
    );

    assert!(connect(&upstream(|_| {}, vec![named(NameKind::Dns, exact("a.test"))]), ANY).await.is_ok());
    assert!(connect(&upstream(|_| {}, vec![named(NameKind::Dns, exact("b.test"))]), ANY).await.is_err());
    let spiffe = exact("spiffe://cluster.local/ns/x/sa/y");
    assert!(connect(&upstream(|_| {}, vec![named(NameKind::Uri, spiffe)]), ANY).await.is_ok());

    assert!(connect(&upstream(|p| p.verify_server_name = true, trusting()), ANY).await.is_ok());
    assert!(connect(&upstream(|p| p.verify_server_name = true, trusting()), sni("b.test")).await.is_err());
    assert!(connect(&upstream(|_| {}, trusting()), sni("b.test")).await.is_ok());
    assert!(connect(&upstream(|p| p.sni = None, trusting()), ANY).await.is_ok(), "by address");
    assert!(connect(&upstream(|_| {}, trusting()), sni("not a name")).await.is_ok(), "it is not sent");
    assert!(matches!(
        connect(&upstream(|p| p.verify_server_name = true, trusting()), sni("not a name")).await,
        Err(TlsError::BadServerName(_))
    ));

    // The name that is verified need not be the one that is sent.
    for verify in [|p: &mut UpstreamParams| p.verify_server_name = true, |_: &mut UpstreamParams| {}] {
        let tls = upstream(verify, trusting());
        for (sni, san, good) in [
            (None, "a.test", true),
            (Some("a.test"), "a.test", true),
            (Some("b.test"), "a.test", true),
            (Some("a.test"), "a.test.", false),
            (None, "b.test", false),
            (Some("a.test"), "127.0.0.1", false),
            (Some("a..b"), "a..b", false),
            (None, "", false),
        ] {
            let ended = connect(&tls, ServerIdentity { sni, san: Some(san) }).await;
            assert_eq!(ended.is_ok(), good, "{sni:?} {san:?}");
            let why = ended.err().and_then(|error| error.unverified());
            assert_eq!(why, (!good).then_some(Unverified::Name), "{sni:?} {san:?}");
        }
    }
}
