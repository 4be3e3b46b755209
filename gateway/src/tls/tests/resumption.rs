//! Which sessions are resumed.

use super::*;

#[tokio::test]
async fn sessions_are_resumed_on_equal_contexts_only() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let leaf = ca.leaf(&["a.test"]);
    let tickets = Arc::default();
    let simple = || server_with(params(&[&leaf]), &tickets);
    let mutual = |ca: &Authority, require| {
        let validation = vec![ca.validation(Validation::default())];
        let params = DownstreamParams { validation, require_client_certificate: require, ..params(&[&leaf]) };
        server_with(params, &tickets)
    };
    for versions in [TLS12, TLS13] {
        let certificate = ca.leaf(&["client.test"]);
        let client = || Client { versions, ..ANY }.config(Some(&certificate));

        let config = client();
        let first = simple();
        assert_eq!(kind(&first, &config).await, HandshakeKind::Full);
        assert_eq!(kind(&first, &config).await, HandshakeKind::Resumed);
        // An equal context, as after a change of configuration, or on another worker's connection.
        assert_eq!(kind(&simple(), &config).await, HandshakeKind::Resumed);
        assert_eq!(kind(&mutual(&ca, false), &config).await, HandshakeKind::Full, "optional certificate");

        let config = client();
        assert_eq!(kind(&simple(), &config).await, HandshakeKind::Full);
        let required = mutual(&ca, true);
        assert_eq!(kind(&required, &config).await, HandshakeKind::Full, "required certificate");
        let (info, stream, _) = handshake(&required, &config, "a.test").await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(info.validated);
        assert_eq!(info.peer.unwrap().dns_sans, ["client.test"], "the session remembers the client");

        // The authority changed: what it vouched for is asked for again, and refused.
        assert!(handshake(&mutual(&other, true), &config, "a.test").await.is_err());
    }
}

#[tokio::test]
async fn an_anonymous_session_never_passes_for_a_certificate() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let tickets = Arc::default();
    let simple = server_with(params(&[&leaf]), &tickets);
    let validation = vec![ca.validation(Validation::default())];
    let required = DownstreamParams { validation, require_client_certificate: true, ..params(&[&leaf]) };
    let mutual = server_with(required, &tickets);
    for versions in [TLS12, TLS13] {
        let anonymous = Client { versions, ..ANY }.config(None);
        assert_eq!(kind(&simple, &anonymous).await, HandshakeKind::Full);
        assert!(handshake(&mutual, &anonymous, "a.test").await.is_err());
    }
}

#[tokio::test]
async fn resumption_can_be_off_or_use_given_keys() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.test"]);
    let off = server(DownstreamParams { resumption: Resumption::Off, ..params(&[&leaf]) });
    let keys = slot(SecretSource::TicketKeys(vec![DataSource::Inline(vec![9; 80])]));
    let given = || {
        let resumption = Resumption::Given(Arc::clone(&keys));
        server(DownstreamParams { resumption, ..params(&[&leaf]) })
    };
    for versions in [TLS12, TLS13] {
        let config = Client { versions, ..ANY }.config(None);
        assert_eq!(kind(&off, &config).await, HandshakeKind::Full);
        assert_eq!(kind(&off, &config).await, HandshakeKind::Full);
        assert_eq!(kind(&given(), &config).await, HandshakeKind::Full);
        assert_eq!(kind(&given(), &config).await, HandshakeKind::Resumed, "on another process with the same keys");
    }
}

#[tokio::test]
async fn untrusted_certificates_are_let_in_and_known_as_such_also_when_resumed() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let server_leaf = ca.leaf(&["a.test"]);
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let named = NameMatcher { kind: NameKind::Dns, matcher: TextMatcher::Exact("other.test".into(), Case::Sensitive) };
    let trusting = |rules| ca.validation(Validation { accept_untrusted: true, ..rules });
    let nothing = slot(SecretSource::Validation(Box::new(ValidationSource {
        rules: Validation { accept_untrusted: true, ..Validation::default() },
        ..Default::default()
    })));
    let only_named = trusting(Validation { names: vec![named], ..Validation::default() });
    let good = ca.leaf(&["client.test"]);
    for versions in [TLS12, TLS13] {
        for (client, validation, validated) in [
            (Some(&good), trusting(Validation::default()), true),
            (Some(&other.leaf(&["client.test"])), trusting(Validation::default()), false),
            (
                Some(&ca.leaf_with(&["c.test"], &PKCS_ECDSA_P256_SHA256, expired)),
                trusting(Validation::default()),
                false,
            ),
            (Some(&good), Arc::clone(&only_named), false),
            (Some(&good), Arc::clone(&nothing), false),
            (None, trusting(Validation::default()), false),
        ] {
            let server = server(DownstreamParams { validation: vec![validation], ..params(&[&server_leaf]) });
            let config = Client { versions, ..ANY }.config(client);
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let (info, stream, _) = handshake(&server, &config, "a.test").await.unwrap();
                assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
                assert_eq!((info.peer.is_some(), info.validated), (client.is_some(), validated), "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_ticket_goes_out_with_the_first_answer() {
    let ca = Authority::new("ca");
    let server = server(params(&[&ca.leaf(&["a.test"])]));
    let client = Client { versions: TLS13, ..ANY }.config(None);
    let (to_server, to_client) = connected().await;
    let connector = TlsConnector::from(client);
    let (client, accepted) = tokio::join!(
        connector.connect(ServerName::try_from("a.test").unwrap(), to_server),
        server.accept(to_client, BytesMut::new()),
    );
    let (mut client, (mut io, _)) = (client.unwrap(), accepted.map_err(|failed| failed.error).unwrap());
    // What the server has written is there by now.
    let nothing = client.get_ref().0.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    io.write_u8(7).await.unwrap();
    io.flush().await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), 7);
    assert_eq!(client.get_ref().1.tls13_tickets_received(), 1);
}
