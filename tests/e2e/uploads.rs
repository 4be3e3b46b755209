//! Uploads over HTTP/2 to an endpoint that reads nothing: what the gateway takes of them is bounded by the windows it gives.

use crate::slow_readers::narrow_socket;
use bytes::Bytes;
use h2::SendStream;
use serde_json::{Value, json};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use weir_tests::{
    Bootstrap, Gateway, H2_PREFACE, H2Client, Hcm, Upstream, eventually_some, h2_block, h2_exchange, h2_frame, receive,
    request,
};

const STREAMS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway whose cluster `a` is an endpoint that reads nothing, and whose cluster `b` answers.
struct Stuck {
    gateway: Gateway,
    upstream: Upstream,
    _endpoint: TcpListener,
}

async fn stuck(fields: Value) -> Stuck {
    let socket = narrow_socket();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = socket.listen(16).unwrap();
    let upstream = Upstream::start().await;
    let routes = json!([
        {"match": {"prefix": "/b"}, "route": {"cluster": "b"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ]);
    let bootstrap = Bootstrap::serving(Hcm::new().routes(routes).set(fields), endpoint.local_addr().unwrap());
    let gateway = Gateway::weir(bootstrap.cluster("b", upstream.address)).await;
    Stuck { gateway, upstream, _endpoint: endpoint }
}

/// Sends as much as the gateway lets it, and counts that.
fn upload(mut stream: SendStream<Bytes>, sent: &Arc<AtomicUsize>) -> JoinHandle<SendStream<Bytes>> {
    let sent = Arc::clone(sent);
    tokio::spawn(async move {
        loop {
            stream.reserve_capacity(16 << 10);
            let Some(Ok(room)) = poll_fn(|task| stream.poll_capacity(task)).await else { return stream };
            if stream.send_data(Bytes::from(vec![b'x'; room]), false).is_err() {
                return stream;
            }
            sent.fetch_add(room, Relaxed);
        }
    })
}

/// Waits until nothing more is taken, and says how much was.
async fn stops(sent: &AtomicUsize) -> usize {
    let (mut last, mut same) = (0, 0);
    let stopped = async || {
        let now = sent.load(Relaxed);
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        (same >= 100).then_some(now)
    };
    eventually_some("the upload stops", stopped).await
}

#[tokio::test]
async fn they_stop_at_the_windows_and_end_at_their_timeouts() {
    let narrow = json!({"initial_stream_window_size": 1 << 20, "initial_connection_window_size": 2 << 20});
    for (options, window) in [(json!({}), 24 << 20), (narrow, 2 << 20)] {
        let fields = json!({"stream_idle_timeout": "4s", "http2_protocol_options": options});
        let Stuck { gateway, upstream, .. } = &stuck(fields).await;
        let mut client = H2Client::connect(gateway.address()).await;
        client.get("/b").await;
        let before = gateway.memory_kb("VmHWM");
        let (sent, mut uploads) = (Arc::default(), Vec::new());
        for _ in 0..STREAMS {
            let (answer, stream) = client.start(request("POST", "/", &[]), false).await.unwrap();
            uploads.push((answer, upload(stream, &sent)));
        }

        let taken = stops(&sent).await;
        let more = gateway.memory_kb("VmHWM") - before;

        // Beside what the windows hold there is for each stream what waits for the endpoint, there and in its kernel.
        assert!(taken >= window / 2 && taken < window + STREAMS * (1 << 20), "{taken} bytes with windows of {window}");
        assert!(more < (window + STREAMS * (1 << 20)) / 1024 * 3 / 2, "{more} kB for {taken} bytes");
        let paused = gateway.stat("http.test.downstream_flow_control_paused_reading_total").await;
        assert!(paused >= Some(STREAMS as u64), "{paused:?}");
        gateway.stat_becomes("http.test.downstream_rq_idle_timeout", STREAMS as u64).await;
        gateway.stat_becomes("cluster.a.upstream_rq_active", 0).await;
        for (answer, _) in uploads {
            let ended = receive(answer).await;
            assert!(ended.as_ref().is_ok_and(|answer| answer.status == 408), "{ended:?}");
        }

        // What they held of the connection's window is free again.
        let whole = client.request(request("POST", "/b", &[]), &vec![b'x'; window + (1 << 20)]).await.unwrap();
        assert_eq!((whole.status, upstream.last().body.len()), (200, window + (1 << 20)));
    }
}

#[tokio::test]
async fn one_that_its_client_gives_up_ends_although_nothing_moves() {
    let Stuck { gateway, .. } = &stuck(json!({})).await;
    let mut client = H2Client::connect(gateway.address()).await;
    let (answer, stream) = client.start(request("POST", "/", &[]), false).await.unwrap();
    let sent = Arc::default();
    let uploading = upload(stream, &sent);
    stops(&sent).await;

    uploading.abort();
    // Both of its ends are gone: it is reset.
    let _ = uploading.await;
    drop(answer);

    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
    gateway.stat_becomes("cluster.a.upstream_cx_active", 0).await;
}

/// The beginning of an upload, in frames of a byte.
fn small_frames(count: usize) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let pieces = h2_frame(0, 0, 1, b"x").repeat(count);
    [h2_frame(1, 4, 1, &h2_block(&fields)), pieces].concat()
}

/// Reads until what came ends with this: the answer to a ping comes when all before it was read.
async fn answered(client: &mut TcpStream, last: &[u8]) {
    let (mut answers, mut piece) = (Vec::new(), [0; 4096]);
    while answers.is_empty() || !answers.ends_with(last) {
        let length = client.read(&mut piece).await.unwrap();
        assert!(length > 0, "closed after {answers:?}");
        answers.extend_from_slice(&piece[..length]);
    }
}

#[tokio::test]
async fn a_client_that_goes_beyond_its_window_ends_its_stream() {
    let narrow = json!({"http2_protocol_options": {"initial_stream_window_size": 65535}});
    let Stuck { gateway, .. } = &stuck(narrow).await;
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();

    let frames = h2_frame(0, 0, 1, &[b'x'; 1000]).repeat(200);
    client.write_all(H2_PREFACE).await.unwrap();
    answered(&mut client, b"").await;
    client.write_all(&[small_frames(1), frames].concat()).await.unwrap();

    gateway.stat_becomes("http.test.downstream_rq_rx_reset", 1).await;
    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
}

#[tokio::test]
async fn small_frames_that_pile_up_cost_about_their_bytes() {
    const FRAMES: usize = 600_000;
    let Stuck { gateway, .. } = &stuck(json!({})).await;
    let before = gateway.memory_kb("VmHWM");
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();

    client.write_all(H2_PREFACE).await.unwrap();
    // The windows are as wide as they are said to be once that is acknowledged.
    answered(&mut client, b"").await;
    client.write_all(&[h2_frame(4, 1, 0, b""), small_frames(FRAMES)].concat()).await.unwrap();
    client.write_all(&h2_frame(6, 0, 0, b"the last")).await.unwrap();
    answered(&mut client, b"the last").await;

    let more = gateway.memory_kb("VmHWM") - before;
    assert!(more < 24_000, "{more} kB for {FRAMES} frames");
    assert_eq!(gateway.stat("http.test.downstream_rq_active").await, Some(1));
}

#[tokio::test]
async fn small_frames_in_narrow_windows_are_taken_like_large_ones() {
    let narrow = json!({"initial_stream_window_size": 65535, "initial_connection_window_size": 65535});
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().set(json!({"http2_protocol_options": narrow}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;

    let frames = [small_frames(2000), h2_frame(0, 1, 1, b"")].concat();
    let answer = h2_exchange(gateway.address(), &frames, PATIENCE).await.unwrap();

    assert_eq!((answer.status, answer.goaway), (Some(200), None), "{answer:?}");
    assert_eq!(upstream.last().body.len(), 2000);
}
