//! Files that are absent or wrong at first are taken when they are there, without any other change.

use serde_json::{Value, json};
use std::path::Path;
use weir_tests::{
    Authority, Bootstrap, Client, Hcm, Kind, Launch, TlsClient, Upstream, cluster, eventually, get, plugin,
    socket_address, typed,
};

fn source(path: &Path) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

fn write(path: &Path, kind: &str, message: Value) {
    std::fs::write(path, json!({"resources": [typed(kind, message)]}).to_string()).unwrap();
}

fn listener(hcm: Hcm) -> Value {
    let address = socket_address(([127, 0, 0, 1], 0).into());
    json!({"name": "late", "address": address, "filter_chains": [{"filters": [hcm.filter_value()]}]})
}

const LISTENER: &str = "envoy.config.listener.v3.Listener";

fn with_lds(file: &Path, upstream: &Upstream) -> Bootstrap {
    let lds = json!({"dynamic_resources": {"lds_config": source(file)}});
    Bootstrap::new().cluster("a", upstream.address).set(lds)
}

#[tokio::test]
async fn a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("root");
    let identity = authority.issue(&["test.example"]);
    let (secret, certificate, key) =
        (folder.path().join("sds.json"), folder.path().join("late.pem"), folder.path().join("late.key"));
    let pair = json!({"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}});
    write(
        &secret,
        "envoy.extensions.transport_sockets.tls.v3.Secret",
        json!({"name": "server", "tls_certificate": pair}),
    );
    let sds = json!([{"name": "server", "sds_config": source(&secret)}]);
    let context = typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({"common_tls_context": {"tls_certificate_sds_secret_configs": sds}}),
    );
    let upstream = Upstream::start().await;
    let chain = json!({
        "filters": [Hcm::new().filter_value()],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
    });
    let bootstrap = Bootstrap::new()
        .listener_value(json!({"name": "main", "filter_chains": [chain]}))
        .cluster("a", upstream.address);
    let mut gateway = Launch::new(Kind::Weir, bootstrap).start_unready().await;
    let names_it = async || gateway.admin("/ready").await.text().contains("late.pem");
    eventually("/ready says which file is missing", names_it).await;

    std::fs::write(&key, &identity.key).unwrap();
    std::fs::write(&certificate, "no certificate").unwrap();
    std::fs::write(&certificate, &identity.certificate).unwrap();
    eventually("it is ready", async || gateway.admin("/ready").await.status == 200).await;
    gateway.refresh_listeners().await;
    let tls = TlsClient::trusting(&authority);
    let mut client = Client::tls(gateway.address(), &tls, "test.example").await.unwrap();
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_module_of_a_refused_listener() {
    let folder = tempfile::tempdir().unwrap();
    let (lds, module) = (folder.path().join("lds.json"), folder.path().join("late.wasm"));
    let code = json!({"vm_config": {"code": {"local": {"filename": module}}}});
    write(&lds, LISTENER, listener(Hcm::new().wasm_with("header_tag", "", code)));
    let upstream = Upstream::start().await;
    let mut gateway = Launch::new(Kind::Weir, with_lds(&lds, &upstream)).start_unready().await;
    let names_it = async || gateway.admin("/ready").await.text().contains("late.wasm");
    eventually("/ready says which file is missing", names_it).await;

    let new = folder.path().join("new.wasm");
    std::fs::copy(plugin("header_tag"), &new).unwrap();
    std::fs::rename(&new, &module).unwrap();
    eventually("it is ready", async || gateway.admin("/ready").await.status == 200).await;
    gateway.refresh_listeners().await;
    assert_eq!(get(gateway.listener("late"), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn routes_of_a_listener_that_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let (lds, rds) = (folder.path().join("lds.json"), folder.path().join("rds.json"));
    std::fs::write(&lds, r#"{"resources": []}"#).unwrap();
    let upstream = Upstream::start().await;
    let mut gateway = Launch::new(Kind::Weir, with_lds(&lds, &upstream)).start().await;
    let named = json!({"route_config": null, "rds": {"route_config_name": "routes", "config_source": source(&rds)}});
    write(&lds, LISTENER, listener(Hcm::new().set(named)));
    gateway.prints("cannot be read").await;

    let mut routes = Hcm::new().0["route_config"].clone();
    routes["name"] = "routes".into();
    write(&rds, "envoy.config.route.v3.RouteConfiguration", routes);
    let listens = async || gateway.admin("/listeners").await.text().contains("late");
    eventually("it listens", listens).await;
    gateway.refresh_listeners().await;
    assert_eq!(get(gateway.listener("late"), "/").await.unwrap().status, 200);
}

/// As in Envoy: what a file lacks is missed by who needs it, and by nobody else.
#[tokio::test]
async fn endpoints_and_secrets_that_their_files_lack() {
    let folder = tempfile::tempdir().unwrap();
    let (eds, sds) = (folder.path().join("eds.json"), folder.path().join("sds.json"));
    for file in [&eds, &sds] {
        std::fs::write(file, r#"{"resources": []}"#).unwrap();
    }
    let upstream = Upstream::start().await;
    let context = json!({"common_tls_context": {"validation_context_sds_secret_config":
        {"name": "authorities", "sds_config": source(&sds)}}});
    let mut secret = cluster("secret", &[upstream.address]);
    secret["transport_socket"] = json!({"name": "envoy.transport_sockets.tls",
        "typed_config": typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context)});
    let routes = ["a", "late", "secret"]
        .map(|name| json!({"match": {"prefix": format!("/{name}")}, "route": {"cluster": name}}));
    let bootstrap = Bootstrap::new()
        .listener("main", Hcm::new().routes(json!(routes)))
        .cluster("a", upstream.address)
        .cluster_value(json!({"name": "late", "type": "EDS", "eds_cluster_config": {"eds_config": source(&eds)}}))
        .cluster_value(secret);
    let gateway = Launch::new(Kind::Weir, bootstrap).start().await;
    gateway.prints("has no cluster load assignment named").await;
    assert_eq!(gateway.admin("/ready").await.status, 200);
    for (path, status) in [("/a", 200), ("/late", 503), ("/secret", 503)] {
        assert_eq!(get(gateway.address(), path).await.unwrap().status, status, "{path}");
    }

    let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": socket_address(upstream.address)}}]}]);
    write(
        &eds,
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        json!({"cluster_name": "late", "endpoints": endpoints}),
    );
    let serves = async || get(gateway.address(), "/late").await.is_ok_and(|answer| answer.status == 200);
    eventually("it has endpoints", serves).await;

    let nowhere = json!([{"lb_endpoints": [{"endpoint": {"address": {"socket_address":
        {"address": "nowhere.example", "port_value": 1}}}}]}]);
    write(
        &eds,
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        json!({"cluster_name": "late", "endpoints": nowhere}),
    );
    gateway.stat_becomes("cluster.late.update_rejected", 1).await;
    assert_eq!(get(gateway.address(), "/late").await.unwrap().status, 200);
}

/// The bootstrap of the file, changed by what stands on the command line.
#[tokio::test]
async fn the_command_line_is_merged_into_the_file() {
    let upstream = Upstream::start().await;
    let over = "node: {id: other}\nstatic_resources: {clusters: [{name: more, connect_timeout: 1s}]}";
    let bootstrap = Bootstrap::serving(Hcm::new(), upstream.address);
    let gateway = Launch::new(Kind::Weir, bootstrap).arguments(&["--config-yaml", over]).start().await;
    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
    let clusters = gateway.admin("/clusters").await.text();
    assert!(clusters.contains("a::") && clusters.contains("more::"), "{clusters}");
    let dump = gateway.admin("/config_dump?mask=bootstrap.node").await.text();
    assert!(dump.contains("\"id\": \"other\"") && dump.contains("\"cluster\": \"tests\""), "{dump}");
}
