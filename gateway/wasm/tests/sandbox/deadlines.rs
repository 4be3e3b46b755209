use std::time::{Duration, Instant};

use weir_wasm::{Callback, HeadersAction, StartError, Trap, TrapKind};

use crate::recorder::Recorder;
use crate::support::{guest, plugin, settings, start, try_start, wasm};

fn assert_cut(trap: &Trap, callback: Callback, began: Instant) {
    assert_eq!((trap.kind, trap.callback), (TrapKind::Deadline, callback), "{trap}");
    // 20 ms of CPU time; however busy the machine is, 20 times that and some.
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

#[test]
fn a_loop_is_cut_in_every_callback() {
    let names = [
        ("proxy_on_request_headers", 3, true),
        ("proxy_on_request_body", 3, true),
        ("proxy_on_request_trailers", 2, true),
        ("proxy_on_response_headers", 3, true),
        ("proxy_on_response_body", 3, true),
        ("proxy_on_response_trailers", 2, true),
        ("proxy_on_http_call_response", 5, false),
        ("proxy_on_tick", 1, false),
        ("proxy_on_done", 1, true),
        ("proxy_on_log", 1, false),
        ("proxy_on_delete", 1, false),
    ];
    let functions: String = names
        .iter()
        .map(|(name, parameters, has_result)| {
            let result = if *has_result { "(result i32)" } else { "" };
            format!(
                r#"(func (export "{name}") (param {}) {result} (loop br 0) unreachable)"#,
                "i32 ".repeat(*parameters)
            )
        })
        .collect();
    let bytes = guest("", &functions);
    type Call = fn(&mut weir_wasm::Instance<Recorder>) -> Option<Trap>;
    let calls: [(Callback, Call); 11] = [
        (Callback::RequestHeaders, |i| i.on_request_headers(2, 0, true).err()),
        (Callback::RequestBody, |i| i.on_request_body(2, 0, true).err()),
        (Callback::RequestTrailers, |i| i.on_request_trailers(2, 0).err()),
        (Callback::ResponseHeaders, |i| i.on_response_headers(2, 0, true).err()),
        (Callback::ResponseBody, |i| i.on_response_body(2, 0, true).err()),
        (Callback::ResponseTrailers, |i| i.on_response_trailers(2, 0).err()),
        (Callback::HttpCallResponse, |i| i.on_http_call_response(1, 0, 0, 0).err()),
        (Callback::Tick, |i| i.on_tick().err()),
        (Callback::Done, |i| i.on_done(2).err()),
        (Callback::Log, |i| i.on_log(2).err()),
        (Callback::Delete, |i| i.on_delete(2).err()),
    ];
    let plugin = plugin(&bytes, settings()).unwrap();
    for (callback, call) in calls {
        let mut instance = plugin.start(Recorder::default()).unwrap();
        let began = Instant::now();
        assert_cut(&call(&mut instance).unwrap(), callback, began);
    }
}

#[test]
fn a_loop_is_cut_while_starting() {
    let cases = [
        (guest("", "(func $f (loop br 0)) (start $f)"), Callback::Start),
        (guest("", r#"(func (export "_initialize") (loop br 0))"#), Callback::Start),
        (guest("", r#"(func (export "_start") (loop br 0))"#), Callback::Start),
        (
            guest("", r#"(func (export "proxy_on_context_create") (param i32 i32) (loop br 0))"#),
            Callback::ContextCreate,
        ),
        (
            guest("", r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) (loop br 0) unreachable)"#),
            Callback::VmStart,
        ),
        (
            guest("", r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (loop br 0) unreachable)"#),
            Callback::Configure,
        ),
    ];
    for (bytes, callback) in cases {
        let began = Instant::now();
        match try_start(&bytes).unwrap_err() {
            StartError::Trap(trap) => assert_cut(&trap, callback, began),
            other => panic!("{callback:?}: {other}"),
        }
    }
}

#[test]
fn loops_in_host_calls_are_cut_as_well() {
    let bytes = guest(
        r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        r#"(func (export "proxy_on_tick") (param i32)
            (loop (drop (call $log (i32.const 2) (i32.const 0) (i32.const 1))) (br 0)))"#,
    );
    assert_eq!(start(&bytes).on_tick().unwrap_err().kind, TrapKind::Deadline);
}

#[test]
fn host_calls_one_behind_the_other_are_cut_as_well() {
    // Neither a loop nor a function, where a guest's own code would look at the time: seconds of random bytes.
    let call = "(drop (call $random (i32.const 0) (i32.const 65536)))".repeat(20_000);
    let imports = r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    let serving = guest(imports, &format!(r#"(func (export "proxy_on_tick") (param i32) {call})"#));
    let began = Instant::now();
    assert_cut(&start(&serving).on_tick().unwrap_err(), Callback::Tick, began);

    let function = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)"#;
    let starting = guest(imports, &format!("{function} {call} (i32.const 1))"));
    let began = Instant::now();
    match try_start(&starting).unwrap_err() {
        StartError::Trap(trap) => assert_cut(&trap, Callback::Configure, began),
        other => panic!("{other}"),
    }
}

#[test]
fn every_call_has_its_own_budget() {
    // Some milliseconds each, far more than the budget of 20 ms together.
    let bytes = wasm(
        r#"
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_0"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (local $n i32)
            (local.set $n (i32.const 2000000))
            (loop (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (br_if 0))
            (i32.const 0))
        "#,
    );
    let mut instance = start(&bytes);
    for _ in 0..100 {
        assert_eq!(instance.on_request_headers(2, 0, true).unwrap(), HeadersAction::Continue);
    }
}

#[test]
fn a_trapped_instance_is_never_called_again() {
    let bytes = guest(
        "",
        r#"(func (export "proxy_on_tick") (param i32) unreachable)
        (func (export "proxy_on_log") (param i32))"#,
    );
    let mut instance = start(&bytes);
    instance.on_log(2).unwrap();
    assert_eq!(instance.on_tick().unwrap_err().kind, TrapKind::Unreachable);
    assert!(instance.is_poisoned());
    assert_eq!(instance.on_log(2).unwrap_err().kind, TrapKind::Poisoned);
    assert_eq!(instance.on_tick().unwrap_err().kind, TrapKind::Poisoned);
}

#[test]
fn one_busy_guest_does_not_shorten_the_time_of_another() {
    // Spins its whole budget on another thread while this thread's guest makes short calls.
    let spinning = guest("", r#"(func (export "proxy_on_tick") (param i32) (loop br 0))"#);
    let quiet = guest("", r#"(func (export "proxy_on_log") (param i32))"#);
    let thread = std::thread::spawn(move || start(&spinning).on_tick().unwrap_err().kind);
    let mut instance = start(&quiet);
    while !thread.is_finished() {
        instance.on_log(2).unwrap();
    }
    assert_eq!(thread.join().unwrap(), TrapKind::Deadline);
}
