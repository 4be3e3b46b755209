//! What waits for peers that read slowly, or not at all, is bounded: for a connection, and by what the configuration says.

use std::os::fd::AsRawFd;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use weir_tests::{
    Bootstrap, Gateway, H2_PREFACE, Hcm, Kind, Launch, Reply, Upstream, cluster, eventually, eventually_some, get,
    h2_block, h2_frame, merge,
};

/// What a peer reads that is always behind.
const DRIBBLED: usize = 12 << 20;

/// A body in pieces of the size of a packet, each copied behind the one before it where it waits.
fn small_chunks(bytes: usize) -> Vec<u8> {
    let chunk = format!("5b4\r\n{}\r\n", "x".repeat(0x5b4));
    format!("{}0\r\n\r\n", chunk.repeat(bytes / 0x5b4)).into_bytes()
}

/// A socket that takes little at a time, so that what waits for it never goes as a whole: segments as on a network, which
/// keep the sender's kernel from taking more than the gateway's queue at once, and a small window.
pub(crate) fn narrow_socket() -> TcpSocket {
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
        tokio::time::sleep(Duration::from_micros(100)).await;
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
    let before = gateway.memory_kb("VmHWM");
    let mut client = narrow_socket().connect(gateway.address()).await.unwrap();

    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    dribble(&mut client).await;

    assert!(gateway.memory_kb("VmHWM") < before + 12_000, "{} kB more", gateway.memory_kb("VmHWM") - before);
}

#[tokio::test]
async fn small_pieces_for_a_slow_upstream_cost_little_memory() {
    let socket = narrow_socket();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), listener.local_addr().unwrap())).await;
    let before = gateway.memory_kb("VmHWM");
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();

    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let sending = tokio::spawn(async move {
        client.write_all(&small_chunks(DRIBBLED)).await.unwrap();
        client
    });
    dribble(&mut upstream).await;

    assert!(gateway.memory_kb("VmHWM") < before + 12_000, "{} kB more", gateway.memory_kb("VmHWM") - before);
    for counter in
        ["http.test.downstream_flow_control_paused_reading_total", "cluster.a.upstream_flow_control_drained_total"]
    {
        assert!(gateway.stat(counter).await.unwrap() > 0, "{counter}");
    }
    sending.await.unwrap();
}

/// A gateway with this limit for its listener, and this one for its cluster.
fn limited(listener: Value, of_cluster: Value, upstream: std::net::SocketAddr) -> Bootstrap {
    let (mut main, mut a) = (
        json!({"name": "main", "filter_chains": [{"filters": [Hcm::new().filter_value()]}]}),
        cluster("a", &[upstream]),
    );
    merge(&mut main, json!({"per_connection_buffer_limit_bytes": listener}));
    merge(&mut a, json!({"per_connection_buffer_limit_bytes": of_cluster, "connect_timeout": "20s"}));
    Bootstrap::new().listener_value(main).cluster_value(a)
}

/// Waits until nothing more is read from upstreams, and says how much memory was used.
pub(crate) async fn memory_when_it_stops(gateway: &Gateway) -> usize {
    let (mut last, mut same) = (0, 0);
    eventually_some("the stream stops", async || {
        let now = gateway.stat("cluster.a.upstream_cx_rx_bytes_total").await.unwrap_or(0);
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        (same >= 30).then_some(())
    })
    .await;
    gateway.memory_kb("VmHWM")
}

#[tokio::test]
async fn a_listeners_limit_is_that_of_each_http_1_connection() {
    let upstream = Upstream::answering(|_, _| Reply::ok(vec![b'x'; 1 << 20])).await;
    let mut used = Vec::new();
    for limit in [json!(16384), Value::Null] {
        let gateway = Gateway::weir(limited(limit.clone(), limit, upstream.address)).await;
        get(gateway.address(), "/").await.unwrap();
        let before = gateway.memory_kb("VmHWM");
        let mut clients = Vec::new();
        for _ in 0..200 {
            let mut client = narrow_socket().connect(gateway.address()).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            clients.push(client);
        }
        const PAUSED: &str = "cluster.a.upstream_flow_control_paused_reading_total";
        eventually("all wait for their clients", async || gateway.stat(PAUSED).await >= Some(200)).await;
        used.push(memory_when_it_stops(&gateway).await - before);
    }
    assert!(used[0] < 16_000, "{used:?} kB for 200 connections of 16 KiB, and of 1 MiB");
}

/// A stream's request, for h2 with nothing indexed.
fn request(stream: u32) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    h2_frame(1, 5, stream, &h2_block(&fields))
}

