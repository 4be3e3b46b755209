//! Bodies stream with back-pressure: nothing is buffered unless a filter asks.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_tests::{
    Bootstrap, Client, Gateway, H2_PREFACE, H2Client, Hcm, Reply, Upstream, eventually, get, h2_frame, typed,
};

/// More than every buffer between two ends can hold.
const LARGE: usize = 64 << 20;
fn memory(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn the_first_bytes_of_an_answer_do_not_wait_for_the_last() {
    let upstream = Upstream::answering(|_, _| {
        Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").then(weir_tests::Step::Stall)
    })
    .await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;

    client.receives("first").await;
}

#[tokio::test]
async fn the_first_bytes_of_a_request_do_not_wait_for_the_last() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst").await;

    let has_first = async || upstream.seen().first().is_some_and(|seen| seen.body == b"first");
    eventually("the first half is at the upstream", has_first).await;
    client.send("-last").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_upstream_and_costs_little_memory() {
    let upstream = Upstream::answering(|_, _| Reply::ok(vec![b'x'; LARGE])).await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    get(gateway.address(), "/").await.unwrap();
    let before = memory(&gateway);
    let mut client = Client::connect(gateway.address()).await;

    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.receives("x").await;
    stops(async || gateway.stat("cluster.a.upstream_cx_rx_bytes_total").await.unwrap_or(0)).await;

    assert!(memory(&gateway) < before + (8 << 20), "{} MB more", (memory(&gateway) - before) >> 20);
    assert_eq!(client.response().await.body.len(), LARGE);
}

#[tokio::test]
async fn an_upstream_that_does_not_read_stops_the_client_and_costs_little_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bootstrap = Bootstrap::serving(Hcm::new(), listener.local_addr().unwrap());
    let gateway = Gateway::weir(bootstrap).await;
    let before = memory(&gateway);
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LARGE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let sending = tokio::spawn(async move {
        client.write_all(&vec![b'x'; LARGE]).await.unwrap();
        client
    });
    stops(async || gateway.stat("http.test.downstream_cx_rx_bytes_total").await.unwrap_or(0)).await;

    assert!(!sending.is_finished());
    assert!(memory(&gateway) < before + (8 << 20), "{} MB more", (memory(&gateway) - before) >> 20);

    let mut left = LARGE;
    let mut chunk = vec![0; 1 << 16];
    while left > 0 {
        let length = upstream.read(&mut chunk).await.unwrap();
        assert!(length > 0, "closed with {left} bytes to come");
        left = left.saturating_sub(chunk[..length].iter().filter(|&&byte| byte == b'x').count());
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn of_many_interim_responses_the_first_is_passed_on() {
    const MANY: usize = 5000;
    let early = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "a".repeat(7000));
    let answer = early.repeat(MANY) + "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let upstream = Upstream::answering(move |_, _| Reply::raw(answer.clone())).await;
    let hcm = Hcm::new().set(json!({"proxy_100_continue": true}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let (mut old, mut new) = (Client::connect(gateway.address()).await, H2Client::connect(gateway.address()).await);
    let before = memory(&gateway);

    // This one reads nothing.
    let mut stalled = TcpStream::connect(gateway.address()).await.unwrap();
    let get = h2_frame(1, 5, 1, &[0x82, 0x86, 0x84, 0x01, 1, b'a']);
    stalled.write_all(&[H2_PREFACE, &h2_frame(4, 0, 0, &[]), &get].concat()).await.unwrap();
    gateway.stat_becomes("weir.interim_responses_dropped", MANY as u64 - 1).await;

    assert!(memory(&gateway) < before + (8 << 20), "{} MB more", (memory(&gateway) - before) >> 20);
    for answer in [old.get("/").await, new.get("/").await] {
        assert_eq!((answer.status, answer.text().as_str(), answer.informational.len()), (200, "ok", 1));
    }
}

#[tokio::test]
async fn a_filter_that_buffers_has_a_limit() {
    let upstream = Upstream::start().await;
    let buffer = typed("envoy.extensions.filters.http.buffer.v3.Buffer", json!({"max_request_bytes": 1000}));
    let hcm = Hcm::new().filter("envoy.filters.http.buffer", buffer);
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n{}", "x".repeat(2000))).await;

    assert_eq!(client.response().await.status, 413);
    assert!(upstream.seen().is_empty());
}

/// Waits until a counter has not moved for a while.
async fn stops(mut counter: impl AsyncFnMut() -> u64) {
    let (mut last, mut same) = (0, 0);
    let still = async || {
        let now = counter().await;
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        (same >= 30).then_some(())
    };
    weir_tests::eventually_some("the stream stops", still).await;
}
