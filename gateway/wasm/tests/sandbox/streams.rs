use weir_wasm::{HeadersAction, Instance, Status, StreamType, TrailersAction};

use crate::recorder::{Recorder, Response};
use crate::support::Arg::{Bytes, Number};
use crate::support::{Probe, guest, start};

#[test]
fn a_response_of_its_own_has_all_its_parts() {
    let mut probe = Probe::env("proxy_send_local_response", "iiiiiiii");
    let headers = b"\x01\0\0\0\x01\0\0\0\x01\0\0\0x\0y\0";
    let call = [Number(401), Bytes(b"why"), Bytes(b"body"), Bytes(headers), Number(16)];
    assert_eq!(probe.call(&call).status, 0);
    let expected = Response {
        context: 2,
        status: 401,
        details: "why".into(),
        body: "body".into(),
        headers: vec![("x".into(), "y".into())],
        grpc_status: Some(16),
    };
    assert_eq!(probe.host().responses, [expected]);
}

#[test]
fn a_grpc_status_out_of_range_is_none() {
    let mut probe = Probe::env("proxy_send_local_response", "iiiiiiii");
    for number in [17, u64::from(u32::MAX)] {
        probe.call(&[Number(200), Bytes(b""), Bytes(b""), Bytes(b""), Number(number)]);
        assert_eq!(probe.host().responses[0].grpc_status, None);
    }
}

#[test]
fn streams_are_continued_and_closed() {
    for (name, verb) in [("proxy_continue_stream", "continue"), ("proxy_close_stream", "close")] {
        let mut probe = Probe::env(name, "i");
        for stream in [StreamType::Request, StreamType::Response, StreamType::Downstream, StreamType::Upstream] {
            assert_eq!(probe.call(&[Number(stream as u64)]).status, 0);
            assert_eq!(probe.host().events.pop().unwrap(), format!("{verb} {stream:?} of 2"));
        }
        assert_eq!(probe.call(&[Number(4)]).status, 0);
        assert_eq!(probe.host().refused, [(name, Status::BadArgument)]);
    }
}

#[test]
fn host_calls_are_about_the_effective_context() {
    let mut probe = Probe::env("proxy_set_effective_context", "i");
    assert_eq!(probe.call(&[Number(1)]).status, 0);
    assert_eq!(probe.call(&[Number(77)]).status, Status::BadArgument as u32);

    let bytes = guest(
        r#"
        (import "env" "proxy_set_effective_context" (func $context (param i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
        "#,
        r#"(func (export "proxy_on_tick") (param i32)
            (drop (call $continue (i32.const 0)))
            (drop (call $context (i32.const 5)))
            (drop (call $continue (i32.const 1))))"#,
    );
    let mut instance = start(&bytes);
    instance.host_mut().contexts = vec![5];
    instance.on_tick().unwrap();
    instance.on_tick().unwrap();
    let expected = ["continue Request of 1", "continue Response of 5"];
    assert_eq!(instance.host().events, [expected, expected].concat());
}

#[test]
fn callbacks_that_are_missing_answer_continue() {
    let mut instance = start(&guest("", ""));
    assert_eq!(instance.exports(), weir_wasm::Exports::default());
    assert_eq!(instance.on_request_headers(2, 1, false).unwrap(), HeadersAction::Continue);
    assert_eq!(instance.on_response_trailers(2, 1).unwrap(), TrailersAction::Continue);
    assert!(instance.on_done(2).unwrap());
}

#[test]
fn headers_callbacks_come_in_two_forms() {
    let bytes = guest(
        "",
        r#"
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32) (local.get 1))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (local.get 2))
        "#,
    );
    let mut instance = start(&bytes);
    assert_eq!(instance.on_request_headers(2, 3, true).unwrap(), HeadersAction::StopAllAndBuffer);
    assert_eq!(instance.on_response_headers(2, 3, true).unwrap(), HeadersAction::StopIteration);
    assert_eq!(instance.on_request_headers(2, 5, true).unwrap(), HeadersAction::StopAllAndWatermark);
}

#[test]
fn calls_of_the_first_version_come_with_and_without_a_result() {
    for result in ["", "(result i32)"] {
        let drop = if result.is_empty() { "" } else { "drop" };
        let bytes = guest(
            &format!(
                r#"
                (import "env" "proxy_continue_request" (func $request {result}))
                (import "env" "proxy_continue_response" (func $response {result}))
                (import "env" "proxy_clear_route_cache" (func $route {result}))
                "#
            ),
            &format!(
                r#"(func (export "proxy_on_tick") (param i32)
                    (call $request) {drop} (call $response) {drop} (call $route) {drop})"#
            ),
        );
        let mut instance = start(&bytes);
        instance.on_tick().unwrap();
        assert_eq!(instance.host().events, ["continue Request of 1", "continue Response of 1"]);
    }
}

#[test]
fn context_ids_are_never_those_of_living_contexts() {
    let mut instance = start(&guest("", ""));
    assert_eq!(instance.next_context(), Instance::<Recorder>::ROOT + 1);
    instance.host_mut().contexts = vec![3, 4, 6];
    assert_eq!([instance.next_context(), instance.next_context()], [5, 7]);
}

#[test]
fn what_is_not_offered_yet_answers_what_sdks_survive() {
    let none = |n: usize| vec![Number(0); n];
    let cases: [(&str, &str, &[u32]); 18] = [
        ("proxy_http_call", "iiiiiiiiii", &[10]),
        ("proxy_grpc_call", "iiiiiiiiiiii", &[10]),
        ("proxy_grpc_stream", "iiiiiiiii", &[10]),
        ("proxy_grpc_send", "iiii", &[1]),
        ("proxy_grpc_cancel", "i", &[1]),
        ("proxy_grpc_close", "i", &[1]),
        ("proxy_call_foreign_function", "iiiiii", &[1]),
        ("proxy_get_shared_data", "iiiii", &[1]),
        ("proxy_set_shared_data", "iiiii", &[0]),
        ("proxy_register_shared_queue", "iii", &[0]),
        ("proxy_resolve_shared_queue", "iiiii", &[1]),
        ("proxy_enqueue_shared_queue", "iii", &[1]),
        ("proxy_dequeue_shared_queue", "iii", &[1]),
        ("proxy_define_metric", "iiii", &[0]),
        ("proxy_increment_metric", "il", &[0]),
        ("proxy_get_metric", "ii", &[1]),
        ("proxy_set_tick_period_milliseconds", "i", &[0]),
        ("proxy_get_status", "iii", &[0]),
    ];
    for (name, parameters, expected) in cases {
        let answer = Probe::env(name, parameters).call(&none(parameters.len()));
        assert!(expected.contains(&answer.status), "{name}: {}", answer.status);
    }
}
