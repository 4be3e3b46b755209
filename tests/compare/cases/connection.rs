//! Connections that want to become something else, and what the gateway itself answers.

use crate::case::{Case, Input, case, get, h2};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use weir_tests::{Hcm, typed};

#[tokio::test]
async fn upgrades() {
    let cases = vec![
        get("websocket", "/", "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n"),
        get("h2c", "/", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"),
        get("an unknown protocol", "/", "connection: upgrade\r\nupgrade: foo\r\n"),
        get("TLS/1.0", "/", "connection: upgrade\r\nupgrade: TLS/1.0\r\n"),
        get("an upgrade of what no route has", "/nowhere", "connection: upgrade\r\nupgrade: foo\r\n").to("routes"),
        get("an upgrade of a direct response", "/direct", "connection: upgrade\r\nupgrade: foo\r\n").to("routes"),
        get("an upgrade where the route adds fields", "/adds", "connection: upgrade\r\nupgrade: foo\r\n").to("routes"),
        get("an upgrade of a path that is refused", "/%00", "connection: upgrade\r\nupgrade: foo\r\n").to("routes"),
        get("an upgrade of a path that is made canonical", "/x/../direct", "connection: upgrade\r\nupgrade: foo\r\n").to("routes"),
        get("an upgrade of a star", "*", "connection: upgrade\r\nupgrade: foo\r\n").to("routes"),
        get("an upgrade where TLS is required", "/", "connection: upgrade\r\nupgrade: foo\r\n").to("tls-required"),
        get("upgrade without connection", "/", "upgrade: websocket\r\n"),
        get("connection without upgrade", "/", "connection: upgrade\r\n"),
        case("a POST that upgrades", "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\ncontent-length: 2\r\n\r\nhi"),
        case("CONNECT", "CONNECT test.example:443 HTTP/1.1\r\nhost: test.example:443\r\n\r\n").unprobed(),
        case("CONNECT with early data", "CONNECT test.example:443 HTTP/1.1\r\nhost: test.example:443\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").unprobed(),
        case("CONNECT without a port", "CONNECT test.example HTTP/1.1\r\nhost: test.example\r\n\r\n").unprobed(),
        case("CONNECT of a path", "CONNECT /path HTTP/1.1\r\nhost: test.example\r\n\r\n").unprobed(),
        case("early data after an upgrade", "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").answers(2),
        get("a client that finishes", "/", "x-upstream: delay=200\r\n").then(Input::AtUpstream).then(Input::Finish).unprobed(),
        case("a client that finishes early", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe").then(Input::Finish).unprobed(),
        case("a client that sends nothing", "").then(Input::Finish).unprobed(),
    ];
    let routes = Hcm::new().set(json!({"normalize_path": true})).routes(json!([
        {"name": "direct", "match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}},
        {"name": "adds", "match": {"prefix": "/adds"}, "route": {"cluster": "a"},
            "response_headers_to_add": [{"header": {"key": "x-route", "value": "%UPSTREAM_CLUSTER%"}}]},
    ]));
    let tls = Hcm::new().virtual_hosts(json!([{"name": "all", "domains": ["*"], "require_tls": "ALL",
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]}]));
    compare(Setup::main(Hcm::new()).listener("routes", routes).listener("tls-required", tls), cases).await;
}

/// What the gateway answers by itself, and one answer that is none of its own.
pub(super) fn local_replies() -> Vec<Case> {
    vec![
        get("not found", "/nowhere", ""),
        get("refused", "/refused", ""),
        get("too late", "/slow", "x-upstream: delay=300\r\n"),
        get("direct", "/direct", ""),
        get("redirect", "/redirect", ""),
        get("a 404 of the upstream is none of ours", "/a", "x-upstream: status=404;body=theirs\r\n"),
        case("malformed", "GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n"),
        case("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        case("HEAD", "HEAD /nowhere HTTP/1.1\r\nhost: a\r\n\r\n"),
        get("a gRPC request", "/nowhere", "content-type: application/grpc\r\n"),
        get("a gRPC request that is refused", "/refused", "content-type: application/grpc\r\n"),
    ]
}

pub(super) fn answering_by_itself() -> Hcm {
    Hcm::new().routes(json!([
        {"match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
        {"match": {"prefix": "/slow"}, "route": {"cluster": "a", "timeout": "0.1s"}},
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 403, "body": {"inline_string": "direct"}}},
        {"match": {"prefix": "/redirect"}, "redirect": {"host_redirect": "x"}},
        {"match": {"prefix": "/a"}, "route": {"cluster": "a"}},
    ]))
}

#[tokio::test]
async fn own_answers() {
    compare(Setup::main(answering_by_itself()), local_replies()).await;
}

#[tokio::test]
async fn http_2() {
    let mutation = typed(
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        json!({"mutations": {
            "request_mutations": [{"append": {"header": {"key": "x-mutated", "value": "%PROTOCOL%"}}}, {"remove": "x-drop"}],
            "response_mutations": [{"append": {"header": {"key": "x-mutated", "value": "yes"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}],
        }}),
    );
    let setup = Setup::main(Hcm::new().set(json!({"codec_type": "AUTO"})))
        .listener("h2-only", Hcm::new().set(json!({"codec_type": "HTTP2"})))
        .listener("mutated", Hcm::new().filter("envoy.filters.http.header_mutation", mutation));
    let cases = vec![
        h2("GET", "GET", "/path?query", &[], ""),
        h2("POST", "POST", "/", &[], "hello"),
        h2("POST with a length", "POST", "/", &[("content-length", "5")], "hello"),
        h2("HEAD", "HEAD", "/", &[], ""),
        h2("cookies", "GET", "/", &[("cookie", "a=1"), ("cookie", "b=2")], ""),
        h2("te: trailers", "GET", "/", &[("te", "trailers")], ""),
        h2("a chunked answer", "GET", "/", &[("x-upstream", "chunked")], ""),
        h2("trailers of the answer", "GET", "/", &[("x-upstream", "trailer=x-t:1")], ""),
        h2("103", "GET", "/", &[("x-upstream", "1xx=103")], ""),
        h2("204", "GET", "/", &[("x-upstream", "status=204")], ""),
        h2("304", "GET", "/", &[("x-upstream", "status=304")], ""),
        h2("404", "GET", "/", &[("x-upstream", "status=404;body=no")], ""),
        h2("a large answer", "GET", "/", &[("x-upstream", "size=300000")], ""),
        h2("a large request", "POST", "/", &[], "x".repeat(60_000)),
        h2("an upstream that hangs up", "GET", "/", &[("x-upstream", "nothing;close")], ""),
        h2(
            "an upstream that resets inside",
            "GET",
            "/",
            &[("x-upstream", "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 9\\r\\n\\r\\nhi;pause=30;reset")],
            "",
        ),
        h2("expect", "POST", "/", &[("expect", "100-continue")], "hello"),
        h2("x-forwarded", "GET", "/", &[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")], ""),
        h2("an underscore", "GET", "/", &[("x_a", "1")], ""),
        h2("a large header", "GET", "/", &[("x-large", LARGE)], ""),
        h2("prior knowledge only", "GET", "/", &[], "").to("h2-only"),
        case("HTTP/1 where only HTTP/2 is", "GET / HTTP/1.1\r\nhost: a\r\n\r\n").to("h2-only").unprobed(),
        h2("mutated headers", "GET", "/", &[("x-drop", "1")], "").to("mutated"),
        get("mutated headers of HTTP/1", "/", "x-drop: 1\r\nx-upstream: header=x-mutated:old\r\n").to("mutated"),
    ];
    compare(setup, cases).await;
}

/// 8 kB, which fits into one frame and one CONTINUATION-free block.
const LARGE: &str = {
    const BYTES: [u8; 8000] = [b'v'; 8000];
    match str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};
