//! What a guest or a client can make the gateway hold: each limit is broken here, and counted.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use weir_tests::{Bootstrap, Client, Gateway, Hcm, Kind, Launch, Upstream, eventually, get, typed};

/// A guest that has one callback, in WebAssembly's text form; `metadata` lies at 120, `request_payload_too_large` at 140.
fn guest(folder: &Path, callback: &str) -> Value {
    let text = format!(
        r#"(module
            (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
            (table $table 1 funcref)
            (memory (export "memory") 1600 1600)
            (data (i32.const 120) "metadata")
            (data (i32.const 140) "request_payload_too_large")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 4096)
            (func (export "proxy_on_context_create") (param i32 i32))
            {callback})"#
    );
    let file = folder.join("guest.wasm");
    std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    json!({"vm_id": "guest", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": file}}})
}

fn on_request(body: &str) -> String {
    format!(r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body})"#)
}

fn filter(vm: Value, limits: Value) -> Hcm {
    let mut config = json!({"name": "guest", "vm_config": vm});
    config["vm_config"]["environment_variables"] = json!({"key_values": limits});
    Hcm::new().filter("guest", typed("envoy.extensions.filters.http.wasm.v3.Wasm", json!({"config": config})))
}

/// Answers by itself, with so many bytes.
fn replying(bytes: usize) -> String {
    on_request(&format!(
        "(drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {bytes})
                            (i32.const 0) (i32.const 0) (i32.const -1))) i32.const 1"
    ))
}

#[tokio::test]
async fn an_answer_of_a_guest_has_a_limit() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (bytes, limits, status) in [
        (1 << 20, json!({}), 200),
        ((1 << 20) + 1, json!({}), 500),
        (100 << 20, json!({}), 500),
        (100, json!({"WEIR_LOCAL_REPLY_LIMIT": "100"}), 200),
        (101, json!({"WEIR_LOCAL_REPLY_LIMIT": "100"}), 500),
        (2 << 20, json!({"WEIR_LOCAL_REPLY_LIMIT": "2MiB"}), 200),
    ] {
        let hcm = filter(guest(folder.path(), &replying(bytes)), limits);
        let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
        let answer = get(gateway.address(), "/").await.unwrap();
        assert_eq!(answer.status, status, "{bytes}");
        assert_eq!(answer.body.len(), if status == 200 { bytes } else { 0 });
        let counted = gateway.stat("wasm.guest.local_reply_limit_exceeded").await;
        assert_eq!(counted, Some(u64::from(status == 500)), "{bytes}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

/// A guest may say of its answer what it likes: what is counted, and what becomes of the connection, does not hang on it.
#[tokio::test]
async fn an_answer_that_only_speaks_of_a_limit_counts_as_none() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let claim = "(drop (call $reply (i32.const 413) (i32.const 140) (i32.const 25) (i32.const 0) (i32.const 0)
                                    (i32.const 0) (i32.const 0) (i32.const -1))) i32.const 1";
    let hcm = filter(guest(folder.path(), &on_request(claim)), json!({}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.response().await.status, 413);
    }

    // A request is counted once its answer has gone.
    gateway.stat_becomes("http.test.downstream_rq_4xx", 2).await;
    assert_eq!(gateway.stat("http.test.downstream_rq_too_large").await.unwrap_or(0), 0);
    assert_eq!(gateway.stat("weir.body_limit_exceeded").await.unwrap_or(0), 0);
}

