//! From YAML to chains.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::*;
use crate::filter::testing::{stream, text};
use crate::filter::{Answer, Chain, Direction, Out, Stream};
use crate::http::{HeaderMap, ResponseHead};
use crate::plugin::{EngineSettings, Node};
use crate::telemetry::metrics::Registry;

fn plugins() -> Arc<Plugins> {
    let settings = EngineSettings { allocation: crate::plugin::Allocation::OnDemand, ..EngineSettings::default() };
    Plugins::new(Registry::new(1), Node::default(), settings)
}

const ROUTER_FILTER: &str =
    r#"{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"#;

/// Filters as a list in YAML's flow style.
fn protos(filters: &str) -> Vec<pb::hcm::HttpFilter> {
    let yaml = format!("http_filters: [{filters}]");
    let name = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let decoded = weir_xds::decode(&yaml, name);
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    pb::hcm::HttpConnectionManager::decode(&decoded.bytes[..]).unwrap().http_filters
}

fn compile(filters: &str) -> HttpFilters {
    let mut problems = Problems::new();
    let compiled = compile_http_filters(&protos(&with_router(filters)), &plugins(), &mut problems);
    compiled.unwrap_or_else(|| panic!("{:?}", problems.into_vec()))
}

fn with_router(filters: &str) -> String {
    let comma = if filters.is_empty() { "" } else { ", " };
    format!("{filters}{comma}{ROUTER_FILTER}")
}

fn refused(filters: &str) -> Vec<String> {
    let mut problems = Problems::new();
    assert!(compile_http_filters(&protos(filters), &plugins(), &mut problems).is_none());
    problems.into_vec().iter().map(ToString::to_string).collect()
}

fn routes(yaml: &str) -> Result<PerRoute, Vec<String>> {
    let decoded = weir_xds::decode(&format!("typed_per_filter_config: {{{yaml}}}"), "envoy.config.route.v3.Route");
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    let proto = pb::route::Route::decode(&decoded.bytes[..]).unwrap();
    let mut problems = Problems::new();
    compile_per_route(&proto.typed_per_filter_config, &mut problems)
        .ok_or_else(|| problems.into_vec().iter().map(ToString::to_string).collect())
}

fn buffer(max: u32) -> String {
    format!(
        r#"{{name: buffer, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: {max}}}}}"#
    )
}

fn mutation(name: &str, config: &str) -> String {
    format!(
        r#"{{name: {name}, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, {config}}}}}"#
    )
}

fn wasm(config: &str) -> String {
    format!(
        r#"{{name: wasm, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {config}}}}}"#
    )
}

fn chain(filters: &HttpFilters, said: [Option<&PerRoute>; 4]) -> (Chain<FilterInstance>, Stream) {
    let stream = stream();
    (filters.instantiate(&WorkerFilters::new(1), &stream, said), stream)
}

fn outs(chain: &mut Chain<FilterInstance>) -> String {
    let mut all = Vec::new();
    while let Some(out) = chain.next_out() {
        all.push(match out {
            Out::Headers(Direction::Request, end) => format!("H{}", if end { "." } else { "" }),
            Out::Data(Direction::Request, body, end) => format!("D({}){}", text(&body), if end { "." } else { "" }),
            Out::Respond(Answer::Failure(failure)) => format!("{failure:?}"),
            other => format!("{other:?}"),
        });
    }
    all.join(" ")
}

fn listed(map: &HeaderMap) -> String {
    map.iter()
        .map(|(n, v)| format!("{}={}", String::from_utf8_lossy(n), String::from_utf8_lossy(v)))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn snapshots_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<HttpFilters>();
    shared::<PerRoute>();
}

