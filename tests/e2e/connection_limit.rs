//! `envoy.filters.network.connection_limit` before the connection manager.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::{Bootstrap, Client, End, Gateway, Hcm, Kind, Launch, Upstream, eventually, get, typed};

fn limit(max: u32, fields: Value) -> Value {
    let mut config = json!({"stat_prefix": "few", "max_connections": max});
    weir_tests::merge(&mut config, fields);
    let name = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit";
    json!({"name": "limit", "typed_config": typed(name, config)})
}

fn bootstrap(limit: Value, upstream: &Upstream) -> Bootstrap {
    let chain = json!({"filters": [limit, Hcm::new().filter_value()]});
    Bootstrap::new().listener_value(json!({"name": "main", "filter_chains": [chain]})).cluster("a", upstream.address)
}

#[tokio::test]
async fn one_connection_too_many_is_closed_until_another_leaves() {
    let upstream = Upstream::start().await;
    let launch = Launch::new(Kind::Weir, bootstrap(limit(2, json!({})), &upstream));
    // The limit is that of all workers together.
    let gateway = launch.workers(2).start().await;
    let (mut one, mut two) = (Client::connect(gateway.address()).await, Client::connect(gateway.address()).await);
    assert_eq!((one.get("/").await.status, two.get("/").await.status), (200, 200));

    let mut three = Client::connect(gateway.address()).await;
    three.closed().await;
    assert_eq!(one.get("/").await.status, 200);
    gateway.stat_becomes("connection_limit.few.limited_connections", 1).await;
    gateway.stat_becomes("connection_limit.few.active_connections", 2).await;

    drop(two);
    let served = async || get(gateway.address(), "/").await.is_ok_and(|answer| answer.status == 200);
    eventually("its place is free again", served).await;
    drop(one);
    gateway.stat_becomes("connection_limit.few.active_connections", 0).await;
}

#[tokio::test]
async fn one_too_many_waits_for_its_end_as_long_as_delay_says() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(bootstrap(limit(1, json!({"delay": "0.5s"})), &upstream)).await;
    let mut one = Client::connect(gateway.address()).await;
    assert_eq!(one.get("/").await.status, 200);

    let began = Instant::now();
    let mut two = Client::connect(gateway.address()).await;
    two.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // As in Envoy it counts until then.
    gateway.stat_becomes("connection_limit.few.active_connections", 2).await;
    // Its end, and no reset for what nobody has read.
    let end = two.end(Duration::from_secs(60)).await;
    assert!(matches!(&end, End::Closed(bytes) if bytes.is_empty()), "{end:?}");
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert_eq!(upstream.seen().len(), 1, "nothing of it was served");
}
