//! HTTP/2 that no client library sends: what of it may become HTTP/1 at the upstream.

use crate::case::{Case, frames};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use std::time::Duration;
use weir_tests::{Bootstrap, Hcm, Kind, Launch, Upstream, h2_block, h2_exchange, h2_frame};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "test.example"), (":path", "/")];

fn headers(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    h2_frame(1, flags, 1, &h2_block(fields))
}

/// A GET with further fields.
fn with(name: &'static str, more: &[(&str, &str)]) -> Case {
    frames(name, headers(END_STREAM | END_HEADERS, &[&GET[..], more].concat()))
}

/// A request of these fields only.
fn only(name: &'static str, fields: &[(&str, &str)]) -> Case {
    frames(name, headers(END_STREAM | END_HEADERS, fields))
}

/// A GET with one pseudo-header of another value.
fn changed(name: &'static str, field: &str, value: &str) -> Case {
    let fields: Vec<_> = GET.iter().map(|&(n, v)| if n == field { (n, value) } else { (n, v) }).collect();
    only(name, &fields)
}

/// A POST with these fields, this DATA, and perhaps trailers.
fn post(name: &'static str, more: &[(&str, &str)], data: &str, trailers: Option<&[(&str, &str)]>) -> Case {
    let mut fields = GET.to_vec();
    fields[0].1 = "POST";
    let mut bytes = headers(END_HEADERS, &[&fields[..], more].concat());
    bytes.extend(h2_frame(0, if trailers.is_some() { 0 } else { END_STREAM }, 1, data.as_bytes()));
    if let Some(trailers) = trailers {
        bytes.extend(headers(END_STREAM | END_HEADERS, trailers));
    }
    frames(name, bytes)
}

