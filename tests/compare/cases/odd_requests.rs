//! What is counted of requests that are refused, or lose something, before they are routed.

use serde_json::json;
use std::time::Duration;
use weir_tests::{Client, Gateway, H2Client, Hcm, Kind, Launch, Upstream, request};

const COUNTED: &str =
    "/stats?usedonly&type=Counters&filter=^http[12]\\.(requests|dropped)|^http.test.downstream_rq_(ws|non|total)";

async fn counts(kind: Kind, action: &str) -> String {
    let upstream = Upstream::start().await;
    let options =
        json!({"codec_type": "AUTO", "common_http_protocol_options": {"headers_with_underscores_action": action}});
    let bootstrap = weir_tests::Bootstrap::serving(Hcm::new().set(options), upstream.address);
    let gateway: Gateway = Launch::new(kind, bootstrap).start().await;
    for head in [
        "GET / HTTP/1.1\r\nhost: a\r\na_b: 1\r\nc_d: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut client = Client::connect(gateway.address()).await;
        client.send(head).await;
        let _ = client.next(false, Duration::from_secs(4)).await;
    }
    let mut client = H2Client::connect(gateway.address()).await;
    let _ = client.request(request("GET", "/", &[("a_b", "1")]), b"").await;
    gateway.admin(COUNTED).await.text()
}

#[tokio::test]
async fn are_counted_alike() {
    for action in ["ALLOW", "DROP_HEADER", "REJECT_REQUEST"] {
        assert_eq!(counts(Kind::Envoy, action).await, counts(Kind::Weir, action).await, "{action}");
    }
}
