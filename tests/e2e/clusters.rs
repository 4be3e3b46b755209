//! Which endpoint a request goes to, and when it goes to none.

use serde_json::{Value, json};
use std::net::SocketAddr;
use weir_tests::{
    Bootstrap, Client, Gateway, Hcm, Reply, Upstream, cluster, eventually, get, merge, refused_address, socket_address,
    typed,
};

fn endpoint(at: SocketAddr, fields: Value) -> Value {
    let mut endpoint = json!({"endpoint": {"address": socket_address(at)}});
    merge(&mut endpoint, fields);
    endpoint
}

async fn counts(gateway: &Gateway, upstreams: &[Upstream], requests: usize) -> Vec<usize> {
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..requests {
        assert_eq!(client.get("/").await.status, 200);
    }
    upstreams.iter().map(|upstream| upstream.take().len()).collect()
}

async fn three() -> Vec<Upstream> {
    vec![Upstream::start().await, Upstream::start().await, Upstream::start().await]
}

fn of(upstreams: &[Upstream], fields: Value) -> Bootstrap {
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let mut cluster = cluster("a", &addresses);
    merge(&mut cluster, fields);
    Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster)
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let upstreams = three().await;
    let gateway = Gateway::weir(of(&upstreams, json!({}))).await;
    assert_eq!(counts(&gateway, &upstreams, 30).await, [10, 10, 10]);
}

#[tokio::test]
async fn weights_are_kept() {
    let upstreams = three().await;
    let weights = [1, 2, 7];
    let endpoints: Vec<_> = upstreams
        .iter()
        .zip(weights)
        .map(|(upstream, weight)| endpoint(upstream.address, json!({"load_balancing_weight": weight})))
        .collect();
    let gateway =
        Gateway::weir(of(&upstreams, json!({"load_assignment": {"endpoints": [{"lb_endpoints": endpoints}]}}))).await;
    let counts = counts(&gateway, &upstreams, 100).await;
    assert!(counts.iter().zip(weights).all(|(&count, weight)| count.abs_diff(weight * 10) <= 2), "{counts:?}");
}

#[tokio::test]
async fn random_and_least_request_use_every_endpoint() {
    for policy in ["RANDOM", "LEAST_REQUEST"] {
        let upstreams = three().await;
        let gateway = Gateway::weir(of(&upstreams, json!({"lb_policy": policy}))).await;
        let counts = counts(&gateway, &upstreams, 120).await;
        assert!(counts.iter().all(|&count| count > 10), "{policy}: {counts:?}");
    }
}

#[tokio::test]
async fn unhealthy_and_draining_endpoints_get_nothing() {
    let upstreams = three().await;
    let endpoints = json!([
        endpoint(upstreams[0].address, json!({"health_status": "UNHEALTHY"})),
        endpoint(upstreams[1].address, json!({"health_status": "DRAINING"})),
        endpoint(upstreams[2].address, json!({})),
    ]);
    let gateway =
        Gateway::weir(of(&upstreams, json!({"load_assignment": {"endpoints": [{"lb_endpoints": endpoints}]}}))).await;
    assert_eq!(counts(&gateway, &upstreams, 10).await, [0, 0, 10]);
}

#[tokio::test]
async fn a_retry_takes_the_other_endpoint() {
    let upstream = Upstream::start().await;
    let (refused, _guard) = refused_address();
    let retry = json!({"retry_on": "connect-failure", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}});
    let hcm = Hcm::new().routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "a", "retry_policy": retry}}]));
    let bootstrap = Bootstrap::new().listener("main", hcm).cluster_value(cluster("a", &[refused, upstream.address]));
    let gateway = Gateway::weir(bootstrap).await;

    for _ in 0..4 {
        assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
    }

    assert_eq!(upstream.seen().len(), 4);
    assert!(gateway.stat("cluster.a.upstream_rq_retry").await.unwrap() >= 1);
}

#[tokio::test]
async fn a_body_that_is_too_long_to_be_kept_is_sent_once_only() {
    let upstream = Upstream::answering(|_, _| Reply::status(503)).await;
    let retry = json!({"retry_on": "5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"}});
    let route = json!({"match": {"prefix": "/"}, "request_body_buffer_limit": 1000,
        "route": {"cluster": "a", "retry_policy": retry}});
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new().routes(json!([route])), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n{}", "x".repeat(5000))).await;
    assert_eq!(client.response().await.status, 503);
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(gateway.stat("cluster.a.retry_or_shadow_abandoned").await, Some(1));
    assert_eq!(gateway.stat("cluster.a.upstream_rq_retry").await, Some(0));
}

#[tokio::test]
async fn a_retry_avoids_the_endpoints_that_were_tried() {
    let upstream = Upstream::start().await;
    let (refused, _guard) = refused_address();
    let predicate = json!({"name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", json!({}))});
    // At random the refused endpoint would be chosen again for half of all retries.
    let retry = json!({"retry_on": "connect-failure", "retry_host_predicate": [predicate],
        "host_selection_retry_max_attempts": 60, "retry_back_off": {"base_interval": "0.001s"}});
    let hcm = Hcm::new().routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "a", "retry_policy": retry}}]));
    let mut cluster = cluster("a", &[refused, upstream.address]);
    cluster["lb_policy"] = "RANDOM".into();
    let gateway = Gateway::weir(Bootstrap::new().listener("main", hcm).cluster_value(cluster)).await;

    for _ in 0..20 {
        assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_circuit_breaker_answers_503_at_once() {
    let upstream =
        Upstream::answering(|seen, _| if seen.path() == "/slow" { Reply::never() } else { Reply::ok("") }).await;
    let mut cluster = cluster("a", &[upstream.address]);
    cluster["circuit_breakers"] =
        json!({"thresholds": [{"max_requests": 1, "max_connections": 1, "max_pending_requests": 1}]});
    let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster)).await;
    let mut slow = Client::connect(gateway.address()).await;
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the upstream has the slow request", async || upstream.seen().len() == 1).await;

    // One request may be active, one may wait; of these two at least one is refused at once.
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(gateway.address()).await;
        client.send("GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").await;
        others.push(client);
    }
    let refused = others.pop().unwrap().response().await;

    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("x-envoy-overloaded"), Some("true"));
    drop(slow);
    eventually("the slow request is over", async || upstream.open() == 0 || upstream.seen().len() > 1).await;
    eventually("requests pass again", async || get(gateway.address(), "/").await.is_ok_and(|a| a.status == 200)).await;
}

#[tokio::test]
async fn a_keepalive_of_zero_is_none() {
    let upstream = Upstream::start().await;
    let options = [json!({"keepalive_time": 0}), json!({"keepalive_probes": 0}), json!({"keepalive_interval": 0})];
    for keepalive in options {
        let mut cluster = cluster("a", &[upstream.address]);
        cluster["upstream_connection_options"] = json!({"tcp_keepalive": keepalive});
        let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster)).await;
        assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200, "{keepalive}");
    }
}
