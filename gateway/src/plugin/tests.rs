//! Guests written for one behaviour each, run by the real sandbox inside of a real chain.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_wasm::{Allocation, EngineSettings};

use super::*;
use crate::filter::testing::{stream, text};
use crate::filter::{Answer, Chain, Direction, FilterId, Out, Stream};
use crate::http::ResponseHead;
use crate::telemetry::metrics::{
    Registry,
    names::wasm::{BREAKER_OPENED, STREAMS_FAILED, STREAMS_PASSED, TRAPS},
};

/// What guests have in common. Strings lie at fixed places: `x-tag` at 0, `1` at 8, `no` at 16, `XX` at 24,
/// `content-length` at 32, `x-trace` at 48; 4096 and above is given out by the allocator.
const PRELUDE: &str = r#"
(import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
(import "env" "proxy_send_local_response" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_continue_stream" (func $resume (param i32) (result i32)))
(import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(memory (export "memory") 2)
(global $top (mut i32) (i32.const 4096))
(data (i32.const 0) "x-tag")
(data (i32.const 8) "1")
(data (i32.const 16) "no")
(data (i32.const 24) "XX")
(data (i32.const 32) "content-length")
(data (i32.const 48) "x-trace")
(func (export "proxy_abi_version_0_2_1"))
(func (export "_initialize"))
(func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get $size))))
(func $tag (param $map i32)
    (drop (call $replace (local.get $map) (i32.const 0) (i32.const 5) (i32.const 8) (i32.const 1))))
(func $reply
    (drop (call $send (i32.const 403) (i32.const 16) (i32.const 2) (i32.const 16) (i32.const 2)
                      (i32.const 0) (i32.const 0) (i32.const -1))))
"#;

fn guest(callbacks: &str) -> Bytes {
    wat::parse_str(format!("(module {PRELUDE} {callbacks})")).unwrap().into()
}

fn config(code: Bytes) -> PluginConfig {
    PluginConfig {
        name: "test".into(),
        root_id: "root".into(),
        vm_id: "vm".into(),
        code,
        file: None,
        vm_configuration: Vec::new(),
        configuration: Vec::new(),
        environment: Vec::new(),
        limits: Limits::default(),
        host_limits: HostLimits::default(),
        failure_policy: FailurePolicy::Closed,
        restart: RestartBackoff::default(),
        stop_iteration_on_headers: false,
    }
}

fn plugins() -> Arc<Plugins> {
    let settings = EngineSettings { allocation: Allocation::OnDemand, ..EngineSettings::default() };
    Plugins::new(Registry::new(1), Node::default(), settings)
}

struct Lab {
    plugin: Arc<Plugin>,
    worker: WorkerPlugins,
}

impl Lab {
    fn new(callbacks: &str) -> Self {
        Self::with(callbacks, |_| {})
    }

    fn with(callbacks: &str, change: impl FnOnce(&mut PluginConfig)) -> Self {
        let mut config = config(guest(callbacks));
        change(&mut config);
        Self { plugin: plugins().load(config).unwrap(), worker: WorkerPlugins::new(1) }
    }

    fn stream(&self) -> Run {
        let stream = stream();
        let filter = self.worker.filter(&self.plugin, FilterId(0));
        Run { chain: Chain::new(stream.clone(), [filter]), stream }
    }
}

struct Run {
    chain: Chain<WasmFilter>,
    stream: Stream,
}

impl Run {
    fn request(&mut self, end: bool) -> String {
        self.chain.request_headers(end);
        self.outs()
    }

    fn body(&mut self, text: &str, end: bool) -> String {
        self.chain.request_body(Bytes::copy_from_slice(text.as_bytes()), end);
        self.outs()
    }

    fn response(&mut self, status: u16, end: bool) -> String {
        self.stream.edit().response = Some(ResponseHead::new(status));
        self.chain.response_headers(end);
        self.outs()
    }

    fn effects(&mut self) -> String {
        self.chain.apply_effects();
        self.outs()
    }

