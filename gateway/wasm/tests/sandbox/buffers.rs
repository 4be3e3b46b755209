use weir_wasm::{DataAction, Status};

use crate::recorder::Recorder;
use crate::support::Arg::{Bytes, Number, Out};
use crate::support::{Probe, guest, plugin, settings, start};

#[test]
fn a_piece_of_the_body_is_read_and_past_the_end_is_nothing() {
    let mut probe = Probe::env("proxy_get_buffer_bytes", "iiiii");
    // The request's body is the probe's own: its first argument is the number 0.
    let answer = probe.call(&[Number(0), Number(0), Number(4), Out(0), Out(1)]);
    assert_eq!((answer.status, answer.bytes(0)), (0, &[0; 4][..]));
    let answer = probe.call(&[Number(0), Number(1 << 20), Number(4), Out(0), Out(1)]);
    assert_eq!((answer.status, answer.bytes(0)), (0, &b""[..]));
    // A sum beyond 32 bits, a buffer that is not there, one that does not exist.
    for (buffer, start, len) in [(0, 1, u64::from(u32::MAX)), (1, 0, 4), (99, 0, 4)] {
        let answer = probe.call(&[Number(buffer), Number(start), Number(len), Out(0), Out(1)]);
        assert_eq!(answer.status, Status::NotFound as u32);
    }
}

#[test]
fn its_length_is_told() {
    let mut probe = Probe::env("proxy_get_buffer_status", "iii");
    let answer = probe.call(&[Number(0), Out(0), Out(1)]);
    assert_eq!((answer.status, answer.number(0)), (0, 13 * 8));
}

#[test]
fn the_edits_are_those_of_envoy() {
    let mut probe = Probe::env("proxy_set_buffer_bytes", "iiiii");
    let len = 13 * 8 + 2;
    let cases = [
        (0, 0, "Prepend hi"),
        (0, 3, "Replace(3) hi"),
        (0, u64::from(u32::MAX), "Replace(106) hi"),
        (len, 0, "Append hi"),
        (u64::from(u32::MAX), 7, "Append hi"),
    ];
    for (start, size, event) in cases {
        assert_eq!(probe.call(&[Number(0), Number(start), Number(size), Bytes(b"hi")]).status, 0);
        assert_eq!(probe.host().events.pop().unwrap(), event);
    }
}

#[test]
fn other_edits_are_no_ops_that_an_sdk_survives() {
    let mut probe = Probe::env("proxy_set_buffer_bytes", "iiiii");
    // Into the middle; into a configuration; into nothing.
    for (buffer, start) in [(0, 5), (6, 0), (7, 0), (1, 0), (99, 0)] {
        assert_eq!(probe.call(&[Number(buffer), Number(start), Number(0), Bytes(b"hi")]).status, 0);
        assert_eq!(probe.host().events.pop(), None);
        assert_eq!(probe.host().refused.pop(), Some(("proxy_set_buffer_bytes", Status::BadArgument)));
    }
}

#[test]
fn configurations_are_readable_in_their_phases() {
    let bytes = guest(
        r#"
        (import "env" "proxy_get_buffer_bytes" (func $read (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        "#,
        r#"
        (func $show (param $buffer i32)
            (if (call $read (local.get $buffer) (i32.const 0) (i32.const 100) (i32.const 0) (i32.const 4))
                (then (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 4))))
            (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4)))))
        (data (i32.const 32) "none")
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
            (call $show (i32.const 6)) (call $show (i32.const 7)) (i32.eq (local.get 1) (i32.const 2)))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $show (i32.const 6)) (call $show (i32.const 7)) (i32.eq (local.get 1) (i32.const 6)))
        (func (export "proxy_on_tick") (param i32)
            (call $show (i32.const 7)))
        "#,
    );
    let mut settings = settings();
    settings.vm_configuration = b"vm".into();
    settings.configuration = b"plugin".into();
    let mut instance = plugin(&bytes, settings).unwrap().start(Recorder::default()).unwrap();
    instance.on_tick().unwrap();
    let logs: Vec<_> = instance.host().logs.iter().map(|(_, message)| String::from_utf8_lossy(message)).collect();
    assert_eq!(logs, ["vm", "none", "vm", "plugin", "none"]);
}

#[test]
fn out_of_range_answers_mean_what_they_mean_in_envoy() {
    let bytes = guest("", r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (local.get 1))"#);
    let mut instance = start(&bytes);
    let expected =
        [DataAction::Continue, DataAction::StopAndBuffer, DataAction::StopAndWatermark, DataAction::StopNoBuffer];
    for (number, action) in expected.into_iter().enumerate() {
        assert_eq!(instance.on_request_body(2, number as u32, false).unwrap(), action);
    }
    assert_eq!(instance.on_request_body(2, u32::MAX, false).unwrap(), DataAction::StopNoBuffer);
}
