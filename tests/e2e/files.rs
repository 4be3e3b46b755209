//! LDS, CDS, RDS, EDS and SDS from watched files: every way of saving is seen, a mistake keeps the last good state.

use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use weir_tests::{
    Bootstrap, Client, Gateway, Hcm, Kind, Launch, Upstream, cluster, eventually, get, merge, socket_address, typed,
};

fn resource(kind: &str, mut message: Value) -> Value {
    message["@type"] = format!("type.googleapis.com/envoy.config.{kind}").into();
    json!({"resources": [message]})
}

/// Routes that answer with this text.
fn routes(text: &str) -> Value {
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}});
    let hosts = json!([{"name": "all", "domains": ["*"], "routes": [route]}]);
    resource("route.v3.RouteConfiguration", json!({"name": "routes", "virtual_hosts": hosts}))
}

fn write(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

fn replace(path: &Path, value: &Value) {
    let new = path.with_extension("new");
    write(&new, value);
    std::fs::rename(new, path).unwrap();
}

fn path_source(path: &Path) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

fn with_rds(path: &Path) -> Bootstrap {
    let rds = json!({"route_config": null, "rds": {"route_config_name": "routes", "config_source": path_source(path)}});
    Bootstrap::new().listener("main", Hcm::new().set(rds))
}

/// Routes may name clusters that come later.
fn unchecked() -> Hcm {
    Hcm::new().set(json!({"route_config": {"validate_clusters": false}}))
}

async fn says(gateway: &Gateway, text: &str) {
    let what = format!("it says {text:?}");
    eventually(&what, async || get(gateway.address(), "/").await.is_ok_and(|answer| answer.text() == text)).await;
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resource.json");
    (folder, file)
}

#[tokio::test]
async fn a_change_of_the_route_file_takes_effect_however_it_is_saved() {
    let (_folder, file) = folder();
    write(&file, &routes("first"));
    let gateway = Gateway::weir(with_rds(&file)).await;
    says(&gateway, "first").await;

    write(&file, &routes("written in place"));
    says(&gateway, "written in place").await;

    replace(&file, &routes("renamed over it"));
    says(&gateway, "renamed over it").await;

    std::fs::remove_file(&file).unwrap();
    write(&file, &routes("removed and written again"));
    says(&gateway, "removed and written again").await;
}

#[tokio::test]
async fn a_config_map_that_is_mounted_is_followed_through_its_symlinks() {
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, text: &str| {
        let version = folder.path().join(name);
        std::fs::create_dir(&version).unwrap();
        write(&version.join("routes.json"), &routes(text));
        version
    };
    let data = folder.path().join("..data");
    symlink(version("..2026_1", "first"), &data).unwrap();
    let file = folder.path().join("routes.json");
    symlink("..data/routes.json", &file).unwrap();
    let gateway = Gateway::weir(with_rds(&file)).await;
    says(&gateway, "first").await;

    for n in 2..5 {
        let text = format!("version {n}");
        let next = folder.path().join("..data_tmp");
        symlink(version(&format!("..2026_{n}"), &text), &next).unwrap();
        std::fs::rename(&next, &data).unwrap();
        std::fs::remove_dir_all(folder.path().join(format!("..2026_{}", n - 1))).unwrap();
        says(&gateway, &text).await;
    }
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_state_says_why_and_counts_it() {
    let (_folder, file) = folder();
    write(&file, &routes("good"));
    let gateway = Gateway::weir(with_rds(&file)).await;
    says(&gateway, "good").await;

    let mut bad = routes("bad");
    bad["resources"][0]["virtual_hosts"][0]["no_such_field"] = 1.into();
    replace(&file, &bad);
    gateway.prints("no_such_field").await;
    says(&gateway, "good").await;

    replace(&file, &json!("no resources at all"));
    says(&gateway, "good").await;
    std::fs::write(&file, "{ half of").unwrap();
    says(&gateway, "good").await;

    let rejected = async || gateway.admin("/stats").await.text().lines().any(|line| counts(line, "update_rejected"));
    eventually("the refusal is counted", rejected).await;
    replace(&file, &routes("good again"));
    says(&gateway, "good again").await;
}

fn counts(line: &str, what: &str) -> bool {
    line.split_once(": ").is_some_and(|(name, value)| name.ends_with(what) && value != "0")
}

#[tokio::test]
async fn a_file_that_is_absent_at_the_start_is_refused() {
    let (_folder, file) = folder();
    let exit = Launch::new(Kind::Weir, with_rds(&file)).run_to_exit().await;
    assert_eq!(exit.status.code(), Some(1));
    assert!(exit.output.contains("resource.json"), "{}", exit.output);
}

#[tokio::test]
async fn a_bad_file_at_the_start_is_not_ready_and_says_why() {
    let (_folder, file) = folder();
    let mut bad = routes("bad");
    bad["resources"][0]["virtual_hosts"][0]["no_such_field"] = 1.into();
    write(&file, &bad);
    let gateway = Launch::new(Kind::Weir, with_rds(&file)).start_unready().await;

    let says_why = async || {
        let ready = gateway.admin("/ready").await;
        assert_eq!(ready.status, 503);
        ready.text().contains("no_such_field")
    };
    eventually("/ready says what is wrong", says_why).await;

    replace(&file, &routes("good"));
    eventually("it is ready", async || gateway.admin("/ready").await.status == 200).await;
}

#[tokio::test]
async fn listeners_and_clusters_come_and_go_with_their_files() {
    let upstream = Upstream::start().await;
    let (folder, lds) = folder();
    let cds = folder.path().join("clusters.json");
    let listener = |name: &str| {
        let chains = json!([{"filters": [unchecked().filter_value()]}]);
        json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": name,
            "address": socket_address(([127, 0, 0, 1], 0).into()), "filter_chains": chains})
    };
    write(&lds, &json!({"resources": [listener("one")]}));
    write(&cds, &resource("cluster.v3.Cluster", cluster("other", &[upstream.address])));
    let bootstrap = Bootstrap::new()
        .set(json!({"dynamic_resources": {"lds_config": path_source(&lds), "cds_config": path_source(&cds)}}));
    let mut gateway = Gateway::weir(bootstrap).await;
    let first = gateway.listener("one");
    let mut kept = Client::connect(first).await;
    assert_eq!(kept.get("/").await.status, 503);

    replace(&cds, &resource("cluster.v3.Cluster", cluster("a", &[upstream.address])));
    eventually("the cluster is there", async || get(first, "/").await.unwrap().status == 200).await;
    assert_eq!(kept.get("/").await.status, 200);

    replace(&lds, &json!({"resources": [listener("one"), listener("two")]}));
    let has_two = async || gateway.admin("/listeners").await.text().contains("two");
    eventually("the second listener is there", has_two).await;
    gateway.refresh_listeners().await;
    assert_eq!(gateway.listener("one"), first);
    assert_eq!(get(gateway.listener("two"), "/").await.unwrap().status, 200);
    assert_eq!(kept.get("/").await.status, 200);

    replace(&lds, &json!({"resources": [listener("two")]}));
    eventually("the first listener is gone", async || get(first, "/").await.is_err()).await;
    assert_eq!(get(gateway.listener("two"), "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn endpoints_come_and_go_with_their_file() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let (_folder, file) = folder();
    let assignment = |upstream: &Upstream| {
        let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": socket_address(upstream.address)}}]}]);
        resource("endpoint.v3.ClusterLoadAssignment", json!({"cluster_name": "a", "endpoints": endpoints}))
    };
    write(&file, &assignment(&one));
    let cluster = json!({"name": "a", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": path_source(&file)}});
    let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster)).await;
    let mut client = Client::connect(gateway.address()).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!((one.seen().len(), two.seen().len()), (1, 0));

    replace(&file, &assignment(&two));

    let mut moved = async || {
        assert_eq!(client.get("/").await.status, 200);
        !two.seen().is_empty()
    };
    while !moved().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn members_of_a_cluster_are_counted() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let (_folder, file) = folder();
    let assignment = |fields: &[(&Upstream, &str, u32)]| {
        let endpoints = fields.iter().map(|(upstream, health, weight)| {
            json!({"endpoint": {"address": socket_address(upstream.address)}, "health_status": health, "load_balancing_weight": weight})
        });
        let endpoints: Vec<_> = endpoints.collect();
        resource(
            "endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": "a", "endpoints": [{"lb_endpoints": endpoints}]}),
        )
    };
    write(&file, &assignment(&[(&one, "HEALTHY", 1)]));
    let cluster = json!({"name": "a", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": path_source(&file)}});
    let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster)).await;
    let stat = async |name: &str| gateway.stat(&format!("cluster.a.{name}")).await.unwrap();
    assert_eq!((stat("membership_total").await, stat("membership_change").await), (1, 1));

    replace(&file, &assignment(&[(&one, "DEGRADED", 1), (&two, "HEALTHY", 7)]));
    gateway.stat_becomes("cluster.a.membership_total", 2).await;
    assert_eq!((stat("membership_healthy").await, stat("membership_degraded").await), (1, 1));
    assert_eq!((stat("membership_change").await, stat("max_host_weight").await), (2, 7));

    replace(&file, &assignment(&[(&one, "DRAINING", 1), (&two, "UNHEALTHY", 7)]));
    gateway.stat_becomes("cluster.a.membership_healthy", 0).await;
    assert_eq!((stat("membership_excluded").await, stat("membership_degraded").await), (1, 0));
    assert_eq!(stat("membership_change").await, 2, "the members are the same");
}

