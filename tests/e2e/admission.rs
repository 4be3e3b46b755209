//! How long a client may take, and how many may come, before a connection is served.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::{Authority, Bootstrap, Client, Gateway, Hcm, client_hello, eventually, merge, typed};

fn answering() -> Value {
    let answer = json!({"status": 200, "body": {"inline_string": "text"}});
    Hcm::new().routes(json!([{"match": {"prefix": "/"}, "direct_response": answer}])).filter_value()
}

fn inspector(fields: Value) -> Value {
    json!([{"name": "inspector", "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", fields)}])
}

/// A cleartext listener with these fields.
fn listener(fields: Value) -> Bootstrap {
    let mut listener = json!({"name": "main", "filter_chains": [{"filters": [answering()]}]});
    merge(&mut listener, fields);
    Bootstrap::new().listener_value(listener)
}

/// Sends these bytes and holds the connection open until the gateway ends it.
async fn held_open(gateway: &Gateway, bytes: &[u8]) {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    // Closed or reset; TLS may begin before.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

async fn counts(gateway: &Gateway, name: &str) {
    gateway.stat_becomes(&format!("listener.127.0.0.1_0.{name}"), 1).await;
    gateway.stat_becomes("listener.127.0.0.1_0.downstream_pre_cx_active", 0).await;
    gateway.stat_becomes("listener.127.0.0.1_0.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn half_a_client_hello_is_not_waited_for_for_ever() {
    let fields = json!({"listener_filters": inspector(json!({})), "listener_filters_timeout": "0.2s"});
    let gateway = Gateway::weir(listener(fields)).await;
    let hello = client_hello(&Authority::new("root"), "test.example").await;
    held_open(&gateway, &hello[..hello.len() / 2]).await;
    counts(&gateway, "downstream_pre_cx_timeout").await;
}

#[tokio::test]
async fn after_the_time_for_listener_filters_it_may_go_on_without_them() {
    let fields = json!({
        "listener_filters": inspector(json!({})),
        "listener_filters_timeout": "0.2s",
        "continue_on_listener_filters_timeout": true,
    });
    let gateway = Gateway::weir(listener(fields)).await;
    let mut late = Client::connect(gateway.address()).await;
    gateway.stat_becomes("listener.127.0.0.1_0.downstream_pre_cx_timeout", 1).await;
    assert_eq!(late.get("/").await.text(), "text");
    drop(late);
    counts(&gateway, "downstream_pre_cx_timeout").await;
}

#[tokio::test]
async fn a_handshake_is_not_waited_for_for_ever() {
    let authority = Authority::new("root");
    let identity = authority.issue(&["test.example"]);
    let pair = json!({"certificate_chain": {"inline_string": identity.certificate}, "private_key": {"inline_string": identity.key}});
    let context = json!({"common_tls_context": {"tls_certificates": [pair]}});
    let context = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
    let chain = json!({
        "filters": [answering()],
        "transport_socket": {"name": "tls", "typed_config": context},
        "transport_socket_connect_timeout": "0.2s",
    });
    let gateway = Gateway::weir(listener(json!({"filter_chains": [chain]}))).await;
    held_open(&gateway, &client_hello(&authority, "test.example").await).await;
    counts(&gateway, "downstream_cx_transport_socket_connect_timeout").await;
}

#[tokio::test]
async fn a_client_hello_may_be_bounded_and_must_be_one() {
    let strict = json!({"max_client_hello_size": 256, "close_connection_on_client_hello_parsing_errors": true});
    let gateway = Gateway::weir(listener(json!({"listener_filters": inspector(strict)}))).await;
    // Handshake records that begin a ClientHello of 1000 bytes.
    let mut long = vec![0x16, 3, 1, 3, 0xec, 1, 0, 3, 0xe8];
    long.extend_from_slice(&[0; 600]);
    held_open(&gateway, &long).await;
    assert_eq!(gateway.stat("tls_inspector.client_hello_too_large").await, Some(1));
    held_open(&gateway, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(gateway.stat("tls_inspector.tls_not_found").await, Some(1));
    gateway.stat_becomes("listener.127.0.0.1_0.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn connections_may_be_bounded_for_all_and_for_each_listener() {
    let filters = json!([{"filters": [answering()]}]);
    let layer = json!({"overload": {"global_downstream_max_connections": 3}, "envoy.resource_limits.listener.main.connection_limit": 2});
    let bootstrap = listener(json!({}))
        .listener_value(json!({"name": "other", "stat_prefix": "other", "filter_chains": filters}))
        .listener_value(
            json!({"name": "free", "stat_prefix": "free", "ignore_global_conn_limit": true, "filter_chains": filters}),
        )
        .set(json!({"layered_runtime": {"layers": [{"name": "static", "static_layer": layer}]}}));
    let gateway = weir_tests::Launch::new(weir_tests::Kind::Weir, bootstrap).workers(2).start().await;
    let served = async |name: &str| {
        let mut client = Client::connect(gateway.listener(name)).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.next(false, std::time::Duration::from_secs(20)).await.ok().map(|_| client)
    };
    let first = served("main").await.unwrap();
    let _second = served("main").await.unwrap();
    assert!(served("main").await.is_none());
    gateway.stat_becomes("listener.127.0.0.1_0.downstream_cx_overflow", 1).await;
    let _third = served("other").await.unwrap();
    assert!(served("other").await.is_none());
    gateway.stat_becomes("listener.other.downstream_global_cx_overflow", 1).await;
    assert!(served("free").await.is_some());

    // Who leaves makes room.
    drop(first);
    eventually("there is room", async || served("main").await.is_some()).await;
}