#[tokio::test]
async fn what_a_guest_writes_to_a_body_has_a_limit() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    // Appends 600 bytes for each piece; the second time they would be too many.
    let append = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (drop (call $set_buffer (i32.const 0) (i32.const 0x7fffffff) (i32.const 0) (i32.const 8192) (i32.const 600)))
        (drop (call $set_buffer (i32.const 0) (i32.const 0x7fffffff) (i32.const 0) (i32.const 8192) (i32.const 600)))
        i32.const 0)"#;
    let hcm = filter(guest(folder.path(), append), json!({"WEIR_BODY_LIMIT": "1000"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    gateway.stat_becomes("wasm.guest.body_limit_exceeded", 1).await;
    client.send("0\r\n\r\n").await;

    assert_eq!(client.response().await.status, 200);
    // 5 and 600 of the first piece, 600 more at the end of the body.
    assert_eq!(upstream.last().body.len(), 1205);
}

#[tokio::test]
async fn filter_state_of_guests_has_a_limit() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let set = "(drop (call $set_property (i32.const 120) (i32.const 8) (i32.const 8192) (i32.const 900)))
               (drop (call $set_property (i32.const 120) (i32.const 4) (i32.const 8192) (i32.const 900))) i32.const 0";
    let hcm = filter(guest(folder.path(), &on_request(set)), json!({"WEIR_FILTER_STATE_LIMIT": "1000"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;

    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);

    assert_eq!(gateway.stat("wasm.guest.filter_state_limit_exceeded").await, Some(1));
}

#[tokio::test]
async fn fields_that_a_guest_writes_have_a_limit() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    // Twice 70,000 times `a`.
    let add = "(memory.fill (i32.const 8192) (i32.const 97) (i32.const 70000))
               (drop (call $add (i32.const 2) (i32.const 120) (i32.const 8) (i32.const 8192) (i32.const 70000)))
               (drop (call $add (i32.const 2) (i32.const 120) (i32.const 4) (i32.const 8192) (i32.const 70000)))
               i32.const 0";
    let response = |body: &str| on_request(body).replace("request", "response");
    for (limits, exceeded) in
        [(json!({}), 1), (json!({"WEIR_FIELDS_LIMIT": "64KiB"}), 2), (json!({"WEIR_FIELDS_LIMIT": "256KiB"}), 0)]
    {
        let hcm = filter(guest(folder.path(), &response(add)), limits);
        let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
        let answer = get(gateway.address(), "/").await.unwrap();
        assert_eq!(answer.status, 200);
        let written = ["metadata", "meta"].iter().filter(|name| answer.header(name).is_some()).count();
        assert_eq!(written, 2 - exceeded);
        assert_eq!(gateway.stat("wasm.guest.fields_limit_exceeded").await, Some(exceeded as u64));
    }
}

#[tokio::test]
async fn the_table_of_a_guest_has_a_limit() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    // Answers 200 if it got the elements, 503 otherwise.
    let grow = on_request(
        "(drop (call $reply
            (select (i32.const 503) (i32.const 200) (i32.eq (table.grow $table (ref.null func) (i32.const 999)) (i32.const -1)))
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))) i32.const 1",
    );
    for (limit, status) in [("1000", 200), ("999", 503)] {
        let hcm = filter(guest(folder.path(), &grow), json!({"WEIR_TABLE_LIMIT": limit}));
        let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
        assert_eq!(get(gateway.address(), "/").await.unwrap().status, status, "{limit}");
        let counted = gateway.stat("wasm.guest.table_limit_reached").await;
        assert_eq!(counted, Some(u64::from(status == 503)), "{limit}");
    }
}

#[tokio::test]
async fn fields_that_a_guest_takes_away_again_cost_nothing() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    // Adds 100,000 bytes and takes them away, 500 times.
    let again = on_request(
        "(local $left i32)
         (memory.fill (i32.const 8192) (i32.const 120) (i32.const 100000))
         (local.set $left (i32.const 500))
         (loop $again
            (drop (call $add (i32.const 0) (i32.const 120) (i32.const 8) (i32.const 8192) (i32.const 100000)))
            (drop (call $remove (i32.const 0) (i32.const 120) (i32.const 8)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
         i32.const 0",
    );
    let hcm = filter(guest(folder.path(), &again), json!({"WEIR_CALLBACK_TIMEOUT": "10s"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
    let before = gateway.memory_kb("VmHWM");

    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);

    assert_eq!(gateway.stat("wasm.guest.fields_limit_exceeded").await, Some(0));
    let more = gateway.memory_kb("VmHWM") - before;
    assert!(more < 20_000, "{more} kB for 100 kB");
}

#[tokio::test]
async fn answers_of_guests_flood_no_log() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = |status: u32, bytes: u32| {
        format!(
            "(drop (call $reply (i32.const {status}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {bytes})
                                (i32.const 0) (i32.const 0) (i32.const -1)))"
        )
    };
    for (status, bytes, said) in [(7, 0, "a status that is none"), (200, 101, "a body beyond its limit")] {
        // A thousand answers, of which the first one counts.
        let answers = on_request(&format!(
            "(local $left i32)
             (local.set $left (i32.const 1000))
             (loop $again
                {}
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left)))
             i32.const 1",
            answer(status, bytes)
        ));
        let limits = json!({"WEIR_LOCAL_REPLY_LIMIT": "100", "WEIR_LOG_LINES_PER_SECOND": "10"});
        let hcm = filter(guest(folder.path(), &answers), limits);
        let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
        let mut client = Client::connect(gateway.address()).await;
        for _ in 0..100 {
            assert_eq!(client.get("/").await.status, 500);
        }

        let dropped = gateway.stat("wasm.guest.log_lines_dropped").await.unwrap();
        assert!((1..=90).contains(&dropped), "{dropped} of 100");
        gateway.terminate();
        let printed = gateway.exit().await.output;
        let lines = printed.lines().filter(|line| line.contains(said)).count() as u64;
        assert_eq!(lines + dropped, 100, "one line for each request, or a count");
    }
}

