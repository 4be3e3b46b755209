//! What is counted of a cluster and of its endpoint, after the same requests.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use weir_tests::{
    Authority, Client, Gateway, Hcm, Kind, Launch, Upstream, eventually, merge, refused_address, socket_address,
    tls_acceptor, typed,
};

type Counts = BTreeMap<String, String>;

/// Counts whose value is a matter of time, or of how many connections the gateway keeps ready.
const OF_TIME: [&str; 4] = ["_ms", "_time", "version", "expiration"];

/// A limit of 0 is a closed door before anybody knocks; Envoy shows that after the first request only.
const SHOWN_LATE: &str = "rq_retry_open";

/// Asks both gateways the same, each with an upstream of its own, and compares all that Weir counts but `except`.
async fn compare(fields: Value, except: &[&str], ask: impl AsyncFn(&Gateway, &Upstream)) {
    let mut counts = Vec::new();
    for kind in [Kind::Envoy, Kind::Weir] {
        let upstream = Upstream::start().await;
        let (refused, _guard) = refused_address();
        let gateway = Launch::new(kind, bootstrap(upstream.address, refused, &fields)).start().await;
        ask(&gateway, &upstream).await;
        eventually("all is answered", async || upstream.busy() == 0).await;
        counts.push(read(&gateway, upstream.address).await);
    }
    report(&counts, &["a", "r"], except);
}

fn report(counts: &[Counts], of_cluster: &[&str], except: &[&str]) {
    let [envoy, weir] = counts else { unreachable!("two gateways") };
    let compared = |name: &&String| {
        let (cluster, rest) = name.split_once(' ').unwrap_or_default();
        of_cluster.contains(&cluster) && !OF_TIME.iter().chain(except).any(|part| rest.contains(part))
    };
    let differ: Vec<_> = weir
        .keys()
        .filter(compared)
        .filter_map(|name| {
            let (envoy, weir) = (envoy.get(name).map_or("-", String::as_str), &weir[name]);
            (envoy != weir).then(|| format!("{name}: envoy {envoy}, weir {weir}"))
        })
        .collect();
    let missing = envoy.iter().filter(|(name, value)| compared(name) && **value != "0" && !weir.contains_key(*name));
    let missing: Vec<_> =
        missing.map(|(name, value)| format!("{name}: envoy {value}, weir does not count it")).collect();
    if std::env::var_os("WEIR_COMPARE_SHOW").is_some() {
        eprintln!("{}", missing.join("\n"));
    }
    assert!(differ.is_empty(), "{}\n\n{}", differ.join("\n"), missing.join("\n"));
}

