//! Peers that always have more to say, in the smallest pieces: a request ends by its time-outs all the same, and other clients
//! of the same worker do not wait.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::{Bootstrap, Client, Gateway, Hcm, eventually};

/// A gateway to an endpoint that answers with `begin`, and then says `piece` for as long as somebody takes it.
async fn gateway(begin: &'static str, piece: &'static str) -> Gateway {
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = endpoint.local_addr().unwrap();
    std::thread::spawn(move || endpoint.incoming().for_each(|tcp| flood(tcp.unwrap(), begin, piece)));
    let small = json!({"status": 200, "body": {"inline_string": "small"}});
    let routes = json!([
        {"match": {"path": "/small"}, "direct_response": small},
        {"match": {"path": "/limited"}, "route": {"cluster": "a", "timeout": "1s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a", "timeout": "0s"}},
    ]);
    Gateway::weir(Bootstrap::serving(Hcm::new().routes(routes), address)).await
}

/// On a thread of its own: it must be faster than who reads it.
fn flood(mut tcp: TcpStream, begin: &'static str, piece: &'static str) {
    std::thread::spawn(move || {
        let pieces = piece.repeat(10_000);
        let _ = tcp.write_all(begin.as_bytes());
        while !pieces.is_empty() && tcp.write_all(pieces.as_bytes()).is_ok() {}
    });
}

/// Throws away what comes.
fn swallow(mut tcp: TcpStream) {
    std::thread::spawn(move || std::io::copy(&mut tcp, &mut std::io::sink()));
}

/// Asks again and again; with what starved them these took most of a second each.
async fn others_do_not_wait(gateway: &Gateway) {
    let mut client = Client::connect(gateway.address()).await;
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.get("/small").await.text(), "small");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn interim_responses_without_end_keep_no_request_from_its_timeout() {
    let gateway = gateway("", "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n").await;
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET /limited HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("it is under way", async || gateway.stat("cluster.a.upstream_rq_active").await == Some(1)).await;
    others_do_not_wait(&gateway).await;
    assert_eq!(client.response().await.status, 504);
    gateway.stat_becomes("cluster.a.upstream_cx_active", 0).await;
}

#[tokio::test]
async fn chunks_of_one_byte_keep_nobody_waiting() {
    let gateway = gateway("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n").await;
    // One that reads what the endpoint says, and one that uploads likewise.
    let mut reader = TcpStream::connect(gateway.address()).unwrap();
    reader.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    swallow(reader);
    let writer = TcpStream::connect(gateway.address()).unwrap();
    flood(writer, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n");
    gateway.stat_becomes("cluster.a.upstream_rq_active", 2).await;
    others_do_not_wait(&gateway).await;
}

#[tokio::test]
async fn requests_that_come_together_keep_nobody_waiting() {
    let gateway = gateway("", "").await;
    let pipelined = TcpStream::connect(gateway.address()).unwrap();
    swallow(pipelined.try_clone().unwrap());
    flood(pipelined, "", "GET /small HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is under way", async || {
        gateway.stat("http.test.downstream_rq_total").await.is_some_and(|n| n > 1000)
    })
    .await;
    others_do_not_wait(&gateway).await;
}
