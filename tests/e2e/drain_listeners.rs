//! `/drain_listeners` of the admin, as Envoy does it.

use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use weir_tests::{Bootstrap, Client, Gateway, H2Client, Hcm, Kind, Launch, Upstream, eventually, get, request};

async fn post(gateway: &Gateway, path: &str) {
    let mut client = Client::connect(gateway.admin).await;
    client.send(format!("POST {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 200, "{path}");
}

/// Whether an answer on a new connection says that the connection ends.
async fn announces(address: SocketAddr) -> bool {
    match Client::try_connect(address).await {
        Ok(mut client) => client.get("/").await.says_close(),
        Err(_) => false,
    }
}

async fn refuses(address: SocketAddr) {
    eventually("nobody listens", async || Client::try_connect(address).await.is_err()).await;
}

async fn gateway(upstream: &Upstream, drain_time: &str) -> Gateway {
    let hcm = || Hcm::new().set(json!({"codec_type": "AUTO"}));
    let inbound = json!({
        "name": "inbound",
        "traffic_direction": "INBOUND",
        "filter_chains": [{"filters": [hcm().filter_value()]}],
    });
    let bootstrap = Bootstrap::serving(hcm(), upstream.address).listener_value(inbound);
    Launch::new(Kind::Weir, bootstrap).arguments(&["--drain-time-s", drain_time]).start().await
}

#[tokio::test]
async fn plain_closes_the_listeners_and_nothing_else() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "600").await;
    let mut open = Client::connect(gateway.listener("main")).await;
    assert_eq!(open.get("/").await.status, 200);

    post(&gateway, "/drain_listeners").await;
    refuses(gateway.listener("main")).await;
    refuses(gateway.listener("inbound")).await;
    for _ in 0..3 {
        let answer = open.get("/").await;
        assert!(answer.status == 200 && !answer.says_close());
    }
    assert_eq!(gateway.admin("/ready").await.status, 200);
}

#[tokio::test]
async fn without_descriptors_it_closes_and_tells_what_may_be_lost() {
    let upstream = Upstream::start().await;
    let bootstrap = Bootstrap::serving(Hcm::new(), upstream.address);
    let gateway = Launch::new(Kind::Weir, bootstrap).descriptors(64).start().await;
    let mut admin = Client::connect(gateway.admin).await;
    assert_eq!(admin.get("/ready").await.status, 200);
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(Client::connect(gateway.address()).await);
    }
    gateway.prints("cannot accept connections").await;
    // On the one connection that it has: there is no descriptor for another.
    let counted = async {
        while admin.get("/stats?filter=weir.accept_backoff").await.text().trim() == "weir.accept_backoff: 0" {}
    };
    tokio::time::timeout(Duration::from_secs(60), counted).await.expect("it is counted");

    admin.send("POST /drain_listeners HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(admin.response().await.status, 200);

    gateway.prints("connections that waited when it was closed may be lost").await;
    refuses(gateway.address()).await;
}

#[tokio::test]
async fn graceful_announces_before_it_closes() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "2").await;
    let address = gateway.listener("main");
    let mut idle = Client::connect(address).await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut http2 = H2Client::connect(address).await;

    post(&gateway, "/drain_listeners?graceful").await;
    eventually("a new connection is served and told to close", async || announces(address).await).await;
    refuses(address).await;
    // After the drain time every answer says so; a connection that was idle all the time is still there for it.
    assert!(idle.get("/").await.says_close());
    idle.closed().await;
    assert_eq!(http2.request(request("GET", "/", &[]), b"").await.unwrap().status, 200);
    http2.closed().await.unwrap();
    assert_eq!(gateway.admin("/ready").await.status, 200);
}

#[tokio::test]
async fn inboundonly_leaves_the_others() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "600").await;
    post(&gateway, "/drain_listeners?inboundonly").await;
    refuses(gateway.listener("inbound")).await;
    assert_eq!(get(gateway.listener("main"), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn skip_exit_announces_and_never_closes() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "0").await;
    let address = gateway.listener("inbound");
    post(&gateway, "/drain_listeners?skip_exit&inboundonly").await;
    eventually("answers say close", async || announces(address).await).await;
    assert!(!announces(gateway.listener("main")).await);
}