#[test]
fn the_router_stands_last_and_once() {
    assert_eq!(compile("").iter().count(), 0);
    assert_eq!(refused(&buffer(1)), ["http_filters: the last filter must be envoy.filters.http.router"]);
    assert_eq!(refused(""), ["http_filters: the last filter must be envoy.filters.http.router"]);
    let found = refused(&format!("{ROUTER_FILTER}, {}", buffer(1)));
    assert_eq!(found, ["http_filters[0]: the router must be the last filter"]);
    let disabled = ROUTER_FILTER.replace("{name: router", "{disabled: true, name: router");
    assert_eq!(refused(&disabled), ["http_filters[0].disabled: the router cannot be disabled: it ends every chain"]);
}

#[test]
fn every_problem_is_told_at_its_place() {
    let cors =
        r#"{name: cors, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}"#;
    let filters = [
        buffer(0),
        buffer(5),
        cors.to_owned(),
        "{name: nothing}".to_owned(),
        mutation(
            "m",
            "mutations: {request_mutations: [{remove: ':path'}, {append: {header: {key: 'a b', value: '%NO%'}}}]}",
        ),
        wasm(
            "{fail_open: true, failure_policy: FAIL_CLOSED, vm_config: {allow_precompiled: true, code: {remote: {}}}}",
        ),
        ROUTER_FILTER.to_owned(),
    ];
    let found = refused(&filters.join(", "));
    let starts = [
        "http_filters[0].typed_config.max_request_bytes: must be greater than 0",
        "http_filters[1].name: a filter named \"buffer\" stands before it already",
        "http_filters[2].typed_config.@type: the filter envoy.extensions.filters.http.cors.v3.Cors is not supported",
        "http_filters[3].typed_config: is missing",
        "http_filters[4].typed_config.mutations.request_mutations[0].remove: ",
        "http_filters[4].typed_config.mutations.request_mutations[1].append.header.key: ",
        "http_filters[4].typed_config.mutations.request_mutations[1].append.header.value: ",
        "http_filters[5].typed_config.config.vm_config.code.remote: ",
        "http_filters[5].typed_config.config.vm_config.allow_precompiled: ",
        "http_filters[5].typed_config.config.fail_open: ",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (problem, start) in found.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}\nexpected {start}");
    }
    // An optional one may be left out.
    let optional = cors.replace("{name: cors", "{is_optional: true, name: cors");
    assert_eq!(compile(&optional).iter().count(), 0);
}

#[test]
fn the_buffer_holds_a_request_to_its_end() {
    let filters = compile(&buffer(4));
    let (mut one, stream) = chain(&filters, [None; 4]);
    one.request_headers(false);
    one.request_body(Bytes::from_static(b"ab"), false);
    assert_eq!(outs(&mut one), "");
    one.request_body(Bytes::from_static(b"cd"), true);
    assert_eq!(outs(&mut one), "H D(abcd).");
    assert_eq!(listed(&stream.get().request.headers), "content-length=4");
    let (mut large, _) = chain(&filters, [None; 4]);
    large.request_headers(false);
    large.request_body(Bytes::from_static(b"abcde"), false);
    assert_eq!(outs(&mut large), "BodyTooLarge(Request)");
}

#[test]
fn routes_change_and_disable_filters() {
    let of =
        |name: &str, config: &str| routes(&format!("{name}: {{\"@type\": type.googleapis.com/{config}}}")).unwrap();
    let off = of("buffer", "envoy.extensions.filters.http.buffer.v3.BufferPerRoute, disabled: true");
    let small = of("buffer", "envoy.extensions.filters.http.buffer.v3.BufferPerRoute, buffer: {max_request_bytes: 1}");
    let disabled = of("buffer", "envoy.config.route.v3.FilterConfig, disabled: true");
    let other = of("other", "envoy.config.route.v3.FilterConfig, disabled: true");
    let filters = compile(&buffer(4));
    let answer = |filters: &HttpFilters, said| {
        let (mut chain, _) = chain(filters, said);
        chain.request_headers(false);
        chain.request_body(Bytes::from_static(b"ab"), false);
        outs(&mut chain)
    };
    assert_eq!(answer(&filters, [Some(&off), None, None, None]), "H D(ab)");
    assert_eq!(answer(&filters, [None, None, None, Some(&disabled)]), "H D(ab)");
    assert_eq!(answer(&filters, [None, Some(&small), None, Some(&disabled)]), "BodyTooLarge(Request)");
    assert_eq!(answer(&filters, [None, Some(&disabled), Some(&small), None]), "H D(ab)");
    assert_eq!(answer(&filters, [None, Some(&other), None, None]), "");
    // Disabled by the connection manager: runs where a route speaks of it.
    let filters = compile(&buffer(4).replace("{name: buffer", "{disabled: true, name: buffer"));
    assert_eq!(answer(&filters, [None; 4]), "H D(ab)");
    assert_eq!(answer(&filters, [None, Some(&small), None, None]), "BodyTooLarge(Request)");
}

