//! `weir check` and `weir run` refuse what they do not honour: each problem with its path and line, all in one go.

use serde_json::json;
use std::process::{Command, Output};
use weir_tests::{Bootstrap, Gateway, Hcm, Kind, Launch, Upstream, get, refused_address, weir_binary};

fn weir(arguments: &[&str]) -> Output {
    Command::new(weir_binary()).args(arguments).output().unwrap()
}

fn check(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.yaml");
    std::fs::write(&file, text).unwrap();
    let output = weir(&["check", file.to_str().unwrap()]);
    (output.status.code(), printed(&output))
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The line of the text on which this stands, from 1.
fn line_of(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.contains(what)).unwrap() + 1
}

/// One problem of every kind, each marked by a comment that is unique.
const PROBLEMS: &str = r##"
admin:
  address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: { filename: /nowhere/server.crt } # unreadable certificate
              private_key: { filename: /nowhere/server.key } # unreadable key
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          no_such_field: 1 # unknown field
          stream_idle_timeout: soon # wrong type
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            name: main
            virtual_hosts:
            - name: first
              domains: ["a.example"]
              routes:
              - match: { prefix: / }
                route: { cluster: nowhere } # dangling cluster
            - name: second
              domains: ["b.example"]
              routes:
              - match: { safe_regex: { regex: "(" } } # bad regex
                route: { cluster: there }
  clusters:
  - name: there
    type: STATIC
    lb_policy: MAGLEV # unsupported field
    load_assignment: { cluster_name: there, endpoints: [] }
"##;

#[tokio::test]
async fn check_reports_every_problem_with_its_path_and_line_in_one_go() {
    let (code, output) = check(PROBLEMS);

    assert_eq!(code, Some(1), "{output}");
    let hcm = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let certificates = "static_resources.listeners[0].filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificates[0]";
    let expected = [
        ("# unknown field", format!("{hcm}.no_such_field")),
        ("# wrong type", format!("{hcm}.stream_idle_timeout")),
        ("# dangling cluster", format!("{hcm}.route_config.virtual_hosts[0].routes[0].route.cluster")),
        ("# bad regex", format!("{hcm}.route_config.virtual_hosts[1].routes[0].match.safe_regex")),
        ("# unreadable certificate", format!("{certificates}.certificate_chain")),
        ("# unreadable key", format!("{certificates}.private_key")),
        ("# unsupported field", "static_resources.clusters[0].lb_policy".to_owned()),
    ];
    for (mark, path) in expected {
        let line = format!(":{}: ", line_of(PROBLEMS, mark));
        let found = output.lines().any(|text| text.contains(&path) && text.contains(&line));
        assert!(found, "no line of the output has the path {path} and the line {line}:\n{output}");
    }
}

/// A bootstrap with these fields of the connection manager, of the filter chain, and of the route's action.
fn with(manager: serde_json::Value, chain: serde_json::Value, answer: serde_json::Value) -> String {
    let answer = json!([{"match": {"prefix": "/"}, "direct_response": answer}]);
    let mut chain = chain;
    chain["filters"] = json!([Hcm::new().routes(answer).set(manager).filter_value()]);
    Bootstrap::new().listener_value(json!({"name": "main", "filter_chains": [chain]})).0.to_string()
}

