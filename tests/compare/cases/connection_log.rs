//! What a connection leaves in the access log of its listener, however it ends.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::{
    Authority, Bootstrap, Client, H2Client, Hcm, Identity, Kind, Launch, TlsClient, client_hello, eventually_some,
    typed,
};

/// Why TLS failed is said in the words of the library: that it is said, and of what, is compared.
const FIELDS: [(&str, &str); 21] = [
    ("type", "%ACCESS_LOG_TYPE%"),
    ("name", "%REQUESTED_SERVER_NAME%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("termination", "%CONNECTION_TERMINATION_DETAILS%"),
    ("chain", "%FILTER_CHAIN_NAME%"),
    ("code", "%RESPONSE_CODE%"),
    ("protocol", "%PROTOCOL%"),
    ("received", "%BYTES_RECEIVED%"),
    ("path", "%REQ(:PATH)%"),
    ("failure", "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("subject", "%DOWNSTREAM_PEER_SUBJECT%"),
    ("issuer", "%DOWNSTREAM_PEER_ISSUER%"),
    ("serial", "%DOWNSTREAM_PEER_SERIAL%"),
    ("fingerprint", "%DOWNSTREAM_PEER_FINGERPRINT_256%"),
    ("sha1", "%DOWNSTREAM_PEER_FINGERPRINT_1%"),
    ("names", "%DOWNSTREAM_PEER_DNS_SAN%|%DOWNSTREAM_PEER_IP_SAN%|%DOWNSTREAM_PEER_EMAIL_SAN%"),
    ("from then", "%DOWNSTREAM_PEER_CERT_V_START%"),
    ("until", "%DOWNSTREAM_PEER_CERT_V_END%"),
    ("group", "%DOWNSTREAM_TLS_GROUP%"),
    ("our names", "%DOWNSTREAM_LOCAL_DNS_SAN%"),
];

fn bootstrap(authority: &Authority) -> Bootstrap {
    let mut format: BTreeMap<_, _> = FIELDS.into_iter().collect();
    format.insert("from", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%");
    let config = json!({"path": "connections.log", "log_format": {"json_format": format}});
    let log = json!([{
        "name": "file",
        "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", config),
    }]);
    let identity = authority.issue(&["a.example", "m.example"]);
    let pair = json!({"certificate_chain": {"inline_string": identity.certificate}, "private_key": {"inline_string": identity.key}});
    let tls = |more: Value| {
        let mut context =
            json!({"common_tls_context": {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]}});
        weir_tests::merge(&mut context, more);
        let context = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
        json!({"name": "tls", "typed_config": context})
    };
    let filters = || {
        let answer = json!({"status": 200, "body": {"inline_string": "hello"}});
        let hcm = Hcm::new().routes(json!([{"match": {"prefix": "/"}, "direct_response": answer}]));
        json!([hcm.set(json!({"delayed_close_timeout": "0.1s"})).filter_value()])
    };
    let mutual = json!({"require_client_certificate": true,
        "common_tls_context": {"validation_context": {"trusted_ca": {"inline_string": authority.pem}}}});
    let inspector = typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", json!({}));
    let inspector = json!([{"name": "inspector", "typed_config": inspector}]);
    Bootstrap::new()
        .listener_value(json!({"name": "plain", "access_log": log, "filter_chains": [{"name": "one", "filters": filters()}]}))
        .listener_value(json!({
            "name": "tls",
            "access_log": log,
            "listener_filters": inspector,
            "listener_filters_timeout": "0.5s",
            "filter_chains": [
                {"name": "a", "filters": filters(), "transport_socket": tls(json!({})), "transport_socket_connect_timeout": "0.5s",
                    "filter_chain_match": {"server_names": ["a.example"]}},
                {"name": "m", "filters": filters(), "transport_socket": tls(mutual),
                    "filter_chain_match": {"server_names": ["m.example"]}},
            ],
        }))
        .listener_value(json!({
            "name": "patient",
            "access_log": log,
            "listener_filters": inspector,
            "listener_filters_timeout": "0.3s",
            "continue_on_listener_filters_timeout": true,
            "filter_chains": [{"name": "any", "filters": filters()}],
        }))
}

/// Sends these bytes, ends its direction if it is the client that ends the connection, and waits for the gateway's end.
async fn raw(to: SocketAddr, bytes: &[u8], client_ends: bool) -> SocketAddr {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let local = stream.local_addr().unwrap();
    stream.write_all(bytes).await.unwrap();
    if client_ends {
        stream.shutdown().await.unwrap();
    }
    // Closed or reset.
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    local
}

/// What each client leaves, by what it did.
async fn lines(kind: Kind, authority: &Authority, identities: &[Identity; 3]) -> BTreeMap<&'static str, Value> {
    let flush: &[_] = if kind == Kind::Envoy { &["--file-flush-interval-msec", "50"] } else { &[] };
    let gateway = Launch::new(kind, bootstrap(authority)).arguments(flush).start().await;
    let hello = client_hello(authority, "a.example").await;
    let mut clients = Vec::new();
    let (plain, secured, patient) = (gateway.listener("plain"), gateway.listener("tls"), gateway.listener("patient"));

    clients.push(("comes and goes", raw(plain, b"", true).await));
    let mut client = Client::connect(plain).await;
    client.get("/a").await;
    client.get("/b").await;
    clients.push(("two requests", client.local));
    drop(client);
    clients.push(("no request", raw(plain, b"hello\r\n\r\n", false).await));
    clients.push((
        "connection: close",
        raw(plain, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", false).await,
    ));

    let tls = TlsClient::trusting(authority);
    let mut client = Client::tls(secured, &tls, "a.example").await.unwrap();
    client.get("/a").await;
    clients.push(("over TLS", client.local));
    drop(client);
    let mut client = H2Client::tls(secured, &tls, "a.example").await.unwrap();
    client.get("/a").await;
    clients.push(("over HTTP/2", client.local));
    drop(client);
    let none = client_hello(authority, "none.example").await;
    clients.push(("no chain", raw(secured, &none, false).await));
    let mut client = Client::tls(secured, &tls, "m.example").await.unwrap();
    clients.push(("no certificate", client.local));
    client.end(Duration::from_secs(20)).await;
    let mutual = |identity| TlsClient::with_identity(authority, identity);
    let mut client = Client::tls(secured, &mutual(&identities[0]), "m.example").await.unwrap();
    client.get("/a").await;
    clients.push(("a certificate", client.local));
    drop(client);
    for (name, identity) in [("an unknown authority", &identities[1]), ("an old certificate", &identities[2])] {
        let mut client = Client::tls(secured, &mutual(identity), "m.example").await.unwrap();
        clients.push((name, client.local));
        client.end(Duration::from_secs(20)).await;
    }
    let mut stream = TcpStream::connect(secured).await.unwrap();
    clients.push(("leaves in the handshake", stream.local_addr().unwrap()));
    stream.write_all(&hello).await.unwrap();
    // What comes back says that the hello was heard.
    stream.read_u8().await.unwrap();
    stream.shutdown().await.unwrap();
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
    clients.push(("halts in the handshake", raw(secured, &hello, false).await));
    clients.push(("leaves in the hello", raw(secured, &hello[..50], true).await));
    clients.push(("halts in the hello", raw(secured, &hello[..50], false).await));
    clients.push(("sends no hello", raw(patient, b"", true).await));
    clients.push(("halts in the hello, and goes on", raw(patient, &hello[..50], false).await));

    let path = gateway.folder().join("connections.log");
    let all = eventually_some("every connection has its line", async || {
        let text = std::fs::read_to_string(&path).ok()?;
        let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>().ok()?;
        (lines.len() >= clients.len()).then_some(lines)
    })
    .await;
    assert_eq!(all.len(), clients.len(), "{kind:?}: one line each: {all:#?}");
    let line = |local: &SocketAddr| all.iter().find(|line| line["from"] == local.to_string().as_str()).cloned();
    let mut lines = BTreeMap::new();
    for (name, local) in clients {
        let mut line = line(&local).unwrap_or_else(|| panic!("{kind:?}: no line of {name}: {all:#?}"));
        line["from"].take();
        let failure = line["failure"].as_str().map(|why| why.contains("PEER_DID_NOT_RETURN_A_CERTIFICATE"));
        line["failure"] = failure.into();
        if name == "over HTTP/2" {
            // How many bytes frames take is the client's and the gateway's affair.
            assert!(line["received"].as_u64().unwrap() > 50, "{line}");
            line["received"].take();
        }
        lines.insert(name, line);
    }
    lines
}

#[tokio::test]
async fn every_connection_has_one_line() {
    let authority = Authority::new("root");
    let identities = [
        authority.issue(&["client.example", "127.0.0.9"]),
        Authority::new("other").issue(&["client.example"]),
        authority.issue_expired(&["client.example"]),
    ];
    let mut envoy = lines(Kind::Envoy, &authority, &identities).await;
    let mut weir = lines(Kind::Weir, &authority, &identities).await;
    for (name, line) in envoy.iter_mut().chain(&mut weir) {
        // rustls tells nothing but the certificates of a handshake that fails.
        if !matches!(*name, "over TLS" | "over HTTP/2" | "a certificate") {
            line["group"].take();
        }
        if name.ends_with("in the handshake") {
            line["our names"].take();
        }
    }
    for (name, envoy) in &envoy {
        assert_eq!(&weir[name], envoy, "weir, envoy: {name}");
    }
}
