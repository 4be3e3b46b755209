#![allow(clippy::unwrap_used)]

use super::*;
use crate::cluster::{Balancer, ClusterTable, Health, LeastRequest, RoutingPriority};
use crate::http::{KeyFormat, NameCase, PreserveCase};
use crate::tls::Secrets;

fn proto(yaml: &str) -> pb::cluster::Cluster {
    let decoded = weir_xds::decode(yaml, "envoy.config.cluster.v3.Cluster");
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    pb::cluster::Cluster::decode(decoded.bytes.as_slice()).unwrap()
}

fn assignment(yaml: &str) -> pb::endpoint::ClusterLoadAssignment {
    let decoded = weir_xds::decode(yaml, "envoy.config.endpoint.v3.ClusterLoadAssignment");
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    pb::endpoint::ClusterLoadAssignment::decode(decoded.bytes.as_slice()).unwrap()
}

/// What the table of fields refuses.
fn refused_fields(yaml: &str) -> Vec<String> {
    let message = "envoy.config.cluster.v3.Cluster";
    weir_xds::check(message, &weir_xds::decode(yaml, message).bytes).problems.iter().map(|p| format!("{p:?}")).collect()
}

fn compile_with(
    yaml: &str,
    assignment: Option<&Assignment>,
    previous: Option<&Cluster>,
) -> Result<Arc<Cluster>, Vec<String>> {
    let (registry, secrets, tickets) = (Registry::new(1), Secrets::default(), Arc::default());
    let tls = TlsCx { secrets: &secrets, tickets: &tickets };
    let mut problems = Problems::new();
    let cx = ClusterCx { registry: &registry, tls, assignment, previous };
    let compiled = compile_cluster(&proto(yaml), cx, &mut problems);
    let problems: Vec<String> = problems.into_vec().iter().map(ToString::to_string).collect();
    assert_eq!(compiled.is_none(), !problems.is_empty());
    compiled.ok_or(problems)
}

fn compile(yaml: &str) -> Result<Arc<Cluster>, Vec<String>> {
    compile_with(yaml, None, None)
}

const ONE: &str = r#"
name: backend
load_assignment:
  cluster_name: backend
  endpoints:
  - lb_endpoints:
    - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 8080 } } }
"#;

#[test]
fn a_small_cluster_has_envoys_defaults() {
    let cluster = compile(ONE).unwrap();
    let config = &cluster.config;
    assert_eq!(&*config.name, "backend");
    assert_eq!(config.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.balancer, Balancer::RoundRobin);
    assert_eq!(config.panic_threshold, 50);
    assert_eq!(config.thresholds(RoutingPriority::High).max_requests, 1024);
    assert_eq!(config.http.idle_timeout, Some(Duration::from_secs(3600)));
    assert!(config.tls.is_none() && config.eds_service.is_none());
    assert_eq!(cluster.endpoints.hosts().len(), 1);
}

const FULL: &str = r#"
name: backend
alt_stat_name: short
type: STATIC
connect_timeout: 0.25s
per_connection_buffer_limit_bytes: 32768
lb_policy: LEAST_REQUEST
least_request_lb_config: { choice_count: 5, active_request_bias: { default_value: 0.5, runtime_key: x } }
common_lb_config: { healthy_panic_threshold: { value: 33.9 }, zone_aware_lb_config: { fail_traffic_on_panic: true } }
circuit_breakers:
  thresholds:
  - { max_connections: 1, max_pending_requests: 2, max_requests: 3, max_retries: 4, track_remaining: true }
  - { priority: HIGH, retry_budget: { budget_percent: { value: 25.0 } } }
  per_host_thresholds: [{ max_connections: 7 }]
upstream_bind_config: { source_address: { address: 127.0.0.2, port_value: 0 } }
upstream_connection_options: { tcp_keepalive: { keepalive_probes: 3, keepalive_time: 60 } }
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    common_http_protocol_options:
      { idle_timeout: 0s, max_requests_per_connection: 9, max_connection_duration: 60s, max_headers_count: 50 }
    explicit_http_config:
      http_protocol_options:
        enable_trailers: true
        header_key_format:
          stateful_formatter:
            name: preserve_case
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig
              forward_reason_phrase: true
              formatter_type_on_envoy_headers: PROPER_CASE
load_assignment:
  cluster_name: backend
  policy:
    overprovisioning_factor: 200
    weighted_priority_health: true
    drop_overloads: [{ category: lb, drop_percentage: { numerator: 5, denominator: HUNDRED } }]
  endpoints:
  - locality: { region: r, zone: z }
    lb_endpoints:
    - load_balancing_weight: 3
      health_status: DEGRADED
      endpoint: { hostname: one.test, address: { socket_address: { address: 127.0.0.1, port_value: 1 } } }
    - health_status: DRAINING
      endpoint: { address: { socket_address: { address: "::1", port_value: 2 } } }
  - priority: 1
    locality: { region: r, zone: z }
    lb_endpoints:
    - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 3 } } }
