//! The access log: Envoy's formats, written to files and to stdout.

use serde_json::{Value, json};
use std::path::Path;
use weir_tests::{Bootstrap, Client, Gateway, Hcm, Upstream, cluster, eventually_some, get, refused_address, typed};

fn file_log(path: &str, fields: Value) -> Value {
    let mut config = json!({"path": path});
    weir_tests::merge(&mut config, fields);
    json!({"name": "file", "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", config)})
}

async fn first_line(path: &Path) -> String {
    let line = async || std::fs::read_to_string(path).ok()?.lines().next().map(ToOwned::to_owned);
    eventually_some("a line is in the log", line).await
}

#[tokio::test]
async fn the_default_format_is_envoys() {
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().set(json!({"access_log": [file_log("access.log", json!({}))]}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;
    client.send("POST /path HTTP/1.1\r\nhost: test\r\nuser-agent: me\r\ncontent-length: 5\r\n\r\nhello").await;
    client.response().await;

    let line = first_line(&gateway.folder().join("access.log")).await;

    // [2026-11-22T16:00:00.000Z] "POST /path HTTP/1.1" 200 - 5 6 1 0 "-" "me" "uuid" "test" "127.0.0.1:1"
    let (time, rest) = line.split_once("] ").unwrap();
    assert!(time.starts_with('[') && time.ends_with('Z') && time.len() == 25, "{line}");
    assert!(rest.starts_with(r#""POST /path HTTP/1.1" 200 - 5 6 "#), "{line}");
    assert!(rest.contains(r#" "-" "me" ""#), "{line}");
    assert!(rest.ends_with(&format!(r#"" "test" "{}""#, upstream.address)), "{line}");
}

#[tokio::test]
async fn json_keeps_numbers_and_says_why() {
    let format = json!({"log_format": {"json_format": {"code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%", "path": "%REQ(:PATH)%", "none": "%REQ(x-none)%", "text": "a %PROTOCOL% b"}}});
    let hcm = Hcm::new().routes(json!([])).set(json!({"access_log": [file_log("access.json", format)]}));
    let gateway = Gateway::weir(Bootstrap::new().listener("main", hcm)).await;
    get(gateway.address(), "/a\"b").await.unwrap();

    let line: Value = serde_json::from_str(&first_line(&gateway.folder().join("access.json")).await).unwrap();

    assert_eq!(
        line,
        json!({"code": 404, "flags": "NR", "details": "route_not_found", "path": "/a\"b", "none": null, "text": "a HTTP/1.1 b"})
    );
}

#[tokio::test]
async fn stdout_takes_lines_too_and_filters_choose() {
    let stdout = typed(
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        json!({"log_format": {"text_format_source": {"inline_string": "LOGGED %REQ(:PATH)%\n"}}}),
    );
    let only_errors = json!({"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "none"}}}});
    let upstream = Upstream::start().await;
    let routes = json!([
        {"match": {"path": "/bad"}, "direct_response": {"status": 500}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
    ]);
    let hcm = Hcm::new()
        .routes(routes)
        .set(json!({"access_log": [{"name": "out", "filter": only_errors, "typed_config": stdout}]}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;

    get(gateway.address(), "/good").await.unwrap();
    get(gateway.address(), "/bad").await.unwrap();

    gateway.prints("LOGGED /bad").await;
    assert!(!gateway.output().contains("LOGGED /good"));
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_opened_again_on_a_signal() {
    let upstream = Upstream::start().await;
    let hcm = Hcm::new().set(json!({"access_log": [file_log("access.log", json!({}))]}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let file = gateway.folder().join("access.log");
    get(gateway.address(), "/first").await.unwrap();
    assert!(first_line(&file).await.contains("/first"));

    std::fs::rename(&file, file.with_extension("1")).unwrap();
    gateway.signal(libc::SIGUSR1);

    eventually_some("the new file has a line", async || {
        get(gateway.address(), "/second").await.ok()?;
        let text = std::fs::read_to_string(&file).ok()?;
        text.contains("/second").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_is_named_once_chosen_and_its_address_once_connected() {
    let upstream = Upstream::start().await;
    let (refused, _guard) = refused_address();
    let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS%\n";
    let log = file_log("access.log", json!({"log_format": {"text_format_source": {"inline_string": format}}}));
    let routes = ["good", "refused", "full"]
        .map(|name| json!({"match": {"prefix": format!("/{name}")}, "route": {"cluster": name}}));
    let mut full = cluster("full", &[upstream.address]);
    full["circuit_breakers"] = json!({"thresholds": [{"max_pending_requests": 0}]});
    let hcm = Hcm::new().routes(json!(routes)).set(json!({"access_log": [log]}));
    let bootstrap = Bootstrap::new()
        .listener("main", hcm)
        .cluster("good", upstream.address)
        .cluster("refused", refused)
        .cluster_value(full);
    let gateway = Gateway::weir(bootstrap).await;
    for path in ["/good", "/refused", "/full"] {
        get(gateway.address(), path).await.unwrap();
    }

    let path = gateway.folder().join("access.log");
    let lines = async || std::fs::read_to_string(&path).ok().filter(|text| text.lines().count() == 3);
    let text = eventually_some("all are in the log", lines).await;

    let good = upstream.address;
    assert_eq!(text, format!("200 - {good} {good}\n503 UF {refused} -\n503 UO - -\n"));
}
