//! The admin has a thread of its own: it answers while the control thread does not.

use serde_json::{Value, json};
use std::path::Path;
use weir_tests::{Bootstrap, Gateway, Hcm, Upstream, cluster, eventually_some, typed};

fn source(path: &Path) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

fn resources(kind: &str, messages: impl IntoIterator<Item = Value>) -> String {
    let all: Vec<_> = messages.into_iter().map(|message| typed(&format!("envoy.config.{kind}"), message)).collect();
    json!({"resources": all}).to_string()
}

#[tokio::test]
async fn it_answers_while_a_big_update_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cds.json");
    let upstream = Upstream::start().await;
    let clusters = |count: usize| {
        resources("cluster.v3.Cluster", (0..count).map(|n| cluster(&format!("c{n}"), &[upstream.address])))
    };
    std::fs::write(&file, clusters(1)).unwrap();
    let bootstrap = Bootstrap::serving(Hcm::new(), upstream.address);
    let gateway = Gateway::weir(bootstrap.set(json!({"dynamic_resources": {"cds_config": source(&file)}}))).await;
    gateway.stat_becomes("cluster_manager.active_clusters", 2).await;

    let new = folder.path().join("new.json");
    std::fs::write(&new, clusters(3000)).unwrap();
    std::fs::rename(&new, &file).unwrap();
    let mut before = 0;
    let taken = async || {
        let paths = ["/ready", "/stats", "/stats/prometheus", "/server_info", "/listeners", "/certs", "/help"];
        let path = paths[before % paths.len()];
        assert_eq!(gateway.admin(path).await.status, 200, "{path}");
        before += 1;
        let count = gateway.admin("/stats?filter=^cluster_manager.active_clusters$").await.text();
        (count.trim() == "cluster_manager.active_clusters: 3001").then_some(())
    };
    eventually_some("all clusters are there", taken).await;
    assert!(before > 10, "only {before} answers came while 3000 clusters were compiled");
}