"#;

#[test]
fn all_that_is_honoured() {
    assert_eq!(refused_fields(FULL), Vec::<String>::new());
    let cluster = compile(FULL).unwrap();
    let config = &cluster.config;
    assert_eq!(&*config.stat_name, "short");
    assert_eq!(config.connect_timeout, Duration::from_millis(250));
    assert_eq!(config.balancer, Balancer::LeastRequest(LeastRequest { choices: 5, full_scan: false, bias: 0.5 }));
    assert_eq!((config.panic_threshold, config.fail_traffic_on_panic), (33, true));
    let default = config.thresholds(RoutingPriority::Default);
    assert_eq!((default.max_connections, default.max_pending, default.max_requests, default.max_retries), (1, 2, 3, 4));
    let budget = config.thresholds(RoutingPriority::High).retry_budget.unwrap();
    assert_eq!((budget.percent, budget.min_concurrency), (25.0, 3));
    assert_eq!(config.max_connections_per_endpoint, [7, u32::MAX]);
    assert_eq!(config.socket.source, Some("127.0.0.2:0".parse().unwrap()));
    assert_eq!(config.socket.keepalive.unwrap().time, Some(Duration::from_secs(60)));
    assert_eq!(config.http.idle_timeout, None);
    assert_eq!((config.http.max_requests_per_connection, config.http.max_headers_count), (9, 50));
    assert!(config.http.http1.trailers);
    let preserve = PreserveCase { others: NameCase::Proper, reason_phrase: true };
    assert_eq!(config.http.http1.key_format, KeyFormat::PreserveCase(preserve));
    let set = &cluster.endpoints;
    assert_eq!(set.localities().len(), 1);
    assert_eq!(set.by_priority().map(|(_, hosts)| hosts.len()).collect::<Vec<_>>(), [2, 1]);
    let count = |health| set.count(health);
    assert_eq!((count(Health::Healthy), count(Health::Degraded), count(Health::Draining)), (1, 1, 1));
    assert_eq!((set.hosts()[0].weight, &*set.hosts()[0].endpoint.hostname), (3, "one.test"));
    assert!(set.sheds(|| 49_999) && !set.sheds(|| 50_000));
}

#[test]
fn balancers_as_extensions() {
    let yaml = |policies: &str| format!("{ONE}load_balancing_policy:\n  policies:\n{policies}");
    let policy = |name: &str, rest: &str| {
        format!(
            "  - typed_extension_config:\n      name: {name}\n      typed_config:\n        \"@type\": \
             type.googleapis.com/envoy.extensions.load_balancing_policies.{name}\n{rest}"
        )
    };
    let least = policy("least_request.v3.LeastRequest", "        selection_method: FULL_SCAN\n");
    let full_scan = Balancer::LeastRequest(LeastRequest { full_scan: true, ..LeastRequest::default() });
    assert_eq!(compile(&yaml(&least)).unwrap().config.balancer, full_scan);
    assert_eq!(refused_fields(&yaml(&least)), Vec::<String>::new());
    let known_second = policy("maglev.v3.Maglev", "") + &policy("random.v3.Random", "");
    assert_eq!(compile(&yaml(&known_second)).unwrap().config.balancer, Balancer::Random);
    let problems = compile(&yaml(&policy("maglev.v3.Maglev", ""))).unwrap_err();
    assert!(problems[0].starts_with("load_balancing_policy.policies: none of envoy.extensions"), "{problems:?}");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let problems = compile(
        r#"
name: backend
connect_timeout: 0s
lb_policy: RING_HASH
health_checks: [{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} }]
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: { http2_protocol_options: {} }
load_assignment:
  cluster_name: backend
  endpoints:
  - lb_endpoints:
    - endpoint: { address: { socket_address: { address: backend.test, port_value: 80 } } }
    - endpoint: { address: { pipe: { path: /run/x } } }
"#,
    )
    .unwrap_err();
    let expected = [
        "health_checks: not supported",
        "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address: \"backend.test\" is not an IP",
        "load_assignment.endpoints[0].lb_endpoints[1].endpoint.address.pipe: Unix domain sockets",
        "connect_timeout: must be longer than 0 s",
        "lb_policy: RING_HASH is not supported",
        "typed_extension_protocol_options[\"envoy.extensions.upstreams.http.v3.HttpProtocolOptions\"]\
         .explicit_http_config.http2_protocol_options: only HTTP/1.1",
    ];
    for start in expected {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start}: {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    assert_eq!(compile("name: a\ntype: STRICT_DNS\n").unwrap_err().len(), 1);
    assert_eq!(compile("name: a\ncluster_type: { name: envoy.clusters.aggregate }\n").unwrap_err().len(), 1);
}

const EDS: &str = r#"
name: backend
type: EDS
eds_cluster_config:
  service_name: svc
  eds_config: { path_config_source: { path: /etc/eds.yaml, watched_directory: { path: /etc } } }
