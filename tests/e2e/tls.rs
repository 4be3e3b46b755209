//! TLS towards clients and endpoints.

use rustls::NamedGroup;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_tests::{
    Authority, Bootstrap, Client, Gateway, H2Client, Hcm, Identity, TlsClient, Upstream, client_hello, cluster, get,
    tls_acceptor, typed,
};

fn certificate(folder: &Path, name: &str, identity: &Identity) -> Value {
    let (certificate, key) = identity.write(folder, name);
    json!({"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}})
}

fn downstream(context: Value) -> Value {
    let config = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
    json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
}

fn upstream_socket(context: Value) -> Value {
    let config = typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context);
    json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
}

fn answering(text: &str) -> Value {
    let routes =
        json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}]);
    Hcm::new().routes(routes).filter_value()
}

fn listener(chains: Value) -> Bootstrap {
    let inspector = typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", json!({}));
    Bootstrap::new().listener_value(json!({
        "name": "main",
        "listener_filters": [{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}],
        "filter_chains": chains,
    }))
}

struct Fixture {
    folder: TempDir,
    authority: Authority,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new("root") }
    }

    fn chain(&self, matches: Value, names: &[&str], text: &str) -> Value {
        let pair = certificate(self.folder.path(), text, &self.authority.issue(names));
        let socket = downstream(json!({"common_tls_context": {"tls_certificates": [pair]}}));
        json!({"name": text, "filter_chain_match": matches, "filters": [answering(text)], "transport_socket": socket})
    }
}

async fn ask(gateway: &Gateway, tls: &TlsClient, name: &str) -> std::io::Result<String> {
    Ok(Client::tls(gateway.address(), tls, name).await?.get("/").await.text())
}

#[tokio::test]
async fn the_name_of_the_server_selects_the_chain_and_its_certificate() {
    let fixture = Fixture::new();
    let chains = json!([
        fixture.chain(json!({"server_names": ["one.example"]}), &["one.example"], "one"),
        fixture.chain(json!({"server_names": ["*.two.example"]}), &["*.two.example"], "two"),
        fixture.chain(json!({}), &["rest.example"], "rest"),
    ]);
    let gateway = Gateway::weir(listener(chains)).await;
    let tls = TlsClient::trusting(&fixture.authority);

    assert_eq!(ask(&gateway, &tls, "one.example").await.unwrap(), "one");
    assert_eq!(ask(&gateway, &tls, "a.two.example").await.unwrap(), "two");
    assert_eq!(ask(&gateway, &tls, "rest.example").await.unwrap(), "rest");
    assert!(ask(&gateway, &tls, "other.example").await.is_err(), "the certificate is not for this name");
}

#[tokio::test]
async fn a_name_without_chain_is_closed_and_counted() {
    let fixture = Fixture::new();
    let chains = json!([fixture.chain(json!({"server_names": ["one.example"]}), &["one.example"], "one")]);
    let gateway = Gateway::weir(listener(chains)).await;

    assert!(ask(&gateway, &TlsClient::trusting(&fixture.authority), "two.example").await.is_err());

    // As in Envoy, counters stand under the address as configured: port 0 stays 0.
    assert_eq!(gateway.stat("listener.127.0.0.1_0.no_filter_chain_match").await, Some(1));
}

#[tokio::test]
async fn alpn_selects_the_protocol_and_none_in_common_goes_on() {
    let fixture = Fixture::new();
    let pair = certificate(fixture.folder.path(), "server", &fixture.authority.issue(&["test.example"]));
    let socket =
        downstream(json!({"common_tls_context": {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]}}));
    let chains = json!([{"filters": [answering("text")], "transport_socket": socket}]);
    let gateway = Gateway::weir(listener(chains)).await;
    let tls = TlsClient::trusting(&fixture.authority);

    let mut h2 = H2Client::tls(gateway.address(), &tls, "test.example").await.unwrap();
    assert_eq!(h2.get("/").await.text(), "text");
    assert_eq!(ask(&gateway, &tls.clone().alpn(&["http/1.1"]), "test.example").await.unwrap(), "text");
    assert_eq!(ask(&gateway, &tls.clone().alpn(&["unknown"]), "test.example").await.unwrap(), "text");
    assert_eq!(ask(&gateway, &tls, "test.example").await.unwrap(), "text");
}

