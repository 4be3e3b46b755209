#![allow(clippy::unwrap_used)]

use std::time::Duration;

use prost::Message;

use super::*;
use crate::http::{HeaderMap, RequestHead, Version};
use crate::route::action::ClusterChoice;
use crate::route::{Action, Choice, HostRewrite, MatchInput, Matched};

fn compile(yaml: &str) -> Result<route::RouteConfig<String>, Vec<String>> {
    let decoded = weir_xds::decode(yaml, "envoy.config.route.v3.RouteConfiguration");
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    let proto = pb::route::RouteConfiguration::decode(decoded.bytes.as_slice()).unwrap();
    let cx = RouteCx {
        cluster_exists: &|name| name != "missing",
        validate_clusters: true,
        per_filter: &|configs, problems| {
            let mut names: Vec<&str> = configs.keys().map(String::as_str).collect();
            names.sort_unstable();
            if names.contains(&"bad") {
                problems.push("[\"bad\"]", "no such filter");
            }
            Some(Arc::new(names.join(",")))
        },
    };
    let mut problems = Problems::new();
    let config = compile_route_config(&proto, &cx, &mut problems);
    let problems: Vec<String> = problems.into_vec().iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(config.unwrap()) } else { Err(problems) }
}

fn get(authority: &'static str, path: &'static str) -> RequestHead {
    RequestHead {
        method: "GET".into(),
        scheme: "http".into(),
        authority: authority.into(),
        path: path.into(),
        version: Version::Http11,
        headers: HeaderMap::new(),
    }
}

fn matched<'a>(config: &'a route::RouteConfig<String>, head: &RequestHead, random: u64) -> Matched<'a, String> {
    match config.choose(&MatchInput::new(head, random, None)) {
        Choice::Route(matched) => config.at(matched.at).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_and_inheritance() {
    let config = compile(
        r#"
name: main
typed_per_filter_config: {config: {"@type": type.googleapis.com/google.protobuf.Empty}}
virtual_hosts:
- name: all
  domains: ["*"]
  retry_policy: {retry_on: "5xx,reset", num_retries: 3}
  per_request_buffer_limit_bytes: 7
  typed_per_filter_config: {host: {"@type": type.googleapis.com/google.protobuf.Empty}}
  routes:
  - name: own
    match: {path: /own}
    route:
      cluster: a
      timeout: 0s
      idle_timeout: 0.0001s
      retry_policy: {retry_on: unavailable, retry_back_off: {base_interval: 0.1s}}
      cluster_not_found_response_code: NOT_FOUND
  - match: {prefix: /w}
    typed_per_filter_config: {route: {"@type": type.googleapis.com/google.protobuf.Empty}}
    route:
      weighted_clusters:
        clusters:
        - {name: b, weight: 1, typed_per_filter_config: {weighted: {"@type": type.googleapis.com/google.protobuf.Empty}}}
        - {name: c, weight: 2}
  - match: {prefix: /}
    route: {cluster: a}
"#,
    )
    .unwrap();
    let forward = |path, random| {
        let found = matched(&config, &get("x", path), random);
        let Action::Forward(forward) = &found.route.action else { panic!() };
        (found, forward)
    };
    let (own, action) = forward("/own", 0);
    assert_eq!(own.route.name.as_deref(), Some("own"));
    assert_eq!((action.timeout, action.idle_timeout), (None, Some(Duration::from_millis(1))));
    let retry = action.retry.as_ref().unwrap();
    assert_eq!((retry.retries, retry.back_off.max), (1, Duration::from_secs(1)));
    assert_eq!(action.cluster_not_found_status, 404);
    let (rest, action) = forward("/", 0);
    assert_eq!(rest.cluster_name().map(|name| &**name), Some("a"));
    assert_eq!((action.timeout, action.idle_timeout), (Some(DEFAULT_TIMEOUT), None));
    assert_eq!((action.retry.as_ref().unwrap().retries, rest.route.retry_buffer_limit), (3, Some(7)));
    assert!(matches!(action.host_rewrite, HostRewrite::Keep));
    let names = |found: Matched<'_, String>| found.per_filter().map(|p| p.cloned().unwrap_or_default());
    assert_eq!(names(forward("/w", 0).0), ["weighted", "route", "host", "config"]);
    assert_eq!(names(forward("/w", 1).0), ["", "route", "host", "config"]);
    assert_eq!(forward("/w", 2).0.cluster_name().map(|name| &**name), Some("c"));
    let ClusterChoice::Named(first) = &forward("/own", 0).1.cluster else { panic!() };
    let ClusterChoice::Named(second) = &forward("/", 0).1.cluster else { panic!() };
    assert!(Arc::ptr_eq(first, second), "a name is kept once");
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

#[test]
fn all_problems_at_once_with_their_paths() {
    let problems = compile(
        r#"
response_headers_to_add: [{header: {key: ":status", value: "1"}}]
request_headers_to_remove: [ok, Host]
max_direct_response_body_size_bytes: 3
virtual_hosts:
- name: one
  domains: [a.com, "*"]
  routes:
  - match: {safe_regex: {regex: "/a("}, headers: [{name: x, string_match: {safe_regex: {regex: "*"}}}]}
    route: {cluster: missing, regex_rewrite: {pattern: {regex: "a"}, substitution: '\1'}}
  - match: {prefix: /, query_parameters: [{name: q, string_match: {exact: a}}]}
    route: {weighted_clusters: {clusters: [{name: a, weight: 0}, {name: missing}]}}
    request_headers_to_add:
    - {header: {key: a, value: "%NOPE%"}}
    - {header: {key: b, value: b}, append: true, append_action: ADD_IF_ABSENT}
  - match: {connect_matcher: {}}
    route: {cluster: a, retry_policy: {retry_on: "5xx,sometimes", retry_back_off: {base_interval: 1s, max_interval: 0.5s}}}
  - match: {prefix: /}
    direct_response: {status: 200, body: {inline_string: four}}
  - match: {prefix: /}
    direct_response: {status: 200, body: {filename: /nowhere/at/all}}
  - match: {prefix: /}
    typed_per_filter_config: {bad: {"@type": type.googleapis.com/google.protobuf.Empty}}
    non_forwarding_action: {}
- name: one
  domains: [A.com, b.com, "*"]
"#,
    )
    .unwrap_err();
    let starts = [
        "virtual_hosts[0].routes[0].match.safe_regex.regex: invalid regex '/a(': missing closing )",
        "virtual_hosts[0].routes[0].match.headers[0].string_match.safe_regex.regex: invalid regex '*': no argument",
        "virtual_hosts[0].routes[0].route.cluster: unknown cluster 'missing'",
        "virtual_hosts[0].routes[0].route.regex_rewrite: substitution '\\1' uses group 1, but regex 'a' has 0",
        "virtual_hosts[0].routes[1].request_headers_to_add[0].header: the value of header 'a':",
        "virtual_hosts[0].routes[1].request_headers_to_add[1].append: append and append_action are both set",
        "virtual_hosts[0].routes[1].route.weighted_clusters.clusters[1].weight: required",
        "virtual_hosts[0].routes[1].route.weighted_clusters.clusters[1].name: unknown cluster 'missing'",
        "virtual_hosts[0].routes[1].route.weighted_clusters.clusters: the sum of the weights has to be greater than 0",
        "virtual_hosts[0].routes[2].match.connect_matcher: not supported",
        "virtual_hosts[0].routes[2].route.retry_policy.retry_on: unknown condition 'sometimes'",
        "virtual_hosts[0].routes[2].route.retry_policy.retry_back_off.max_interval: has to be base_interval or more",
        "virtual_hosts[0].routes[3].direct_response.body: the body has 4 bytes or more; at most 3",
        "virtual_hosts[0].routes[4].direct_response.body.filename: cannot read '/nowhere/at/all'",
        "virtual_hosts[0].routes[5].typed_per_filter_config[\"bad\"]: no such filter",
        "virtual_hosts[0].routes[5].non_forwarding_action: not supported",
        "virtual_hosts[1].domains[0]: 'A.com': duplicate domain",
        "virtual_hosts[1].domains[2]: '*': duplicate domain",
        "request_headers_to_remove[1]: :-prefixed or host headers may not be removed",
        "response_headers_to_add[0].header: :-prefixed or host headers may not be modified",
    ];
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}\n  instead of {start}");
    }
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
}