    fn outs(&mut self) -> String {
        let mut all = Vec::new();
        while let Some(out) = self.chain.next_out() {
            let dot = |end: bool| if end { "." } else { "" };
            all.push(match out {
                Out::Headers(Direction::Request, end) => format!("H{}", dot(end)),
                Out::Headers(Direction::Response, end) => format!("h{}", dot(end)),
                Out::Data(Direction::Request, body, end) => format!("D({}){}", text(&body), dot(end)),
                Out::Data(Direction::Response, body, end) => format!("d({}){}", text(&body), dot(end)),
                Out::Trailers(Direction::Request) => "T".into(),
                Out::Trailers(Direction::Response) => "t".into(),
                Out::Respond(Answer::Reply(reply)) => {
                    format!("{} {} {}", reply.status, text(&reply.body.into()), reply.details)
                }
                Out::Respond(Answer::Failure(failure)) => format!("{failure:?}"),
                Out::RespondDirect(answer) => format!("direct {answer:?}"),
                Out::Reset => "reset".into(),
                Out::Call(..) => "call".into(),
            });
        }
        all.join(" ")
    }

    fn request_header(&self, name: &str) -> Option<String> {
        self.stream.get().request.headers.get_str(name).map(str::to_owned)
    }

    fn response_header(&self, name: &str) -> Option<String> {
        self.stream.get().response.as_ref()?.headers.get_str(name).map(str::to_owned)
    }
}

const FAILED: &str = "GuestFailed";

#[test]
fn headers_are_changed_both_ways() {
    let lab = Lab::new(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $tag (i32.const 0)) (i32.const 0))
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $tag (i32.const 2)) (i32.const 0))"#,
    );
    let mut run = lab.stream();
    assert_eq!(run.request(true), "H.");
    assert_eq!(run.request_header("x-tag").as_deref(), Some("1"));
    assert_eq!(run.response(200, true), "h.");
    assert_eq!(run.response_header("x-tag").as_deref(), Some("1"));
    assert!(run.chain.passes_request_body() && run.chain.passes_response_body());
    assert_eq!(lab.worker.instances().first().map(|(name, _, streams)| (name.as_str(), *streams)), Some(("test", 1)));
    drop(run);
    assert_eq!(lab.worker.instances().first().map(|(_, _, streams)| *streams), Some(0));
}

#[test]
fn a_guest_answers_by_itself_and_sees_its_answer() {
    let lab = Lab::new(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $reply) (i32.const 0))
           (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) unreachable)
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $tag (i32.const 2)) (i32.const 0))"#,
    );
    let mut run = lab.stream();
    assert_eq!(run.request(false), "403 no no");
    assert_eq!(run.body("dropped", true), "");
    assert_eq!(run.response(403, true), "h.");
    assert_eq!(run.response_header("x-tag").as_deref(), Some("1"));
}

#[test]
fn a_held_body_is_seen_as_a_whole() {
    // Pauses until the end, and answers by itself unless the size is 6 then.
    let lab = Lab::new(
        r#"(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
               (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
               (if (i32.ne (local.get $size) (i32.const 6)) (then (call $reply)))
               (i32.const 0))"#,
    );
    let mut run = lab.stream();
    assert_eq!(run.request(false), "H");
    assert_eq!((run.body("abc", false), run.body("def", true)), (String::new(), "D(abcdef).".to_owned()));
    let mut run = lab.stream();
    assert_eq!(run.request(false), "H");
    assert_eq!((run.body("abc", false), run.body("d", true)), (String::new(), "403 no no".to_owned()));
}

/// Pauses on headers; tags the request when the body has ended.
const PAUSES: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
    (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
        (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
        (call $tag (i32.const 0))
        (i32.const 0))"#;

#[test]
fn pause_on_headers_holds_the_body_too() {
    let lab = Lab::new(PAUSES);
    let mut run = lab.stream();
    assert_eq!(run.request(false), "");
    assert_eq!(run.body("ab", true), "");
    assert!(run.chain.is_stopped(Direction::Request) && run.request_header("x-tag").is_none());
    run.chain.resume(FilterId(0), Direction::Request);
    assert_eq!(run.outs(), "H D(ab).");
}

#[test]
fn pause_on_headers_lets_the_body_come_if_asked_for() {
    let lab = Lab::with(PAUSES, |config| config.stop_iteration_on_headers = true);
    let mut run = lab.stream();
    assert_eq!(run.request(false), "");
    assert_eq!(run.body("a", false), "");
    assert_eq!(run.body("b", true), "H D(ab).");
    assert_eq!(run.request_header("x-tag").as_deref(), Some("1"));
}

#[test]
fn a_guest_resumes_another_stream() {
    // The first stream (context 2) pauses; the second one lets it go.
    let lab = Lab::new(
        r#"(func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
               (if (i32.eq (local.get $id) (i32.const 2)) (then (return (i32.const 1))))
               (drop (call $effective (i32.const 2)))
               (drop (call $resume (i32.const 0)))
               (i32.const 0))"#,
    );
    let (mut first, mut second) = (lab.stream(), lab.stream());
    assert_eq!(first.request(true), "");
    assert_eq!(second.request(true), "H.");
    assert_eq!(first.effects(), "H.");
}

