//! Which of Envoy's metrics there are. What is not there stands here, with the reason.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use weir_tests::{
    Authority, Bootstrap, Client, Gateway, Hcm, Kind, Launch, TlsClient, Upstream, cluster, get, merge, tls_acceptor,
    typed,
};

/// Parts of names, and why Weir has none that hold them.
const ABSENT: [(&[&str], &str); 22] = [
    (&[".rq_redirect"], "nothing of Envoy counts it: a redirect is a direct response"),
    (&["http.admin.", "listener.admin."], "the admin is not a listener as others; its limits are under weir.admin_*"),
    (&["http.async-client."], "the gateway asks nothing of clusters by itself but for plugins, under cluster.*"),
    (&["http3", "_0_rtt", "_0rtt", "workers_pinned"], "there is no QUIC"),
    (
        &["upstream_cx_http2_total", "_rq_rx_reset", "upstream_rq_tx_reset", ".http1."],
        "endpoints are spoken to by HTTP/1, whose codec counts nothing by itself",
    ),
    (
        &["_bytes_buffered", "_queue_overloaded"],
        "a connection is read no faster than what was read is taken: next to nothing waits",
    ),
    (&["overload"], "there is no overload manager"),
    (&["internal_redirect"], "internal redirects are refused"),
    (&["upgrades_"], "upgrades are refused"),
    (&["metadata_not_supported", "response_flood"], "HTTP/1 has no metadata, and answers to a client wait for it"),
    (&["t.ssl.fail_verify_no_cert", "t.ssl.no_certificate"], "an endpoint without a certificate has no handshake"),
    (&["tracing."], "there is no tracing"),
    (&["runtime.", "_maintenance_mode", "envoy_notifications"], "there is no runtime"),
    (&["watchdog"], "there is no watchdog"),
    (
        &["lb_subsets", "lb_zone", "lb_recalculate", "lb_local", ".total_match_count", "original_dst"],
        "there are no subsets, zones and original destinations",
    ),
    (
        &["extension_config_missing", "rejected_via_ip_detection", "listener_filter_error"],
        "there are no such extensions",
    ),
    (
        &[
            "assignment_",
            "update_merge",
            "via_merge",
            "merge_window",
            "cluster_updated",
            "update_no_rebuild",
            "warming_clusters",
            "warming_state",
            "init_fetch_timeout",
            "update_duration",
            "clusters_inflated",
        ],
        "sources are files: what they have is taken at once, and as a whole",
    ),
    (&["version_text"], "/config_dump tells versions; there are no metrics of text"),
    (
        &["cx_pool", "preconnect", "attempts_exceeded", "backoff_ratelimited"],
        "there are no limits of pools, and none of these ways to connect and to retry",
    ),
    (
        &["ocsp_staple", "ocsp_response", "ssl_socket_factory"],
        "rustls does not tell who asked for a staple; contexts follow their secrets (sds.*, /certs)",
    ),
    (
        &["soft_drain", "in_place_updated", "filter_chains_draining", "listeners_draining", "per_socket_event"],
        "listeners work otherwise: what only changed inside keeps its sockets and connections",
    ),
    (
        &[
            "server.compilation",
            "server.debug",
            "server.dropped",
            "server.envoy_bug",
            "server.hot_restart",
            "server.parent",
            "server.stats_recent",
            "unknown_fields",
            "wip_protos",
        ],
        "of Envoy's own making",
    ),
];

