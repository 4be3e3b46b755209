//! Plugins: what they may do, and what they cannot do to anybody else.

use serde_json::json;
use std::time::Duration;
use weir_tests::{
    Bootstrap, Client, Gateway, H2Client, Hcm, Kind, Launch, Reply, Response, Upstream, eventually, request,
};

async fn chaos(wish: &str, body: &str, gateway: &Gateway) -> Option<Response> {
    let mut client = Client::connect(gateway.address()).await;
    client
        .send(format!("POST / HTTP/1.1\r\nhost: a\r\nx-chaos: {wish}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
        .await;
    client.next(false, Duration::from_secs(20)).await.ok()
}

#[tokio::test]
async fn a_trap_anywhere_fails_one_request_and_the_next_is_served() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new().wasm("chaos", ""), upstream.address)).await;

    for deed in ["panic", "trap", "recurse"] {
        for place in ["request", "body", "response"] {
            let wish = format!("{deed}@{place}");
            let failed = chaos(&wish, "hello", &gateway).await.unwrap_or_else(|| panic!("{wish}: no answer"));
            assert_eq!(failed.status, 503, "{wish}");
            assert_eq!(chaos("nothing", "hello", &gateway).await.unwrap().status, 200, "after {wish}");
        }
    }
    gateway.prints("chaos").await;
}

#[tokio::test]
async fn a_client_that_traps_as_often_as_it_can_fails_its_own_requests_only() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new().wasm("chaos", ""), upstream.address)).await;

    for n in 0..150 {
        assert_eq!(chaos("trap@request", "", &gateway).await.unwrap().status, 503);
        assert_eq!(chaos("nothing", "", &gateway).await.unwrap().status, 200, "after trap {n}");
    }
}

#[tokio::test]
async fn a_trap_when_it_logs_fails_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new().wasm("chaos", ""), upstream.address)).await;
    assert_eq!(chaos("trap@log", "hello", &gateway).await.unwrap().status, 200);
    assert_eq!(chaos("nothing", "hello", &gateway).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_endless_loop_is_cut_off() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new().wasm("chaos", ""), upstream.address)).await;

    for place in ["request", "body", "response"] {
        let before = gateway.processor_time();
        assert_eq!(chaos(&format!("loop@{place}"), "hello", &gateway).await.unwrap().status, 503, "{place}");
        let used = gateway.processor_time() - before;
        // 50 ms, and what an instance costs in a build for tests.
        assert!(used < 0.5, "{place}: {used} s of processor time");
        assert_eq!(chaos("nothing", "hello", &gateway).await.unwrap().status, 200, "after {place}");
    }
    assert_eq!(gateway.stat("wasm.chaos.deadline_exceeded").await, Some(3));
}

#[tokio::test]
async fn memory_has_a_limit() {
    let upstream = Upstream::start().await;
    // Time for it: this is not about the other limit.
    let patient = json!({"vm_config": {"environment_variables": {"key_values": {"WEIR_CALLBACK_TIMEOUT": "10s"}}}});
    let hcm = Hcm::new().wasm_with("chaos", "", patient);
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;

    assert_eq!(chaos("allocate", "", &gateway).await.unwrap().status, 503);
    assert_eq!(chaos("nothing", "", &gateway).await.unwrap().status, 200);

    let peak = gateway.memory_kb("VmHWM");
    assert!(peak < 250_000, "{peak} kB");
    assert_eq!(gateway.stat("wasm.chaos.memory_limit_reached").await, Some(1));
}

#[tokio::test]
async fn a_trap_fails_the_streams_inside_the_instance_and_no_others() {
    let upstream =
        Upstream::answering(|seen, _| if seen.path() == "/slow" { Reply::never() } else { Reply::ok("") }).await;
    let trapping = Hcm::new().wasm("chaos", "");
    let bootstrap =
        Bootstrap::serving(trapping, upstream.address).listener("plain", Hcm::new().wasm("header_tag", "tag"));
    let gateway = Gateway::weir(bootstrap).await;
    let (mut inside, mut outside) =
        (Client::connect(gateway.address()).await, Client::connect(gateway.listener("plain")).await);
    inside.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    outside.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("both are at the upstream", async || upstream.seen().len() == 2).await;

    assert_eq!(chaos("trap", "", &gateway).await.unwrap().status, 503);

    assert_eq!(inside.response().await.status, 503);
    assert_eq!(outside.end(Duration::from_millis(200)).await, weir_tests::End::Silent(Vec::new()));
    assert_eq!(chaos("nothing", "", &gateway).await.unwrap().status, 200);
}