#[tokio::test]
async fn what_envoy_refuses_is_refused() {
    let ok = || json!({"status": 200});
    let manager = |fields| with(fields, json!({}), ok());
    let name = |name: &str| with(json!({}), json!({"filter_chain_match": {"server_names": [name]}}), ok());
    let twice = with(json!({}), json!({"filter_chain_match": {"server_names": ["a.test", "a.test"]}}), ok());
    let mutated = |key: &str| {
        let append = json!({"header": {"key": key, "value": "/x"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"});
        let mutations = json!({"mutations": {"request_mutations": [{"append": append}]}});
        let kind = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
        let router = weir_tests::typed("envoy.extensions.filters.http.router.v3.Router", json!({}));
        let filters = json!([{"name": "m", "typed_config": weir_tests::typed(kind, mutations)}, {"name": "r", "typed_config": router}]);
        manager(json!({"http_filters": filters}))
    };
    let one = json!({"filename": "/nowhere/cert.pem"});
    let two = json!([{"certificate_chain": one, "private_key": one}, {"certificate_chain": one, "private_key": one}]);
    let context = weir_tests::typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        json!({"common_tls_context": {"tls_certificates": two}}),
    );
    let cluster =
        json!({"name": "a", "connect_timeout": "1s", "transport_socket": {"name": "tls", "typed_config": context}});
    for (text, told) in [
        (String::new(), "empty"),
        ("# nothing\n\n".to_owned(), "empty"),
        (manager(json!({"request_timeout": ".5s"})), "request_timeout: expected a duration"),
        (manager(json!({"request_timeout": "5.s"})), "request_timeout: expected a duration"),
        ("# YAML\n".to_owned() + &manager(json!({"codec_type": 1.0})), "codec_type: \"1.0\" is no value"),
        (manager(json!({"codec_type": 7})), "codec_type: 7 is no value"),
        (manager(json!({"xff_num_trusted_hops": "X"})).replace("\"X\"", "0o10"), "xff_num_trusted_hops: expected"),
        (name("*"), "server_names[0]: \"*\""),
        (twice, "filter_chain_match: has a name or protocol twice"),
        (mutated(":path"), "request_mutations[0].append.header.key: :-prefixed or host headers may not be modified"),
        (mutated("host"), "request_mutations[0].append.header.key: :-prefixed or host headers may not be modified"),
        (name("*a.example"), "server_names[0]: \"*a.example\""),
        (Bootstrap::new().cluster_value(cluster).0.to_string(), "common_tls_context: a client has one certificate"),
    ] {
        let (code, output) = check(&text);
        assert!(code == Some(1) && output.contains(told), "{told}: {code:?} {output}\n{text}");
    }
    // What is wrong is told once.
    let (_, output) = check(&manager(json!({"codec_type": 7})));
    assert_eq!(output.matches("codec_type").count(), 1, "{output}");
    assert_eq!(check("{}").0, Some(0));
}

#[tokio::test]
async fn a_folder_is_not_watched_in_silence_where_files_are_read_once() {
    let source = json!({"filename": "/dev/null", "watched_directory": {"path": "/tmp"}});
    let (code, output) = check(&with(json!({}), json!({}), json!({"status": 200, "body": source})));
    assert!(code == Some(1) && output.contains("direct_response.body.watched_directory"), "{output}");
    let format = json!({"log_format": {"text_format_source": source}});
    let log = weir_tests::typed("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", format);
    let logs = json!({"access_log": [{"name": "log", "typed_config": log}]});
    let (code, output) = check(&with(logs, json!({}), json!({"status": 200})));
    assert!(code == Some(1) && output.contains("text_format_source.watched_directory"), "{output}");
}

#[tokio::test]
async fn a_filter_that_is_disabled_need_not_be_supported() {
    let cors = weir_tests::typed("envoy.extensions.filters.http.cors.v3.Cors", json!({}));
    let router = weir_tests::typed("envoy.extensions.filters.http.router.v3.Router", json!({}));
    let filters = |disabled: bool| json!({"http_filters": [{"name": "cors", "disabled": disabled, "typed_config": cors}, {"name": "router", "typed_config": router}]});
    assert_eq!(check(&with(filters(true), json!({}), json!({"status": 200}))).0, Some(0));
    assert_eq!(check(&with(filters(false), json!({}), json!({"status": 200}))).0, Some(1));
}

#[tokio::test]
async fn a_file_that_is_absent_is_told_with_the_field_that_names_it() {
    let source = json!({"path_config_source": {"path": "/nowhere/rds.yaml"}});
    let rds = json!({"route_config": null, "rds": {"route_config_name": "r", "config_source": source}});
    let listener = |hcm: Hcm| serde_json::to_string_pretty(&Bootstrap::new().listener("main", hcm).0).unwrap();
    let text = listener(Hcm::new().set(rds));
    let (code, output) = check(&text);
    let place = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.rds.config_source.path_config_source.path";
    let told =
        format!("bootstrap.yaml:{}: {place}: /nowhere/rds.yaml: cannot be read", line_of(&text, "/nowhere/rds.yaml"));
    assert!(code == Some(1) && output.contains(&told), "{output}");

    let lds = json!({"dynamic_resources": {"lds_config": {"path_config_source": {"path": "/nowhere/lds.yaml"}}}});
    let (code, output) = check(&Bootstrap::new().set(lds).0.to_string());
    let told = "bootstrap.yaml:1: dynamic_resources.lds_config: /nowhere/lds.yaml: cannot be read";
    assert!(code == Some(1) && output.contains(told), "{output}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rds.yaml");
    std::fs::write(&file, "resources: []\n").unwrap();
    let source = json!({"path_config_source": {"path": file}});
    let rds = json!({"route_config": null, "rds": {"route_config_name": "r", "config_source": source}});
    let (code, output) = check(&listener(Hcm::new().set(rds)));
    assert!(code == Some(1) && output.contains("no route configuration named \"r\""), "{output}");
    assert!(output.contains(place), "{output}");
}

#[tokio::test]
async fn filters_that_are_left_out_are_warned_of() {
    let rbac = weir_tests::typed("envoy.extensions.filters.http.rbac.v3.RBAC", json!({}));
    let mut hcm = Hcm::new();
    let filters = hcm.0["http_filters"].as_array_mut().unwrap();
    filters.insert(0, json!({"name": "off", "disabled": true, "typed_config": rbac}));
    filters.insert(1, json!({"name": "access", "is_optional": true, "typed_config": rbac}));
    let bootstrap = Bootstrap::new().listener("main", hcm.routes(json!([])));
    let (code, output) = check(&bootstrap.0.to_string());
    assert_eq!((code, output.matches("warning").count()), (Some(0), 1), "{output}");
    assert!(output.contains("typed_config.http_filters[1]: warning: the filter \"access\""), "{output}");
    Gateway::weir(bootstrap).await.prints("the filter \"access\"").await;
}

#[tokio::test]
async fn check_and_run_warn_of_the_same() {
    let mut secured = weir_tests::cluster("secured", &[refused_address().0]);
    let parameters = json!({"tls_minimum_protocol_version": "TLSv1_0", "cipher_suites": ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"]});
    let context = json!({"common_tls_context": {"tls_params": parameters}});
    let context = weir_tests::typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context);
    secured["transport_socket"] = json!({"name": "tls", "typed_config": context});
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200},
        "response_headers_to_add": [{"header": {"key": "connection", "value": "close"}}]});
    let bootstrap = Bootstrap::new().listener("main", Hcm::new().routes(json!([route]))).cluster_value(secured);
    let text = serde_json::to_string_pretty(&bootstrap.0).unwrap();
    let (code, output) = check(&text);
    assert_eq!(code, Some(0), "{output}");
    let gateway = Gateway::weir(bootstrap).await;
    for (at, path, reason) in [
        ("typed_config\": {", "clusters[0].transport_socket.typed_config", "any endpoint is accepted"),
        ("tls_minimum_protocol_version", "tls_params.tls_minimum_protocol_version", "TLSv1_0 is not supported"),
        ("cipher_suites", "tls_params.cipher_suites", "passed over: AES128-SHA"),
        ("\"key\": \"connection\"", "response_headers_to_add[0].header.key", "is not added to responses"),
    ] {
        let line = output.lines().find(|line| line.contains(reason)).unwrap_or_else(|| panic!("{reason}\n{output}"));
        assert!(line.contains(&format!("{path}: warning: ")), "{line}");
        if !at.starts_with("typed_config") {
            assert!(line.contains(&format!(":{}: ", line_of(&text, at))), "{line}");
        }
        gateway.prints(&line.split_once(": ").unwrap().1.replace("warning: ", "")).await;
    }
}

