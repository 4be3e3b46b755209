//! Connections of clients and to endpoints: kept, reused, refused, broken off.

use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use weir_tests::{
    Bootstrap, Client, Gateway, Hcm, Kind, Launch, Reply, Step, Upstream, eventually, get, refused_address,
};

#[tokio::test]
async fn a_request_reaches_the_upstream_and_its_answer_the_client() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;

    let answer = get(gateway.address(), "/path?query").await.unwrap();

    assert_eq!((answer.status, answer.text().as_str()), (200, "hello\n"));
    assert_eq!(upstream.last().line(), "GET /path?query HTTP/1.1");
}

#[tokio::test]
async fn one_connection_serves_many_requests_over_one_connection_to_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    for n in 0..20 {
        assert_eq!(client.get(&format!("/{n}")).await.status, 200);
    }

    assert_eq!(upstream.seen().len(), 20);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_whose_framing_broke_is_never_reused() {
    let broken = [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ];
    for bytes in broken {
        let upstream = Upstream::answering(move |_, nth| match nth {
            0 => Reply::raw(bytes),
            _ => Reply::ok("good"),
        })
        .await;
        let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
        let mut client = Client::connect(gateway.address()).await;

        client.get("/first").await;
        let second = client.get("/second").await;

        assert_eq!((second.status, second.text().as_str()), (200, "good"), "after {bytes:?}");
        assert_eq!(upstream.connections(), 2, "after {bytes:?}");
    }
}

#[tokio::test]
async fn an_idle_upstream_connection_that_the_upstream_closed_is_not_used() {
    let upstream = Upstream::answering(|_, nth| match nth {
        0 => Reply::ok("first").close(),
        _ => Reply::ok("second"),
    })
    .await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    assert_eq!(client.get("/").await.text(), "first");
    gateway.stat_becomes("cluster.a.upstream_cx_active", 0).await;
    assert_eq!(client.get("/").await.text(), "second");
}

#[tokio::test]
async fn half_a_head_is_answered_by_408_when_its_time_is_over() {
    let hcm = Hcm::new().set(json!({"request_headers_timeout": "0.1s"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, refused_address().0)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-half").await;

    assert_eq!(client.response().await.status, 408);
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_request_at_the_upstream() {
    let upstream = Upstream::answering(|_, _| Reply::never()).await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the upstream has the request", async || upstream.seen().len() == 1).await;

    drop(client);

    eventually("the upstream's connection ends", async || upstream.open() == 0).await;
    gateway.stat_becomes("http.test.downstream_rq_active", 0).await;
}

#[tokio::test]
async fn clients_that_break_off_at_every_byte_of_a_request_leave_nothing_behind() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let request =
        b"POST /path HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n";

    for length in 0..request.len() {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&request[..length]).await.unwrap();
        if length % 2 == 0 {
            stream.set_zero_linger().unwrap();
        }
    }

    gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
    gateway.stat_becomes("cluster.a.upstream_rq_active", 0).await;
    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_at_every_byte_of_an_answer_is_an_error_and_no_more() {
    let answer = b"HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n";
    let body = answer.len() - b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n".len();
    let upstream = Upstream::answering(|_, nth| match answer.get(..nth) {
        Some(part) => Reply::raw(part).then(if nth % 2 == 0 { Step::Reset } else { Step::Close }),
        None => Reply::ok("whole"),
    })
    .await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;

    for length in 0..answer.len() {
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        match client.next(false, Duration::from_secs(20)).await {
            Ok(response) => {
                assert!(response.status >= 500 && length < body, "{} after {length} bytes", response.status)
            }
            Err(_) => assert!(length >= body, "no answer after {length} bytes, in the head"),
        }
    }

    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
    gateway.stat_becomes("cluster.a.upstream_cx_active", 0).await;
}

#[tokio::test]
async fn bytes_after_an_upgrade_that_is_refused_never_reach_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;

    assert_eq!(client.response().await.status, 403);
    client.closed().await;
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_higher_limit_of_fields_holds_for_requests_responses_and_trailers() {
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let answer = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", many(250));
    let upstream = Upstream::answering(move |_, _| Reply::raw(answer.clone())).await;
    let options = json!({"max_headers_count": 500});
    let hcm = Hcm::new().set(json!({
        "common_http_protocol_options": options, "http_protocol_options": {"enable_trailers": true}}));
    let mut cluster = weir_tests::cluster("a", &[upstream.address]);
    let http = json!({"common_http_protocol_options": options, "explicit_http_config": {"http_protocol_options": {}}});
    cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
        weir_tests::typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", http)});
    let gateway = Gateway::weir(Bootstrap::new().listener("main", hcm).cluster_value(cluster)).await;
    let mut client = Client::connect(gateway.address()).await;

    let request =
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{}\r\n0\r\n{}\r\n", many(250), many(150));
    client.send(request).await;

    let response = client.response().await;
    assert_eq!(response.status, 200);
    assert!(response.headers.len() > 250);
    assert!(upstream.last().headers().len() > 250);
}

#[tokio::test]
async fn running_out_of_descriptors_does_not_end_a_listener() {
    let upstream = Upstream::start().await;
    let bootstrap = Bootstrap::serving(Hcm::new(), upstream.address);
    let gateway = Launch::new(Kind::Weir, bootstrap).descriptors(64).start().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(Client::connect(gateway.address()).await);
    }
    for client in &mut held {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n").await;
    }
    // With none left there is none for the admin either.
    gateway.prints("cannot accept connections").await;

    drop(held);

    eventually("it serves again", async || get(gateway.address(), "/").await.is_ok_and(|a| a.status == 200)).await;
    assert!(gateway.stat("weir.accept_errors").await.unwrap() > 0);
}

#[tokio::test]
async fn an_unknown_address_in_use_ends_the_start_with_its_name() {
    let upstream = Upstream::start().await;
    let listener = json!({
        "name": "taken",
        "address": weir_tests::socket_address(upstream.address),
        "filter_chains": [{"filters": [Hcm::new().filter_value()]}],
    });
    let bootstrap = Bootstrap::new().listener_value(listener).cluster("a", upstream.address);

    let exit = Launch::new(Kind::Weir, bootstrap).run_to_exit().await;

    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.output.contains(&upstream.address.port().to_string()), "{}", exit.output);
}