#[tokio::test]
async fn fail_open_lets_a_request_pass_without_the_plugin() {
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().wasm_with("chaos", "", json!({"failure_policy": "FAIL_OPEN"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    assert_eq!(chaos("trap", "hello", &gateway).await.unwrap().status, 200);
    assert_eq!(upstream.last().body, b"hello");
}

#[tokio::test]
async fn a_plugin_that_refuses_its_configuration_is_refused_with_what_it_says() {
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().wasm("body_inspect", "{}");
    let exit = Launch::new(Kind::Weir, Bootstrap::serving(hcm, upstream.address)).run_to_exit().await;
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.output.contains("forbidden"), "{}", exit.output);
    assert!(exit.output.contains("http_filters[0]"), "{}", exit.output);
}

#[tokio::test]
async fn a_module_that_is_none_is_refused_with_its_path() {
    let upstream = Upstream::start().await;
    let local = json!({"vm_config": {"code": {"local": {"filename": "/nowhere/plugin.wasm"}}}});
    let hcm = Hcm::new().wasm_with("header_tag", "", local);
    let exit = Launch::new(Kind::Weir, Bootstrap::serving(hcm, upstream.address)).run_to_exit().await;
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.output.contains("/nowhere/plugin.wasm"), "{}", exit.output);
}

#[tokio::test]
async fn a_body_that_a_plugin_reads_has_a_limit() {
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().wasm("body_inspect", r#"{"forbidden": "secret"}"#);
    let chains = json!([{"filters": [hcm.filter_value()]}]);
    let listener = json!({"name": "main", "per_connection_buffer_limit_bytes": 10_000, "filter_chains": chains});
    let gateway = Gateway::weir(Bootstrap::new().listener_value(listener).cluster("a", upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n{}", "x".repeat(200_000))).await;

    assert_eq!(client.response().await.status, 413);
    gateway.stat_becomes("weir.body_limit_exceeded", 1).await;
}

#[tokio::test]
async fn several_workers_and_both_protocols_run_the_same_plugin() {
    let upstream = Upstream::start().await;
    let bootstrap = Bootstrap::serving(Hcm::new().wasm("header_tag", "blue"), upstream.address);
    let gateway = Launch::new(Kind::Weir, bootstrap).workers(2).start().await;

    for _ in 0..10 {
        let mut client = Client::connect(gateway.address()).await;
        assert_eq!(client.get("/").await.header("x-tag"), Some("blue"));
        let mut client = H2Client::connect(gateway.address()).await;
        let answer = client.request(request("POST", "/", &[]), b"hello").await.unwrap();
        assert_eq!(answer.header("x-tag"), Some("blue"));
    }
    assert!(upstream.seen().iter().all(|seen| seen.header("x-tag").as_deref() == Some("blue")));
}

/// A plugin's answer is one of the gateway's own, and is changed as those are.
#[tokio::test]
async fn its_answers_go_through_local_reply_config() {
    let is_401 = json!({"comparison": {"value": {"default_value": 401, "runtime_key": "none"}}});
    let mapper = json!({
        "filter": {"status_code_filter": is_401},
        "status_code": 403,
        "headers_to_add": [{"header": {"key": "x-mapped", "value": "%RESPONSE_CODE%"}}],
        "body_format_override": {"text_format_source": {"inline_string": "no: <%LOCAL_REPLY_BODY%>"}},
    });
    let hcm = Hcm::new().wasm("token_check", "right").set(json!({"local_reply_config": {"mappers": [mapper]}}));
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.header("x-mapped")), (403, Some("401")));
    assert!(answer.text().starts_with("no: <") && answer.text().ends_with('>'), "{}", answer.text());
    client.send("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer right\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
}
