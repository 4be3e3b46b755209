//! What a client's certificate says stays where it is written: in one field, in one line of the log.

use serde_json::{Value, json};
use weir_tests::{Authority, Bootstrap, Client, Gateway, Hcm, Identity, TlsClient, Upstream, eventually_some, typed};

/// A gateway that lets clients with certificates of `root` in, tells of them as `mode` says, and logs their names.
async fn gateway(root: &Authority, mode: &str, upstream: &Upstream) -> Gateway {
    let log = typed(
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        json!({"log_format": {"text_format_source": {"inline_string":
            "LOGGED %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_SUBJECT% END\n"}}}),
    );
    let hcm = Hcm::new().set(json!({
        "forward_client_cert_details": mode,
        "set_current_client_cert_details": {"subject": true, "dns": true, "uri": true},
        "access_log": [{"name": "stdout", "typed_config": log}],
    }));
    let Identity { certificate, key } = root.issue(&["test.example"]);
    let pair = json!({"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}});
    let context = json!({"common_tls_context": {"tls_certificates": [pair],
        "validation_context": {"trusted_ca": {"inline_string": root.pem}}}});
    let config = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
    let chain = json!({"filters": [hcm.filter_value()],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config}});
    let main: Value = json!({"name": "main", "filter_chains": [chain]});
    Gateway::weir(Bootstrap::new().listener_value(main).cluster("a", upstream.address)).await
}

#[tokio::test]
async fn line_ends_in_the_names_of_a_certificate_end_no_line() {
    let root = Authority::new("root");
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a";
    let names = [
        "CN=a\r\nLOGGED by nobody END",
        "spiffe://good",
        &format!("spiffe://evil\r\nx-smuggled: 1\r\n\r\n{smuggled}\r\n\r\n"),
        "evil.example\r\nx-smuggled: 1",
        "nul.example\0.evil",
        "good.example",
    ];
    let tls = TlsClient::with_identity(&root, &root.issue(&names));
    for (mode, told) in [("SANITIZE_SET", ""), ("APPEND_FORWARD", "By=spiffe://x;Hash=1,")] {
        let upstream = Upstream::start().await;
        let gateway = gateway(&root, mode, &upstream).await;
        let mut client = Client::tls(gateway.address(), &tls, "test.example").await.unwrap();
        client.send("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: By=spiffe://x;Hash=1\r\n\r\n").await;
        assert_eq!(client.response().await.status, 200);

        let seen = upstream.take();
        assert_eq!(seen.len(), 1, "{mode}: {seen:?}");
        let fields = seen[0].headers();
        assert!(!fields.iter().any(|(name, _)| name == "x-smuggled"), "{mode}: {fields:?}");
        let (_, value) = fields.iter().find(|(name, _)| name == "x-forwarded-client-cert").unwrap();
        assert!(value.starts_with(told) && value.contains(";URI=spiffe://good;DNS=good.example"), "{mode}: {value}");
        assert!(!value.contains("evil"), "{mode}: {value}");

        let logged = async || gateway.output().lines().find(|line| line.starts_with("LOGGED")).map(str::to_owned);
        let line = eventually_some("it is logged", logged).await;
        assert_eq!(
            line,
            r"LOGGED spiffe://good good.example CN=CN\=a\0D\0ALOGGED by nobody END END".replace(r"\=", "=")
        );
        assert_eq!(gateway.output().lines().filter(|line| line.contains("LOGGED")).count(), 1);
    }
}
