use weir_wasm::{LoadError, StartError, TrapKind};

use crate::recorder::Recorder;
use crate::support::{guest, plugin, settings, start, try_start, wasm};

#[test]
fn memory_does_not_grow_beyond_its_limit() {
    let bytes = guest(
        "",
        r#"
        (func (export "proxy_on_log") (param i32) (loop (memory.grow (i32.const 1)) (br_if 0 (i32.ne (i32.const -1)))))
        (func (export "proxy_on_tick") (param i32)
            (if (i32.eq (memory.grow (i32.const 65534)) (i32.const -1)) (then unreachable)))
        "#,
    );
    let mut instance = start(&bytes);
    // Handled by the guest: no failure.
    instance.on_log(2).unwrap();
    assert_eq!(instance.memory_bytes(), 1 << 20);
    // Not handled: the trap says what it was about.
    assert_eq!(instance.on_tick().unwrap_err().kind, TrapKind::Memory);
}

#[test]
fn a_trap_long_after_a_denied_growth_is_not_blamed_on_memory() {
    let bytes = guest(
        "",
        r#"
        (func (export "proxy_on_log") (param i32) (drop (memory.grow (i32.const 65534))))
        (func (export "proxy_on_tick") (param i32) unreachable)
        "#,
    );
    let mut instance = start(&bytes);
    instance.on_log(2).unwrap();
    assert_eq!(instance.on_tick().unwrap_err().kind, TrapKind::Unreachable);
}

#[test]
fn a_first_memory_beyond_the_limit_is_refused() {
    let bytes = wasm(
        r#"(memory (export "memory") 17) (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_abi_version_0_2_0"))"#,
    );
    assert!(matches!(try_start(&bytes), Err(StartError::Instantiate(_))));
}

#[test]
fn tables_have_a_limit() {
    let huge = guest("", "(table 10000000 funcref)");
    assert!(matches!(plugin(&huge, settings()), Err(LoadError::Compile(_))));

    let growing = guest(
        "",
        r#"(table $t 1 funcref)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.ne (table.grow $t (ref.null func) (i32.const 10000000)) (i32.const -1)) (then unreachable))
            (i32.eq (table.grow $t (ref.null func) (i32.const 10)) (i32.const -1)))"#,
    );
    let mut instance = start(&growing);
    instance.on_request_headers(2, 0, true).unwrap();
}

#[test]
fn endless_recursion_is_a_trap() {
    let bytes =
        guest("", r#"(func $f (export "proxy_on_tick") (param i32) (call $f (i32.const 1)) (call $f (i32.const 1)))"#);
    let trap = start(&bytes).on_tick().unwrap_err();
    assert_eq!(trap.kind, TrapKind::Stack);
    assert_eq!(trap.backtrace.len(), 20);
}

#[test]
fn log_messages_have_a_limit() {
    let bytes = guest(
        r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        r#"(func (export "proxy_on_log") (param i32)
            (drop (call $log (i32.const 2) (i32.const 0) (i32.const 100000))))"#,
    );
    let mut settings = settings();
    settings.limits.log_message_bytes = 100;
    let mut instance = plugin(&bytes, settings).unwrap().start(Recorder::default()).unwrap();
    instance.on_log(2).unwrap();
    assert_eq!(instance.host().logs[0].1.len(), 100);
}

#[test]
fn division_and_wild_access_are_traps() {
    let cases = [
        "(i32.store (i32.const -1) (i32.const 0))",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
        "(call_indirect (i32.const 0))",
    ];
    for case in cases {
        let bytes = guest("", &format!(r#"(table 1 funcref) (func (export "proxy_on_tick") (param i32) {case})"#));
        assert_eq!(start(&bytes).on_tick().unwrap_err().kind, TrapKind::OutOfBounds, "{case}");
    }
}
