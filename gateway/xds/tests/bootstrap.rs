//! A bootstrap comes apart into resources, and everything wrong with it is told in one go, with path and line.

#![allow(clippy::unwrap_used, missing_docs)]

use weir_xds::{Kind, Problem, pb, read_bootstrap, to_json};

const GOOD: &str = include_str!("good.yaml");

fn problems(text: &str) -> Vec<String> {
    let mut all: Vec<_> = read_bootstrap(text).all_problems().iter().map(ToString::to_string).collect();
    all.sort();
    all
}

fn only(text: &str) -> Problem {
    let all = read_bootstrap(text).all_problems();
    assert_eq!(all.len(), 1, "{all:#?}");
    all.into_iter().next().unwrap()
}

#[test]
fn a_good_bootstrap_is_split_and_decoded() {
    assert_eq!(problems(GOOD), Vec::<String>::new());
    let bootstrap = read_bootstrap(GOOD);
    let names: Vec<_> = bootstrap.resources.iter().map(|r| (r.kind, r.name.as_str(), r.path.as_str())).collect();
    assert_eq!(
        names,
        [
            (Kind::Listener, "front", "static_resources.listeners[0]"),
            (Kind::Cluster, "backend", "static_resources.clusters[0]"),
            (Kind::Cluster, "other", "static_resources.clusters[1]"),
        ]
    );
    assert_eq!(bootstrap.proto.node.unwrap().id, "n1");
    assert!(bootstrap.proto.static_resources.is_none());
    let listener: pb::listener::Listener = prost::Message::decode(&*bootstrap.resources[0].bytes).unwrap();
    let hcm = listener.filter_chains[0].filters[0].config_type.clone().unwrap();
    let pb::listener::filter::ConfigType::TypedConfig(any) = hcm else { panic!("no typed_config") };
    let hcm: pb::hcm::HttpConnectionManager = pb::unpack(&any).unwrap();
    // The Wasm filter came as a TypedStruct.
    let Some(pb::hcm::http_filter::ConfigType::TypedConfig(wasm)) = &hcm.http_filters[0].config_type else {
        panic!("no typed_config")
    };
    let wasm: pb::wasm_filter::Wasm = pb::unpack(wasm).unwrap();
    let config = wasm.config.unwrap();
    assert_eq!(config.name, "tag");
    assert_eq!(pb::type_name(&config.configuration.unwrap()), "google.protobuf.Struct");
}

#[test]
fn equal_yaml_and_json_give_equal_bytes() {
    let yaml = "name: a\ntype: STATIC\nconnectTimeout: 0.25s\nload_assignment: {clusterName: a}\n";
    let json = r#"{"name": "a", "type": 0, "connect_timeout": "0.250s", "loadAssignment": {"cluster_name": "a"}}"#;
    let (yaml, json) = (weir_xds::read_resource(Kind::Cluster, yaml), weir_xds::read_resource(Kind::Cluster, json));
    assert_eq!(yaml.bytes, json.bytes);
    assert_eq!(yaml.content_hash(), json.content_hash());
    let shown = to_json(&Kind::Cluster.type_url(), &yaml.bytes);
    assert_eq!(shown["connect_timeout"], "0.250s");
    assert_eq!(shown["type"], "STATIC");
}

#[test]
fn everything_wrong_is_told_in_one_go() {
    let text = GOOD
        .replace("connect_timeout: 2s", "connect_timeout: 2")
        .replace("domains: [\"*\"]", "domains: \"*\"")
        .replace("stat_prefix: front", "stat_prefixx: front")
        .replace("use_remote_address: true", "use_remote_address: 7")
        .replace("type: STATIC # other", "type: STRICT_DNS\n    outlier_detection: {}");
    assert_eq!(
        problems(&text),
        [
            "line 16: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefix: must not be empty",
            "line 18: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefixx: unknown \
             field of envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager; did you mean \
             stat_prefix?",
            "line 19: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.use_remote_address: \
             expected true or false, found \"7\"",
            "line 45: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config\
             .virtual_hosts[0].domains: expected a list, found \"*\"",
            "line 52: static_resources.clusters[0].connect_timeout: expected a duration: seconds with the suffix s, \
             such as 0.25s, found \"2\"",
            "line 58: static_resources.clusters[1].type: STRICT_DNS is not supported by Weir; supported: STATIC, EDS",
            "line 59: static_resources.clusters[1].outlier_detection: set, but not supported by Weir: outlier \
             detection comes later",
        ]
    );
}

#[test]
fn no_problem_shows_a_secret() {
    for secret in ["private_key: hush", "private_key: {inline_bytes: 'hush!'}", "private_key: {filename: {a: hush}}"] {
        let text = format!("name: s\ntls_certificate: {{{secret}}}\n");
        let problems = weir_xds::read_resource(Kind::Secret, &text).problems;
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|t| t.contains("private_key")) && !told.join("").contains("hush"), "{told:?}");
    }
}