#[tokio::test]
async fn fields_without_effect_are_told_once_with_their_reason() {
    let metadata = json!({"filter_metadata": {"a": {"b": "c"}}});
    let listener = |name: &str| json!({"name": name, "metadata": metadata, "filter_chains": [{"filters": [Hcm::new().routes(json!([])).filter_value()]}]});
    let mut bootstrap = Bootstrap::new().listener_value(listener("one")).listener_value(listener("two"));
    bootstrap.0["admin"]["profile_path"] = "/tmp/x".into();
    let text = serde_json::to_string_pretty(&bootstrap.0).unwrap();
    let (code, output) = check(&text);
    assert_eq!(code, Some(0), "{output}");
    let notes: Vec<_> = output.lines().filter(|line| line.contains(": note: has no effect: ")).collect();
    assert_eq!(notes.len(), 2, "{output}");
    let line = line_of(&text, "profile_path");
    assert!(
        notes[0].ends_with(&format!(":{line}: admin.profile_path: note: has no effect: of Envoy's own profiler")),
        "{output}"
    );
    assert!(
        notes[1].contains("static_resources.listeners[0].metadata: ") && notes[1].ends_with(" (here and in 1 more)"),
        "{output}"
    );
    Gateway::weir(bootstrap).await.prints("2 fields that are set have no effect").await;
}

#[tokio::test]
async fn zones_are_not_dropped_in_silence() {
    let mut bootstrap = Bootstrap::new();
    weir_tests::merge(&mut bootstrap.0, json!({"cluster_manager": {"local_cluster_name": "here"}}));
    let (code, output) = check(&bootstrap.0.to_string());
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("cluster_manager.local_cluster_name: set, but not supported"), "{output}");
}