#[test]
fn clusters_are_checked_only_where_asked() {
    let yaml = "virtual_hosts: [{name: a, domains: [a], routes: [{match: {prefix: /}, route: {cluster: missing}}]}]";
    assert!(compile(yaml).is_err());
    assert!(compile(&format!("validate_clusters: false\n{yaml}")).is_ok());
}

#[test]
fn answers() {
    let config = compile(
        r#"
virtual_hosts:
- name: secure
  domains: [secure.com]
  require_tls: ALL
  routes: [{match: {prefix: /}, direct_response: {status: 200}}]
- name: all
  domains: ["*"]
  routes:
  - {match: {path: /text}, direct_response: {status: 418, body: {inline_string: tea}}}
  - {match: {path: /created}, direct_response: {status: 201}}
  - {match: {prefix: /old}, redirect: {https_redirect: true, prefix_rewrite: /new, response_code: FOUND}}
  - {match: {prefix: /x}, redirect: {host_redirect: b.com, port_redirect: 81, strip_query: true}}
  - {match: {prefix: /f}, route: {cluster: a}}
"#,
    )
    .unwrap();
    for (path, want) in [
        ("/text", Some((418, None, "tea"))),
        ("/created", Some((201, Some("http://a.com/created"), ""))),
        ("/old/a?q", Some((302, Some("https://a.com/new/a?q"), ""))),
        ("/x?q", Some((301, Some("http://b.com:81/x"), ""))),
        ("/f", None),
    ] {
        let mut head = get("a.com", path);
        let answer = matched(&config, &head.clone(), 0).answer(&mut head, true);
        let got = answer.map(|answer| {
            (answer.status, answer.location.map(|l| String::from_utf8(l).unwrap()), answer.body.to_vec())
        });
        let want = want.map(|(status, location, body)| (status, location.map(str::to_owned), body.as_bytes().to_vec()));
        assert_eq!(got, want, "{path}");
        if path.starts_with("/old") {
            assert_eq!((&head.path[..], head.headers.get_str("x-envoy-original-path")), (&b"/new/a?q"[..], Some(path)));
        }
    }
    let mut head = get("secure.com", "/p?q");
    assert!(matches!(config.choose(&MatchInput::new(&head, 0, None)), Choice::HttpsRedirect(_)));
    assert_eq!(route::https_redirect(&head).location.unwrap(), b"https://secure.com/p?q");
    head.headers.append("x-forwarded-proto", "https");
    assert!(matches!(config.choose(&MatchInput::new(&head, 0, None)), Choice::Route(_)));
    assert!(matches!(config.choose(&MatchInput::new(&get("b.com", "/none"), 0, None)), Choice::None));
}