fn file(folder: &Path, name: &str, kind: &str, message: Value) -> Value {
    let path = folder.join(name);
    std::fs::write(&path, json!({"version_info": "1", "resources": [typed(kind, message)]}).to_string()).unwrap();
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

/// A cleartext listener with routes from a file, and one with TLS and a secret from a file; a cluster with TLS.
async fn names(kind: Kind) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("root");
    let identity = authority.issue(&["test.example"]);
    let plain = Upstream::start().await;
    let secured = Upstream::tls(tls_acceptor(&identity, None)).await;
    let pair = json!({"certificate_chain": {"inline_string": identity.certificate}, "private_key": {"inline_string": identity.key}});
    let trusted = json!({"trusted_ca": {"inline_string": authority.pem}});

    let mut routes = Hcm::new().0["route_config"].clone();
    routes["virtual_hosts"][0]["routes"] = json!([
        {"match": {"prefix": "/tls"}, "route": {"cluster": "t"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "a"}},
    ]);
    let rds = file(folder.path(), "rds.json", "envoy.config.route.v3.RouteConfiguration", routes);
    let rds = json!({"route_config": null, "rds": {"route_config_name": "routes", "config_source": rds}});
    let secret = json!({"name": "server", "tls_certificate": pair});
    let sds = file(folder.path(), "sds.json", "envoy.extensions.transport_sockets.tls.v3.Secret", secret);
    let tls = typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({"require_client_certificate": true, "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": "server", "sds_config": sds}], "validation_context": trusted}}),
    );
    let inspector = typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", json!({}));
    let inspector = json!([{"name": "inspector", "typed_config": inspector}]);
    let socket = |context| json!({"name": "envoy.transport_sockets.tls", "typed_config": context});
    let mut to_endpoint = cluster("t", &[secured.address]);
    let context = json!({"sni": "test.example", "common_tls_context": {"validation_context": trusted, "tls_certificates": [pair]}});
    let context = typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context);
    merge(&mut to_endpoint, json!({"transport_socket": socket(context)}));
    let other = cluster("other", &[plain.address]);
    let cds = file(folder.path(), "cds.json", "envoy.config.cluster.v3.Cluster", other);
    let chain = json!({"filters": [Hcm::new().filter_value()], "transport_socket": socket(tls)});
    let bootstrap = Bootstrap::new()
        .listener("main", Hcm::new().set(rds))
        .listener_value(
            json!({"name": "secure", "stat_prefix": "secure", "listener_filters": inspector, "filter_chains": [chain]}),
        )
        .cluster("a", plain.address)
        .cluster_value(to_endpoint)
        .set(json!({"dynamic_resources": {"cds_config": cds}}));
    let gateway = Launch::new(kind, bootstrap).start().await;

    for path in ["/", "/tls"] {
        assert_eq!(get(gateway.listener("main"), path).await.unwrap().status, 200, "{path}");
    }
    let client = TlsClient::with_identity(&authority, &authority.issue(&["client.example"]));
    let mut client = Client::tls(gateway.listener("secure"), &client, "test.example").await.unwrap();
    assert_eq!(client.get("/").await.status, 200);
    let mut client = Client::connect(gateway.listener("main")).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    assert_eq!(client.response().await.status, 403);
    // The connection is counted when it is over.
    drop(client);
    shown(&gateway).await
}

/// The names of all metrics. Which suite is chosen differs.
async fn shown(gateway: &Gateway) -> BTreeSet<String> {
    let text = gateway.admin("/stats").await.text();
    let names = text.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned()));
    names.filter(|name| !name.contains(".ciphers.")).collect()
}

#[tokio::test]
async fn what_is_not_there_has_a_reason() {
    let (envoy, weir) = (names(Kind::Envoy).await, names(Kind::Weir).await);
    let absent: Vec<_> = envoy.difference(&weir).collect();
    let all = || ABSENT.iter().flat_map(|(parts, _)| parts.iter());
    let without: Vec<_> = absent.iter().filter(|name| !all().any(|part| name.contains(part))).collect();
    assert!(without.is_empty(), "Weir does not have, and nobody says why: {without:#?}");
    let idle: Vec<_> = all().filter(|part| !absent.iter().any(|name| name.contains(*part))).collect();
    assert!(idle.is_empty(), "these reasons are reasons for nothing: {idle:?}");
}
