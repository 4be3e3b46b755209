use weir_wasm::{AbiVersion, Callback, LoadError, Module, StartError, TrapKind};

use crate::recorder::Recorder;
use crate::support::{ENGINE, Probe, guest, plugin, settings, start, try_start, wasm};

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const MALLOC: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 0))"#;
const MARKER: &str = r#"(func (export "proxy_abi_version_0_2_0"))"#;

#[test]
fn bytes_that_are_no_module_are_refused() {
    for bytes in [&b""[..], b"hello", b"\x7fELF", b"(module)"] {
        assert!(matches!(Module::new(&ENGINE, bytes), Err(LoadError::NotWasm)));
    }
    // Behind the code there are only names, which nobody needs.
    let whole = guest("", "");
    for end in 4..whole.len() / 2 {
        assert!(Module::new(&ENGINE, &whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn the_version_is_the_one_that_is_declared() {
    for (marker, version) in
        [("0_1_0", AbiVersion::V0_1_0), ("0_2_0", AbiVersion::V0_2_0), ("0_2_1", AbiVersion::V0_2_1)]
    {
        let bytes = wasm(&format!(r#"{MEMORY}{MALLOC}(func (export "proxy_abi_version_{marker}"))"#));
        assert_eq!(Module::new(&ENGINE, &bytes).unwrap().abi_version(), version);
        try_start(&bytes).unwrap();
    }
}

#[test]
fn a_missing_field_is_an_empty_one_to_the_first_version() {
    for (marker, status) in [("0_1_0", 0), ("0_2_0", 1)] {
        let bytes = wasm(&format!(
            r#"
            (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
            {MEMORY}{MALLOC}(func (export "proxy_abi_version_{marker}"))
            (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
                (call $value (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 20)))
            "#
        ));
        let action = start(&bytes).on_request_body(2, 0, true).unwrap();
        assert_eq!(action as u32, status, "{marker}");
    }
}

#[test]
fn other_versions_and_none_are_refused() {
    let none = wasm(&format!("{MEMORY}{MALLOC}"));
    assert!(matches!(Module::new(&ENGINE, &none), Err(LoadError::Abi { found: None })));
    let other = wasm(&format!(r#"{MEMORY}{MALLOC}(func (export "proxy_abi_version_0_3_0"))"#));
    let error = Module::new(&ENGINE, &other).unwrap_err().to_string();
    assert!(error.contains("proxy_abi_version_0_3_0"), "{error}");
}

#[test]
fn a_guest_without_memory_or_allocator_is_refused() {
    let no_memory = wasm(&format!("{MALLOC}{MARKER}"));
    assert!(matches!(try_start(&no_memory), Err(StartError::Missing("memory"))));
    let no_malloc = wasm(&format!("{MEMORY}{MARKER}"));
    assert!(matches!(try_start(&no_malloc), Err(StartError::Missing(_))));
}

#[test]
fn an_export_of_another_type_is_refused() {
    let bytes = guest("", r#"(func (export "proxy_on_log") (param i64))"#);
    assert!(matches!(try_start(&bytes), Err(StartError::Export { name: "proxy_on_log", .. })));
}

#[test]
fn unknown_imports_trap_when_they_are_called_and_not_before() {
    let bytes = guest(
        r#"(import "env" "proxy_from_the_future" (func $f (param i64) (result f32)))"#,
        r#"(func (export "proxy_on_tick") (param i32) (drop (call $f (i64.const 1))))"#,
    );
    let plugin = plugin(&bytes, settings()).unwrap();
    assert_eq!(plugin.unknown_imports(), ["env.proxy_from_the_future"]);
    let trap = plugin.start(Recorder::default()).unwrap().on_tick().unwrap_err();
    assert_eq!(trap.kind, TrapKind::HostCall);
    assert!(trap.message.contains("env.proxy_from_the_future"), "{trap}");
}

#[test]
fn imports_that_are_no_functions_are_refused() {
    let bytes = guest(r#"(import "env" "counter" (global i32))"#, "");
    assert!(matches!(plugin(&bytes, settings()), Err(LoadError::Link(_))));
}

#[test]
fn a_guest_may_refuse_its_configuration_and_say_why() {
    let bytes = guest(
        r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        r#"
        (data (i32.const 0) "no such colour")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $log (i32.const 4) (i32.const 0) (i32.const 14))) (i32.const 0))
        "#,
    );
    let error = try_start(&bytes).unwrap_err();
    assert!(matches!(&error, StartError::Refused { callback: Callback::Configure, .. }));
    assert_eq!(error.to_string(), "proxy_on_configure returned false: no such colour");
}

#[test]
fn what_a_guest_said_before_it_panicked_is_told() {
    let bytes = guest(
        r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        r#"
        (data (i32.const 0) "all is lost")
        (func $deep (drop (call $log (i32.const 5) (i32.const 0) (i32.const 11))) unreachable)
        (func (export "proxy_on_tick") (param i32) (call $deep))
        "#,
    );
    let trap = start(&bytes).on_tick().unwrap_err();
    assert_eq!(trap.guest_message.as_deref(), Some("all is lost"));
    assert_eq!(trap.backtrace.len(), 2);
    assert_eq!(trap.backtrace[0], "deep");
}

#[test]
fn only_some_calls_are_allowed_while_starting() {
    let initialize = |import: &str, call: &str| guest(import, &format!(r#"(func (export "_initialize") {call})"#));
    let log = initialize(
        r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        "(drop (call $log (i32.const 2) (i32.const 0) (i32.const 4)))",
    );
    assert_eq!(start(&log).host().logs.len(), 1);
    let done = initialize(r#"(import "env" "proxy_done" (func $done (result i32)))"#, "(drop (call $done))");
    match try_start(&done).unwrap_err() {
        StartError::Trap(trap) => assert_eq!((trap.kind, trap.callback), (TrapKind::HostCall, Callback::Start)),
        other => panic!("{other}"),
    }
}

#[test]
fn the_ways_to_start_are_those_of_the_toolchains() {
    let log = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;
    let say = |name: &str, at: u32, parameters: &str, result: &str| {
        format!(
            r#"(func (export "{name}") {parameters} {result} (drop (call $log (i32.const 2) (i32.const {at}) (i32.const 1)))
            {})"#,
            if result.is_empty() { "" } else { "(i32.const 0)" }
        )
    };
    let data = r#"(data (i32.const 0) "imvs")"#;
    let initialize = say("_initialize", 0, "", "");
    let main = say("main", 1, "(param i32 i32)", "(result i32)");
    let main_void = say("__main_void", 2, "", "(result i32)");
    let start_ = say("_start", 3, "", "");
    for (functions, expected) in [
        (format!("{initialize}{main}{main_void}{start_}"), "im"),
        (format!("{initialize}{main_void}"), "iv"),
        (format!("{main}{start_}"), "s"),
        (initialize.clone(), "i"),
    ] {
        let instance = start(&guest(log, &format!("{data}{functions}")));
        let said: Vec<u8> = instance.host().logs.iter().flat_map(|(_, message)| message.clone()).collect();
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }
}

#[test]
fn a_module_tells_what_it_is() {
    let probe = Probe::env("proxy_done", "");
    let module = Module::new(&ENGINE, probe.module_bytes()).unwrap();
    assert!(module.imports().any(|import| import == "env.proxy_done"));
    assert!(module.exports().any(|export| export == "proxy_on_request_headers"));
    assert_eq!(module.digest(), Module::new(&ENGINE, probe.module_bytes()).unwrap().digest());
}
