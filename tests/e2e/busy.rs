//! The admin has a thread of its own: it answers while the control thread does not.

use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use weir_tests::{Bootstrap, Client, Gateway, Hcm, Upstream, cluster, eventually, eventually_some, get, typed};

fn source(path: &Path) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

fn resources(kind: &str, messages: impl IntoIterator<Item = Value>) -> String {
    let all: Vec<_> = messages.into_iter().map(|message| typed(&format!("envoy.config.{kind}"), message)).collect();
    json!({"resources": all}).to_string()
}

fn routes(text: &str) -> String {
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}});
    let hosts = json!([{"name": "all", "domains": ["*"], "routes": [route]}]);
    resources("route.v3.RouteConfiguration", [json!({"name": "routes", "virtual_hosts": hosts})])
}

/// The control thread reads a file that somebody is still writing.
#[tokio::test]
async fn it_answers_while_the_control_thread_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (file, pipe) = (folder.path().join("rds.json"), folder.path().join("pipe"));
    std::fs::write(&file, routes("first")).unwrap();
    let rds = json!({"route_config": null, "rds": {"route_config_name": "routes", "config_source": source(&file)}});
    let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new().set(rds))).await;

    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, &file).unwrap();
    // It can be opened without waiting as soon as somebody reads.
    let open = async || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&file).ok();
    let mut writer = eventually_some("the control thread reads", open).await;

    for path in ["/ready", "/stats", "/stats/prometheus", "/server_info", "/clusters", "/listeners", "/certs", "/help"]
    {
        assert_eq!(gateway.admin(path).await.status, 200, "{path}");
    }
    let mut client = Client::connect(gateway.admin).await;
    client.send("POST /logging?level=debug HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(get(gateway.address(), "/").await.unwrap().text(), "first");
    let mut dump = Client::connect(gateway.admin).await;
    dump.send("GET /config_dump HTTP/1.1\r\nhost: admin\r\n\r\n").await;
    assert_eq!(gateway.admin("/ready").await.status, 200);

    writer.write_all(routes("second").as_bytes()).unwrap();
    drop(writer);
    assert!(dump.response().await.text().contains("second"), "the dump shows what was taken meanwhile");
    eventually("the new routes", async || get(gateway.address(), "/").await.is_ok_and(|a| a.text() == "second")).await;
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
        assert_eq!(gateway.admin("/ready").await.status, 200);
        before += 1;
        let count = gateway.admin("/stats?filter=^cluster_manager.active_clusters$").await.text();
        (count.trim() == "cluster_manager.active_clusters: 3001").then_some(())
    };
    eventually_some("all clusters are there", taken).await;
    assert!(before > 10, "only {before} answers came while 3000 clusters were compiled");
}
