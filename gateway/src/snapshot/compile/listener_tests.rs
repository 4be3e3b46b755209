//! Listeners and connection managers from YAML.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use weir_xds::Kind;

use crate::http::KeyFormat;
use crate::http::path::EscapedSlashes;
use crate::snapshot::connection_manager::{
    ClientCertMode, Codec, ConnectionManager, RouteSource, ServerHeaderWhen, Underscores,
};
use crate::snapshot::listener::{Hello, Listener};
use crate::snapshot::testing::{ROUTER, inline, listener, publisher, rds, reasons, update};

/// The listener, or why it is none.
fn compile(yaml: &str) -> Result<Arc<Listener>, Vec<String>> {
    let mut publisher = publisher();
    let clusters = update("static", Kind::Cluster, &["name: c"]);
    let report = publisher.publish(vec![clusters, update("static", Kind::Listener, &[yaml])]);
    let compiled = publisher.store().load().listeners().next().cloned();
    compiled.ok_or_else(|| reasons(&report))
}

fn manager(yaml: &str) -> Arc<ConnectionManager> {
    Arc::clone(&compile(&listener("l", 0, yaml)).unwrap().chains[0].manager)
}

const HCM: &str = "filter_chains[0].filters[0].typed_config";

#[test]
fn defaults_are_envoys() {
    let compiled = compile(&listener("l", 8080, &inline("c"))).unwrap();
    assert_eq!(compiled.address, "127.0.0.1:8080".parse().unwrap());
    assert!(compiled.tls_inspector.is_none() && compiled.default_chain.is_none() && compiled.waits_for.is_empty());
    assert_eq!(compiled.inspect_timeout, Some(Duration::from_secs(15)));
    assert_eq!(&*compiled.chains[0].name, "filter_chains[0]");
    let manager = &compiled.chains[0].manager;
    assert_eq!(manager.codec, Codec::Auto);
    assert!(matches!(manager.routes, RouteSource::Inline(_)));
    assert_eq!((&*manager.server.name, manager.server.when), (&b"envoy"[..], ServerHeaderWhen::Overwrite));
    assert!(manager.request_id.generate && !manager.request_id.preserve_external && !manager.trust.use_remote_address);
    assert!(!manager.path.normalize && manager.via.is_empty() && manager.trust.internal.is_empty());
    assert_eq!((manager.limits.bytes, manager.limits.fields), (60 * 1024, 100));
    assert_eq!((manager.max_requests, manager.buffer_limit), (0, 1024 * 1024));
    let seconds = |n| Some(Duration::from_secs(n));
    let timeouts = manager.timeouts;
    assert_eq!((timeouts.request_headers, timeouts.request), (seconds(15), None));
    assert_eq!((timeouts.stream_idle, timeouts.idle), (seconds(300), seconds(3600)));
    assert_eq!((timeouts.connection, timeouts.stream), (None, None));
    assert_eq!((timeouts.delayed_close, timeouts.drain), (seconds(1), seconds(5)));
}

