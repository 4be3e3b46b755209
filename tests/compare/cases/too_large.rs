//! 413, by whoever gives it: what becomes of the connection follows from how much of the request has come.

use std::path::Path;

use serde_json::{Value, json};
use weir_tests::{Hcm, typed};

use crate::case::{Case, case, get, h2, post};
use crate::run::compare;
use crate::setup::Setup;

/// A guest that answers 413 in this callback, with the details that a body beyond the limit has.
fn guest(folder: &Path, name: &str, callback: &str) -> Value {
    let text = format!(
        r#"(module
            (import "env" "proxy_send_local_response" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 100) "request_payload_too_large")
            (func $reply
                (drop (call $send (i32.const 413) (i32.const 100) (i32.const 25) (i32.const 100) (i32.const 7)
                                  (i32.const 0) (i32.const 0) (i32.const -1))))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 4096)
            (func (export "proxy_on_context_create") (param i32 i32))
            {callback})"#
    );
    let file = folder.join(format!("{name}.wasm"));
    std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    let vm = json!({"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": file}}});
    typed("envoy.extensions.filters.http.wasm.v3.Wasm", json!({"config": {"name": name, "vm_config": vm}}))
}

const WITH_THE_HEAD: &str =
    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) call $reply i32.const 1)"#;

const WITH_THE_BODY: &str =
    r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) call $reply i32.const 1)"#;

const AT_THE_END: &str = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
    (if (local.get 2) (then call $reply)) i32.const 1)"#;

const WITH_THE_RESPONSE: &str =
    r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) call $reply i32.const 1)"#;

fn chunks(name: &'static str) -> Case {
    case(name, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
}

#[tokio::test]
async fn whoever_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let direct = Hcm::new().routes(json!([
        {"match": {"prefix": "/"}, "direct_response": {"status": 413, "body": {"inline_string": "direct"}}},
    ]));
    let by_guest = |name: &str, callback| Hcm::new().filter("guest", guest(folder.path(), name, callback));
    let buffer = typed("envoy.extensions.filters.http.buffer.v3.Buffer", json!({"max_request_bytes": 3}));
    let holding = Hcm::new().wasm("body_inspect", r#"{"forbidden": "secret"}"#);
    let setup = Setup::main(direct)
        .listener("head", by_guest("head", WITH_THE_HEAD))
        .listener("body", by_guest("body", WITH_THE_BODY))
        .listener("end", by_guest("end", AT_THE_END))
        .listener("response", by_guest("response", WITH_THE_RESPONSE))
        .listener("buffer", Hcm::new().filter("envoy.filters.http.buffer", buffer.clone()))
        .listener("held", holding.filter("envoy.filters.http.buffer", buffer));
    let to = |listener: &'static str| {
        let limited = matches!(listener, "buffer" | "held");
        let of_http2 = if limited { "HTTP/2 with a body beyond the limit" } else { "HTTP/2 with a body" };
        let cases = vec![
            get("nothing follows", "/", ""),
            get("an endpoint's own", "/", "x-upstream: status=413;body=theirs\r\n"),
            post("a body", "", "hello"),
            post("an empty body", "", ""),
            chunks("chunks"),
            case("a body that has not come", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello")
                .unprobed(),
            case("a body in two pieces", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello")
                .piece("hello"),
            h2("HTTP/2", "GET", "/", &[], ""),
            h2(of_http2, "POST", "/", &[], "hello"),
        ];
        cases.into_iter().map(move |case| case.to(listener))
    };
    // Who waits for the end has no answer before it.
    let answers_early = |case: &Case| case.name != "a body that has not come";
    let cases = to("main").chain(to("head")).chain(to("body")).chain(to("end").filter(answers_early));
    compare(setup, cases.chain(to("response").filter(answers_early)).chain(to("buffer")).chain(to("held")).collect())
        .await;
}