#[test]
fn each_kind_of_problem() {
    let cluster = |body: &str| format!("static_resources:\n  clusters:\n  - name: a\n    {body}\n");
    for (body, path, reason) in [
        ("alt_stat_name: 7", "alt_stat_name", "expected a string, found 7: a string like this needs quotes"),
        ("alt_stat_name: yes", "alt_stat_name", "expected a string, found yes: a string like this needs quotes"),
        ("alt_stat_name: [x]", "alt_stat_name", "expected a string, found a list"),
        ("alt_stat_name: x\n    altStatName: y", "alt_stat_name", "given twice"),
        ("circuit_breakers: 5", "circuit_breakers", "expected an object, found \"5\""),
        (
            "per_connection_buffer_limit_bytes: -1",
            "per_connection_buffer_limit_bytes",
            "-1 is out of range: 0 to 4294967295",
        ),
        (
            "lb_policy: ROUND_ROBN",
            "lb_policy",
            "\"ROUND_ROBN\" is no value of envoy.config.cluster.v3.Cluster.LbPolicy; did you mean ROUND_ROBIN?",
        ),
        ("connect_timeout: 0s", "connect_timeout", "must be above 0s, not 0s"),
        (
            "type: EDS\n    cluster_type: {name: x}",
            "cluster_type",
            "cannot be set together with type: only one of them",
        ),
        ("load_assignment: {endpoints: [{priority: 1}]}", "load_assignment.cluster_name", "must not be empty"),
        (
            "load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {}}}]}]}",
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address",
            "address must be set: one of socket_address, pipe, envoy_internal_address",
        ),
        (
            "transport_socket: {name: t, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.alts.v3.Alts}}",
            "transport_socket.typed_config",
            "envoy.extensions.transport_sockets.alts.v3.Alts is not supported by Weir",
        ),
        (
            "transport_socket: {name: t, typed_config: {\"@type\": type.googleapis.com/envoy.Nothing}}",
            "transport_socket.typed_config",
            "unknown type type.googleapis.com/envoy.Nothing",
        ),
        (
            "typed_extension_protocol_options: {x: {a: b}}",
            "typed_extension_protocol_options[\"x\"]",
            "@type is missing: the type URL of this message",
        ),
    ] {
        let problem = only(&cluster(body));
        assert_eq!(
            (problem.path.as_str(), problem.reason.as_str()),
            (format!("static_resources.clusters[0].{path}").as_str(), reason)
        );
        assert_eq!(
            problem.line,
            Some(if path.starts_with("alt_stat_name") && body.contains('\n') || path == "cluster_type" {
                5
            } else {
                4
            }),
            "{body}"
        );
    }
}

#[test]
fn names_are_unique_per_kind() {
    let text = "static_resources:\n  clusters:\n  - {name: a}\n  - {name: a}\n";
    assert_eq!(only(text).reason, "the name \"a\" is taken by static_resources.clusters[0]");
}

#[test]
fn aliases_cannot_make_a_small_text_huge() {
    let mut text = "x: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..10 {
        let list = vec![format!("*x{}", level - 1); 10].join(", ");
        text.push_str(&format!("y{level}: &x{level} [{list}]\n"));
    }
    let decoded = weir_xds::decode(&text, "google.protobuf.Struct");
    assert_eq!(decoded.problems.len(), 1);
    assert!(decoded.problems[0].reason.starts_with("aliases expand to more than"), "{:?}", decoded.problems);
}

#[test]
fn secrets_are_not_shown() {
    let text =
        "name: s\ntls_certificate:\n  certificate_chain: {filename: c.pem}\n  private_key: {inline_string: KEY}\n";
    let secret = weir_xds::read_resource(Kind::Secret, text);
    assert_eq!(secret.problems, []);
    let shown = to_json(&Kind::Secret.type_url(), &secret.bytes);
    assert_eq!(shown["tls_certificate"]["private_key"]["inline_string"], "[redacted]");
    assert_eq!(shown["tls_certificate"]["certificate_chain"]["filename"], "c.pem");
}

#[test]
fn discovery_files() {
    let text = "version_info: v1\nresources:\n- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: a\n\
                - \"@type\": type.googleapis.com/envoy.service.discovery.v3.Resource\n  name: b\n  version: '7'\n  resource:\n    \
                \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n    name: b\n    type: STRICT_DNS\n\
                - \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n";
    let discovery = weir_xds::read_discovery(Kind::Cluster, "cds.yaml", text.as_bytes());
    assert_eq!(discovery.version, "v1");
    assert_eq!(discovery.problems, []);
    let [a, b, c] = discovery.resources.as_slice() else { panic!("{discovery:#?}") };
    assert_eq!((a.name.as_str(), a.problems.len()), ("a", 0));
    assert_eq!((b.name.as_str(), b.version.as_str()), ("b", "7"));
    assert_eq!(b.problems[0].path, "resources[1].resource.type");
    assert_eq!(b.problems[0].line, Some(11));
    assert_eq!((c.problems[0].path.as_str(), c.problems[0].line), ("resources[2]", Some(12)));
    let broken = weir_xds::read_discovery(Kind::Cluster, "cds.yaml", b"resources: [");
    assert!(broken.resources.is_empty() && broken.problems.len() == 1);
}

