//! HTTP/2 from clients.

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::{
    Bootstrap, Gateway, H2_PREFACE, H2Client, Hcm, Reply, Upstream, eventually, h2_block, h2_frame, receive, request,
    typed,
};

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let upstream =
        Upstream::answering(|seen, _| if seen.path() == "/slow" { Reply::never() } else { Reply::ok("fast") }).await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = H2Client::connect(gateway.address()).await;

    let (_slow, _) = client.start(request("GET", "/slow", &[]), true).await.unwrap();
    eventually("the upstream has the slow request", async || upstream.seen().len() == 1).await;

    for _ in 0..10 {
        assert_eq!(client.get("/fast").await.text(), "fast");
    }
}

#[tokio::test]
async fn a_request_that_the_client_resets_ends_at_the_upstream() {
    let upstream = Upstream::answering(|_, _| Reply::never()).await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = H2Client::connect(gateway.address()).await;
    let (answer, mut stream) = client.start(request("POST", "/", &[]), false).await.unwrap();
    eventually("the upstream has the request", async || upstream.seen().len() == 1).await;

    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);

    eventually("the upstream's connection ends", async || upstream.open() == 0).await;
    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
}

#[tokio::test]
async fn a_body_streams_before_its_end() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = H2Client::connect(gateway.address()).await;
    let (answer, mut stream) = client.start(request("POST", "/", &[]), false).await.unwrap();

    stream.send_data(Bytes::from_static(b"first"), false).unwrap();
    let has_first = async || upstream.seen().first().is_some_and(|seen| seen.body == b"first");
    eventually("the first half is at the upstream", has_first).await;
    stream.send_data(Bytes::from_static(b"-last"), true).unwrap();

    assert_eq!(receive(answer).await.unwrap().status, 200);
    assert_eq!(upstream.last().body, b"first-last");
}

#[tokio::test]
async fn a_length_that_the_body_does_not_keep_resets_the_stream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = H2Client::connect(gateway.address()).await;

    let answer = client.request(request("POST", "/", &[("content-length", "3")]), b"hello").await;

    assert!(answer.is_err() || answer.unwrap().status == 400);
    assert!(upstream.seen().iter().all(|seen| !seen.complete));
}

/// The bytes of the n-th attack on a connection.
type Flood = Box<dyn Fn(u32) -> Vec<u8>>;

#[tokio::test]
async fn floods_are_cut_off_and_bystanders_are_served() {
    // A GET of `/` for `a`, as indexed fields and one literal.
    const HEADERS: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];
    let rapid_reset = |n: u32| {
        let stream = 2 * n + 1;
        [h2_frame(1, 5, stream, HEADERS), h2_frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    const MANY: usize = 1000;
    // Whether the connection is ended for it, and what is sent.
    let floods: [(&str, bool, Flood); 8] = [
        ("rapid reset", true, Box::new(rapid_reset)),
        ("empty data", true, Box::new(|n| if n == 0 { h2_frame(1, 4, 1, HEADERS) } else { h2_frame(0, 0, 1, &[]) })),
        ("continuation", true, Box::new(|n| h2_frame(if n == 0 { 1 } else { 9 }, 0, 1, &[0; 16]))),
        ("settings", false, Box::new(|_| h2_frame(4, 0, 0, &[]))),
        ("ping", false, Box::new(|_| h2_frame(6, 0, 0, &[0; 8]))),
        ("priority", true, Box::new(|_| h2_frame(2, 0, 1, &[0, 0, 0, 3, 1]).repeat(MANY))),
        ("window update", true, Box::new(|n| h2_frame(8, 0, 0, &(1 + n / 10_000).to_be_bytes()).repeat(MANY))),
        ("unknown", true, Box::new(|_| h2_frame(0xee, 0, 0, &[]).repeat(MANY))),
    ];
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut bystander = H2Client::connect(gateway.address()).await;

    for (name, cut, flood) in floods {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(H2_PREFACE).await.unwrap();
        let mut sent = 0;
        // Never reads: answers must not pile up in the gateway's memory.
        for n in 0..200_000 {
            let write = tokio::time::timeout(std::time::Duration::from_secs(2), stream.write_all(&flood(n))).await;
            sent = n;
            if !matches!(write, Ok(Ok(()))) {
                break;
            }
        }
        assert_eq!(bystander.get("/").await.status, 200, "during {name}, after {sent} frames");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
        assert_eq!(ended.is_ok(), cut, "{name} after {sent} writes");
        if cut {
            assert!(sent < 20_000, "{name} is cut off only after {sent} writes");
        } else {
            // Each was answered, for the client's own part: none costs the gateway more than it costs the client.
            assert!(rest.len() >= sent as usize * 9, "{name}: {} bytes of answers to {sent} frames", rest.len());
        }
    }
    assert_eq!(gateway.stat("weir.h2_reset_budget_exceeded").await, Some(3));
    assert_eq!(gateway.stat("weir.h2_control_frames_exceeded").await, Some(3));

    let peak = gateway.memory_kb("VmHWM");
    assert!(peak < 100_000, "{peak} kB");
}

#[tokio::test]
async fn resets_one_after_the_other_end_the_connection_too() {
    const HEADERS: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];
    let upstream = Upstream::answering(|_, _| Reply::never()).await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(&[H2_PREFACE, &h2_frame(4, 0, 0, &[])].concat()).await.unwrap();

    let begun = async |count: u64| {
        gateway.stat("http.test.downstream_rq_total").await.unwrap_or(0) >= count
            || gateway.stat("http.test.downstream_cx_destroy").await == Some(1)
    };
    for n in 0..2_000_u32 {
        let id = 2 * n + 1;
        let begin = h2_frame(1, 5, id, HEADERS);
        let reset = h2_frame(3, 0, id, &8_u32.to_be_bytes());
        if stream.write_all(&begin).await.is_err() {
            break;
        }
        // Each is a request under way when it is reset, so that none is thrown away before it was looked at.
        if n % 10 == 0 {
            eventually("the stream has begun", async || begun(u64::from(n) + 1).await).await;
        }
        tokio::task::yield_now().await;
        if stream.write_all(&reset).await.is_err() {
            break;
        }
    }

    gateway.stat_becomes("http.test.downstream_cx_destroy", 1).await;
    assert!(gateway.stat("http.test.downstream_rq_total").await.unwrap() < 2_000);
    assert_eq!(gateway.stat("weir.h2_reset_budget_exceeded").await, Some(1));
    assert_eq!(gateway.stat("http.test.downstream_rq_too_many_premature_resets").await, Some(1));
}

