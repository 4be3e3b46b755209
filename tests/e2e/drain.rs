//! SIGTERM: readiness first, then connections, requests last; exit 0.

use bytes::Bytes;
use serde_json::json;
use std::time::{Duration, Instant};
use weir_tests::{
    Bootstrap, Client, H2Client, Hcm, Kind, Launch, Reply, Step, Upstream, cluster, eventually, receive, request, typed,
};

async fn answering_late() -> Upstream {
    Upstream::answering(|seen, _| match seen.path() {
        "/late" => Reply::ok("late").delayed(Duration::from_millis(800)),
        "/never" => Reply::never(),
        _ => Reply::ok("now"),
    })
    .await
}

fn launch(upstream: &Upstream, limit: &str) -> Launch {
    Launch::new(Kind::Weir, Bootstrap::serving(Hcm::new(), upstream.address)).arguments(&["--drain-time-s", limit])
}

#[tokio::test]
async fn requests_in_flight_end_and_their_connections_are_closed() {
    let upstream = answering_late().await;
    let gateway = launch(&upstream, "10").start().await;
    let mut busy = Client::connect(gateway.address()).await;
    let mut idle = Client::connect(gateway.address()).await;
    assert_eq!(idle.get("/").await.text(), "now");
    busy.send("GET /late HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the upstream has it", async || upstream.seen().len() == 2).await;

    gateway.terminate();

    eventually("it is not ready", async || gateway.admin("/ready").await.status == 503).await;
    let answer = busy.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    assert!(answer.says_close());
    busy.closed().await;
    idle.closed().await;
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

/// Who has not heard of the end yet must not meet a closed door.
#[tokio::test]
async fn readiness_comes_first_and_listeners_close_when_nobody_comes_any_more() {
    let upstream = answering_late().await;
    let gateway = launch(&upstream, "600").start().await;
    let address = gateway.address();

    gateway.terminate();

    // As long as somebody comes it listens; a refused connection would fail here.
    eventually("who comes late is served, and told that it ends", async || {
        let answer = Client::connect(address).await.get("/").await;
        assert_eq!(answer.text(), "now");
        answer.says_close()
    })
    .await;
    assert_eq!(gateway.admin("/ready").await.status, 503);
    assert_eq!(Client::connect(address).await.get("/").await.text(), "now");
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

#[tokio::test]
async fn somebody_who_goes_on_connecting_is_let_in_for_a_third_of_the_drain_time() {
    let upstream = answering_late().await;
    let gateway = launch(&upstream, "6").start().await;
    let address = gateway.address();
    gateway.terminate();
    let begin = Instant::now();
    eventually("nobody listens", async || Client::try_connect(address).await.is_err()).await;
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

#[tokio::test]
async fn an_interrupt_closes_the_listeners_at_once() {
    let upstream = answering_late().await;
    let gateway = launch(&upstream, "600").start().await;
    let mut busy = Client::connect(gateway.address()).await;
    busy.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the upstream has it", async || upstream.seen().len() == 1).await;
    gateway.signal(libc::SIGINT);
    eventually("nobody listens", async || Client::try_connect(gateway.address()).await.is_err()).await;
    assert_eq!(gateway.admin("/ready").await.status, 503);
    gateway.signal(libc::SIGINT);
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

#[tokio::test]
async fn http_2_gets_goaway_and_its_streams_end() {
    let upstream = answering_late().await;
    let gateway = launch(&upstream, "10").start().await;
    let mut client = H2Client::connect(gateway.address()).await;
    let (answer, mut stream) = client.start(request("POST", "/late", &[]), false).await.unwrap();
    eventually("the upstream has it", async || upstream.seen().len() == 1).await;

    gateway.terminate();
    stream.send_data(Bytes::from_static(b"body"), true).unwrap();

    assert_eq!(receive(answer).await.unwrap().text(), "late");
    client.closed().await.unwrap();
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_the_limit_and_logged() {
    let upstream = answering_late().await;
    let format = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n";
    let log = json!({"path": "access.log", "log_format": {"text_format_source": {"inline_string": format}}});
    let log = typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", log);
    let hcm = Hcm::new().set(json!({"access_log": [{"name": "file", "typed_config": log}]}));
    let launch = Launch::new(Kind::Weir, Bootstrap::serving(hcm, upstream.address));
    let gateway = launch.arguments(&["--drain-time-s", "1"]).start().await;
    let mut stuck = Client::connect(gateway.address()).await;
    stuck.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the upstream has it", async || upstream.seen().len() == 1).await;

    let begin = Instant::now();
    let (exit, folder) = gateway.stop().await;

    assert_eq!(exit.status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert_eq!(log, "/never 0 DC downstream_local_disconnect\n");
}

#[tokio::test]
async fn a_thousand_that_wait_for_a_connection_are_cut_at_the_limit() {
    let upstream = answering_late().await;
    let mut cluster = cluster("a", &[upstream.address]);
    cluster["circuit_breakers"] =
        json!({"thresholds": [{"max_connections": 2, "max_pending_requests": 3000, "max_requests": 3000}]});
    let bootstrap = Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster);
    let gateway = Launch::new(Kind::Weir, bootstrap).arguments(&["--drain-time-s", "1"]).start().await;
    let mut held = Vec::new();
    for _ in 0..11 {
        let mut client = H2Client::connect(gateway.address()).await;
        for _ in 0..92 {
            held.push(client.start(request("GET", "/never", &[]), true).await.unwrap());
        }
    }
    gateway.stat_becomes("cluster.a.upstream_rq_pending_active", 1010).await;
    eventually("two are with the upstream", async || upstream.seen().len() == 2).await;

    gateway.terminate();

    let exit = gateway.exit().await;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.output);
}

#[tokio::test]
async fn many_busy_connections_lose_no_request() {
    let upstream = Upstream::answering(|_, _| {
        Reply::ok("ok").delayed(Duration::from_millis(50)).then(Step::Pause(Duration::ZERO))
    })
    .await;
    let gateway = launch(&upstream, "10").start().await;
    let address = gateway.address();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                loop {
                    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
                    let answer = client.response().await;
                    assert_eq!(answer.status, 200);
                    if answer.says_close() {
                        return;
                    }
                }
            })
        })
        .collect();
    eventually("all are busy", async || upstream.seen().len() > 40).await;

    gateway.terminate();

    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

#[tokio::test]
async fn it_can_be_told_to_end_at_once() {
    let upstream = answering_late().await;
    let gateway = launch(&upstream, "600").start().await;
    let mut busy = Client::connect(gateway.address()).await;
    busy.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the upstream has it", async || upstream.seen().len() == 1).await;
    gateway.terminate();
    eventually("it drains", async || gateway.admin("/ready").await.status == 503).await;
    let mut admin = Client::connect(gateway.admin).await;
    admin.send("POST /quitquitquit HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(admin.response().await.status, 200);
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}