/// What Weir does in any case may be asked for, and only that.
#[test]
fn switches_that_are_always_on_may_be_on() {
    let listener = |more: &str| {
        let text = format!("name: l\naddress: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}\n{more}\n");
        weir_xds::read_resource(Kind::Listener, &text).problems
    };
    for field in ["enable_reuse_port: ", "bind_to_port: ", "deprecated_v1: {bind_to_port: "] {
        let close = if field.contains('{') { "}" } else { "" };
        assert_eq!(listener(&format!("{field}true{close}")), [], "{field}");
        let refused = listener(&format!("{field}false{close}"));
        assert!(matches!(&refused[..], [one] if one.reason.starts_with("set, but not supported")), "{refused:?}");
    }
}

/// As in Envoy, a file whose name says JSON holds nothing else; a comma too many at an end is taken.
#[test]
fn a_json_file_is_json() {
    for good in ["{\"node\": {\"id\": \"a\"}}", "{\"node\": {\"id\": \"a\",},}", "\u{feff}{}", " {\n}\n"] {
        assert_eq!(weir_xds::read_bootstrap_file("b.json", good, None).all_problems(), [], "{good}");
    }
    for (bad, line, told) in [
        ("{\"node\": }", 1, "expected value, at column 10"),
        ("{'node': {id: a}}", 1, "key must be a string, at column 2"),
        ("{\n \"node\": {\"id\": a}\n}", 2, "expected value, at column 17"),
        ("node: {id: a}", 1, "at column 2"),
        ("{\"node\": {\"id\": \"a\",,}}", 1, "at column 21"),
        ("{} {}", 1, "trailing characters, at column 4"),
        ("{\"node\": {\"id\": \"a\"}", 1, "at column 20"),
    ] {
        let problems = weir_xds::read_bootstrap_file("conf.d/b.JSON", bad, None).all_problems();
        let [problem] = &problems[..] else { panic!("{bad}: {problems:?}") };
        assert_eq!(problem.line, Some(line), "{bad}");
        let reason = format!("not JSON, as the file's name says: {told}");
        assert!(problem.reason.ends_with(told) && problem.reason.starts_with(&reason[..34]), "{bad}: {problem}");
    }
    // What the fields hold is told with lines as ever.
    let wrong = "{\n \"nodes\": {},\n}";
    let problems = weir_xds::read_bootstrap_file("b.json", wrong, None).all_problems();
    assert!(matches!(&problems[..], [one] if one.path == "nodes" && one.line == Some(2)), "{problems:?}");
    // Every other text may be either.
    for name in ["b.yaml", "b", "-", "--config-yaml"] {
        assert_eq!(weir_xds::read_bootstrap_file(name, "{'node': {id: a}}", None).all_problems(), [], "{name}");
    }
    // What was emptied is not a wish for nothing.
    for text in ["", "resources: []"] {
        let discovery = weir_xds::read_discovery(Kind::Cluster, "cds.json", text.as_bytes());
        assert_eq!(discovery.problems.len(), 1, "{discovery:?}");
    }
}

/// As deep as prost decodes; deeper is told where it stands.
#[test]
fn metadata_has_33_levels() {
    let nested = |levels: usize| format!("node:\n  metadata: {}1{}\n", "{a: ".repeat(levels), "}".repeat(levels));
    let bootstrap = read_bootstrap(&nested(33));
    assert_eq!(bootstrap.problems, []);
    assert!(bootstrap.proto.node.is_some_and(|node| node.metadata.is_some()));
    let problems = read_bootstrap(&nested(34)).problems;
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("line 2: node.metadata[\"a\"][\"a\"]") && told[0].contains("nested too deep"),
        "{told:?}"
    );
}

#[test]
fn a_number_with_a_leading_zero_is_ambiguous() {
    for text in ["node: {metadata: {a: 010}}", "static_resources: {listeners: [{name: l, tcp_backlog_size: 010}]}"] {
        let problems = read_bootstrap(text).all_problems();
        assert!(problems.iter().any(|p| p.reason.starts_with("010 is octal to some")), "{problems:?}");
    }
    let plain = "node: {id: \"010\", metadata: {a: \"010\", b: 0, c: 0.5, d: -0.5, e: 0x1F, f: 2026-01-01}}";
    assert_eq!(read_bootstrap(plain).all_problems(), []);
}
