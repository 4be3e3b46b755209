//! The example plugins, the same `.wasm` in both.

use crate::case::{Case, case, get, h2, post};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use weir_tests::{Hcm, typed};

fn chunks(name: &'static str, body: &str) -> Case {
    case(name, format!("POST / HTTP/1.1\r\nhost: test.example\r\ntransfer-encoding: chunked\r\n\r\n{body}"))
}

#[tokio::test]
async fn headers() {
    let routes = json!([
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}},
        {"match": {"prefix": "/a"}, "route": {"cluster": "a"}},
        {"match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
    ]);
    let tagged = Hcm::new().routes(routes).wasm("header_tag", "plain");
    let named = Hcm::new().wasm("header_tag", r#"{"name": "x-color", "value": "blue"}"#);
    let setup = Setup::main(tagged).listener("named", named);
    let cases = vec![
        get("a tag", "/a", ""),
        get("a tag of the client is replaced", "/a", "x-tag: forged\r\nx-tag: twice\r\n"),
        get("a tag of the upstream is replaced", "/a", "x-upstream: header=x-tag:forged\r\n"),
        get("a direct response is tagged", "/direct", ""),
        get("a 404 is tagged", "/nowhere", ""),
        get("a 503 is tagged", "/refused", ""),
        case("a malformed request is not tagged", "GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n"),
        case("HEAD", "HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n"),
        get("204", "/a", "x-upstream: status=204\r\n"),
        get("trailers", "/a", "x-upstream: trailer=x-t:1\r\n"),
        get("103", "/a", "x-upstream: 1xx=103\r\n"),
        get("another name", "/", "").to("named"),
        h2("HTTP/2", "GET", "/a", &[], ""),
        h2("HTTP/2 with a body", "POST", "/a", &[], "hello"),
    ];
    compare(setup, cases).await;
}

#[tokio::test]
async fn bodies() {
    let holding = json!({"allow_on_headers_stop_iteration": true, "vm_config": {"vm_id": "holding"}});
    let setup = Setup::main(Hcm::new().wasm("body_inspect", r#"{"forbidden": "secret"}"#)).listener(
        "holding",
        Hcm::new().wasm_with("body_inspect", r#"{"forbidden": "secret", "request_header": true}"#, holding),
    );
    let both =
        |cases: Vec<Case>| cases.clone().into_iter().chain(cases.into_iter().map(|case| case.to("holding"))).collect();
    let cases = vec![
        get("no body", "/", ""),
        post("an empty body", "", ""),
        post("a body", "", "hello"),
        post("a forbidden body", "", "the secret word"),
        post("a large body", "", &"x".repeat(30_000)),
        chunks("chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        chunks("a word across chunks", "3\r\nsec\r\n3\r\nret\r\n0\r\n\r\n"),
        chunks("no chunks", "0\r\n\r\n"),
        case("a body in pieces", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
            .piece("def")
            .piece("ghi"),
        case("a forbidden body in pieces", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nsec")
            .piece("ret")
            .piece("ghi"),
        h2("HTTP/2", "POST", "/", &[], "hello"),
        h2("HTTP/2, forbidden", "POST", "/", &[], "secret"),
    ];
    compare(setup, both(cases)).await;
}

#[tokio::test]
async fn answers_by_itself() {
    let setup = Setup::main(Hcm::new().wasm("token_check", "open-sesame"))
        .listener("behind-a-tag", Hcm::new().wasm("header_tag", "outer").wasm("token_check", "open-sesame"))
        .listener("before-a-tag", Hcm::new().wasm("token_check", "open-sesame").wasm("header_tag", "inner"));
    let with = |name, token: &str| get(name, "/", &format!("authorization: {token}\r\n"));
    let cases = vec![
        get("no token", "/", ""),
        with("the token", "Bearer open-sesame"),
        with("another token", "Bearer open-simsim"),
        with("another scheme", "Basic open-sesame"),
        with("a scheme in lower case", "bearer open-sesame"),
        with("an empty token", "Bearer "),
        case("HEAD", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n"),
        post("a body without a token", "", "hello"),
        post("a large body without a token", "", &"x".repeat(20_000)),
        case("a body that has not come", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhe").unprobed(),
        get("a refusal behind a tag", "/", "").to("behind-a-tag"),
        get("a refusal before a tag", "/", "").to("before-a-tag"),
        with("the token behind a tag", "Bearer open-sesame").to("behind-a-tag"),
        h2("HTTP/2", "GET", "/", &[], ""),
    ];
    compare(setup, cases).await;
}

/// A guest reads each of these properties, and answers with what it got.
#[tokio::test]
async fn properties_of_the_node() {
    let properties = ["id", "cluster", "locality.region", "locality.zone", "locality.sub_zone", "locality.none"];
    let mut reads = String::new();
    let mut data = String::new();
    for (at, property) in properties.iter().enumerate() {
        let (path, place) = (format!("xds.node.{property}"), 1024 + 64 * at);
        data.push_str(&format!("(data (i32.const {place}) \"{}\")", path.replace('.', "\\00")));
        // Named x-0, x-1 and so on; the answer lies where the host put it.
        data.push_str(&format!("(data (i32.const {}) \"x-{at}\")", place + 48));
        reads.push_str(&format!(
            "(if (i32.eqz (call $get (i32.const {place}) (i32.const {}) (i32.const 16) (i32.const 20)))
                (then (drop (call $add (i32.const 2) (i32.const {}) (i32.const 3) (i32.load (i32.const 16)) (i32.load (i32.const 20))))))",
            path.len(),
            place + 48
        ));
    }
    let text = format!(
        r#"(module
            (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            {data}
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 65536)
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
            (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) {reads} i32.const 0))"#
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.wasm");
    std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    let vm = json!({"vm_id": "node", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": file}}});
    let config =
        typed("envoy.extensions.filters.http.wasm.v3.Wasm", json!({"config": {"name": "node", "vm_config": vm}}));
    let node = json!({"node": {"locality": {"region": "north", "zone": "a", "sub_zone": "first"}}});
    compare(Setup::main(Hcm::new().filter("node", config)).set(node), vec![get("all", "/", "")]).await;
}

/// Each trap in a machine of its own: what comes after a trap differs (Envoy's machine stays broken).
#[tokio::test]
async fn traps() {
    let machines = ["request", "body", "response", "log", "panic", "loop-free"];
    let setup = machines.iter().fold(Setup::new(), |setup, name| {
        setup.listener(name, Hcm::new().wasm_with("chaos", "", json!({"vm_config": {"vm_id": name}})))
    });
    let with = |name, body: &str, wish: &str| {
        let length = body.len();
        case(name, format!("POST / HTTP/1.1\r\nhost: a\r\nx-chaos: {wish}\r\ncontent-length: {length}\r\n\r\n{body}"))
            .unprobed()
    };
    let cases = vec![
        with("with the request's headers", "", "trap").to("request"),
        with("with the request's body", "hello", "trap@body").to("body"),
        with("with the response's headers", "", "trap@response").to("response"),
        with("when it logs", "", "trap@log").to("log"),
        with("a panic", "", "panic").to("panic"),
        with("no trap", "hello", "nothing").to("loop-free"),
    ];
    compare(setup, cases).await;
}
