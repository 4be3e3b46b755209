//! What is too late.

use crate::case::{Input, case, get};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use weir_tests::Hcm;

#[tokio::test]
async fn of_routes() {
    let route = |name: &str, action: serde_json::Value| {
        let mut action = action;
        action["cluster"] = "a".into();
        json!({"name": name, "match": {"prefix": format!("/{name}")}, "route": action})
    };
    let routes = json!([
        route("short", json!({"timeout": "0.15s"})),
        route("off", json!({"timeout": "0s"})),
        route("idle", json!({"idle_timeout": "0.15s"})),
        route("default", json!({})),
        route(
            "per-try",
            json!({"timeout": "2s", "retry_policy": {"per_try_timeout": "0.15s", "retry_on": "connect-failure"}})
        ),
        route("stream", json!({"timeout": "0s", "max_stream_duration": {"max_stream_duration": "0.15s"}})),
        route(
            "per-try-idle",
            json!({"timeout": "2s", "retry_policy": {"per_try_idle_timeout": "0.15s", "retry_on": "connect-failure"}})
        ),
    ]);
    let slow = "x-upstream: delay=600\r\n";
    let half = "x-upstream: raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;stall\r\n";
    let post = |name, path: &str, headers: &str, body: &str| {
        case(name, format!("POST {path} HTTP/1.1\r\nhost: test.example\r\n{headers}content-length: 10\r\n\r\n{body}"))
    };
    let cases = vec![
        get("in time", "/short", ""),
        get("too late", "/short", slow),
        get("too late after the head", "/short", half),
        get("no limit", "/off", slow),
        get("the client's limit", "/default", &format!("{slow}x-envoy-upstream-rq-timeout-ms: 150\r\n")),
        get(
            "the client's limit of a try",
            "/default",
            &format!("{slow}x-envoy-upstream-rq-per-try-timeout-ms: 150\r\n"),
        ),
        get("a bad limit of the client", "/default", "x-envoy-upstream-rq-timeout-ms: soon\r\n"),
        get("a try is too late", "/per-try", slow),
        get("idle before the answer", "/idle", slow),
        get("idle inside the answer", "/idle", half),
        get("the stream is too long", "/stream", slow),
        get("the stream is too long after the head", "/stream", half),
        get("idle within a try", "/per-try-idle", half),
        post("a body that does not come", "/idle", "", "hello").unprobed(),
        post("a body that does not come before the limit", "/short", "", "hello").unprobed(),
        post("a body in time", "/short", "", "hello").piece("12345"),
        case("HEAD too late", format!("HEAD /short HTTP/1.1\r\nhost: a\r\n{slow}\r\n")),
    ];
    compare(Setup::main(Hcm::new().routes(routes)), cases).await;
}

#[tokio::test]
async fn of_connections() {
    let common = |fields: serde_json::Value| Hcm::new().set(json!({"common_http_protocol_options": fields}));
    let setup = Setup::main(Hcm::new())
        .listener("headers", Hcm::new().set(json!({"request_headers_timeout": "0.15s"})))
        .listener("request", Hcm::new().set(json!({"request_timeout": "0.15s"})))
        .listener("stream-idle", Hcm::new().set(json!({"stream_idle_timeout": "0.15s"})))
        .listener("idle", common(json!({"idle_timeout": "0.15s"})).set(json!({"drain_timeout": "0.05s"})))
        .listener("duration", common(json!({"max_connection_duration": "0.1s"})).set(json!({"drain_timeout": "0.05s"})))
        .listener("stream-duration", common(json!({"max_stream_duration": "0.15s"})))
        .listener("two-requests", common(json!({"max_requests_per_connection": 2})));
    let slow = "x-upstream: delay=600\r\n";
    let begun = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello";
    let one = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let cases = vec![
        case("half a head", "GET / HTTP/1.1\r\nhost: a\r\n").to("headers").unprobed(),
        case("half a request line", "GET /").to("headers").unprobed(),
        case("half a second head", format!("{one}GET / HT")).to("headers").answers(2).unprobed(),
        get("a head in time", "/", slow).to("headers"),
        case("half a request", begun).to("request").unprobed(),
        get("a request in time", "/", slow).to("request"),
        case("half a head of a request", "GET / HTTP/1.1\r\nhost: a\r\n").to("request").unprobed(),
        case("an idle request", begun).to("stream-idle").unprobed(),
        get("an idle upstream", "/", slow).to("stream-idle"),
        case("half a head is idle", "GET / HTTP/1.1\r\n").to("stream-idle").unprobed(),
        case("an idle connection", one).to("idle").then(Input::Answer).answers(0).unprobed(),
        case("a connection without request", "").to("idle").answers(0).unprobed(),
        get("a busy connection is not idle", "/", slow).to("idle"),
        case("an old connection", one).to("duration").then(Input::Answer).answers(0).unprobed(),
        get("a long stream", "/", slow).to("stream-duration"),
        case("the second request is the last", format!("{one}{one}{one}")).to("two-requests").answers(2),
    ];
    compare(setup, cases).await;
}
