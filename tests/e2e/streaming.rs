//! Bodies stream with back-pressure: nothing is buffered unless a filter asks.

use std::os::fd::AsRawFd;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use weir_tests::{Bootstrap, Client, Gateway, Hcm, Reply, Upstream, eventually, get, typed};

/// More than every buffer between two ends can hold.
const LARGE: usize = 64 << 20;
/// What a peer reads that is always behind.
const DRIBBLED: usize = 12 << 20;

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

/// A body in pieces of the size of a packet, each copied behind the one before it where it waits.
fn small_chunks(bytes: usize) -> Vec<u8> {
    let chunk = format!("5b4\r\n{}\r\n", "x".repeat(0x5b4));
    format!("{}0\r\n\r\n", chunk.repeat(bytes / 0x5b4)).into_bytes()
}

/// A socket that takes little at a time, so that what waits for it never goes as a whole: segments as on a network, which
/// keep the sender's kernel from taking more than the gateway's queue at once, and a small window.
fn narrow_socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let segment: libc::c_int = 1460;
    // SAFETY: the descriptor is the socket's, and the value is an int of the length that is said.
    let set = unsafe {
        let value = (&raw const segment).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG, value, size_of_val(&segment) as u32)
    };
    assert_eq!(set, 0);
    socket
}

/// Reads to the end of a chunked body, a little at a time: the sender is told at once of the first room that there is.
async fn dribble(from: &mut TcpStream) {
    let (mut end, mut piece) = (Vec::new(), [0; 4096]);
    while !end.ends_with(b"\r\n0\r\n\r\n") {
        tokio::time::sleep(std::time::Duration::from_micros(100)).await;
        let length = from.read(&mut piece).await.unwrap();
        assert!(length > 0, "closed before the end");
        end.extend_from_slice(&piece[..length]);
        end.drain(..end.len().saturating_sub(16));
    }
}

#[tokio::test]
async fn small_pieces_for_a_slow_client_cost_little_memory() {
    let upstream = Upstream::answering(|_, _| {
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        bytes.append(&mut small_chunks(DRIBBLED));
        Reply::raw(bytes)
    })
    .await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let before = memory(&gateway);
    let mut client = narrow_socket().connect(gateway.address()).await.unwrap();

    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    dribble(&mut client).await;

    assert!(memory(&gateway) < before + (12 << 20), "{} MB more", (memory(&gateway) - before) >> 20);
}

#[tokio::test]
async fn small_pieces_for_a_slow_upstream_cost_little_memory() {
    let socket = narrow_socket();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), listener.local_addr().unwrap())).await;
    let before = memory(&gateway);
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();

    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let sending = tokio::spawn(async move {
        client.write_all(&small_chunks(DRIBBLED)).await.unwrap();
        client
    });
    dribble(&mut upstream).await;

    assert!(memory(&gateway) < before + (12 << 20), "{} MB more", (memory(&gateway) - before) >> 20);
    sending.await.unwrap();
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