#[tokio::test]
async fn header_fields() {
    let cases = vec![
        with("a plain request", &[("x-a", "1")]).logged(),
        with("a name in capitals", &[("X-A", "1")]),
        with("a name with a space", &[("x a", "1")]),
        with("a name with a colon", &[("x:a", "1")]),
        with("a name with a line end", &[("x-a: 1\r\nx-b", "2")]),
        with("an empty name", &[("", "1")]),
        with("a name with a NUL", &[("x\0a", "1")]),
        with("a value with a line end", &[("x-a", "1\r\nx-b: 2")]),
        with("a value with a LF", &[("x-a", "1\nx-b: 2")]),
        with("a value with a CR", &[("x-a", "1\rx-b: 2")]),
        with("a value with a NUL", &[("x-a", "1\x002")]),
        with("a value with spaces around", &[("x-a", " 1 ")]),
        with("a value with a tab inside", &[("x-a", "1\t2")]),
        with("a value above ASCII", &[("x-a", "caf\u{e9}")]),
        with("connection", &[("connection", "close")]),
        with("keep-alive", &[("keep-alive", "timeout=5")]),
        with("proxy-connection", &[("proxy-connection", "keep-alive")]),
        with("transfer-encoding", &[("transfer-encoding", "chunked")]),
        with("upgrade", &[("upgrade", "websocket")]),
        with("te: trailers", &[("te", "trailers")]),
        with("te: gzip", &[("te", "gzip")]),
        with("te twice", &[("te", "trailers"), ("te", "gzip")]),
        with("te: trailers and more", &[("te", "trailers, gzip")]),
        with("te in capitals", &[("te", "TRAILERS")]),
        with("host beside authority, equal", &[("host", "test.example")]),
        with("host beside authority, other", &[("host", "other.example")]),
        with("cookies", &[("cookie", "a=1"), ("cookie", "b=2")]),
        with("an unknown pseudo-header", &[(":unknown", "1")]),
        with("a pseudo-header of responses", &[(":status", "200")]),
        with("a pseudo-header twice", &[(":path", "/other")]),
        with("protocol", &[(":protocol", "websocket")]),
        only(
            "a pseudo-header after others",
            &[(":method", "GET"), ("x-a", "1"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        ),
        only("no method", &GET[1..]),
        only("no path", &GET[..3]),
        only("no scheme", &[GET[0], GET[2], GET[3]]),
        only("no authority", &[GET[0], GET[1], GET[3]]),
        only("host for authority", &[GET[0], GET[1], GET[3], ("host", "test.example")]),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}

#[tokio::test]
async fn pseudo_headers() {
    let cases = vec![
        changed("an empty path", ":path", ""),
        changed("a path without a slash", ":path", "path"),
        changed("a path with a space", ":path", "/a b"),
        changed("a path with a line end", ":path", "/ HTTP/1.1\r\nx-smuggled: 1\r\n\r\nGET /other"),
        changed("a path with a NUL", ":path", "/a\0b"),
        changed("a path with a fragment", ":path", "/a#b"),
        changed("an absolute path", ":path", "http://other.example/"),
        changed("a star", ":path", "*"),
        changed("characters that are no URI's", ":path", "/a<b>\"`|^{}"),
        changed("an empty method", ":method", ""),
        changed("a method with a space", ":method", "GET /"),
        changed("a method with a line end", ":method", "GET / HTTP/1.1\r\nx: 1\r\n\r\nGET"),
        changed("a method in lower case", ":method", "get"),
        changed("an unknown method", ":method", "FROB"),
        changed("OPTIONS", ":method", "OPTIONS"),
        changed("an unknown scheme", ":scheme", "gopher"),
        changed("the https scheme", ":scheme", "https"),
        changed("a scheme with a line end", ":scheme", "http\r\nx: 1"),
        changed("an empty authority", ":authority", ""),
        changed("an authority with a line end", ":authority", "a\r\nx: 1"),
        changed("an authority with a space", ":authority", "a b"),
        changed("an authority with a slash", ":authority", "a/b"),
        changed("an authority with user information", ":authority", "user@a"),
        changed("an authority with a port", ":authority", "test.example:8080"),
        only("CONNECT", &[(":method", "CONNECT"), (":authority", "test.example:443")]),
        only(
            "CONNECT with a path",
            &[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
        ),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}

/// Of those that Weir refuses itself; the h2 crate says nothing of those that it resets.
#[tokio::test]
async fn refused_heads_in_the_log() {
    let few = json!({"common_http_protocol_options": {"max_headers_count": 10}});
    let setup = Setup::main(Hcm::new()).listener("few", Hcm::new().set(few));
    let many: Vec<_> = (0..12).map(|_| ("x-a", "1")).collect();
    let cases = vec![
        post("two lengths", &[("content-length", "5"), ("content-length", "5")], "hello", None).logged(),
        with("two hosts", &[("host", "test.example"), ("host", "other.example")]).logged(),
        with("too many fields", &many).to("few").logged(),
        post("too many fields before a body", &many, "hello", None).to("few").logged(),
    ];
    compare(setup, cases).await;
}

/// What is counted of heads that are refused.
#[tokio::test]
async fn refused_heads_in_the_counters() {
    let (envoy, weir) = (counted(Kind::Envoy).await, counted(Kind::Weir).await);
    assert_eq!(envoy, weir);
}

async fn counted(kind: Kind) -> Vec<String> {
    let upstream = Upstream::start().await;
    let few = json!({"common_http_protocol_options": {"max_headers_count": 10}});
    let gateway = Launch::new(kind, Bootstrap::serving(Hcm::new().set(few), upstream.address)).start().await;
    let many: Vec<_> = (0..12).map(|_| ("x-a", "1")).collect();
    let mut seen = Vec::new();
    for more in
        [&[("content-length", "0"), ("content-length", "0")][..], &[("host", "test.example"), ("host", "b")], &many]
    {
        let frames = headers(END_STREAM | END_HEADERS, &[&GET[..], more].concat());
        let answer = h2_exchange(gateway.address(), &frames, Duration::from_secs(4)).await.unwrap();
        assert!(answer.is_refused(), "{answer:?}");
        gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
        let stats = gateway.admin("/stats?usedonly&filter=^http.test.downstream_(rq_|cx_protocol)").await.text();
        let counted = |line: &&str| !line.ends_with(": 0") && !line.contains("P0(");
        seen.extend(stats.lines().filter(counted).map(str::to_owned));
    }
    seen
}

#[tokio::test]
async fn bodies() {
    let setup = Setup::main(Hcm::new())
        .listener("trailers", Hcm::new().set(json!({"http_protocol_options": {"enable_trailers": true}})));
    let cases = vec![
        post("a body", &[], "hello", None).logged(),
        post("a length", &[("content-length", "5")], "hello", None),
        post("a length that is too short", &[("content-length", "3")], "hello", None),
        post("a length that is too long", &[("content-length", "9")], "hello", None),
        post("two lengths", &[("content-length", "5"), ("content-length", "5")], "hello", None),
        post("two lengths that differ", &[("content-length", "5"), ("content-length", "6")], "hello", None),
        post("a length that is no number", &[("content-length", "five")], "hello", None),
        post("trailers", &[], "hello", Some(&[("x-t", "1")])),
        post("trailers with a pseudo-header", &[], "hello", Some(&[(":path", "/x")])),
        post("trailers with framing", &[], "hello", Some(&[("content-length", "5"), ("transfer-encoding", "chunked")])),
        post("trailers with a line end", &[], "hello", Some(&[("x-t", "1\r\nx-u: 2")])),
        frames(
            "a length without DATA",
            headers(END_STREAM | END_HEADERS, &[&GET[..], &[("content-length", "5")]].concat()),
        ),
        frames("DATA before HEADERS", h2_frame(0, END_STREAM, 1, b"hello")),
        frames("an even stream", h2_frame(1, 5, 2, &h2_block(&GET))),
        frames("HEADERS on stream 0", h2_frame(1, 5, 0, &h2_block(&GET))),
        frames("a block that is no HPACK", h2_frame(1, 5, 1, &[0xff; 20])),
        frames("CONTINUATION of another stream", [h2_frame(1, 1, 1, &h2_block(&GET)), h2_frame(9, 4, 3, &[])].concat()),
        frames("a frame that is too long", h2_frame(0, 0, 1, &vec![0; 20_000])),
        frames("an unknown frame", [h2_frame(0xfa, 0, 0, b"?"), h2_frame(1, 5, 1, &h2_block(&GET))].concat()),
        frames("PUSH_PROMISE", h2_frame(5, 4, 1, &[0, 0, 0, 2])),
        frames("WINDOW_UPDATE of zero", [headers(END_HEADERS, &GET), h2_frame(8, 0, 1, &[0; 4])].concat()),
        frames("a priority on itself", [h2_frame(2, 0, 1, &[0, 0, 0, 1, 0]), headers(5, &GET)].concat()),
    ];
    let cases = cases.iter().cloned().chain(cases.iter().cloned().map(|case| case.to("trailers"))).collect();
    compare(setup, cases).await;
}