fn bootstrap(upstream: SocketAddr, refused: SocketAddr, fields: &Value) -> weir_tests::Bootstrap {
    let mut cluster = weir_tests::cluster("a", &[upstream]);
    merge(&mut cluster, fields.clone());
    let retry = json!({"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}});
    let routes = json!([
        {"match": {"prefix": "/retry"}, "route": {"cluster": "a", "retry_policy": retry}},
        {"match": {"prefix": "/refused"}, "route": {"cluster": "r", "retry_policy": {"retry_on": "connect-failure", "retry_back_off": {"base_interval": "0.001s"}}}},
        {"match": {"prefix": "/short"}, "route": {"cluster": "a", "timeout": "0.1s"}},
        {"match": {"prefix": "/try"}, "route": {"cluster": "a", "timeout": "2s", "retry_policy": {"per_try_timeout": "0.1s", "retry_on": "5xx", "num_retries": 1,
            "retry_back_off": {"base_interval": "0.001s"}}}},
        {"match": {"prefix": "/pause"}, "route": {"cluster": "a", "timeout": "0.2s", "retry_policy": {"retry_on": "5xx",
            "retry_back_off": {"base_interval": "600s", "max_interval": "600s"}}}},
        {"match": {"prefix": "/idle"}, "route": {"cluster": "a", "timeout": "2s", "retry_policy": {"per_try_idle_timeout": "0.1s"}}},
        {"match": {"prefix": "/b"}, "route": {"cluster": cluster["name"]}},
        {"match": {"prefix": "/high"}, "route": {"cluster": "a", "priority": "HIGH"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ]);
    let missing = json!({"validate_clusters": false});
    let inside = json!({"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}});
    weir_tests::Bootstrap::new()
        .listener("main", Hcm::new().routes(routes).set(inside).set(json!({"route_config": missing})))
        .cluster_value(cluster)
        .cluster("r", refused)
}

/// Counters and gauges of `/stats`, and what `/clusters` says of endpoints, as `<cluster> <name>`.
async fn read(gateway: &Gateway, endpoint: SocketAddr) -> Counts {
    let stats = gateway.admin("/stats").await.text();
    let stats = stats.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("cluster.")?.split_once(": ")?;
        let (cluster, name) = name.split_once('.')?;
        value.bytes().all(|byte| byte.is_ascii_digit()).then(|| (format!("{cluster} {name}"), value.to_owned()))
    });
    let clusters = gateway.admin("/clusters").await.text();
    let place = endpoint.to_string();
    let endpoints = clusters.lines().filter_map(|line| {
        let mut parts = line.split("::");
        let (cluster, at, name, value) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        (at == place).then(|| (format!("{cluster} endpoint {name}"), value.to_owned()))
    });
    stats.chain(endpoints.collect::<Vec<_>>()).collect()
}

async fn get(gateway: &Gateway, path: &str, headers: &str) {
    let mut client = Client::connect(gateway.address()).await;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").as_bytes()).await;
    let _ = client.next(false, std::time::Duration::from_secs(4)).await;
}

async fn script(gateway: &Gateway, path: &str, script: &str) {
    get(gateway, path, &format!("x-upstream: {script}\r\n")).await;
}

#[tokio::test]
async fn of_answers() {
    compare(json!({}), &[], async |gateway, _| {
        script(gateway, "/", "").await;
        script(gateway, "/", "status=404").await;
        script(gateway, "/", "status=500;body=x").await;
        script(gateway, "/", "status=302").await;
        script(gateway, "/", "chunked;trailer=x-t:1").await;
        script(gateway, "/", "size=200000").await;
        script(gateway, "/", "1xx=103").await;
        get(gateway, "/", "x-forwarded-for: 10.0.0.1\r\nx-upstream: status=201\r\n").await;
        get(gateway, "/", "x-forwarded-for: 10.0.0.1\r\nx-upstream: status=503\r\n").await;
    })
    .await;
}

#[tokio::test]
async fn of_connections_that_end() {
    compare(json!({}), &[], async |gateway, upstream| {
        script(gateway, "/", "header=connection:close;close").await;
        eventually("the connection is over", async || upstream.open() == 0).await;
        script(gateway, "/", "eof").await;
        script(gateway, "/", "nothing;close").await;
        script(gateway, "/", "raw=nonsense\\r\\n\\r\\n").await;
        script(gateway, "/", "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;close").await;
        script(gateway, "/", "body=first").await;
        eventually("one connection is kept", async || upstream.open() == 1).await;
    })
    .await;
}

#[tokio::test]
async fn of_clients_that_leave() {
    compare(json!({}), &[], async |gateway, upstream| {
        let mut client = Client::connect(gateway.address()).await;
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\nx-upstream: delay=3000\r\n\r\n").await;
        eventually("the upstream has it", async || upstream.seen().len() == 1).await;
        drop(client);
        eventually("the gateway has ended it", async || gateway.stat("cluster.a.upstream_rq_active").await == Some(0))
            .await;
    })
    .await;
}

#[tokio::test]
async fn of_retries() {
    compare(json!({}), &[], async |gateway, _| {
        script(gateway, "/retry", "status=503|status=200").await;
        script(gateway, "/retry", "status=503").await;
        script(gateway, "/retry", "nothing;close|status=200").await;
        script(gateway, "/retry", "nothing;close").await;
        script(gateway, "/retry", "status=404").await;
        get(gateway, "/refused", "").await;
        // A retry whose pause nobody waits for does not count.
        script(gateway, "/pause", "status=503").await;
    })
    .await;
}

#[tokio::test]
async fn of_time_that_is_over() {
    compare(json!({}), &[], async |gateway, _| {
        script(gateway, "/short", "delay=300").await;
        script(gateway, "/short", "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;stall").await;
        script(gateway, "/try", "delay=300|body=second").await;
        script(gateway, "/try", "delay=300").await;
        script(gateway, "/idle", "delay=300").await;
    })
    .await;
}

#[tokio::test]
async fn of_full_breakers() {
    let one = json!({"circuit_breakers": {"thresholds": [{"max_connections": 1, "max_pending_requests": 1, "max_requests": 1,
        "max_retries": 1, "track_remaining": true}]}});
    compare(one, &[], async |gateway, upstream| {
        let mut slow = Client::connect(gateway.address()).await;
        slow.send(b"GET / HTTP/1.1\r\nhost: a\r\nx-upstream: delay=500\r\n\r\n").await;
        eventually("the upstream has it", async || upstream.seen().len() == 1).await;
        let mut waits = Client::connect(gateway.address()).await;
        waits.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let pending = async || gateway.stat("cluster.a.upstream_rq_pending_active").await == Some(1);
        eventually("a request waits", pending).await;
        get(gateway, "/", "").await;
        slow.response().await;
        waits.response().await;
        // Each retry gives back what the one before held.
        script(gateway, "/retry", "status=503|status=503|status=200").await;
    })
    .await;
}

#[tokio::test]
async fn of_priorities() {
    let high =
        json!({"circuit_breakers": {"thresholds": [{"priority": "HIGH", "max_requests": 1, "track_remaining": true}]}});
    compare(high, &["cx_pools"], async |gateway, upstream| {
        let mut slow = Client::connect(gateway.address()).await;
        slow.send(b"GET /high HTTP/1.1\r\nhost: a\r\nx-upstream: delay=500\r\n\r\n").await;
        eventually("the upstream has it", async || upstream.seen().len() == 1).await;
        get(gateway, "/high", "").await;
        get(gateway, "/", "").await;
        slow.response().await;
    })
    .await;
}

#[tokio::test]
async fn of_connections_per_endpoint() {
    let one = json!({"circuit_breakers": {"per_host_thresholds": [{"max_connections": 1}]}});
    compare(one, &[], async |gateway, upstream| {
        let mut slow = Client::connect(gateway.address()).await;
        slow.send(b"GET / HTTP/1.1\r\nhost: a\r\nx-upstream: delay=300\r\n\r\n").await;
        eventually("the upstream has it", async || upstream.seen().len() == 1).await;
        let mut waits = Client::connect(gateway.address()).await;
        waits.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        waits.response().await;
        slow.response().await;
    })
    .await;
}

#[tokio::test]
async fn of_connections_that_grow_old() {
    for field in ["idle_timeout", "max_connection_duration"] {
        compare(json!({"common_http_protocol_options": {field: "0.2s"}}), &[], async |gateway, upstream| {
            get(gateway, "/", "").await;
            eventually("the connection is over", async || upstream.open() == 0).await;
        })
        .await;
    }
}

#[tokio::test]
async fn under_another_name() {
    compare(
        json!({"name": "b", "alt_stat_name": "a", "load_assignment": {"cluster_name": "b"}}),
        &[],
        async |gateway, _| {
            get(gateway, "/b", "").await;
        },
    )
    .await;
}

#[tokio::test]
async fn of_a_retry_budget() {
    let budget = json!({"circuit_breakers": {"thresholds": [{"max_retries": 9,
        "retry_budget": {"budget_percent": {"value": 0.0}, "min_retry_concurrency": 0}}]}});
    compare(budget, &[SHOWN_LATE], async |gateway, _| script(gateway, "/retry", "status=503|status=200").await).await;
}

#[tokio::test]
async fn of_limited_connections() {
    let options =
        json!({"common_http_protocol_options": {"max_requests_per_connection": 2, "max_stream_duration": "0.1s"}});
    compare(options, &[], async |gateway, upstream| {
        for _ in 0..5 {
            script(gateway, "/", "").await;
        }
        script(gateway, "/", "delay=300").await;
        eventually("no connection is left", async || upstream.open() == 0).await;
    })
    .await;
}

/// Endpoints of a file that changes.
#[tokio::test]
async fn of_members() {
    let upstream = Upstream::start().await;
    let (refused, _guard) = refused_address();
    let (a, b) = (upstream.address, refused);
    let at = |priority: u32, region: &str, endpoint: SocketAddr| json!({"priority": priority, "locality": {"region": region}, "lb_endpoints": [{"endpoint": {"address": socket_address(endpoint)}}]});
    let assignment = |localities: Vec<Value>| {
        vec![typed(
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": "a", "endpoints": localities}),
        )]
    };
    let versions = [
        assignment(vec![at(0, "x", a), at(1, "x", b)]),
        // Both move.
        assignment(vec![at(0, "x", b), at(1, "x", a)]),
        assignment(vec![at(0, "x", a), at(2, "x", b)]),
        assignment(vec![at(0, "x", a)]),
        assignment(vec![at(0, "y", a)]),
        vec![],
        assignment(vec![]),
        assignment(vec![at(1, "y", a), at(1, "x", b)]),
    ];
    let mut seen = Vec::new();
    for kind in [Kind::Envoy, Kind::Weir] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("eds.json");
        let put = |version: usize, resources: &[Value]| {
            let new = folder.path().join("new");
            std::fs::write(&new, json!({"version_info": version.to_string(), "resources": resources}).to_string())
                .unwrap();
            std::fs::rename(new, &file).unwrap();
        };
        put(0, &versions[0]);
        let source = json!({"resource_api_version": "V3", "path_config_source": {"path": file}});
        let cluster =
            json!({"name": "a", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": source}});
        let bootstrap = weir_tests::Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster);
        let gateway = Launch::new(kind, bootstrap).start().await;
        let mut counts = Vec::new();
        for (at, version) in versions.iter().enumerate() {
            if at > 0 {
                put(at, version);
            }
            gateway.stat_becomes("cluster.a.update_attempt", at as u64 + 1).await;
            let mut line = format!("{at}:");
            for name in ["update_success", "update_empty", "membership_change", "membership_total", "update_rejected"] {
                let value = gateway.stat(&format!("cluster.a.{name}")).await.unwrap_or_default();
                line += &format!(" {name} {value}");
            }
            counts.push(line);
        }
        seen.push(counts);
    }
    assert_eq!(seen[0], seen[1], "Envoy, Weir");
}

type Context<'a> = Box<dyn Fn(&Authority) -> Value + 'a>;

/// Handshakes with an upstream, each on a connection of its own.
async fn handshakes(kind: Kind, context: impl Fn(&Authority) -> Value) -> Counts {
    let authority = Authority::new("root");
    let upstream = Upstream::tls(tls_acceptor(&authority.issue(&["upstream.example"]), None)).await;
    let config = typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context(&authority));
    let tls = json!({"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config}});
    let (refused, _guard) = refused_address();
    let gateway = Launch::new(kind, bootstrap(upstream.address, refused, &tls)).start().await;
    for _ in 0..4 {
        script(&gateway, "/", "header=connection:close;close").await;
    }
    read(&gateway, upstream.address).await
}

#[tokio::test]
async fn of_handshakes() {
    let trusting = |authority: &Authority, name: &str| json!({"trusted_ca": {"inline_string": authority.pem}, "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": name}}]});
    let validating = |validation: Value| json!({"sni": "upstream.example", "common_tls_context": {"validation_context": validation}});
    let contexts: [(&str, Context<'_>); 8] = [
        ("nothing to verify", Box::new(|_| json!({"sni": "upstream.example"}))),
        ("without a name", Box::new(|_| json!({}))),
        ("good", Box::new(|authority| validating(trusting(authority, "upstream.example")))),
        ("another name", Box::new(|authority| validating(trusting(authority, "other.example")))),
        ("another authority", Box::new(|_| validating(trusting(&Authority::new("x"), "upstream.example")))),
        ("another certificate", Box::new(|_| validating(json!({"verify_certificate_hash": ["00".repeat(32)]})))),
        ("no sessions", Box::new(|_| json!({"max_session_keys": 0}))),
        // Up to here TLS 1.2, which Envoy speaks to endpoints unless it is told otherwise.
        (
            "no sessions, the newest version",
            Box::new(
                |_| json!({"max_session_keys": 0, "common_tls_context": {"tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}}}),
            ),
        ),
    ];
    for (name, context) in contexts {
        let counts = [handshakes(Kind::Envoy, &context).await, handshakes(Kind::Weir, &context).await];
        let of_tls = |counts: &Counts| -> Counts {
            let ssl = counts.iter().filter(|(name, _)| name.starts_with("a ssl.") && !name.contains("ciphers"));
            ssl.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        eprintln!("{name}");
        // A resumed session exchanges no keys and signs nothing; Envoy counts again what its first handshake settled.
        let except: &[&str] = if name.starts_with("no sessions") { &[] } else { &["curves", "sigalgs"] };
        report(&counts.each_ref().map(of_tls), &["a"], except);
    }
}
