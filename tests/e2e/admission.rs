//! How many clients may come.

use serde_json::{Value, json};
use weir_tests::{Bootstrap, Client, Hcm, eventually, merge};

fn answering() -> Value {
    let answer = json!({"status": 200, "body": {"inline_string": "text"}});
    Hcm::new().routes(json!([{"match": {"prefix": "/"}, "direct_response": answer}])).filter_value()
}

/// A cleartext listener with these fields.
fn listener(fields: Value) -> Bootstrap {
    let mut listener = json!({"name": "main", "filter_chains": [{"filters": [answering()]}]});
    merge(&mut listener, fields);
    Bootstrap::new().listener_value(listener)
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