#[test]
fn a_changed_body_has_its_own_length() {
    // Holds the headers, and puts "XX" before the body.
    let lab = Lab::with(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
           (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
               (drop (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 24) (i32.const 2)))
               (i32.const 0))
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
               (drop (call $replace (i32.const 2) (i32.const 32) (i32.const 14) (i32.const 8) (i32.const 1)))
               (i32.const 0))"#,
        |config| config.stop_iteration_on_headers = true,
    );
    let mut run = lab.stream();
    run.stream.edit().request.headers.append("content-length", "3");
    assert_eq!(run.request(false), "");
    assert_eq!(run.body("abc", true), "H D(XXabc).");
    assert_eq!(run.request_header("content-length").as_deref(), Some("5"));
    // Not at its end: nobody knows the length.
    let mut run = lab.stream();
    run.stream.edit().request.headers.append("content-length", "6");
    assert_eq!(run.request(false), "");
    assert_eq!(run.body("abc", false), "H D(XXabc)");
    assert_eq!(run.request_header("content-length"), None);
    // Framing is not the guest's business: the call is refused, the guest lives.
    run.stream.edit().response = Some(ResponseHead::new(200));
    run.chain.response_headers(true);
    assert_eq!((run.outs().as_str(), run.response_header("content-length")), ("h.", None));
}

/// Pauses requests with a body, traps on those without one.
const TRAPS_WITHOUT_BODY: &str = r#"
    (func (export "proxy_on_request_headers") (param $id i32) (param $n i32) (param $end i32) (result i32)
        (if (local.get $end) (then unreachable))
        (i32.const 1))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;

#[test]
fn a_trap_fails_the_streams_inside_and_nobody_else() {
    let lab = Lab::new(TRAPS_WITHOUT_BODY);
    let mut paused = lab.stream();
    assert_eq!(paused.request(false), "");
    let mut trapping = lab.stream();
    assert_eq!(trapping.request(true), FAILED);
    assert_eq!(trapping.response(503, true), "h.");
    // It was in the same instance, and nobody else would let it go.
    assert_eq!(paused.effects(), FAILED);
    assert_eq!(paused.response(503, true), "h.");
    // The next one gets a new instance.
    let mut next = lab.stream();
    assert_eq!(next.request(false), "");
    assert!(next.chain.is_stopped(Direction::Request));
    let metrics = &lab.plugin.core.metrics;
    assert_eq!((metrics.counter(TRAPS), metrics.counter(STREAMS_FAILED)), (1, 2));
}

#[test]
fn a_trap_may_be_passed_over() {
    let lab = Lab::with(TRAPS_WITHOUT_BODY, |config| config.failure_policy = FailurePolicy::Open);
    let mut paused = lab.stream();
    assert_eq!(paused.request(false), "");
    let mut trapping = lab.stream();
    assert_eq!((trapping.request(true), trapping.response(200, true)), ("H.".into(), "h.".into()));
    assert_eq!(paused.effects(), "H");
    assert_eq!((paused.body("x", true), paused.response(200, true)), ("D(x).".into(), "h.".into()));
    assert_eq!(lab.plugin.core.metrics.counter(STREAMS_PASSED), 2);
}

#[test]
fn crash_loops_of_quick_guests_are_harmless() {
    let lab = Lab::new(TRAPS_WITHOUT_BODY);
    for _ in 0..200 {
        assert_eq!(lab.stream().request(true), FAILED);
    }
    let metrics = &lab.plugin.core.metrics;
    assert_eq!((metrics.counter(TRAPS), metrics.counter(BREAKER_OPENED)), (200, 0));
}