#[test]
fn every_field_arrives() {
    let yaml = r#"stat_prefix: p
codec_type: HTTP2
server_name: weir
server_header_transformation: PASS_THROUGH
via: here
use_remote_address: true
xff_num_trusted_hops: 2
skip_xff_append: true
append_x_forwarded_port: true
internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}, {address_prefix: "fd00::", prefix_len: 8}]}
forward_client_cert_details: SANITIZE_SET
set_current_client_cert_details: {subject: true, uri: true}
generate_request_id: false
preserve_external_request_id: true
always_set_request_id_in_response: true
normalize_path: true
merge_slashes: true
path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT
strip_any_host_port: true
strip_trailing_host_dot: true
max_request_headers_kb: 96
stream_idle_timeout: 0s
request_timeout: 2s
request_headers_timeout: 0.0001s
delayed_close_timeout: 3s
drain_timeout: 4s
proxy_100_continue: true
http_protocol_options: {accept_http_10: true, default_host_for_http_10: h, enable_trailers: true, header_key_format: {proper_case_words: {}}}
http2_protocol_options: {max_concurrent_streams: 5, initial_stream_window_size: 65536, initial_connection_window_size: 65537, hpack_table_size: 0}
common_http_protocol_options: {idle_timeout: 5s, max_headers_count: 7, max_connection_duration: 8s, max_stream_duration: 9s, headers_with_underscores_action: DROP_HEADER, max_requests_per_connection: 10}
http_filters: [{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}]
access_log: [{name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]
route_config: {virtual_hosts: []}"#;
    let yaml = listener("l", 0, yaml) + "per_connection_buffer_limit_bytes: 1000\n";
    let manager = &compile(&yaml).unwrap().chains[0].manager;
    assert_eq!((manager.codec, &*manager.server.name, &*manager.via), (Codec::Http2, &b"weir"[..], &b"here"[..]));
    assert_eq!(manager.server.when, ServerHeaderWhen::PassThrough);
    let trust = &manager.trust;
    assert!(trust.use_remote_address && trust.skip_append && trust.append_port);
    assert_eq!(trust.trusted_hops, 2);
    assert!(trust.internal.iter().any(|range| range.contains("10.9.9.9".parse().unwrap())));
    assert!(trust.internal.iter().any(|range| range.contains("fd99::1".parse().unwrap())));
    let cert = manager.client_cert;
    assert_eq!(cert.mode, ClientCertMode::SanitizeSet);
    assert!(cert.subject && cert.uri && !cert.dns && !cert.cert);
    let id = manager.request_id;
    assert!(!id.generate && id.preserve_external && id.in_response);
    assert!(manager.path.normalize && manager.path.merge_slashes);
    assert_eq!(manager.path.escaped_slashes, EscapedSlashes::UnescapeAndRedirect);
    assert!(manager.host.strip_any_port && manager.host.strip_trailing_dot && !manager.host.strip_matching_port);
    assert_eq!((manager.limits.bytes, manager.limits.fields), (96 * 1024, 7));
    let seconds = |n| Some(Duration::from_secs(n));
    let timeouts = manager.timeouts;
    assert_eq!((timeouts.stream_idle, timeouts.request), (None, seconds(2)));
    assert_eq!(timeouts.request_headers, Some(Duration::from_millis(1)), "only an explicit 0 is off");
    assert_eq!((timeouts.delayed_close, timeouts.drain), (seconds(3), seconds(4)));
    assert_eq!((timeouts.idle, timeouts.connection, timeouts.stream), (seconds(5), seconds(8), seconds(9)));
    assert!(manager.proxy_100_continue && manager.suppress_envoy_headers);
    assert!(manager.http1.accept_http_10 && manager.http1.trailers);
    assert_eq!(&*manager.http1.default_host, b"h");
    assert_eq!(manager.http1.key_format, KeyFormat::ProperCase);
    let http2 = manager.http2;
    assert_eq!((http2.max_streams, http2.header_table), (5, 0));
    assert_eq!((http2.stream_window, http2.connection_window), (65536, 65537));
    assert_eq!((manager.underscores, manager.max_requests), (Underscores::Drop, 10));
    assert_eq!((manager.access_logs.len(), manager.buffer_limit), (1, 1000));
}

/// Of a type that is none.
const FORMATTER: &str = "{name: f, typed_config: {'@type': type.googleapis.com/google.protobuf.Empty}}";