#[tokio::test]
async fn both_versions_of_tls_unless_the_configuration_says_otherwise() {
    let fixture = Fixture::new();
    let chain = |name: &str, parameters: Value| {
        let mut chain = fixture.chain(json!({"server_names": [name]}), &[name], name);
        chain["transport_socket"]["typed_config"]["common_tls_context"]["tls_params"] = parameters;
        chain
    };
    let chains = json!([
        chain("both.example", json!({})),
        chain("new.example", json!({"tls_minimum_protocol_version": "TLSv1_3"})),
        chain("old.example", json!({"tls_maximum_protocol_version": "TLSv1_2"})),
    ]);
    let gateway = Gateway::weir(listener(chains)).await;
    let old = TlsClient::only(&fixture.authority, &rustls::version::TLS12);
    let new = TlsClient::only(&fixture.authority, &rustls::version::TLS13);

    assert_eq!(ask(&gateway, &old, "both.example").await.unwrap(), "both.example");
    assert_eq!(ask(&gateway, &new, "both.example").await.unwrap(), "both.example");
    assert!(ask(&gateway, &old, "new.example").await.is_err());
    assert!(ask(&gateway, &new, "old.example").await.is_err());
}

#[tokio::test]
async fn several_key_types_serve_one_name() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    let pairs = json!([
        certificate(folder, "ec", &fixture.authority.issue(&["test.example"])),
        certificate(folder, "rsa", &fixture.authority.issue_rsa(&["test.example"])),
    ]);
    let socket = downstream(json!({"common_tls_context": {"tls_certificates": pairs}}));
    let gateway = Gateway::weir(listener(json!([{"filters": [answering("text")], "transport_socket": socket}]))).await;
    assert_eq!(ask(&gateway, &TlsClient::trusting(&fixture.authority), "test.example").await.unwrap(), "text");
}

fn mutual(fixture: &Fixture, name: &str, clients: &Authority) -> Value {
    let mut chain = fixture.chain(json!({"server_names": [name]}), &[name], name);
    let context = &mut chain["transport_socket"]["typed_config"];
    context["require_client_certificate"] = true.into();
    let trusted = clients.write(fixture.folder.path(), &format!("clients-of-{name}"));
    context["common_tls_context"]["validation_context"] = json!({"trusted_ca": {"filename": trusted}});
    chain
}

#[tokio::test]
async fn a_client_certificate_is_required_and_verified() {
    let fixture = Fixture::new();
    let (clients, strangers) = (Authority::new("clients"), Authority::new("strangers"));
    let gateway = Gateway::weir(listener(json!([mutual(&fixture, "test.example", &clients)]))).await;
    let with = |identity: &Identity| TlsClient::with_identity(&fixture.authority, identity);
    let served = async |tls: &TlsClient| {
        // In TLS 1.3 the client learns of the refusal only when it reads.
        let Ok(mut client) = Client::tls(gateway.address(), tls, "test.example").await else { return false };
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.next(false, std::time::Duration::from_secs(20)).await.is_ok()
    };

    assert!(served(&with(&clients.issue(&["spiffe://mesh/ns/a/sa/b"]))).await);
    assert!(!served(&TlsClient::trusting(&fixture.authority)).await);
    assert!(!served(&with(&strangers.issue(&["spiffe://mesh/ns/a/sa/b"]))).await);
    assert!(!served(&with(&clients.issue_expired(&["spiffe://mesh/ns/a/sa/b"]))).await);
}

#[tokio::test]
async fn resumption_never_skips_a_client_certificate() {
    let fixture = Fixture::new();
    let clients = Authority::new("clients");
    // Two chains that the client cannot tell apart but by the ALPN it offers.
    let mut open = fixture.chain(json!({"server_names": ["test.example"]}), &["test.example"], "open");
    let mut closed = mutual(&fixture, "test.example", &clients);
    open["filter_chain_match"]["application_protocols"] = json!(["open"]);
    closed["name"] = "closed".into();
    let gateway = Gateway::weir(listener(json!([open, closed]))).await;
    let tls = TlsClient::trusting(&fixture.authority);

    for _ in 0..3 {
        assert_eq!(ask(&gateway, &tls.clone().alpn(&["open"]), "test.example").await.unwrap(), "open");
    }
    // As in Envoy all counters of a listener stand under its address as configured: port 0 stays 0.
    assert_eq!(gateway.stat("listener.127.0.0.1_0.ssl.session_reused").await, Some(2));
    assert_eq!(gateway.stat("listener.127.0.0.1_0.downstream_cx_total").await, Some(3));
    // The same client, which holds tickets of the open chain now.
    let Ok(mut client) = Client::tls(gateway.address(), &tls, "test.example").await else { return };
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.next(false, std::time::Duration::from_secs(20)).await.is_err());
}

