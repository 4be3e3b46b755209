//! What h2 keeps of streams that are over is bounded: it cannot let go of those that wait in a queue for a socket, or for the
//! connection's window, while their client makes no room in it.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::{Bootstrap, Gateway, H2_PREFACE, H2Client, Hcm, Reply, Upstream, eventually, h2_block, h2_frame};

use crate::slow_readers::{memory_when_it_stops, read_streams, wide};

/// Streams that may be open at once, and those that may be kept beside them.
const BOUND: u32 = 1024 + 1000;
/// Streams that begin and end together.
const ROUND: u32 = 50;
const ENDED: &str = "weir.h2_kept_streams_exceeded";

/// A response that fills a socket, and a small one from the gateway itself.
async fn gateway(upstream: &Upstream) -> Gateway {
    let small = json!({"status": 200, "body": {"inline_string": "small"}});
    let routes = json!([
        {"match": {"path": "/big"}, "route": {"cluster": "a"}},
        {"match": {"prefix": "/"}, "direct_response": small},
    ]);
    Gateway::weir(Bootstrap::serving(Hcm::new().routes(routes), upstream.address)).await
}

async fn big() -> Upstream {
    Upstream::answering(|_, _| Reply::ok(vec![b'x'; 8 << 20])).await
}

/// A request without a body.
fn request(stream: u32, method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")];
    h2_frame(1, 5, stream, &h2_block(&fields))
}

fn reset(stream: u32) -> Vec<u8> {
    h2_frame(3, 0, stream, &8_u32.to_be_bytes())
}

/// Waits until so many requests have been answered, or until the connection was ended for what it keeps.
async fn answered(gateway: &Gateway, count: u32) {
    eventually("the streams are answered", async || {
        gateway.stat("http.test.downstream_rq_2xx").await >= Some(count.into()) || gateway.stat(ENDED).await == Some(1)
    })
    .await;
}

/// A client whose socket takes nothing more, because of its first stream.
async fn stalled(gateway: &Gateway) -> TcpStream {
    let mut client = wide(gateway.address(), 0x7fff_ffff).await;
    client.write_all(&request(1, "GET", "/big")).await.unwrap();
    memory_when_it_stops(gateway).await;
    client
}

#[tokio::test]
async fn a_socket_that_takes_nothing_does_not_keep_all_streams_that_were_reset() {
    let upstream = big().await;
    let gateway = gateway(&upstream).await;
    let mut bystander = H2Client::connect(gateway.address()).await;
    let mut client = stalled(&gateway).await;

    let mut begun = 0;
    while begun < 2 * BOUND && gateway.stat(ENDED).await != Some(1) {
        let streams: Vec<u32> = (begun..begun + ROUND).map(|n| 2 * n + 3).collect();
        begun += ROUND;
        // Once a response is with h2 its stream counts as served, and a reset of it as none that came early.
        let requests: Vec<u8> = streams.iter().flat_map(|&stream| request(stream, "GET", "/")).collect();
        if client.write_all(&requests).await.is_err() {
            break;
        }
        answered(&gateway, begun).await;
        if client.write_all(&streams.iter().flat_map(|&stream| reset(stream)).collect::<Vec<u8>>()).await.is_err() {
            break;
        }
    }

    gateway.stat_becomes(ENDED, 1).await;
    assert!(begun > 1024 && begun <= BOUND + 2 * ROUND, "ended after {begun} streams");
    assert_eq!(bystander.get("/").await.status, 200);
    let mut rest = Vec::new();
    // Whether its end or a reset arrives depends on what was not read.
    let _ = client.read_to_end(&mut rest).await;
    gateway.stat_becomes("http.test.downstream_cx_active", 1).await;
}

#[tokio::test]
async fn a_window_that_stays_shut_does_not_keep_all_streams_that_were_reset() {
    let upstream = big().await;
    let gateway = gateway(&upstream).await;
    let mut bystander = H2Client::connect(gateway.address()).await;
    let (mut read, mut write) = TcpStream::connect(gateway.address()).await.unwrap().into_split();
    // It reads all that comes, and never opens the connection's window again.
    let reading = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
    let wide = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    write
        .write_all(&[H2_PREFACE.to_vec(), h2_frame(4, 0, 0, &wide), request(1, "GET", "/big")].concat())
        .await
        .unwrap();
    memory_when_it_stops(&gateway).await;

    let (mut begun, mut reset_ones) = (0, 0);
    while reset_ones < 2 * BOUND && gateway.stat(ENDED).await != Some(1) {
        let streams: Vec<u32> = (begun..begun + 3 * ROUND).map(|n| 2 * n + 3).collect();
        begun += 3 * ROUND;
        // Those without a body end well, and are more than those that are reset early.
        let of = |(n, stream): (usize, &u32)| request(*stream, if n % 3 == 0 { "GET" } else { "HEAD" }, "/");
        let requests: Vec<u8> = streams.iter().enumerate().flat_map(of).collect();
        if write.write_all(&requests).await.is_err() {
            break;
        }
        eventually("the streams have begun", async || {
            gateway.stat("http.test.downstream_rq_total").await > Some(begun.into())
                || gateway.stat(ENDED).await == Some(1)
        })
        .await;
        reset_ones += ROUND;
        if write
            .write_all(&streams.iter().step_by(3).flat_map(|&stream| reset(stream)).collect::<Vec<u8>>())
            .await
            .is_err()
        {
            break;
        }
    }

    gateway.stat_becomes(ENDED, 1).await;
    assert_eq!(gateway.stat("http.test.downstream_rq_too_many_premature_resets").await, Some(0));
    assert_eq!(bystander.get("/").await.status, 200);
    let _ = reading.await.unwrap();
}

#[tokio::test]
async fn a_client_that_pauses_and_changes_its_mind_is_served() {
    let upstream = big().await;
    let gateway = gateway(&upstream).await;
    let mut client = stalled(&gateway).await;
    let ids = |from: u32, count: u32| (from..from + count).map(|n| 2 * n + 3);

    client.write_all(&ids(0, 900).flat_map(|id| request(id, "GET", "/")).collect::<Vec<u8>>()).await.unwrap();
    answered(&gateway, 900).await;
    client.write_all(&ids(0, 900).flat_map(reset).collect::<Vec<u8>>()).await.unwrap();
    client.write_all(&ids(900, 1000).flat_map(|id| request(id, "GET", "/")).collect::<Vec<u8>>()).await.unwrap();
    answered(&gateway, 1900).await;

    assert_eq!(read_streams(&mut client, 1001).await, (8 << 20) + 1000 * "small".len());
    assert_eq!(gateway.stat(ENDED).await, Some(0));
}