#[test]
fn what_is_wrong_is_told_with_its_path() {
    let all = |yaml: &str| compile(&listener("l", 0, yaml)).unwrap_err();
    let cases = [
        (inline("unknown"), "route_config.virtual_hosts[0].routes[0].route.cluster: unknown cluster 'unknown'"),
        (format!("stat_prefix: p\n{ROUTER}"), "route_specifier"),
        (
            format!("{}\nstrip_any_host_port: true\nstrip_matching_host_port: true", inline("c")),
            "strip_any_host_port: cannot be set beside",
        ),
        (
            format!("{}\ninternal_address_config: {{cidr_ranges: [{{address_prefix: x}}]}}", inline("c")),
            "internal_address_config.cidr_ranges[0].address_prefix: \"x\" is not an IP address",
        ),
        (
            format!(
                "{}\ninternal_address_config: {{cidr_ranges: [{{address_prefix: 1.1.1.1, prefix_len: 33}}]}}",
                inline("c")
            ),
            "internal_address_config.cidr_ranges[0].prefix_len: 1.1.1.1 has 32 bits",
        ),
        (inline("c").replace(ROUTER, ""), "http_filters"),
        (
            format!(
                "{}\nhttp_protocol_options: {{header_key_format: {{stateful_formatter: {FORMATTER}}}}}",
                inline("c")
            ),
            "http_protocol_options.header_key_format.stateful_formatter.typed_config: expected \
             envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig, found google.protobuf.Empty",
        ),
    ];
    for (yaml, wanted) in cases {
        let found = all(&yaml);
        assert!(found.iter().any(|p| p.contains(HCM) && p.contains(wanted)), "{wanted}: {found:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let yaml = format!("{}\nstrip_any_host_port: true\nstrip_matching_host_port: true", inline("nobody"));
    let yaml = listener("l", 0, &yaml).replace("127.0.0.1", "localhost");
    let problems = compile(&yaml).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("here.address.socket_address.address: \"localhost\" is not an IP address"));
}

#[test]
fn routes_from_a_file_are_waited_for() {
    let wait = |timeout: &str| {
        let yaml = rds("r").replace(" config_source: {", &format!(" config_source: {{{timeout}"));
        compile(&listener("l", 0, &yaml)).unwrap()
    };
    let compiled = wait("");
    assert!(matches!(&compiled.chains[0].manager.routes, RouteSource::Named(name) if &**name == "r"));
    assert_eq!((compiled.waits_for.len(), compiled.warming_timeout), (1, Some(Duration::from_secs(15))));
    assert_eq!(wait("initial_fetch_timeout: 2s, ").warming_timeout, Some(Duration::from_secs(2)));
    assert_eq!(wait("initial_fetch_timeout: 0s, ").warming_timeout, None);
}

/// A listener with these filter chains, each a match and a name.
fn chains(matches: &[&str]) -> String {
    let one = listener("l", 0, &inline("c"));
    let (head, chain) = one.split_once("- filters:").unwrap();
    let all = matches.iter().map(|m| format!("- filter_chain_match: {m}\n  filters:{chain}"));
    format!("{head}{}", all.collect::<String>())
}

#[test]
fn chains_are_found_by_what_they_match() {
    let compiled =
        compile(&chains(&["{server_names: [A.example, '*.example']}", "{transport_protocol: raw_buffer}"])).unwrap();
    assert!(compiled.tls_inspector.is_some(), "added where chains cannot be told apart without it");
    let hello = |tls, server_name| Hello { tls, server_name, protocols: &[] };
    let name = |hello: &Hello<'_>| compiled.choose(hello).map(|chain| chain.name.to_string());
    assert_eq!(name(&hello(true, Some("a.example"))).as_deref(), Some("filter_chains[0]"));
    assert_eq!(name(&hello(false, None)).as_deref(), Some("filter_chains[1]"));
    assert_eq!(name(&hello(true, Some("b.test"))), None);
    assert!(compiled.chain_named("filter_chains[1]").is_some());
}

#[test]
fn chains_that_cannot_be_told_apart_are_refused() {
    let cases = [
        (vec!["{server_names: [a.b]}", "{server_names: [A.b]}"], "filter_chains[1].filter_chain_match"),
        (vec!["{server_names: [a*.b]}"], "filter_chain_match.server_names[0]"),
        (vec!["{transport_protocol: quic}"], "filter_chain_match.transport_protocol"),
        (vec!["{destination_port: 80}"], "filter_chain_match.destination_port"),
        (vec!["{source_type: EXTERNAL}"], "filter_chain_match.source_type"),
    ];
    for (matches, wanted) in cases {
        let problems = compile(&chains(&matches)).unwrap_err();
        assert!(problems.iter().any(|p| p.contains(wanted)), "{matches:?}: {problems:?}");
    }
}

#[test]
fn other_filters_are_refused() {
    let plain = listener("l", 0, &inline("c"));
    let nameless = plain.replace("  - name: hcm", "  - {name: x}\n  - name: hcm");
    let refused = compile(&nameless).unwrap_err();
    assert!(refused.iter().any(|p| p.contains("filters[0].typed_config: is missing")), "{refused:?}");
    let limit = "  - name: limit\n    typed_config: {\"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit, stat_prefix: s, max_connections: 1}\n";
    let limited = plain.replace("  - name: hcm", &format!("{limit}  - name: hcm"));
    let chain = &compile(&limited).unwrap().chains[0];
    assert_eq!((chain.network.len(), chain.manager_at), (1, 1));
    let off = limited
        .replace("max_connections: 1", "max_connections: 1, runtime_enabled: {runtime_key: k, default_value: false}");
    let chain = &compile(&off).unwrap().chains[0];
    assert_eq!((chain.network.len(), chain.manager_at), (0, 1));
    let zero = compile(&limited.replace("max_connections: 1", "max_connections: 0")).unwrap_err();
    assert!(zero.iter().any(|p| p.contains("filters[0].typed_config.max_connections")), "{zero:?}");
    let tcp = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    let start = plain.find("type.googleapis.com").unwrap();
    let end = start + plain[start..].find('\n').unwrap();
    let other = plain.replace(&plain[start..end], tcp);
    assert!(compile(&other).unwrap_err().iter().any(|p| p.contains(HCM)), "{:?}", compile(&other));
    let none = plain.split("filter_chains").next().unwrap();
    assert!(compile(none).unwrap_err().iter().any(|p| p.contains("filter_chains")));
    let inspector = format!(
        "{plain}listener_filters: [{{name: t, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}}}]\n"
    );
    assert!(compile(&inspector).unwrap().tls_inspector.is_some());
}

#[test]
fn scopes_have_envoys_names() {
    let registry = |yaml: &str| {
        let registry = crate::telemetry::metrics::Registry::new(1);
        let mut publisher = crate::snapshot::testing::publisher_with(Arc::clone(&registry));
        let clusters = update("static", Kind::Cluster, &["name: c"]);
        publisher.publish(vec![clusters, update("static", Kind::Listener, &[yaml])]);
        let listener = publisher.store().load().listeners().next().cloned().unwrap();
        (registry, listener)
    };
    let plain = listener("l", 8080, &inline("c"));
    let (all, compiled) = registry(&plain);
    assert!(compiled.scope.same(&all.scope(crate::telemetry::metrics::names::Listener, "127.0.0.1_8080")));
    assert!(compiled.chains[0].manager.scope.same(&all.scope(crate::telemetry::metrics::names::Http, "p")));
    let (all, compiled) = registry(&(plain + "stat_prefix: a:b\n"));
    assert!(compiled.scope.same(&all.scope(crate::telemetry::metrics::names::Listener, "a_b")));
}

#[test]
fn the_manager_is_ready_to_serve() {
    assert_eq!(manager(&inline("c")).filters.iter().count(), 0, "the router is no filter of the chain");
}