#[tokio::test]
async fn truncated_and_false_handshakes_are_closed_and_leave_nothing_behind() {
    let fixture = Fixture::new();
    let chains = json!([fixture.chain(json!({}), &["test.example"], "text")]);
    let gateway = Gateway::weir(listener(chains)).await;
    let hello = client_hello(&fixture.authority, "test.example").await;
    assert!(hello.len() > 100);

    for length in (0..hello.len()).step_by(7) {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&hello[..length]).await.unwrap();
    }
    for garbage in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff],
        &[0x80, 0x2e, 1, 0, 2],
        &[0; 64],
    ] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset; an alert may come before.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 64, "{rest:?}");
    }

    assert_eq!(ask(&gateway, &TlsClient::trusting(&fixture.authority), "test.example").await.unwrap(), "text");
    gateway.stat_becomes("listener.127.0.0.1_0.downstream_pre_cx_active", 0).await;
    gateway.stat_becomes("listener.127.0.0.1_0.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn an_upstream_is_verified_by_authority_and_name() {
    let fixture = Fixture::new();
    let upstream =
        Upstream::tls(tls_acceptor(&fixture.authority.issue(&["upstream.example", "spiffe://mesh/ns/a/sa/b"]), None))
            .await;
    let trusted = fixture.authority.write(fixture.folder.path(), "upstreams");
    let stranger = Authority::new("stranger").write(fixture.folder.path(), "strangers");
    let san = |kind: &str, name: &str| json!([{"san_type": kind, "matcher": {"exact": name}}]);
    let contexts = [
        ("no-validation", json!({"sni": "upstream.example"}), 200),
        (
            "trusted",
            json!({"sni": "upstream.example", "common_tls_context": {"validation_context": {"trusted_ca": {"filename": trusted}}}}),
            200,
        ),
        (
            "uri",
            json!({"common_tls_context": {"validation_context": {"trusted_ca": {"filename": trusted},
            "match_typed_subject_alt_names": san("URI", "spiffe://mesh/ns/a/sa/b")}}}),
            200,
        ),
        (
            "other-uri",
            json!({"common_tls_context": {"validation_context": {"trusted_ca": {"filename": trusted},
            "match_typed_subject_alt_names": san("URI", "spiffe://mesh/ns/a/sa/c")}}}),
            503,
        ),
        (
            "dns",
            json!({"common_tls_context": {"validation_context": {"trusted_ca": {"filename": trusted},
            "match_typed_subject_alt_names": san("DNS", "upstream.example")}}}),
            200,
        ),
        (
            "stranger",
            json!({"common_tls_context": {"validation_context": {"trusted_ca": {"filename": stranger}}}}),
            503,
        ),
    ];
    let routes: Vec<_> = contexts
        .iter()
        .map(|(name, ..)| json!({"match": {"path": format!("/{name}")}, "route": {"cluster": name}}))
        .collect();
    let mut bootstrap = Bootstrap::new().listener("main", Hcm::new().routes(routes.into()));
    for (name, context, _) in &contexts {
        let mut cluster = cluster(name, &[upstream.address]);
        cluster["transport_socket"] = upstream_socket(context.clone());
        bootstrap = bootstrap.cluster_value(cluster);
    }
    let gateway = Gateway::weir(bootstrap).await;

    for (name, _, status) in &contexts {
        assert_eq!(get(gateway.address(), &format!("/{name}")).await.unwrap().status, *status, "{name}");
    }
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_to_an_upstream_that_asks() {
    let fixture = Fixture::new();
    let clients = Authority::new("clients");
    let upstream = Upstream::tls(tls_acceptor(&fixture.authority.issue(&["upstream.example"]), Some(&clients))).await;
    let own = certificate(fixture.folder.path(), "own", &clients.issue(&["gateway.example"]));
    let contexts =
        [("with", json!({"common_tls_context": {"tls_certificates": [own]}}), 200), ("without", json!({}), 503)];
    let mut bootstrap = Bootstrap::new().listener(
        "main",
        Hcm::new().routes(json!([
            {"match": {"path": "/with"}, "route": {"cluster": "with"}},
            {"match": {"path": "/without"}, "route": {"cluster": "without"}},
        ])),
    );
    for (name, context, _) in &contexts {
        let mut cluster = cluster(name, &[upstream.address]);
        cluster["transport_socket"] = upstream_socket(context.clone());
        bootstrap = bootstrap.cluster_value(cluster);
    }
    let gateway = Gateway::weir(bootstrap).await;

    for (name, _, status) in &contexts {
        assert_eq!(get(gateway.address(), &format!("/{name}")).await.unwrap().status, *status, "{name}");
    }
}

#[tokio::test]
async fn keys_are_exchanged_by_the_group_that_the_client_likes_best() {
    let fixture = Fixture::new();
    let gateway = Gateway::weir(listener(json!([fixture.chain(json!({}), &["test.example"], "text")]))).await;
    let groups = [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];

    for first in 0..groups.len() {
        let tls = TlsClient::offering(&fixture.authority, &groups[first..]);
        let stream = tls.connect(gateway.address(), "test.example").await.unwrap();
        let taken = stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
        assert_eq!(taken, Some(groups[first]));
    }
}
