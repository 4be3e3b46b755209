//! Answers of the upstream: well-formed in every way, and broken in every way.

use crate::case::{Case, case, get, h2, post};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use weir_tests::Hcm;

fn ask(name: &'static str, script: &str) -> Case {
    get(name, "/", &format!("x-upstream: {script}\r\n"))
}

#[tokio::test]
async fn well_formed() {
    let head = |name, script: &str| case(name, format!("HEAD / HTTP/1.1\r\nhost: a\r\nx-upstream: {script}\r\n\r\n"));
    let cases = vec![
        ask("a length", "body=text"),
        ask("a length of zero", "body="),
        ask("chunks", "chunked"),
        ask("until the end", "eof"),
        ask("until the end, empty", "body=;eof"),
        ask("byte by byte", "dribble"),
        ask("chunks byte by byte", "chunked;dribble"),
        ask("a large body", "size=200000"),
        ask("large chunks", "size=200000;chunked"),
        ask("a large body until the end", "size=200000;eof"),
        ask("trailers", "trailer=x-t:1"),
        ask("204", "status=204"),
        ask("304", "status=304;header=etag:x"),
        ask("304 with a length", "raw=HTTP/1.1 304 Not Modified\\r\\ncontent-length: 5\\r\\n\\r\\n"),
        ask("204 with a length of zero", "raw=HTTP/1.1 204 No Content\\r\\ncontent-length: 0\\r\\n\\r\\n"),
        ask("205", "status=205;body="),
        ask("404 with a body", "status=404;body=nothing here"),
        ask("an unknown status", "status=799"),
        ask("103 before", "1xx=103"),
        ask("100 before, unasked", "1xx=100"),
        ask("102 before", "1xx=102"),
        ask("103 twice", "1xx=103;1xx=103"),
        ask("a close", "header=connection:close;close"),
        ask("a close without saying so", "close"),
        ask("keep-alive headers", "header=connection:keep-alive;header=keep-alive:timeout=5"),
        ask("hop-by-hop headers", "header=connection:x-hop;header=x-hop:1;header=proxy-connection:close"),
        ask("duplicates", "header=set-cookie:a=1;header=set-cookie:b=2;header=x-a:1;header=x-a:2"),
        ask("an upgrade header", "header=upgrade:h2c"),
        ask("no reason phrase", "raw=HTTP/1.1 200 \\r\\ncontent-length: 2\\r\\n\\r\\nhi"),
        ask("no space after the status", "raw=HTTP/1.1 200\\r\\ncontent-length: 2\\r\\n\\r\\nhi"),
        ask("HTTP/1.0", "raw=HTTP/1.0 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi"),
        ask("HTTP/1.0 until the end", "raw=HTTP/1.0 200 OK\\r\\n\\r\\nhi;close"),
        ask("a chunk extension", "raw=HTTP/1.1 200 OK\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n2\\sx=y\\r\\nhi\\r\\n0\\r\\n\\r\\n"),
        ask("early, without waiting", "early"),
        head("HEAD", "body=text"),
        head("HEAD of chunks", "chunked"),
        head("HEAD without a length", "raw=HTTP/1.1 200 OK\\r\\nx-a: 1\\r\\n\\r\\n"),
        head("HEAD of 204", "status=204"),
        head("HEAD of 304", "status=304"),
        case("early, the body comes later", "POST / HTTP/1.1\r\nhost: a\r\nx-upstream: early\r\ncontent-length: 10\r\n\r\nhello").unprobed(),
        case("early, before a large body", format!("POST / HTTP/1.1\r\nhost: a\r\nx-upstream: early;status=413\r\ncontent-length: 300000\r\n\r\n{}", "x".repeat(300_000))),
        case("two answers on one connection", "GET / HTTP/1.1\r\nhost: a\r\nx-upstream: chunked\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nx-upstream: body=two\r\n\r\n").answers(2),
        case("an answer until the end, then another", "GET / HTTP/1.1\r\nhost: a\r\nx-upstream: eof\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").answers(2),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}

#[tokio::test]
async fn with_informational_responses() {
    let setup = Setup::main(Hcm::new().set(json!({"proxy_100_continue": true})));
    let post = |name, script: &str| {
        case(
            name,
            format!(
                "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nx-upstream: {script}\r\ncontent-length: 2\r\n\r\nhi"
            ),
        )
    };
    let cases = vec![
        post("the upstream says 100", "early;1xx=100"),
        post("the upstream does not say 100", ""),
        post("the upstream refuses", "early;status=417"),
        ask("103", "1xx=103"),
        ask("103 twice", "1xx=103;1xx=103"),
        ask("102, then 103", "1xx=102;1xx=103"),
        h2("103 twice over HTTP/2", "GET", "/", &[("x-upstream", "1xx=103;1xx=103")], ""),
    ];
    compare(setup, cases).await;
}

const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\\r\\nconnection: upgrade\\r\\nupgrade: x\\r\\n\\r\\n";
const UPGRADED_TO_H2: &str =
    "raw=HTTP/1.1 101 Switching Protocols\\r\\nconnection: upgrade\\r\\nupgrade: x\\r\\n\\r\\n";

#[tokio::test]
async fn broken() {
    let ok = "HTTP/1.1 200 OK\\r\\n";
    let raw = |name, text: String| ask(name, &format!("raw={text};close"));
    let chunks = |name, body: &str| raw(name, format!("{ok}transfer-encoding: chunked\\r\\n\\r\\n{body}"));
    let cases = vec![
        ask("nothing, a close", "nothing;close"),
        ask("nothing, a reset", "nothing;reset"),
        raw("half a status line", "HTTP/1.1 20".into()),
        raw("half a head", format!("{ok}x-a: 1\\r\\n")),
        raw("half a body", format!("{ok}content-length: 10\\r\\n\\r\\nhello")),
        ask("half a body, a reset", "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;pause=30;reset"),
        ask("a body until a reset", "raw=HTTP/1.1 200 OK\\r\\n\\r\\nhello;pause=30;reset"),
        chunks("half a chunk", "5\\r\\nhel"),
        chunks("no last chunk", "5\\r\\nhello\\r\\n"),
        chunks("half of the trailers", "5\\r\\nhello\\r\\n0\\r\\nx-t: 1\\r\\n"),
        chunks("a blank behind a chunk size", "5 \\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        chunks("a bad chunk size", "x\\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        chunks("a chunk longer than its size", "3\\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        raw("no HTTP", "hello\\r\\n\\r\\n".into()),
        raw("HTTP/2.0", "HTTP/2.0 200 OK\\r\\n\\r\\n".into()),
        raw("a status of two digits", "HTTP/1.1 20 OK\\r\\n\\r\\n".into()),
        raw("a status of four digits", "HTTP/1.1 2000 OK\\r\\n\\r\\n".into()),
        raw("a status of letters", "HTTP/1.1 abc OK\\r\\n\\r\\n".into()),
        raw("a status of 099", "HTTP/1.1 099 OK\\r\\n\\r\\n".into()),
        raw("two lengths that differ", format!("{ok}content-length: 2\\r\\ncontent-length: 3\\r\\n\\r\\nhi!")),
        raw("two equal lengths", format!("{ok}content-length: 2\\r\\ncontent-length: 2\\r\\n\\r\\nhi")),
        raw("a bad length", format!("{ok}content-length: x\\r\\n\\r\\nhi")),
        raw("a negative length", format!("{ok}content-length: -1\\r\\n\\r\\nhi")),
        raw(
            "a length and chunks",
            format!("{ok}content-length: 2\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n2\\r\\nhi\\r\\n0\\r\\n\\r\\n"),
        ),
        raw("an unknown coding", format!("{ok}transfer-encoding: gzip\\r\\n\\r\\nhi")),
        raw("a header without colon", format!("{ok}x-a\\r\\n\\r\\n")),
        raw("a space before a colon", format!("{ok}x-a : 1\\r\\ncontent-length: 2\\r\\n\\r\\nhi")),
        raw("a NUL in a value", format!("{ok}x-a: 1\\02\\r\\ncontent-length: 2\\r\\n\\r\\nhi")),
        raw("an empty name", format!("{ok}: 1\\r\\ncontent-length: 2\\r\\n\\r\\nhi")),
        raw(
            "101 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\\r\\nupgrade: x\\r\\nconnection: upgrade\\r\\n\\r\\nhi".into(),
        ),
        ask("101 that nobody asked for, on a connection that stays", &format!("raw={UPGRADED}")),
        ask("101 without upgrade", "raw=HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n"),
        ask("101 with a length", "raw=HTTP/1.1 101 Switching Protocols\\r\\ncontent-length: 2\\r\\n\\r\\nhi"),
        ask(
            "101 in chunks",
            "raw=HTTP/1.1 101 Switching Protocols\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n2\\r\\nhi\\r\\n0\\r\\n\\r\\n",
        ),
        ask("101 after 103", &format!("1xx=103;raw={UPGRADED}")),
        ask("101 and more", &format!("raw={UPGRADED}hello HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")),
        post("101 to a body", &format!("x-upstream: raw={UPGRADED}\r\n"), "hello"),
        post("101 before the body", &format!("x-upstream: early;raw={UPGRADED}\r\n"), "hello"),
        case("101 to HEAD", format!("HEAD / HTTP/1.1\r\nhost: a\r\nx-upstream: raw={UPGRADED}\r\n\r\n")),
        get(
            "101 to a refused upgrade",
            "/",
            &format!("connection: upgrade\r\nupgrade: x\r\nx-upstream: raw={UPGRADED}\r\n"),
        ),
        get(
            "101 to an offer of h2c",
            "/",
            &format!("connection: upgrade\r\nupgrade: h2c\r\nx-upstream: raw={UPGRADED}\r\n"),
        ),
        h2("101 over HTTP/2", "GET", "/", &[("x-upstream", UPGRADED_TO_H2)], ""),
        raw("only 103", "HTTP/1.1 103 Early Hints\\r\\n\\r\\n".into()),
        ask("more than the length", "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi and more"),
        ask(
            "a second answer",
            "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhiHTTP/1.1 200 OK\\r\\ncontent-length: 4\\r\\n\\r\\nevil",
        ),
        ask("a line end before the answer", "raw=\\r\\nHTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi"),
        ask("204 in chunks", "raw=HTTP/1.1 204 No Content\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n"),
        ask("204 of length 0", "raw=HTTP/1.1 204 No Content\\r\\ncontent-length: 0\\r\\n\\r\\n"),
        ask("103 with a length", "raw=HTTP/1.1 103 Early Hints\\r\\ncontent-length: 2\\r\\n\\r\\nhi"),
        ask("line ends without CR", "raw=HTTP/1.1 200 OK\\ncontent-length: 2\\n\\nhi"),
        raw("HTTP/1.2", format!("{}content-length: 2\\r\\n\\r\\nhi", ok.replace("1.1", "1.2"))),
        ask("a body after 204", "raw=HTTP/1.1 204 No Content\\r\\ncontent-length: 2\\r\\n\\r\\nhi"),
        ask("chunks after 304", "raw=HTTP/1.1 304 Not Modified\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"),
        case(
            "a body after HEAD",
            "HEAD / HTTP/1.1\r\nhost: a\r\nx-upstream: raw=HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi\r\n\r\n",
        ),
        get("many headers", "/", &format!("x-upstream: {}\r\n", "header=x-h:1;".repeat(150))),
        case(
            "a large header",
            format!("GET / HTTP/1.1\r\nhost: a\r\nx-upstream: header=x-h:{}\r\n\r\n", "v".repeat(50_000)),
        ),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}