#[test]
fn routes_are_refused_with_their_places() {
    let found = routes(
        r#"a: {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig},
           b: {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute},
           c: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors},
           d: {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, is_optional: true,
               config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}"#,
    );
    let found = found.unwrap_err();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with(r#"["a"]: says nothing"#), "{}", found[0]);
    assert!(found[1].starts_with(r#"["b"]: one of disabled and buffer"#), "{}", found[1]);
    assert!(found[2].starts_with(r#"["c"].@type: envoy.extensions.filters.http.cors.v3.Cors"#), "{}", found[2]);
    assert!(compile_per_route(&HashMap::new(), &mut Problems::new()).unwrap().is_empty());
}

#[test]
fn headers_are_mutated_in_order() {
    let append = |key: &str, value: &str, action: &str| {
        format!("{{append: {{header: {{key: {key}, value: '{value}'}}, append_action: {action}}}}}")
    };
    let list = [
        "{remove: gone}".to_owned(),
        "{remove_on_match: {key_matcher: {prefix: x-bad-}}}".to_owned(),
        append("x-path", "%REQ(:PATH)%", "APPEND_IF_EXISTS_OR_ADD"),
        append("there", "2", "ADD_IF_ABSENT"),
        append("there", "3", "APPEND_IF_EXISTS_OR_ADD"),
        append("absent", "4", "OVERWRITE_IF_EXISTS"),
        append("set", "5", "OVERWRITE_IF_EXISTS_OR_ADD"),
        append("empty", "%REQ(none)%", "APPEND_IF_EXISTS_OR_ADD"),
    ];
    let filters = compile(&mutation(
        "m",
        &format!(
            "mutations: {{request_mutations: [{}], response_mutations: [{}]}}",
            list.join(", "),
            append("r", "6", "ADD_IF_ABSENT")
        ),
    ));
    let (mut one, stream) = chain(&filters, [None; 4]);
    stream.edit().request.headers =
        [("gone", "1"), ("there", "1"), ("set", "a"), ("X-Bad-One", "1"), ("set", "b")].into_iter().collect();
    one.request_headers(true);
    assert_eq!(outs(&mut one), "H.");
    assert_eq!(listed(&stream.get().request.headers), "there=1 set=5 x-path=/ there=3");
    stream.edit().response = Some(ResponseHead::new(200));
    one.response_headers(true);
    assert_eq!(listed(&stream.get().response.as_ref().unwrap().headers), "r=6");
}

#[test]
fn mutations_of_all_levels_apply() {
    let level = |value: &str| {
        routes(&format!(
            r#"m: {{"@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute,
                mutations: {{request_mutations: [{{append: {{header: {{key: l, value: {value}}}}}}}]}}}}"#
        ))
        .unwrap()
    };
    let (route, host, config) = (level("route"), level("host"), level("config"));
    let said = [None, Some(&route), Some(&host), Some(&config)];
    for (wins, expected) in [(false, "l=route l=host l=config"), (true, "l=config l=host l=route")] {
        let filters = compile(&mutation("m", &format!("most_specific_header_mutations_wins: {wins}")));
        let (mut one, stream) = chain(&filters, said);
        one.request_headers(true);
        assert_eq!(listed(&stream.get().request.headers), expected);
    }
}

/// A module that does nothing.
fn module() -> tempfile::NamedTempFile {
    let code = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
             (func (export "malloc") (param i32) (result i32) (i32.const 64)))"#,
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), code.unwrap()).unwrap();
    file
}

