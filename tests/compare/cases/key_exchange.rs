//! Which group exchanges keys with a client, where the configuration names none.

use rustls::NamedGroup::{self, X25519, X25519MLKEM768, secp256r1, secp384r1};
use serde_json::json;
use weir_tests::{Authority, Bootstrap, Gateway, Hcm, Kind, Launch, TlsClient, typed};

/// The group for a client that offers these, the first of them with a share; none if it is refused.
async fn group(gateway: &Gateway, authority: &Authority, offered: &[NamedGroup]) -> Option<NamedGroup> {
    let stream = TlsClient::offering(authority, offered).connect(gateway.address(), "test.example").await.ok()?;
    Some(stream.get_ref().1.negotiated_key_exchange_group()?.name())
}

async fn tls(kind: Kind, authority: &Authority) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.issue(&["test.example"]).write(folder.path(), "server");
    let pair = json!({"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}});
    let context = json!({"common_tls_context": {"tls_certificates": [pair]}});
    let config = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
    let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    let chain = json!({
        "filters": [Hcm::new().routes(routes).filter_value()],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config},
    });
    let bootstrap = Bootstrap::new().listener_value(json!({"name": "main", "filter_chains": [chain]}));
    Launch::new(kind, bootstrap).folder(folder).start().await
}

#[tokio::test]
async fn groups_are_those_of_envoy() {
    let authority = Authority::new("root");
    let (envoy, weir) = (tls(Kind::Envoy, &authority).await, tls(Kind::Weir, &authority).await);
    // What is offered, what Envoy takes, and Weir.
    let questions: [(&[NamedGroup], Option<NamedGroup>, Option<NamedGroup>); 8] = [
        (&[X25519MLKEM768, X25519, secp256r1], Some(X25519MLKEM768), Some(X25519MLKEM768)),
        (&[X25519MLKEM768], Some(X25519MLKEM768), Some(X25519MLKEM768)),
        (&[X25519, secp256r1], Some(X25519), Some(X25519)),
        (&[X25519], Some(X25519), Some(X25519)),
        (&[secp256r1], Some(secp256r1), Some(secp256r1)),
        // What a client likes best, and has sent its share of, is taken without another round trip.
        (&[X25519, X25519MLKEM768], Some(X25519MLKEM768), Some(X25519)),
        (&[secp256r1, X25519], Some(X25519), Some(secp256r1)),
        // Costs nothing, and serves who has no other.
        (&[secp384r1], None, Some(secp384r1)),
    ];
    for (offered, of_envoy, of_weir) in questions {
        let taken = (group(&envoy, &authority, offered).await, group(&weir, &authority, offered).await);
        assert_eq!(taken, (of_envoy, of_weir), "{offered:?}");
    }
}
