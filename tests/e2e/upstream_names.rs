//! Whom a TLS connection to an endpoint leads to, where the host of the request decides it.

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::{
    Authority, Bootstrap, Client, Gateway, Hcm, Upstream, cluster, merge, socket_address, tls_acceptor, typed,
};

/// A gateway before an endpoint with a certificate for `a.test` and 127.0.0.1.
struct Fixture {
    gateway: Gateway,
    upstream: Upstream,
    _folder: TempDir,
}

impl Fixture {
    async fn new(context: Value, http: Value, route: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("root");
        let upstream = Upstream::tls(tls_acceptor(&authority.issue(&["a.test", "127.0.0.1"]), None)).await;
        let trusted = authority.write(folder.path(), "trusted");
        let mut tls = json!({"common_tls_context": {"validation_context": {"trusted_ca": {"filename": trusted}}}});
        merge(&mut tls, context);
        let mut cluster = cluster("a", &[upstream.address]);
        cluster["transport_socket"] = json!({"name": "envoy.transport_sockets.tls",
            "typed_config": typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", tls)});
        let options =
            json!({"explicit_http_config": {"http_protocol_options": {}}, "upstream_http_protocol_options": http});
        cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
            typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", options)});
        let endpoint = json!({"address": socket_address(upstream.address), "hostname": "b.test"});
        cluster["load_assignment"]["endpoints"] = json!([{"lb_endpoints": [{"endpoint": endpoint}]}]);
        let mut action = json!({"cluster": "a"});
        merge(&mut action, route);
        let hcm = Hcm::new().routes(json!([{"match": {"prefix": "/"}, "route": action}]));
        let gateway = Gateway::weir(Bootstrap::new().listener("main", hcm).cluster_value(cluster)).await;
        Self { gateway, upstream, _folder: folder }
    }

    async fn status(&self, host: &str) -> u16 {
        let mut client = Client::connect(self.gateway.address()).await;
        client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        client.response().await.status
    }
}

#[tokio::test]
async fn a_certificate_must_be_for_the_host_of_the_request() {
    let http = [json!({"auto_sni": true, "auto_san_validation": true}), json!({"auto_san_validation": true})];
    for (context, http) in [json!({}), json!({"sni": "a.test"})].iter().flat_map(|c| http.iter().map(move |h| (c, h))) {
        let fixture = Fixture::new(context.clone(), http.clone(), json!({})).await;
        // In any order, and again: no connection and no session serves for another name.
        let hosts = [
            ("a.test", 200),
            ("127.0.0.9:80", 503),
            ("127.0.0.1", 200),
            ("A.TEST:443", 200),
            ("b.test", 503),
            ("a..b", 503),
        ];
        for (host, status) in hosts.iter().chain(&hosts) {
            assert_eq!(fixture.status(host).await, *status, "{host} {context} {http}");
        }
        assert_eq!(fixture.upstream.seen().len(), 6);
        assert_eq!(fixture.gateway.stat("cluster.a.ssl.fail_verify_san").await, Some(6));
    }
}

#[tokio::test]
async fn the_host_of_the_client_counts_whatever_the_endpoint_is_told() {
    let http = json!({"auto_sni": true, "auto_san_validation": true});
    let fixture = Fixture::new(json!({}), http, json!({"auto_host_rewrite": true})).await;

    assert_eq!(fixture.status("a.test").await, 200);
    assert_eq!(fixture.upstream.last().header("host").as_deref(), Some("b.test"));
    assert_eq!(fixture.status("b.test").await, 503);
}

#[tokio::test]
async fn a_host_that_is_no_server_name_is_not_sent_as_one() {
    let fixture = Fixture::new(json!({}), json!({"auto_sni": true}), json!({})).await;

    for host in ["a..b", "-x.test", "10.1.2.3", "[::1]", "bad_name"] {
        assert_eq!(fixture.status(host).await, 200, "{host}");
    }
}
