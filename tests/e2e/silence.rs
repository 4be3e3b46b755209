//! Clients that say nothing, read nothing or never answer: none keeps a worker busy, and none stays for ever.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::{
    Bootstrap, Client, Gateway, H2_PREFACE, H2Client, Hcm, Kind, Launch, Reply, Upstream, eventually, h2_block,
    h2_exchange, h2_frame, request, typed,
};

/// More than the buffers between the gateway and a client can hold.
const LARGE: usize = 24 << 20;

fn half_preface() -> Vec<u8> {
    H2_PREFACE[..10].to_vec()
}

fn preface_without_pong() -> Vec<u8> {
    [H2_PREFACE, &h2_frame(4, 0, 0, &[])].concat()
}

async fn gateway_to_large(hcm: Hcm) -> (Upstream, Gateway) {
    let upstream = Upstream::answering(|_, _| Reply::ok(vec![b'x'; LARGE])).await;
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    (upstream, gateway)
}

fn route_timeout(limit: &str) -> Hcm {
    Hcm::new().routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "a", "timeout": limit}}]))
}

#[tokio::test]
async fn a_response_that_nobody_reads_ends_at_the_route_timeout() {
    let (upstream, gateway) = gateway_to_large(route_timeout("2s")).await;
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.receives("xxxxxxxx").await;

    gateway.stat_becomes("cluster.a.upstream_rq_timeout", 1).await;
    gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
    eventually("the upstream's connection ends", async || upstream.open() == 0).await;
    assert_eq!(gateway.stat("http.test.downstream_rq_tx_reset").await, Some(1));
}

#[tokio::test]
async fn an_http_2_stream_without_a_window_ends_at_the_route_timeout() {
    let (_upstream, gateway) = gateway_to_large(route_timeout("2s")).await;
    let mut client = H2Client::connect(gateway.address()).await;
    let (answer, _stream) = client.start(request("GET", "/", &[]), true).await.unwrap();
    let (_, mut body) = answer.await.unwrap().into_parts();

    gateway.stat_becomes("cluster.a.upstream_rq_timeout", 1).await;
    // Flow control is never released, so the rest can only be a reset.
    let end = loop {
        match body.data().await {
            Some(Ok(_)) => {}
            other => break other,
        }
    };
    assert!(end.is_some_and(|end| end.is_err_and(|error| error.is_reset())));
    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
}

#[tokio::test]
async fn a_response_that_nobody_reads_ends_once_at_the_idle_timeout() {
    let (_upstream, gateway) = gateway_to_large(route_timeout("0s").set(json!({"stream_idle_timeout": "2s"}))).await;
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.receives("xxxxxxxx").await;

    gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
    assert_eq!(gateway.stat("http.test.downstream_rq_idle_timeout").await, Some(1));
    assert_eq!(gateway.stat("http.test.downstream_rq_tx_reset").await, Some(1));
}

#[tokio::test]
async fn clients_that_do_not_read_cost_no_processor_time() {
    let (_upstream, gateway) = gateway_to_large(route_timeout("4s")).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.receives("xxxxxxxx").await;
        clients.push(client);
    }
    let before = gateway.processor_time();

    gateway.stat_becomes("cluster.a.upstream_rq_timeout", 4).await;

    let used = gateway.processor_time() - before;
    assert!(used < 1.0, "{used} s");
}

#[tokio::test]
async fn silent_connections_end_at_the_idle_timeout_and_at_the_end_of_their_life() {
    for codec in ["AUTO", "HTTP1", "HTTP2"] {
        for limit in ["idle_timeout", "max_connection_duration"] {
            let fields = json!({"codec_type": codec, "drain_timeout": "0.3s", "common_http_protocol_options": {limit: "0.3s"},
                "request_headers_timeout": "0s", "stream_idle_timeout": "0s"});
            ends_silent_clients(codec, limit, fields).await;
        }
    }
}

async fn ends_silent_clients(codec: &str, limit: &str, fields: Value) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new().set(fields), upstream.address)).await;
    let mut firsts = vec![Vec::new()];
    if codec != "HTTP1" {
        firsts.extend([half_preface(), preface_without_pong()]);
    }
    for first in firsts {
        let mut client = TcpStream::connect(gateway.address()).await.unwrap();
        client.write_all(&first).await.unwrap();
        // What the gateway says last is not read as an answer: only that it ends.
        let ended = tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{codec} {limit}: still open after {} bytes", first.len());
    }
    gateway.stat_becomes("listener_manager.total_listeners_active", 1).await;
    gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn an_http_2_head_that_never_ends_is_a_408_and_lets_others_finish() {
    let upstream = Upstream::answering(|_, _| Reply::ok("late").delayed(Duration::from_secs(2))).await;
    let log = typed(
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        json!({"log_format": {"text_format_source":
            {"inline_string": "LOGGED %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %PROTOCOL%\n"}}}),
    );
    let hcm = Hcm::new().set(json!({"request_headers_timeout": "0.5s",
        "access_log": [{"name": "stdout", "typed_config": log}]}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let block = h2_block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]);
    let (whole, open) = (h2_frame(1, 0x5, 1, &block), h2_frame(1, 0x1, 3, &block));

    let answer =
        h2_exchange(gateway.address(), &[whole, open.clone()].concat(), Duration::from_secs(20)).await.unwrap();
    assert_eq!((answer.status, answer.goaway), (Some(200), Some(0)), "{answer:?}");
    let alone = h2_exchange(gateway.address(), &open, Duration::from_secs(20)).await.unwrap();
    assert!(alone.closed && alone.goaway == Some(0) && alone.status.is_none(), "{alone:?}");

    assert_eq!(gateway.stat("http.test.downstream_rq_header_timeout").await, Some(2));
    gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
    eventually("it is logged", async || gateway.output().contains("LOGGED 408 request_header_timeout HTTP/2")).await;
}

#[tokio::test]
async fn silent_connections_do_not_hold_up_the_end() {
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().set(json!({"drain_timeout": "0.5s"}));
    let launch = Launch::new(Kind::Weir, Bootstrap::serving(hcm, upstream.address));
    let gateway = launch.arguments(&["--drain-time-s", "300"]).start().await;
    let mut held = Vec::new();
    for first in [Vec::new(), half_preface(), preface_without_pong()] {
        let mut client = TcpStream::connect(gateway.address()).await.unwrap();
        client.write_all(&first).await.unwrap();
        held.push(client);
    }
    let mut after_a_request = Client::connect(gateway.address()).await;
    assert_eq!(after_a_request.get("/").await.status, 200);

    gateway.terminate();

    let exit = tokio::time::timeout(Duration::from_secs(30), gateway.exit()).await.expect("it ends");
    assert_eq!(exit.status.code(), Some(0));
}

#[tokio::test]
async fn an_http_2_client_that_takes_an_end_byte_by_byte_does_not_keep_it() {
    let upstream = Upstream::answering(|_, _| Reply::ok(vec![b'x'; 10_000])).await;
    let hcm = route_timeout("0s").set(json!({"stream_idle_timeout": "1s"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    let narrow = h2_frame(4, 0, 0, &[&[0, 4][..], &1_u32.to_be_bytes()].concat());
    let block = h2_block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    client.write_all(&[H2_PREFACE, &narrow, &h2_frame(1, 5, 1, &block)].concat()).await.unwrap();

    let one_more = h2_frame(8, 0, 1, &1_u32.to_be_bytes());
    let over = gateway.stat_becomes("http2.tx_flush_timeout", 1);
    let opening = async {
        // Ends with the wait beside it.
        while client.write_all(&one_more).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = over => {}
        () = opening => {}
    }
    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
}
