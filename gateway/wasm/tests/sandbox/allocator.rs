//! The guest's allocator runs in the middle of a host call: whatever it does must end there.

use weir_wasm::{Instance, TrapKind};

use crate::recorder::Recorder;
use crate::support::{plugin, settings, wasm};

/// A guest whose `on_request_headers` reads a header; its allocator's body is `malloc`. `on_log` logs what it read.
fn started(malloc: &str) -> Instance<Recorder> {
    let bytes = wasm(&format!(
        r#"
        (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (global $depth (mut i32) (i32.const 0))
        (data (i32.const 0) "name")
        (func (export "proxy_abi_version_0_2_0"))
        (func $malloc (export "proxy_on_memory_allocate") (param $size i32) (result i32) {malloc})
        (func $read (result i32)
            (call $value (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 20)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $read))
        (func (export "proxy_on_log") (param i32)
            (drop (call $log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
        "#
    ));
    let mut instance = plugin(&bytes, settings()).unwrap().start(Recorder::default()).unwrap();
    instance.host_mut().request_headers = vec![("name".into(), "value".into())];
    instance
}

/// What the guest was told: it answers with the status as its action.
fn told(malloc: &str) -> weir_wasm::HeadersAction {
    started(malloc).on_request_headers(2, 1, true).unwrap()
}

fn trap(malloc: &str) -> TrapKind {
    let mut instance = started(malloc);
    let kind = instance.on_request_headers(2, 1, true).unwrap_err().kind;
    assert!(instance.is_poisoned());
    kind
}

#[test]
fn memory_that_is_not_there_is_not_written_to() {
    use weir_wasm::HeadersAction::{Continue, StopAllAndWatermark as InvalidMemoryAccess};
    assert_eq!(told("(i32.const 64)"), Continue);
    assert_eq!(told("(i32.const 65531)"), Continue);
    for pointer in ["0", "-1", "65532", "65536", "0x80000000"] {
        assert_eq!(told(&format!("(i32.const {pointer})")), InvalidMemoryAccess, "{pointer}");
    }
}

#[test]
fn memory_in_use_is_the_guests_own_affair() {
    // The result's own place: written over, and still inside.
    assert_eq!(told("(i32.const 16)"), weir_wasm::HeadersAction::Continue);
}

#[test]
fn its_traps_and_loops_are_those_of_the_callback() {
    assert_eq!(trap("unreachable"), TrapKind::Unreachable);
    assert_eq!(trap("(loop br 0) (i32.const 64)"), TrapKind::Deadline);
}

#[test]
fn it_may_log_but_not_call_back() {
    let log = "(drop (call $log (i32.const 2) (i32.const 0) (i32.const 4))) (i32.const 64)";
    assert_eq!(told(log), weir_wasm::HeadersAction::Continue);
    // Host to guest to host to guest ...: cut at the first turn.
    assert_eq!(trap("(drop (call $read)) (i32.const 64)"), TrapKind::HostCall);
}

#[test]
fn what_it_writes_to_standard_output_does_not_take_the_place_of_the_gift() {
    // One piece at 32: the 4 bytes at 0.
    let write = "(i32.store (i32.const 36) (i32.const 4))
        (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40))) (i32.const 64)";
    let mut instance = started(write);
    assert_eq!(instance.on_request_headers(2, 1, true).unwrap(), weir_wasm::HeadersAction::Continue);
    instance.on_log(2).unwrap();
    let logs: Vec<_> = instance.host().logs.iter().map(|(_, message)| message.as_slice()).collect();
    assert_eq!(logs, [&b"name"[..], b"value"]);
}

#[test]
fn memory_that_grows_meanwhile_is_found() {
    let grow = "(i32.mul (memory.grow (i32.const 1)) (i32.const 65536))";
    assert_eq!(told(grow), weir_wasm::HeadersAction::Continue);
}
