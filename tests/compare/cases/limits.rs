//! What is too much.

use crate::case::{case, get, h2};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use weir_tests::{Hcm, typed};

#[tokio::test]
async fn of_heads() {
    let common = |fields: serde_json::Value| Hcm::new().set(json!({"common_http_protocol_options": fields}));
    let setup = Setup::main(Hcm::new())
        .listener("trailers", Hcm::new().set(json!({"http_protocol_options": {"enable_trailers": true}})))
        .listener("small", Hcm::new().set(json!({"max_request_headers_kb": 1})))
        .listener("few", common(json!({"max_headers_count": 10})))
        .listener(
            "refuse-underscores",
            common(json!({"headers_with_underscores_action": "REJECT_REQUEST"})).set(json!({"codec_type": "AUTO"})),
        )
        .listener("drop-underscores", common(json!({"headers_with_underscores_action": "DROP_HEADER"})));
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let trailers = |name, fields: &str| {
        case(name, format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{fields}\r\n"))
    };
    let large = format!("x-t: {}\r\n", "v".repeat(70_000));
    let cases = vec![
        get("90 headers", "/", &many(90)),
        get("more than 100 headers", "/", &many(101)),
        get("a value of 50 kB", "/", &format!("x-a: {}\r\n", "v".repeat(50_000))),
        get("a value of 70 kB", "/", &format!("x-a: {}\r\n", "v".repeat(70_000))),
        get("a path of 50 kB", &format!("/{}", "p".repeat(50_000)), ""),
        get("a path of 70 kB", &format!("/{}", "p".repeat(70_000)), ""),
        get("many headers of 70 kB", "/", &format!("x-a: {}\r\n", "v".repeat(1000)).repeat(70)),
        get("small enough", "/", &format!("x-a: {}\r\n", "v".repeat(500))).to("small"),
        get("more than 1 kB", "/", &format!("x-a: {}\r\n", "v".repeat(1200))).to("small"),
        get("8 headers", "/", &many(8)).to("few"),
        get("12 headers", "/", &many(12)).to("few"),
        get("an underscore", "/", "x_a: 1\r\n"),
        get("an underscore is refused", "/", "x_a: 1\r\n").to("refuse-underscores"),
        h2("an underscore is refused over HTTP/2", "GET", "/", &[("x_a", "1")], "").to("refuse-underscores"),
        h2("no underscore over HTTP/2", "GET", "/", &[("x-a", "1_2")], "").to("refuse-underscores"),
        get("an underscore is dropped", "/", "x_a: 1\r\nx-b: 2\r\n").to("drop-underscores"),
        get("no underscore", "/", "x-a: 1_2\r\n").to("refuse-underscores"),
        trailers("trailers of 70 kB", &large),
        trailers("101 trailers that are passed on", &many(101)).to("trailers"),
        trailers("90 trailers that are passed on", &many(90)).to("trailers"),
        trailers("70 kB of trailers that are passed on", &large).to("trailers"),
        trailers("a trailer without a colon", "x-t\r\n").to("trailers"),
        trailers("101 trailers", &many(101)),
        case(
            "a chunk extension of 70 kB",
            format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0;{}\r\n\r\n", "e".repeat(70_000)),
        )
        .stricter("an extension has no meaning; what a client may make the gateway read for nothing has a limit"),
    ];
    compare(setup, cases).await;
}

#[tokio::test]
async fn of_bodies() {
    let buffer = typed("envoy.extensions.filters.http.buffer.v3.Buffer", json!({"max_request_bytes": 1000}));
    let per_route = |config: serde_json::Value| json!({"envoy.filters.http.buffer": typed("envoy.extensions.filters.http.buffer.v3.BufferPerRoute", config)});
    let routes = json!([
        {"name": "off", "match": {"prefix": "/off"}, "route": {"cluster": "a"}, "typed_per_filter_config": per_route(json!({"disabled": true}))},
        {"name": "more", "match": {"prefix": "/more"}, "route": {"cluster": "a"}, "typed_per_filter_config": per_route(json!({"buffer": {"max_request_bytes": 5000}}))},
        {"name": "rest", "match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ]);
    let setup = Setup::main(Hcm::new().routes(routes).filter("envoy.filters.http.buffer", buffer));
    let post = |name, path: &str, size: usize| {
        case(name, format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n{}", "x".repeat(size)))
    };
    let chunks = |name, size: usize| {
        case(
            name,
            format!(
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n",
                "x".repeat(size)
            ),
        )
    };
    let cases = vec![
        post("small enough", "/", 900),
        post("too large", "/", 1100),
        post("larger by route", "/more", 1100),
        post("too large by route", "/more", 5100),
        post("off by route", "/off", 1100),
        chunks("chunks get a length", 900),
        chunks("chunks too large", 1100),
        get("no body", "/", ""),
        case(
            "a body in pieces is sent whole",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        )
        .piece("3\r\ndef\r\n0\r\n\r\n"),
    ];
    compare(setup, cases).await;
}