"#;

#[test]
fn eds_gives_endpoints_and_they_stay_over_updates() {
    let reference = eds_reference(&proto(EDS)).unwrap();
    assert_eq!((reference.kind, &*reference.name), (Kind::Endpoint, "svc"));
    assert_eq!((reference.path, reference.watched_directory), ("/etc/eds.yaml".into(), Some("/etc".into())));
    assert!(eds_reference(&proto(ONE)).is_none());

    let first = compile(EDS).unwrap();
    assert_eq!(first.config.eds_service.as_deref(), Some("svc"));
    assert!(first.endpoints.hosts().is_empty());
    let update = assignment(
        "cluster_name: svc\nendpoints:\n- lb_endpoints:\n  - endpoint: { address: { socket_address: { address: \
         127.0.0.1, port_value: 1 } } }\n  - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \
         1 } } }\n",
    );
    let mut problems = Problems::new();
    let all = compile_assignment(&update, &mut problems).unwrap();
    assert_eq!(all.hosts.len(), 2, "in a cluster each endpoint counts");
    let update = compile_update(&update, &mut problems).unwrap();
    let second = first.with_assignment(update.clone());
    assert_eq!(second.endpoints.hosts().len(), 1, "an address counts once");
    let third = compile_with(&format!("{EDS}connect_timeout: 1s\n"), None, Some(&second)).unwrap();
    assert_eq!(third.endpoints.hosts().len(), 1, "endpoints survive a change of the cluster");
    let fourth = compile_with(EDS, Some(&update), None).unwrap();
    assert_eq!(fourth.endpoints.hosts().len(), 1);
    assert_eq!(compile("name: a\ntype: EDS\n").unwrap_err().len(), 1);
    let ads = "name: a\ntype: EDS\neds_cluster_config: { eds_config: { ads: {} } }\n";
    assert!(compile(ads).unwrap_err()[0].contains("only path_config_source"));
}

#[test]
fn bad_assignments() {
    let rows = [
        ("endpoints: [{ priority: 129, lb_endpoints: [] }]", "endpoints[0].priority: must be at most 128"),
        ("policy: { drop_overloads: [{ category: a }, { category: b }] }", "policy.drop_overloads: one category"),
        (
            "endpoints: [{ lb_endpoints: [{ load_balancing_weight: 0, endpoint: { address: { socket_address: { \
             address: 127.0.0.1, port_value: 1 } } } }] }]",
            "endpoints[0].lb_endpoints[0].load_balancing_weight: must be greater than 0",
        ),
        ("endpoints: [{ lb_endpoints: [{ endpoint: {} }] }]", "endpoints[0].lb_endpoints[0].endpoint.address: an end"),
    ];
    for (yaml, expected) in rows {
        let mut problems = Problems::new();
        let compiled = compile_assignment(&assignment(&format!("cluster_name: a\n{yaml}\n")), &mut problems);
        let problems = problems.into_vec();
        assert!(compiled.is_none() && problems.len() == 1, "{problems:?}");
        assert!(problems[0].to_string().starts_with(expected), "{problems:?}");
    }
}

#[test]
fn a_change_of_transport_is_seen() {
    let tls = |sni: &str| {
        let context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
        format!("{ONE}transport_socket:\n  name: tls\n  typed_config: {{ \"@type\": {context}, sni: {sni} }}\n")
    };
    let hash = |yaml: &str| transport_hash(&proto(yaml));
    assert_eq!(hash(ONE), hash(&format!("{ONE}connect_timeout: 1s\n")));
    assert_ne!(hash(ONE), hash(&tls("a.test")));
    assert_ne!(hash(&tls("b.test")), hash(&tls("a.test")));
    assert!(compile(&tls("a.test")).unwrap().config.tls.is_some());
    assert!(compile(&tls("'!'")).unwrap_err()[0].starts_with("transport_socket.typed_config.sni: "));
}

#[test]
fn metrics_have_no_colons() {
    assert_eq!(scope_name("http://a:80"), "http_a_80");
}

/// Names of a mesh are long and alike.
#[test]
fn ten_thousand_clusters_are_found() {
    let registry = Registry::new(1);
    let (secrets, tickets) = (Secrets::default(), Arc::default());
    let mut proto = proto(ONE);
    let table: ClusterTable = (0..10_000)
        .map(|n| {
            proto.name = format!("outbound|80||service-{n}.default.svc.cluster.local");
            let tls = TlsCx { secrets: &secrets, tickets: &tickets };
            let cx = ClusterCx { registry: &registry, tls, assignment: None, previous: None };
            compile_cluster(&proto, cx, &mut Problems::new()).unwrap()
        })
        .collect();
    assert_eq!(table.len(), 10_000);
    assert!(table.find("outbound|80||service-9999.default.svc.cluster.local").is_some());
}