#[test]
fn crash_loops_of_slow_guests_meet_the_breaker() {
    // Some milliseconds of counting at each start.
    let slow = r#"
        (func $slow (local $n i32)
            (loop $on (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $on (i32.lt_u (local.get $n) (i32.const 20000000)))))
        (start $slow)"#;
    let lab = Lab::new(&format!("{TRAPS_WITHOUT_BODY}{slow}"));
    for _ in 0..2_000 {
        assert_eq!(lab.stream().request(true), FAILED);
        if lab.plugin.core.metrics.counter(BREAKER_OPENED) > 0 {
            return;
        }
    }
    panic!("it never opened");
}

#[test]
fn a_loop_is_cut() {
    let lab = Lab::with(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop $on (br $on)) (i32.const 0))"#,
        |config| config.limits.callback_cpu = Duration::from_millis(10),
    );
    assert_eq!(lab.stream().request(true), FAILED);
}

#[test]
fn a_guest_that_refuses_its_configuration_is_not_loaded() {
    let code = guest(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
               (drop (call $log (i32.const 4) (i32.const 16) (i32.const 2)))
               (i32.const 0))"#,
    );
    let error = plugins().load(config(code)).unwrap_err();
    assert_eq!(error.to_string(), "the plugin does not start: proxy_on_configure returned false: no");
    assert!(matches!(plugins().load(config(Bytes::from_static(b"nothing"))), Err(LoadError::Module(_))));
}

#[test]
fn equal_plugins_are_loaded_once_for_as_long_as_they_are_used() {
    let plugins = plugins();
    let code = guest("");
    let first = plugins.load(config(code.clone())).unwrap();
    let again = plugins.load(config(code.clone())).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let other = plugins.load(PluginConfig { configuration: b"x".to_vec(), ..config(code.clone()) }).unwrap();
    assert!(!Arc::ptr_eq(&first, &other));
    let (worker, another) = (WorkerPlugins::new(1), WorkerPlugins::new(2));
    drop(another.filter(&first, FilterId(0)));
    drop(worker.filter(&first, FilterId(0)));
    drop(worker.filter(&other, FilterId(0)));
    assert_eq!(worker.instances().len(), 2);
    drop((first, again));
    worker.sweep();
    another.sweep();
    assert_eq!((worker.instances().len(), another.instances().len()), (1, 0));
    let fresh = plugins.load(config(code)).unwrap();
    assert_ne!(fresh.core.id, other.core.id);
}

#[test]
fn contexts_end_in_order() {
    // Appends a digit for each call, and shows the number as `x-trace` of the next request.
    let lab = Lab::new(
        r#"(global $trace (mut i32) (i32.const 0))
           (func $note (param $digit i32)
               (global.set $trace (i32.add (i32.mul (global.get $trace) (i32.const 10)) (local.get $digit))))
           (func (export "proxy_on_context_create") (param i32 i32) (call $note (i32.const 1)))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (local $at i32) (local $left i32)
               (local.set $at (i32.const 80))
               (local.set $left (global.get $trace))
               (loop $digits
                   (local.set $at (i32.sub (local.get $at) (i32.const 1)))
                   (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $left) (i32.const 10))))
                   (br_if $digits (local.tee $left (i32.div_u (local.get $left) (i32.const 10)))))
               (drop (call $replace (i32.const 0) (i32.const 48) (i32.const 7)
                                    (local.get $at) (i32.sub (i32.const 80) (local.get $at))))
               (call $note (i32.const 2))
               (i32.const 0))
           (func (export "proxy_on_log") (param i32) (call $note (i32.const 3)))
           (func (export "proxy_on_done") (param i32) (result i32) (call $note (i32.const 4)) (i32.const 0))
           (func (export "proxy_on_delete") (param i32) (call $note (i32.const 5)))"#,
    );
    let mut first = lab.stream();
    first.request(true);
    first.chain.log();
    drop(first);
    let mut second = lab.stream();
    second.request(true);
    // The root's context; then one stream: created, headers, log, done, deleted; then the second one is created.
    assert_eq!(second.request_header("x-trace").as_deref(), Some("1123451"));
}