#[tokio::test]
async fn log_lines_of_guests_have_a_limit() {
    let upstream = Upstream::start().await;
    let vm = json!({"vm_config": {"environment_variables": {"key_values": {"WEIR_LOG_LINES_PER_SECOND": "10"}}}});
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new().wasm_with("chaos", "", vm), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;

    client.send("GET / HTTP/1.1\r\nhost: a\r\nx-chaos: log\r\n\r\n").await;

    assert_eq!(client.response().await.status, 200);
    // Of 1000 lines, ten in each of the few seconds that they may take.
    let dropped = gateway.stat("wasm.chaos.log_lines_dropped").await.unwrap();
    assert!((900..=990).contains(&dropped), "{dropped}");
    gateway.prints("chaos: line 9").await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_request() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    // NULs, which are written as five characters each.
    let logging = on_request("(drop (call $log (i32.const 2) (i32.const 8192) (i32.const 8000))) i32.const 0");
    let bootstrap = Bootstrap::serving(filter(guest(folder.path(), &logging), json!({})), upstream.address);
    let gateway = Launch::new(Kind::Weir, bootstrap).log_unread().start().await;
    let mut client = Client::connect(gateway.address()).await;

    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200);
    }

    assert!(gateway.stat("weir.log_lines_dropped").await.unwrap() > 0);
    gateway.terminate();
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_message_is_cut_as_it_is_written() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let logging = on_request("(drop (call $log (i32.const 2) (i32.const 8192) (i32.const 8000))) i32.const 0");
    let hcm = filter(guest(folder.path(), &logging), json!({"WEIR_LOG_MESSAGE_LIMIT": "1000"}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;

    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);

    gateway.prints("\\u{0}...").await;
    assert_eq!(gateway.stat("wasm.guest.log_messages_cut").await, Some(1));
    let longest = gateway.output().lines().map(str::len).max().unwrap();
    assert!(longest < 1200, "{longest}");
}

#[tokio::test]
async fn a_body_of_single_bytes_costs_little_more_than_its_bytes() {
    let buffer = json!({"max_request_bytes": 1 << 20});
    let held_by_a_filter = Hcm::new().filter("buffer", typed("envoy.extensions.filters.http.buffer.v3.Buffer", buffer));
    let retried = json!({"cluster": "a", "retry_policy": {"retry_on": "5xx"}});
    let held_for_a_retry = Hcm::new().routes(json!([{"match": {"prefix": "/"}, "route": retried}]));
    for hcm in [held_by_a_filter, held_for_a_retry] {
        let upstream = Upstream::start().await;
        let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;
        let before = gateway.memory_kb("VmHWM");
        let mut held = Vec::new();
        for _ in 0..4 {
            let mut client = TcpStream::connect(gateway.address()).await.unwrap();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            for _ in 0..200 {
                client.write_all("1\r\na\r\n".repeat(1000).as_bytes()).await.unwrap();
            }
            held.push(client);
        }
        for client in &mut held {
            client.write_all(b"0\r\n\r\n").await.unwrap();
        }
        eventually("the bodies are at the upstream", async || {
            upstream.seen().iter().filter(|seen| seen.body.len() == 200_000).count() == 4
        })
        .await;

        let more = gateway.memory_kb("VmHWM") - before;
        // A piece of its own for each byte would be 33 MB.
        assert!(more < 12_000, "{more} kB for 0.8 MB");
    }
}

#[tokio::test]
async fn the_process_has_so_many_instances() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let hcm = filter(guest(folder.path(), &on_request("i32.const 0")), json!({})).wasm("header_tag", "{}");
    let launch = Launch::new(Kind::Weir, Bootstrap::serving(hcm, upstream.address));
    let gateway = launch.variable("WEIR_WASM_INSTANCES", "1").start().await;

    // The guest has the only one, and nothing is left for the other plugin.
    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 503);
    assert!(gateway.stat("wasm.header_tag.instances_failed").await >= Some(1));
    assert_eq!(upstream.seen().len(), 0);
}