#[tokio::test]
async fn an_endpoint_that_leaves_takes_its_idle_connections_along() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let (_folder, file) = folder();
    let assignment = |upstream: &Upstream| {
        let endpoints = json!([{"endpoint": {"address": socket_address(upstream.address)}}]);
        resource(
            "endpoint.v3.ClusterLoadAssignment",
            json!({"cluster_name": "a", "endpoints": [{"lb_endpoints": endpoints}]}),
        )
    };
    write(&file, &assignment(&one));
    let cluster = json!({"name": "a", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": path_source(&file)}});
    let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new()).cluster_value(cluster)).await;
    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
    assert_eq!(one.open(), 1);

    replace(&file, &assignment(&two));
    eventually("its connection is closed", async || one.open() == 0).await;
    gateway.stat_becomes("cluster.a.upstream_cx_active", 0).await;
    assert_eq!(gateway.stat("cluster.a.upstream_cx_destroy_local").await, Some(1));
    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
    assert_eq!((one.seen().len(), two.seen().len()), (1, 1));
}

#[tokio::test]
async fn only_the_resource_that_is_bad_is_refused() {
    let upstream = Upstream::start().await;
    let (_folder, cds) = folder();
    let typed_cluster = |name: &str, fields: Value| {
        let mut cluster = cluster(name, &[upstream.address]);
        merge(&mut cluster, fields);
        typed("envoy.config.cluster.v3.Cluster", cluster)
    };
    write(
        &cds,
        &json!({"resources": [typed_cluster("a", json!({})), typed_cluster("bad", json!({"no_such_field": 1}))]}),
    );
    let bootstrap = Bootstrap::new()
        .listener("main", unchecked())
        .set(json!({"dynamic_resources": {"cds_config": path_source(&cds)}}));
    let gateway = Launch::new(Kind::Weir, bootstrap).start_unready().await;
    gateway.prints("no_such_field").await;
    let clusters = async || gateway.admin("/clusters").await.text();
    eventually("the good cluster is there", async || clusters().await.contains("a::")).await;
    assert!(!clusters().await.contains("bad::"));
}
