//! What is refused of files: counted as Envoy 1.40 counts it, on /config_dump with its reason, and the log says what is
//! in force.

use serde_json::{Value, json};
use std::path::Path;
use weir_tests::{Bootstrap, Gateway, Hcm, Kind, Launch, cluster, eventually, refused_address, socket_address, typed};

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn source(path: &Path) -> Value {
    json!({"path_config_source": {"path": path}})
}

fn response(version: &str, resources: Value) -> String {
    json!({"version_info": version, "resources": resources}).to_string()
}

/// What a file holds, in order, and what it moves: attempts, successes, refusals, failures, empty updates.
type Steps = Vec<(String, [u64; 5], &'static str)>;

/// Of a resource of which `good` is one version and `other` another one under another name.
fn steps(good: &Value, other: &Value) -> Steps {
    let address = typed("envoy.config.core.v3.Address", json!({}));
    vec![
        ("{ half of".to_owned(), [1, 0, 0, 1, 0], "not JSON"),
        (response("2", json!([address])), [1, 0, 1, 0, 0], "expected type.googleapis.com"),
        (response("3", json!([other])), [1, 0, 1, 0, 0], "has no "),
        ("{}".to_owned(), [1, 1, 0, 0, 1], ""),
        (response("7", json!([good])), [1, 1, 0, 0, 0], ""),
    ]
}

async fn walk(gateway: &Gateway, file: &Path, prefix: &str, kind: &str, steps: Steps) {
    let stat = async |name: &str| gateway.stat(&format!("{prefix}.{name}")).await.unwrap();
    let names = ["update_attempt", "update_success", "update_rejected", "update_failure", "update_empty"];
    let mut expected = [1, 1, 0, 0, 0];
    for (text, moves, reason) in steps {
        replace(file, &text);
        expected.iter_mut().zip(moves).for_each(|(count, more)| *count += more);
        let all = async || {
            let mut found = [0; 5];
            for (name, count) in names.iter().zip(&mut found) {
                *count = stat(name).await;
            }
            found
        };
        eventually(&format!("{expected:?} after {text}"), async || all().await == expected).await;
        let told = error_states(gateway, kind).await;
        assert_eq!(told.len(), usize::from(!reason.is_empty()), "{text}: {told:?}");
        assert!(told.iter().all(|details| details.contains(reason)), "{reason}: {told:?}");
    }
    // As in Envoy: xxHash64 of the version.
    assert_eq!(stat("version").await, 1_750_302_349_509_622_455);
}

async fn error_states(gateway: &Gateway, field: &str) -> Vec<String> {
    let dump = gateway.admin(&format!("/config_dump?include_eds&resource={field}")).await.text();
    let dump: Value = serde_json::from_str(&dump).unwrap();
    let configs = dump["configs"].as_array().cloned().unwrap_or_default();
    let details = configs.iter().filter_map(|config| config["error_state"]["details"].as_str());
    details.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn of_a_file_of_routes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rds.json");
    let routes = |name: &str| typed("envoy.config.route.v3.RouteConfiguration", json!({"name": name}));
    std::fs::write(&file, response("1", json!([routes("r")]))).unwrap();
    let rds = json!({"route_config": null, "rds": {"route_config_name": "r", "config_source": source(&file)}});
    let gateway = Gateway::weir(Bootstrap::new().listener("main", Hcm::new().set(rds))).await;
    assert_eq!(gateway.stat("http.test.rds.r.version").await, Some(13_237_225_503_670_494_420));
    let steps = steps(&routes("r"), &routes("other"));
    walk(&gateway, &file, "http.test.rds.r", "dynamic_route_configs", steps).await;
    let output = gateway.output();
    let line = output.lines().find(|line| line.contains("expected type.googleapis.com")).unwrap();
    assert!(line.contains("last_good_kept=true"), "{line}");
}

#[tokio::test]
async fn of_a_file_of_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eds.json");
    let assignment = |name: &str| {
        let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": socket_address(refused_address().0)}}]}]);
        let assignment = json!({"cluster_name": name, "endpoints": endpoints});
        typed("envoy.config.endpoint.v3.ClusterLoadAssignment", assignment)
    };
    let good = assignment("e");
    std::fs::write(&file, response("1", json!([good]))).unwrap();
    let cluster = json!({"name": "e", "type": "EDS", "eds_cluster_config": {"eds_config": source(&file)}});
    let gateway = Gateway::weir(Bootstrap::new().cluster_value(cluster)).await;
    assert_eq!(gateway.stat("cluster.e.update_rejected").await, Some(0));
    walk(&gateway, &file, "cluster.e", "dynamic_endpoint_configs", steps(&good, &assignment("other"))).await;
}

#[tokio::test]
async fn of_names_that_stand_twice_or_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lds.json");
    let listener = |name: &str| {
        let chains = json!([{"filters": [Hcm::new().routes(json!([])).filter_value()]}]);
        let address = socket_address(([127, 0, 0, 1], 0).into());
        typed("envoy.config.listener.v3.Listener", json!({"name": name, "address": address, "filter_chains": chains}))
    };
    std::fs::write(&file, response("1", json!([listener("a")]))).unwrap();
    let bootstrap = Bootstrap::new()
        .listener("main", Hcm::new().routes(json!([])))
        .set(json!({"dynamic_resources": {"lds_config": source(&file)}}));
    let gateway = Gateway::weir(bootstrap).await;
    let mut refused = 0;
    for (resources, reason) in [
        (json!([listener("a"), listener("a")]), "the name \"a\" is taken by resources[0]"),
        (json!([listener("main"), listener("a")]), "the name \"main\" is taken by static"),
        (json!([typed("envoy.config.core.v3.Address", json!({})), listener("a")]), "expected type.googleapis.com"),
    ] {
        replace(&file, &response("2", resources));
        refused += 1;
        gateway.stat_becomes("listener_manager.lds.update_rejected", refused).await;
        let told = error_states(&gateway, "dynamic_listeners").await;
        assert!(told.len() == 1 && told[0].contains(reason), "{reason}: {told:?}");
    }
    replace(&file, &response("1", json!([listener("a")])));
    let none = async || error_states(&gateway, "dynamic_listeners").await.is_empty();
    eventually("nothing is refused any more", none).await;
    gateway.stat_becomes("listener_manager.lds.version", 13_237_225_503_670_494_420).await;
}

#[tokio::test]
async fn of_a_file_that_was_never_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cds.json");
    std::fs::write(&file, "{ half of").unwrap();
    let bootstrap = Bootstrap::new()
        .cluster_value(cluster("a", &[refused_address().0]))
        .set(json!({"dynamic_resources": {"cds_config": source(&file)}}));
    let gateway = Launch::new(Kind::Weir, bootstrap).start_unready().await;
    gateway.prints("last_good_kept=false").await;
    assert_eq!(error_states(&gateway, "dynamic_active_clusters").await.len(), 1);
}