#[tokio::test]
async fn fields_of_the_connection_cannot_be_added_to_responses() {
    let add = |name: &str, value: &str| json!({"header": {"key": name, "value": value}});
    let fields = json!([
        add("transfer-encoding", "chunked"),
        add("Connection", "close"),
        add("upgrade", "x"),
        add("x-own", "1")
    ]);
    let answer = json!({"status": 200, "body": {"inline_string": "hello"}});
    let direct = json!({"match": {"path": "/direct"}, "direct_response": answer, "response_headers_to_add": fields});
    let forward = json!({"match": {"prefix": "/"}, "route": {"cluster": "a"}, "response_headers_to_add": fields});
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().routes(json!([direct, forward]));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut old = weir_tests::Client::connect(gateway.address()).await;
    let mut new = H2Client::connect(gateway.address()).await;

    for (path, body) in [("/direct", "hello"), ("/", "hello\n")] {
        for answer in [old.get(path).await, new.get(path).await] {
            assert_eq!((answer.status, answer.text().as_str()), (200, body), "{path}");
            assert_eq!(answer.header("x-own"), Some("1"), "{path}");
            for name in ["transfer-encoding", "connection", "upgrade"] {
                assert_eq!(answer.header(name), None, "{path}");
            }
        }
    }
    gateway.prints("has no effect").await;
}

#[tokio::test]
async fn too_many_fields_reset_the_stream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = H2Client::connect(gateway.address()).await;
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();

    assert_eq!(client.request(request("GET", "/", &fields[..90]), b"").await.unwrap().status, 200);
    let refused = client.request(request("GET", "/", &fields), b"").await;

    assert!(refused.is_err_and(|error| error.is_reset()));
    assert_eq!(upstream.seen().len(), 1);
    gateway.stat_becomes("weir.header_limit_exceeded", 1).await;
}

#[tokio::test]
async fn http_1_is_not_spoken_where_only_http_2_is() {
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().set(json!({"codec_type": "HTTP2"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;

    assert!(weir_tests::get(gateway.address(), "/").await.is_err());
    assert_eq!(H2Client::connect(gateway.address()).await.get("/").await.status, 200);
}

#[tokio::test]
async fn requests_of_a_connection_that_is_cut_for_a_flood_are_logged_as_such() {
    let upstream = Upstream::answering(|_, _| Reply::never()).await;
    let format = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n";
    let log = json!({"path": "access.log", "log_format": {"text_format_source": {"inline_string": format}}});
    let log = typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", log);
    let hcm = Hcm::new().set(json!({"access_log": [{"name": "file", "typed_config": log}]}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let head = h2_block(&[(":method", "GET"), (":scheme", "http"), (":path", "/waits"), (":authority", "a")]);
    stream.write_all(&[H2_PREFACE, &h2_frame(4, 0, 0, &[]), &h2_frame(1, 5, 1, &head)].concat()).await.unwrap();
    gateway.stat_becomes("cluster.a.upstream_rq_active", 1).await;

    // It is told why, and what it has sent meanwhile may take that from it.
    let _ = stream.write_all(&h2_frame(2, 0, 1, &[0, 0, 0, 3, 1]).repeat(60_000)).await;
    gateway.stat_becomes("weir.h2_control_frames_exceeded", 1).await;
    gateway.stat_becomes("http.test.downstream_cx_destroy_local_active_rq", 1).await;
    gateway.stat_becomes("cluster.a.upstream_rq_active", 0).await;

    let (_, folder) = gateway.stop().await;
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert_eq!(log, "/waits 0 DPE codec_error\n");
}
