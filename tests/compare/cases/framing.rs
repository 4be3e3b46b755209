//! Requests that are well-formed, framed in every way there is.

use crate::case::{Input, case, get, post};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use weir_tests::Hcm;

#[tokio::test]
async fn requests() {
    let cases = vec![
        get("a plain GET", "/", ""),
        get("a query", "/a?b=c&d", ""),
        post("a content-length", "", "hello"),
        post("a content-length of zero", "", ""),
        case("a POST without framing", "POST / HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("chunks", chunked("", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")),
        case("chunks in capital hexadecimal", chunked("", "A\r\n0123456789\r\n0\r\n\r\n")),
        case("chunk extensions", chunked("", "5;name=value;other=\"x\"\r\nhello\r\n0;last\r\n\r\n")),
        case("leading zeros of a chunk size", chunked("", "0005\r\nhello\r\n0\r\n\r\n")),
        case("a blank behind a chunk size", chunked("", "5 \r\nhello\r\n0 \r\n\r\n")),
        case("blanks behind a chunk size", chunked("", "5 \t \r\nhello\r\n0\r\n\r\n")),
        case("a blank before a chunk extension", chunked("", "5 ;a=b\r\nhello\r\n0\r\n\r\n")),
        case("a blank within a chunk size", chunked("", "0 5\r\nhello\r\n0\r\n\r\n")),
        case("a client's chunk longer than its size", chunked("", "3\r\nhello\r\n0\r\n\r\n")),
        case("trailers", chunked("", "5\r\nhello\r\n0\r\nx-trailer: one\r\nx-other: two\r\n\r\n")),
        case("chunks without data", chunked("", "0\r\n\r\n")),
        case("a transfer-encoding in capitals", "POST / HTTP/1.1\r\nhost: test.example\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
        case("HEAD", "HEAD / HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("DELETE with a body", "DELETE /x HTTP/1.1\r\nhost: test.example\r\ncontent-length: 2\r\n\r\nhi"),
        case("GET with a body", "GET /x HTTP/1.1\r\nhost: test.example\r\ncontent-length: 2\r\n\r\nhi"),
        case("OPTIONS of all", "OPTIONS * HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("PATCH", "PATCH /x HTTP/1.1\r\nhost: test.example\r\ncontent-length: 0\r\n\r\n"),
        case("TRACE", "TRACE /x HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("an empty line before the request", "\r\nGET / HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("two requests at once", "GET /1 HTTP/1.1\r\nhost: test.example\r\n\r\nGET /2 HTTP/1.1\r\nhost: test.example\r\n\r\n").answers(2),
        case(
            "three requests at once, with bodies",
            "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\noneGET /2 HTTP/1.1\r\nhost: a\r\n\r\nPOST /3 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
        )
        .answers(3),
        case("a head in pieces", "GET / HT").piece("TP/1.1\r\nho").piece("st: test.example\r").piece("\n\r").piece("\n"),
        case("a body in pieces", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n").piece("abc").piece("def"),
        case("chunks in pieces", chunked("", "")).piece("3").piece("\r\nab").piece("c\r").piece("\n0\r\n").piece("\r\n"),
        case("an absolute target", "GET http://other.example/path?q HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("an absolute target with a query and no path", "GET http://other.example?q HTTP/1.1\r\nhost: test.example\r\n\r\n")
            .stricter("a host ends before a question mark (RFC 3986 section 3.2); Envoy takes the query for a part of it"),
        case("an absolute target without a path", "GET http://other.example HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("an absolute https target", "GET https://other.example/x HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        get("a close that the client asks for", "/", "connection: close\r\n"),
        get("a close in capitals", "/", "Connection: Close\r\n"),
        get("keep-alive in words", "/", "connection: keep-alive\r\nkeep-alive: timeout=5\r\n"),
        get("headers that connection names", "/", "connection: x-hop, keep-alive\r\nx-hop: 1\r\n"),
        get("the end of a connection to a proxy", "/", "proxy-connection: Close\r\n"),
        get("hop-by-hop headers", "/", "proxy-connection: keep-alive\r\nte: trailers\r\ntrailer: x-t\r\n"),
        get("proxy authentication", "/", "proxy-authenticate: a\r\nproxy-authorization: b\r\n"),
        get("te with more than trailers", "/", "te: gzip, trailers\r\n"),
        get("duplicates keep their order", "/", "x-a: 1\r\nx-b: 2\r\nx-a: 3\r\n"),
        get("an empty value", "/", "x-empty:\r\n"),
        get("spaces around a value", "/", "x-space:  \t a b \t \r\n"),
        get("bytes above ASCII in a value", "/", "x-latin: caf\u{e9}\r\n"),
        get("names in capitals", "/", "X-Upper-Case: Yes\r\n"),
        get("names of every token character", "/", "a!#$%&'*+-.^`|~1: yes\r\n"),
        get("cookies", "/", "cookie: a=1\r\ncookie: b=2\r\n"),
        post("expect: 100-continue", "expect: 100-continue\r\n", "hello"),
        case("expect: 100-continue, waiting", "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
            .then(Input::Receive("100 Continue"))
            .piece("hello"),
        post("an expectation that is unknown", "expect: the-unexpected\r\n", "hello"),
        post("a content-type", "content-type: text/plain; charset=utf-8\r\n", "hello"),
        post("a large body", "", &"x".repeat(100_000)),
        get("characters that http::Uri refuses", "/a<b>`c\"d|e^f{g}?<>`\"|^{}", ""),
        get("percent in the path", "/a%20b%2Fc%zz", ""),
        get("a path of bytes above ASCII", "/caf\u{e9}", ""),
        get("a fragment", "/path#fragment", ""),
        get("an empty query", "/path?", ""),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}

#[tokio::test]
async fn http_1_0() {
    let setup = Setup::main(Hcm::new())
        .listener("accept", Hcm::new().set(json!({"http_protocol_options": {"accept_http_10": true}})))
        .listener(
            "default-host",
            Hcm::new().set(json!({"http_protocol_options": {"accept_http_10": true, "default_host_for_http_10": "default.example"}})),
        )
        .listener("trailers", Hcm::new().set(json!({"http_protocol_options": {"enable_trailers": true}})))
        .listener("absolute-refused", Hcm::new().set(json!({"http_protocol_options": {"allow_absolute_url": false}})));
    let cases = vec![
        case("HTTP/1.0 is refused", "GET / HTTP/1.0\r\nhost: test.example\r\n\r\n"),
        case("HTTP/1.0", "GET / HTTP/1.0\r\nhost: test.example\r\n\r\n").to("accept"),
        case("HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n").to("accept"),
        case("HTTP/1.0 with the default host", "GET / HTTP/1.0\r\n\r\n").to("default-host"),
        case("HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").to("accept"),
        case("HTTP/1.0 and chunks", "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
            .to("accept"),
        case("HTTP/1.0 and a chunked answer", "GET / HTTP/1.0\r\nhost: a\r\nx-upstream: chunked\r\n\r\n").to("accept"),
        case("trailers pass", chunked("", "5\r\nhello\r\n0\r\nx-trailer: one\r\n\r\n")).to("trailers"),
        case("forbidden trailers", chunked("", "0\r\ncontent-length: 5\r\nhost: x\r\nx-ok: 1\r\n\r\n")).to("trailers"),
        get("trailers of the answer pass", "/", "te: trailers\r\nx-upstream: trailer=x-t:1\r\n").to("trailers"),
        get("trailers of the answer without te", "/", "x-upstream: trailer=x-t:1\r\n").to("trailers"),
        get("trailers of the answer when not enabled", "/", "te: trailers\r\nx-upstream: trailer=x-t:1\r\n"),
        case("an absolute target where it is refused", "GET http://other.example/x HTTP/1.1\r\nhost: a\r\n\r\n")
            .to("absolute-refused"),
    ];
    compare(setup, cases).await;
}

fn chunked(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: test.example\r\n{headers}transfer-encoding: chunked\r\n\r\n{body}")
}