#[tokio::test]
async fn settings_of_a_filter_that_nobody_has_are_warned_of() {
    let off = weir_tests::typed("envoy.config.route.v3.FilterConfig", json!({"disabled": true}));
    let host = json!({"name": "all", "domains": ["*"], "typed_per_filter_config": {"no.such.filter": off},
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]});
    let text = Bootstrap::new().listener("main", Hcm::new().virtual_hosts(json!([host]))).0;
    let (code, output) = check(&serde_json::to_string_pretty(&text).unwrap());
    assert_eq!(code, Some(0), "{output}");
    let told =
        "route_config.virtual_hosts[0].typed_per_filter_config[\"no.such.filter\"]: warning: no filter of that name";
    assert!(output.contains(told), "{output}");
    let gateway = Gateway::weir(Bootstrap(text)).await;
    gateway.prints("no.such.filter").await;

    // One that is there, and one that is left out and would not run, are no reason to warn; enabling one that is left out is.
    let cors = weir_tests::typed("envoy.extensions.filters.http.cors.v3.Cors", json!({}));
    let on = weir_tests::typed("envoy.config.route.v3.FilterConfig", json!({"config": {}}));
    for (said, warned) in [(off, false), (on, true)] {
        let host = json!({"name": "all", "domains": ["*"], "typed_per_filter_config": {"cors": said},
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]});
        let mut hcm = Hcm::new().virtual_hosts(json!([host]));
        let filters = hcm.0["http_filters"].as_array_mut().unwrap();
        filters.insert(0, json!({"name": "cors", "disabled": true, "typed_config": cors}));
        let (code, output) = check(&Bootstrap::new().listener("main", hcm).0.to_string());
        assert_eq!((code, output.contains("warning")), (Some(0), warned), "{output}");
    }
}

#[tokio::test]
async fn run_refuses_what_check_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.yaml");
    std::fs::write(&file, PROBLEMS).unwrap();

    let output = weir(&["run", "-c", file.to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(1));
    let output = printed(&output);
    for word in ["no_such_field", "stream_idle_timeout", "nowhere", "safe_regex", "/nowhere/server", "lb_policy"] {
        assert!(output.contains(word), "{word} is not in:\n{output}");
    }
}