#[test]
fn a_plugin_is_read_with_all_its_settings() {
    let file = module();
    let path = file.path().display();
    let filters = compile(&wasm(&format!(
        r#"{{name: n, root_id: r, failure_policy: FAIL_OPEN, allow_on_headers_stop_iteration: true,
            reload_config: {{backoff: {{base_interval: 0.5s}}}},
            configuration: {{"@type": type.googleapis.com/google.protobuf.Struct, value: {{b: [1, 2.5, null], a: {{c: x}}}}}},
            vm_config: {{vm_id: v, runtime: envoy.wasm.runtime.v8, code: {{local: {{filename: "{path}"}}}},
                configuration: {{"@type": type.googleapis.com/google.protobuf.StringValue, value: text}},
                environment_variables: {{key_values: {{KEY: value, WEIR_MEMORY_LIMIT: 16MiB, WEIR_CALLBACK_TIMEOUT: 20ms}}}}}}}}"#
    )));
    let plugin = filters.plugins().next().unwrap();
    let config = plugin.config();
    assert_eq!((plugin.name(), config.root_id.as_str(), config.vm_id.as_str()), ("n", "r", "v"));
    assert_eq!(plugin.file(), Some(file.path()));
    assert_eq!(config.configuration, br#"{"a":{"c":"x"},"b":[1,2.5,null]}"#);
    assert_eq!(config.vm_configuration, b"text");
    assert_eq!(config.environment, [("KEY".to_owned(), "value".to_owned())]);
    assert_eq!((config.limits.memory_bytes, config.limits.callback_cpu.as_millis()), (16 << 20, 20));
    assert_eq!(config.failure_policy, crate::plugin::FailurePolicy::Open);
    assert_eq!((config.restart.base.as_millis(), config.restart.max.as_millis()), (500, 5000));
    assert!(config.stop_iteration_on_headers);
    let (mut one, _) = chain(&filters, [None; 4]);
    one.request_headers(true);
    assert_eq!(outs(&mut one), "H.");
}

#[test]
fn a_plugin_that_cannot_be_used_is_blamed_where_it_stands() {
    let with = |vm: &str| refused(&format!("{}, {ROUTER_FILTER}", wasm(&format!("{{name: n, vm_config: {{{vm}}}}}"))));
    let one = |vm: &str, start: &str| {
        let found = with(vm);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("http_filters[0].typed_config.config.{start}")), "{}", found[0]);
    };
    one("code: {local: {filename: /nonexistent.wasm}}", "vm_config.code.local.filename: /nonexistent.wasm: ");
    one("code: {local: {inline_string: text}}", "vm_config.code.local: ");
    one("", "vm_config.code: is required");
    let file = module();
    let env = |variables: &str| {
        let path = file.path().display();
        format!("code: {{local: {{filename: '{path}'}}}}, environment_variables: {{key_values: {{{variables}}}}}")
    };
    for (variables, name) in [
        ("WEIR_ISOLATION: request", "WEIR_ISOLATION"),
        ("WEIR_MEMORY_LIMIT: much", "WEIR_MEMORY_LIMIT"),
        ("WEIR_MEMORY_LIMIT: 2GiB", "WEIR_MEMORY_LIMIT"),
        ("WEIR_TABLE_LIMIT: '20001'", "WEIR_TABLE_LIMIT"),
        ("WEIR_CALLBACK_TIMEOUT: '5'", "WEIR_CALLBACK_TIMEOUT"),
        ("WEIR_OTHER: x", "WEIR_OTHER"),
    ] {
        one(&env(variables), &format!("vm_config.environment_variables.key_values[{name:?}]: "));
    }
}
