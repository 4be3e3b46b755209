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