#[tokio::test]
async fn check_accepts_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    let bootstrap = Bootstrap::serving(Hcm::new(), refused_address().0);
    std::fs::write(&file, bootstrap.0.to_string()).unwrap();

    let output = weir(&["check", file.to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[tokio::test]
async fn the_quickstart_is_accepted() {
    let file = "config/quickstart/bootstrap.yaml";
    let output =
        Command::new(weir_binary()).args(["check", file]).current_dir(weir_tests::repository()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}

#[tokio::test]
async fn a_file_that_is_no_yaml_is_refused_with_the_line() {
    let (code, output) = check("admin:\n  address: [\nstatic_resources: }\n");
    assert_eq!(code, Some(1));
    assert!(output.contains("line") || output.contains(":3"), "{output}");
}

#[tokio::test]
async fn a_file_that_is_absent_is_refused_with_its_name() {
    let output = weir(&["run", "-c", "/nowhere/bootstrap.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("/nowhere/bootstrap.yaml"), "{}", printed(&output));
}

#[tokio::test]
async fn version_says_its_version() {
    let output = weir(&["version"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(printed(&output).contains(env!("CARGO_PKG_VERSION")), "{}", printed(&output));
}

#[tokio::test]
async fn yaml_takes_anchors_both_cases_of_names_and_an_override() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let address_file = folder.path().join("admin");
    let yaml = format!(
        r#"
admin: {{ address: {{ socketAddress: {{ address: 127.0.0.1, portValue: 0 }} }} }}
staticResources:
  listeners:
  - name: main
    address: &here {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filterChains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typedConfig:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          statPrefix: main
          streamIdleTimeout: 1.5s
          httpFilters:
          - {{ name: router, typedConfig: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}
          routeConfig:
            name: r
            virtualHosts:
            - name: all
              domains: ["*"]
              routes: [ {{ match: {{ prefix: "/" }}, route: {{ cluster: a }} }} ]
  - name: second
    address: *here
    filterChains: []
  clusters:
  - name: a
    type: STATIC
    loadAssignment:
      clusterName: a
      endpoints: [ {{ lbEndpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ]
"#,
        upstream.address.port()
    );
    // The second listener shows that the anchor was understood: it is refused for its own reason, with its own path.
    let (_, output) = check(&yaml);
    assert!(output.contains("listeners[1]"), "{output}");
    let yaml: String = yaml.replace("  - name: second\n    address: *here\n    filterChains: []\n", "");
    let mut child = Command::new(weir_binary())
        .args(["run", "--config-yaml", &yaml, "--admin-address-path", address_file.to_str().unwrap()])
        .spawn()
        .unwrap();
    let admin = weir_tests::eventually_some("it is ready", async || {
        let admin = std::fs::read_to_string(&address_file).ok()?.trim().parse().ok()?;
        get(admin, "/ready").await.ok().filter(|answer| answer.status == 200).map(|_| admin)
    })
    .await;
    assert_eq!(get(admin, "/ready").await.unwrap().status, 200);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_field_without_effect_is_accepted() {
    let upstream = Upstream::start().await;
    let bootstrap = Bootstrap::serving(Hcm::new(), upstream.address)
        .set(json!({"node": {"locality": {"region": "r", "zone": "z"}}}));
    let gateway = Gateway::weir(bootstrap).await;
    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_log_is_text_or_json() {
    for (format, mark) in [("text", "["), ("json", "{")] {
        let bootstrap = Bootstrap::serving(Hcm::new(), refused_address().0);
        let launch = Launch::new(Kind::Weir, bootstrap).arguments(&["--log-format", format, "--log-level", "info"]);
        let (exit, _) = launch.start().await.stop().await;
        assert_eq!(exit.status.code(), Some(0), "{}", exit.output);
        let first = exit.output.lines().next().unwrap_or_default();
        if format == "json" {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(first);
            assert!(parsed.is_ok(), "{format} {mark}: {first}");
        } else {
            assert!(!first.starts_with('{'), "{first}");
        }
    }
}

/// As protobuf merges a oneof: the choice of the command line stands, and the file's is as if it had never been.
#[test]
fn a_choice_on_the_command_line_replaces_the_files() {
    let socket = "{ socket_address: { address: 127.0.0.1, port_value: 0 } }";
    let file_source = "{ path_config_source: { path: /nowhere/lds.json } }";
    for (file, over, found) in [
        (
            format!("admin: {{ address: {socket} }}"),
            "admin: { address: { pipe: { path: /x } } }".to_owned(),
            vec!["admin.address.pipe"],
        ),
        ("admin: { address: { pipe: { path: /x } } }".to_owned(), format!("admin: {{ address: {socket} }}"), vec![]),
        (
            format!("dynamic_resources: {{ lds_config: {file_source} }}"),
            "dynamic_resources: { lds_config: { ads: {} } }".to_owned(),
            vec!["dynamic_resources.lds_config.ads"],
        ),
        (
            "dynamic_resources: { lds_config: { ads: {} } }".to_owned(),
            "dynamic_resources: { lds_config: { path_config_source: {} } }".to_owned(),
            vec!["dynamic_resources.lds_config.path_config_source.path"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootstrap.yaml");
        std::fs::write(&path, &file).unwrap();
        let output = printed(&weir(&["check", path.to_str().unwrap(), "--config-yaml", &over]));
        let problems: Vec<_> = output.lines().filter(|line| line.starts_with("--config-yaml:1: ")).collect();
        assert_eq!(problems.len(), found.len(), "{file} {over}: {output}");
        for (problem, path) in problems.iter().zip(found) {
            assert!(problem.contains(&format!(" {path}: ")), "{output}");
        }
    }
}

#[test]
fn what_is_wrong_on_the_command_line_is_not_looked_for_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bootstrap.yaml");
    std::fs::write(&path, "static_resources:\n  clusters:\n  - name: a\n  - {name: b, lb_policy: MAGLEV}\n").unwrap();
    let over = "static_resources:\n  clusters:\n  - name: c\n  - name: d\n    lb_policy: RING_HASH\n";
    let output = printed(&weir(&["check", path.to_str().unwrap(), "--config-yaml", over]));
    let places: Vec<_> = output.lines().filter_map(|line| line.split(".lb_policy: ").next()).collect();
    let file = format!("{}:4: static_resources.clusters[1]", path.display());
    assert_eq!(places[..2], [&*file, "--config-yaml:5: static_resources.clusters[1]"], "{output}");
    let output = printed(&weir(&[
        "check",
        path.to_str().unwrap(),
        "--config-yaml",
        "static_resources: {clusters: [{name: a}]}",
    ]));
    let told = "clusters[0].name: the name \"a\" is taken by static_resources.clusters[0] (merged it is static_resources.clusters[2].name)";
    assert!(output.contains(told), "{output}");
}

#[test]
fn a_file_of_resources_is_told_from_a_bootstrap() {
    let file = weir_tests::repository().join("config/quickstart/routes.yaml");
    let output = weir(&["check", file.to_str().unwrap()]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("this looks like a file of resources: check the bootstrap that names it"), "{printed}");
    assert_eq!(output.status.code(), Some(1));
}