/// A client whose connection has no window to speak of, and its streams one of this size.
pub(crate) async fn wide(to: std::net::SocketAddr, stream_window: u32) -> TcpStream {
    let mut client = narrow_socket().connect(to).await.unwrap();
    let settings = [&[0, 4][..], &stream_window.to_be_bytes()].concat();
    let more = (0x7fff_ffff_u32 - 65535).to_be_bytes();
    let hello = [H2_PREFACE.to_vec(), h2_frame(4, 0, 0, &settings), h2_frame(8, 0, 0, &more)].concat();
    client.write_all(&hello).await.unwrap();
    client
}

/// Reads until so many streams have ended, and says how many bytes of bodies came.
pub(crate) async fn read_streams(from: &mut TcpStream, mut streams: usize) -> usize {
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    while streams > 0 {
        while let Some(head) = buffer.first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            if buffer.len() < 9 + length {
                break;
            }
            assert!(kind != 3 && kind != 7, "a reset, or the end of the connection");
            bytes += if kind == 0 { length } else { 0 };
            streams -= usize::from(kind <= 1 && flags & 1 != 0);
            buffer.drain(..9 + length);
        }
        if streams > 0 {
            assert!(from.read_buf(&mut buffer).await.unwrap() > 0, "closed with {streams} streams to come");
        }
    }
    bytes
}

#[tokio::test]
async fn a_listeners_limit_is_that_of_all_streams_of_an_http_2_connection() {
    const BODY: usize = 256 << 10;
    const STREAMS: u32 = 200;
    let upstream = Upstream::answering(|_, _| Reply::ok(vec![b'x'; BODY])).await;
    let gateway = Gateway::weir(limited(json!(256 << 10), Value::Null, upstream.address)).await;
    get(gateway.address(), "/").await.unwrap();
    let before = gateway.memory_kb("VmHWM");
    let mut client = wide(gateway.address(), 0x7fff_ffff).await;

    let requests: Vec<u8> = (0..STREAMS).flat_map(|n| request(2 * n + 1)).collect();
    client.write_all(&requests).await.unwrap();
    let more = memory_when_it_stops(&gateway).await - before;

    assert!(more < 20_000, "{more} kB more for {STREAMS} streams");
    assert_eq!(read_streams(&mut client, STREAMS as usize).await, STREAMS as usize * BODY);
}

#[tokio::test]
async fn streams_that_are_held_back_stop_no_others() {
    let upstream = Upstream::answering(|_, _| Reply::ok(vec![b'x'; 256 << 10])).await;
    let gateway = Gateway::weir(limited(json!(65536), Value::Null, upstream.address)).await;
    get(gateway.address(), "/").await.unwrap();
    let before = gateway.memory_kb("VmHWM");
    let mut client = wide(gateway.address(), 10).await;
    client.write_all(&(0..200).flat_map(|n| request(2 * n + 1)).collect::<Vec<u8>>()).await.unwrap();
    let more = memory_when_it_stops(&gateway).await - before;

    let window = (1_u32 << 20).to_be_bytes();
    client.write_all(&[request(1001), h2_frame(8, 0, 1001, &window)].concat()).await.unwrap();

    assert_eq!(read_streams(&mut client, 1).await, (256 << 10) + 200 * 10);
    assert!(more < 20_000, "{more} kB more for 200 streams of 10 bytes");
}

/// Answers `POST /LENGTH` by as many bytes, and reads nothing but the head.
async fn answers_without_reading(listener: TcpListener) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                client.read_buf(&mut head).await.unwrap();
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let length: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
            client.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
    }
}

#[tokio::test]
async fn an_answer_that_waits_for_a_client_which_still_sends_keeps_no_worker_busy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let direct = json!({"match": {"path": "/direct"}, "direct_response": {"status": 200}});
    let hcm = Hcm::new().routes(json!([direct, {"match": {"prefix": "/"}, "route": {"cluster": "a"}}]));
    let bootstrap = Bootstrap::serving(hcm, listener.local_addr().unwrap());
    tokio::spawn(answers_without_reading(listener));
    let gateway = Launch::new(Kind::Weir, bootstrap).workers(1).start().await;
    // What the kernels take differs: of some of these the end of the answer waits in the gateway.
    let clients = (1..=64).map(|n| {
        let (to, length) = (gateway.address(), n * 50_000);
        tokio::spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut client = socket.connect(to).await.unwrap();
            let head = format!("POST /{length} HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            // Until nobody takes any more of it.
            let stuck = Duration::from_millis(500);
            while matches!(tokio::time::timeout(stuck, client.write(&[b'x'; 65536])).await, Ok(Ok(_))) {}
            client
        })
    });
    let mut held = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        held.push(client.await.unwrap());
    }

    assert_eq!(get(gateway.address(), "/direct").await.unwrap().status, 200);
}
