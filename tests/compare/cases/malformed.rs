//! Requests that no server should serve, and those of which servers differ.

use crate::case::{Case, case, get};
use crate::run::compare;
use crate::setup::Setup;
use weir_tests::Hcm;

const TWO_HOSTS: &str = "RFC 9112 section 3.2: more than one Host is answered by 400; Envoy joins them";
const FOLDED: &str = "RFC 9112 section 5.2: obs-fold is answered by 400 or replaced; Envoy unfolds it";
const BARE_CR: &str = "RFC 9112 section 2.2: a bare CR is invalid; Envoy removes it from values";
const BARE_LF: &str = "RFC 9112 section 2.2: a bare LF as line end invites smuggling; Envoy takes it";
const VERSION: &str = "RFC 9112 section 2.3: neither HTTP/1.0 nor HTTP/1.1; Envoy answers 426";
const CHUNKS: &str =
    "RFC 9112 section 7.1: framing that servers read in different ways; Envoy skips what it does not know";
const REQUEST_LINE: &str = "RFC 9112 section 3: single spaces in the request line; Envoy takes more and tabs";

#[tokio::test]
async fn heads() {
    let line = |name, line: &str| case(name, format!("{line}\r\nhost: test.example\r\n\r\n"));
    let header = |name, header: &str| get(name, "/", header);
    let cases = vec![
        case("no host", "GET / HTTP/1.1\r\n\r\n"),
        case("an empty host", "GET / HTTP/1.1\r\nhost:\r\n\r\n"),
        header("two hosts", "host: other.example\r\n").stricter(TWO_HOSTS),
        header("two equal hosts", "host: test.example\r\n").stricter(TWO_HOSTS),
        case("a host with a space", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n"),
        case("a host with a slash", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
        case("a host with an at sign", "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n"),
        case("a host with a comma", "GET / HTTP/1.1\r\nhost: a,b\r\n\r\n"),
        line("an unknown method", "FROB / HTTP/1.1"),
        line("a method in lower case", "get / HTTP/1.1"),
        line("a method of a WebDAV server", "PROPFIND / HTTP/1.1"),
        line("a method with a bad character", "G(T / HTTP/1.1"),
        line("no method", " / HTTP/1.1"),
        line("no target", "GET  HTTP/1.1"),
        line("a target without a slash", "GET path HTTP/1.1"),
        line("two spaces after the method", "GET  / HTTP/1.1").stricter(REQUEST_LINE),
        line("two spaces before the version", "GET /  HTTP/1.1").stricter(REQUEST_LINE),
        line("a tab after the method", "GET\t/ HTTP/1.1").stricter(REQUEST_LINE),
        line("a space after the version", "GET / HTTP/1.1 ").stricter(REQUEST_LINE),
        line("a space before the method", " GET / HTTP/1.1"),
        line("HTTP/0.9", "GET /").stricter(VERSION),
        line("HTTP/1.2", "GET / HTTP/1.2").stricter(VERSION),
        line("HTTP/2.0", "GET / HTTP/2.0").stricter(VERSION),
        line("HTTP/3", "GET / HTTP/3"),
        line("a version in lower case", "GET / http/1.1"),
        line("a version with two digits", "GET / HTTP/1.10"),
        line("a NUL in the path", "GET /a\0b HTTP/1.1"),
        line("a control byte in the path", "GET /a\x01b HTTP/1.1"),
        line("a DEL in the path", "GET /a\x7fb HTTP/1.1"),
        header("a space before the colon", "x-a : 1\r\n"),
        header("an empty name", ": 1\r\n"),
        header("no colon", "x-a\r\n"),
        header("a space in a name", "x a: 1\r\n"),
        header("a parenthesis in a name", "x(a): 1\r\n"),
        header("a NUL in a value", "x-a: 1\x002\r\n"),
        header("a control byte in a value", "x-a: 1\x012\r\n"),
        header("a DEL in a value", "x-a: 1\x7f2\r\n"),
        header("a length beside an unknown coding", "content-length: 1\r\ntransfer-encoding: gzip\r\n"),
        header("an unknown coding before a length", "transfer-encoding: gzip\r\ncontent-length: 1\r\n"),
        line("an unknown method and an https target", "FROB https://a/ HTTP/1.1"),
        case(
            "an unknown method and an unknown coding",
            "FROB / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        ),
        header("a folded value", "x-a: 1\r\n 2\r\n").stricter(FOLDED),
        header("a value folded by a tab", "x-a: 1\r\n\t2\r\n").stricter(FOLDED),
        case("a folded first header", "GET / HTTP/1.1\r\n x-a: 1\r\nhost: a\r\n\r\n"),
        header("a bare CR in a value", "x-a: 1\r2\r\n").stricter(BARE_CR),
        case("bare LF line ends", "GET / HTTP/1.1\nhost: a\n\n").stricter(BARE_LF),
        header("one bare LF line end", "x-a: 1\nx-b: 2\r\n").stricter(BARE_LF),
        case("a bare LF at the end of the head", "GET / HTTP/1.1\r\nhost: a\r\n\n").stricter(BARE_LF),
        case("a bare CR at the end of the request line", "GET / HTTP/1.1\rhost: a\r\n\r\n"),
        case("nonsense", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
        case("nonsense as text", "hello\r\n\r\n"),
        case("the preface of HTTP/2 over HTTP/1 framing", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unprobed(),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}

#[tokio::test]
async fn bodies() {
    let framed = |name, headers: &str, body: &str| -> Case {
        case(name, format!("POST / HTTP/1.1\r\nhost: test.example\r\n{headers}\r\n{body}"))
    };
    let chunks = |name, body: &str| framed(name, "transfer-encoding: chunked\r\n", body);
    let cases = vec![
        framed("two lengths that differ", "content-length: 3\r\ncontent-length: 5\r\n", "hello"),
        framed("two equal lengths", "content-length: 5\r\ncontent-length: 5\r\n", "hello"),
        framed("a list of equal lengths", "content-length: 5, 5\r\n", "hello"),
        framed("a length with a sign", "content-length: +5\r\n", "hello"),
        framed("a negative length", "content-length: -5\r\n", "hello"),
        framed("a length in hexadecimal", "content-length: 0x5\r\n", "hello"),
        framed("a length with letters", "content-length: 5a\r\n", "hello"),
        framed("an empty length", "content-length:\r\n", "hello"),
        framed("a length with leading zeros", "content-length: 0005\r\n", "hello"),
        framed("a length of 20 digits", "content-length: 99999999999999999999\r\n", "hello"),
        framed("a length and chunks", "content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        framed("chunks and a length", "transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
        framed("an unknown coding", "transfer-encoding: gzip\r\n", "hello"),
        framed("chunked before another coding", "transfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"),
        framed("another coding before chunked", "transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        framed("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        framed("identity", "transfer-encoding: identity\r\n", ""),
        framed("an empty coding", "transfer-encoding:\r\n", ""),
        framed("a coding with a parameter", "transfer-encoding: chunked;x=1\r\n", "0\r\n\r\n"),
        framed("a coding in quotes", "transfer-encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        framed("a coding with a vertical tab", "transfer-encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        framed("an underscore for the hyphen", "transfer_encoding: chunked\r\n", ""),
        chunks("a size that is no number", "x\r\nhello\r\n0\r\n\r\n"),
        chunks("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        chunks("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        chunks("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        chunks("an empty size", "\r\nhello\r\n0\r\n\r\n"),
        chunks("a size of 17 digits", "10000000000000000\r\nhello\r\n0\r\n\r\n"),
        chunks("a size with an underscore", "1_0\r\nhello\r\n0\r\n\r\n"),
        chunks("a space after the size", "5 \r\nhello\r\n0\r\n\r\n"),
        chunks("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        chunks("a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n").stricter(CHUNKS),
        chunks("a chunk without its line end", "5\r\nhello0\r\n\r\n"),
        chunks("bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
        chunks("bare LF after the chunk", "5\r\nhello\n0\r\n\r\n").stricter(BARE_LF),
        chunks("bare LF inside an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        chunks("a bad trailer", "0\r\nx a: 1\r\n\r\n"),
        chunks("a trailer with a NUL", "0\r\nx-a: 1\x002\r\n\r\n"),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}
