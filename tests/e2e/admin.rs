//! The admin: what an operator asks a running gateway.

use serde_json::{Value, json};
use weir_tests::{Authority, Bootstrap, Client, Gateway, Hcm, Upstream, eventually, get, typed};

async fn json_of(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.admin(path).await;
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.text()))
}

async fn post(gateway: &Gateway, path: &str) -> u16 {
    let mut client = Client::connect(gateway.admin).await;
    client.send(format!("POST {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n")).await;
    client.response().await.status
}

#[tokio::test]
async fn it_says_what_the_gateway_is_and_does() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    get(gateway.address(), "/").await.unwrap();

    assert_eq!(gateway.admin("/ready").await.text().trim(), "LIVE");
    assert_eq!(json_of(&gateway, "/server_info").await["state"], "LIVE");
    let clusters = gateway.admin("/clusters").await.text();
    assert!(clusters.contains(&format!("a::{}::", upstream.address)), "{clusters}");
    assert!(json_of(&gateway, "/clusters?format=json").await["cluster_statuses"].is_array());
    assert!(gateway.admin("/listeners").await.text().contains(&gateway.address().to_string()));
    assert_eq!(gateway.admin("/no/such/page").await.status, 404);
}

#[tokio::test]
async fn it_counts_as_envoy_does() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    let mut client = Client::connect(gateway.address()).await;
    for script in ["status=200", "status=404", "status=503"] {
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx-upstream: {script}\r\n\r\n")).await;
        client.response().await;
    }

    for (name, value) in [
        ("http.test.downstream_rq_total", 3),
        ("http.test.downstream_rq_2xx", 1),
        ("http.test.downstream_rq_4xx", 1),
        ("http.test.downstream_rq_5xx", 1),
        ("http.test.downstream_cx_total", 1),
        ("http.test.downstream_cx_active", 1),
        ("cluster.a.upstream_rq_total", 3),
        ("cluster.a.upstream_rq_2xx", 1),
        ("cluster.a.upstream_rq_404", 1),
        ("cluster.a.upstream_cx_total", 1),
        ("cluster.a.membership_total", 1),
        ("server.live", 1),
    ] {
        gateway.stat_becomes(name, value).await;
    }
    // The listener speaks no TLS.
    assert_eq!(gateway.admin("/stats?filter=^listener\\..*\\.ssl\\.").await.text().trim(), "");
    for line in [
        "# TYPE envoy_cluster_upstream_rq_total counter",
        r#"envoy_cluster_upstream_rq_total{envoy_cluster_name="a"} 3"#,
        r#"envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="test"} 1"#,
        r#"envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="+Inf"} 3"#,
    ] {
        let has = async || gateway.admin("/stats/prometheus").await.text().lines().any(|text| text == line);
        eventually(&format!("Prometheus sees {line}"), has).await;
    }
    let filtered = gateway.admin("/stats?filter=^cluster.a.upstream_rq_total$").await.text();
    assert_eq!(filtered.trim(), "cluster.a.upstream_rq_total: 3");
    assert!(json_of(&gateway, "/stats?format=json").await["stats"].is_array());
}

#[tokio::test]
async fn the_configuration_is_dumped_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Authority::new("root").issue(&["test.example", "127.0.0.1"]);
    let pair = json!({"certificate_chain": {"inline_string": identity.certificate}, "private_key": {"inline_string": identity.key}});
    let context = typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({"common_tls_context": {"tls_certificates": [pair]}}),
    );
    let chain = json!({
        "filters": [Hcm::new().filter_value()],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
    });
    let upstream = Upstream::start().await;
    let listener = json!({"name": "secure", "filter_chains": [chain]});
    let gateway = Gateway::weir(Bootstrap::new().listener_value(listener).cluster("a", upstream.address)).await;
    drop(folder);

    let dump = json_of(&gateway, "/config_dump").await.to_string();
    assert!(dump.contains("secure") && dump.contains("cluster"), "{dump}");
    let bootstrap = json_of(&gateway, "/config_dump?mask=bootstrap").await["configs"][0]["bootstrap"].clone();
    assert_eq!(bootstrap["static_resources"]["listeners"][0]["name"], "secure");
    assert!(bootstrap.to_string().contains("[redacted]"), "{bootstrap}");
    let routes = json_of(&gateway, "/config_dump?resource=static_route_configs&mask=route_config.name").await;
    assert_eq!(routes["configs"][0]["route_config"]["name"], "routes");
    let key: String = identity.key.lines().nth(1).unwrap().into();
    assert!(!dump.contains(&key), "the private key is in the dump");
    let certs = gateway.admin("/certs").await.text();
    assert!(certs.contains("test.example"), "{certs}");
    assert!(certs.contains("\"ip_address\": \"127.0.0.1\""), "{certs}");
    let endpoints = json_of(&gateway, "/config_dump?include_eds&resource=static_endpoint_configs").await;
    let endpoints = &endpoints["configs"][0]["endpoint_config"];
    assert_eq!((&endpoints["cluster_name"], endpoints["endpoints"].as_array().unwrap().len()), (&json!("a"), 1));
    let name = "listener.127.0.0.1_0.ssl.certificate.unnamed_cert_e3b0c442.expiration_unix_time_seconds";
    let expires = gateway.stat(name).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(Some((expires - now) / 86_400), gateway.stat("server.days_until_first_cert_expiring").await);
}

#[tokio::test]
async fn it_changes_the_level_of_the_log_and_ends_the_gateway() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;

    assert_eq!(post(&gateway, "/logging?level=debug").await, 200);
    assert_eq!(gateway.admin("/quitquitquit").await.status, 405);
    assert_eq!(post(&gateway, "/healthcheck/fail").await, 200);
    assert_eq!(gateway.admin("/ready").await.status, 503);
    assert_eq!(post(&gateway, "/healthcheck/ok").await, 200);
    assert_eq!(gateway.admin("/ready").await.status, 200);
    assert_eq!(post(&gateway, "/quitquitquit").await, 200);
    assert_eq!(gateway.exit().await.status.code(), Some(0));
}

#[tokio::test]
async fn it_withstands_bad_requests() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address)).await;
    for bytes in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /stats?filter=( HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /ready HTTP/1.1\r\n\r\n",
        "\0\0\0",
    ] {
        let mut client = Client::connect(gateway.admin).await;
        client.send(bytes).await;
        client.finish().await;
        let _ = client.next(false, std::time::Duration::from_secs(5)).await;
    }
    assert_eq!(gateway.admin("/ready").await.status, 200);
}

#[tokio::test]
async fn a_large_dump_leaves_no_memory_behind() {
    let route = json!({"match": {"path": "/a/path/of/some/length"}, "direct_response": {"status": 200}});
    let routes = vec![route; 20_000];
    let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new().routes(json!(routes)))).await;
    let before = gateway.memory_kb("VmRSS");
    let dump = gateway.admin("/config_dump").await.text();
    assert!(dump.len() > 1 << 20);
    let is_back = async || gateway.memory_kb("VmRSS") < before + 16 * 1024;
    eventually("the memory is given back", is_back).await;
}
