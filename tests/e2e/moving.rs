//! Listeners of a file that move or change: there is always one that serves.

use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};
use weir_tests::{Bootstrap, Client, Gateway, Hcm, eventually, get, socket_address};

/// Routes of the connection manager that answer with this text.
fn answering(text: &str) -> Hcm {
    let answer = json!({"status": 200, "body": {"inline_string": text}});
    Hcm::new().routes(json!([{"match": {"prefix": "/"}, "direct_response": answer}]))
}

fn listener(address: SocketAddr, hcm: Hcm) -> Value {
    json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "main",
        "address": socket_address(address), "filter_chains": [{"filters": [hcm.filter_value()]}]})
}

fn routed_by(file: &Path) -> Hcm {
    let source = json!({"path_config_source": {"path": file}});
    Hcm::new().set(json!({"route_config": null, "rds": {"route_config_name": "routes", "config_source": source}}))
}

fn replace(file: &Path, resources: Value) {
    let new = file.with_extension("new");
    std::fs::write(&new, json!({"resources": resources}).to_string()).unwrap();
    std::fs::rename(new, file).unwrap();
}

async fn serving(file: &Path, hcm: Hcm) -> Gateway {
    replace(file, json!([listener(([127, 0, 0, 1], 0).into(), hcm)]));
    let source = json!({"path_config_source": {"path": file}});
    Gateway::weir(Bootstrap::new().set(json!({"dynamic_resources": {"lds_config": source}}))).await
}

async fn says(address: SocketAddr) -> String {
    get(address, "/").await.map_or_else(|error| error.to_string(), |answer| answer.text())
}

#[tokio::test]
async fn one_that_moves_to_a_taken_address_stays_where_it_was_until_it_can_move() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("listeners.json");
    let gateway = serving(&file, answering("old")).await;
    let first = gateway.address();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();

    replace(&file, json!([listener(taken, answering("new"))]));

    gateway.prints("cannot bind").await;
    gateway.stat_becomes("listener_manager.listener_create_failure", 1).await;
    assert_eq!(gateway.stat("listener_manager.lds.update_rejected").await, Some(1));
    assert_eq!(says(first).await, "old");
    assert_eq!(gateway.admin("/ready").await.status, 200);

    drop(other);
    eventually("it has moved", async || get(taken, "/").await.is_ok_and(|answer| answer.text() == "new")).await;
    eventually("it has left", async || get(first, "/").await.is_err()).await;
}

#[tokio::test]
async fn one_that_moves_is_there_all_the_time_and_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("listeners.json");
    let gateway = serving(&file, answering("old")).await;
    let first = gateway.address();
    let mut kept = Client::connect(first).await;
    assert_eq!(kept.get("/").await.text(), "old");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    replace(&file, json!([listener(free, answering("new"))]));
    loop {
        // Of two looks in this order one finds somebody, whenever it moves in between.
        if get(first, "/").await.is_err() {
            break;
        }
    }
    assert_eq!(says(free).await, "new");
    assert_eq!(kept.get("/").await.status, 200);
}

#[tokio::test]
async fn one_that_is_new_and_must_wait_does_not_make_the_gateway_unready() {
    let folder = tempfile::tempdir().unwrap();
    let (file, routes) = (folder.path().join("listeners.json"), folder.path().join("routes.json"));
    let gateway = serving(&file, answering("old")).await;
    let any = ([127, 0, 0, 1], 0).into();
    let mut new = listener(any, routed_by(&routes));
    new["name"] = "new".into();
    replace(&file, json!([listener(gateway.address(), answering("old")), new]));
    gateway.prints("waits for route configuration routes").await;
    gateway.stat_becomes("listener_manager.total_listeners_warming", 1).await;
    assert_eq!(gateway.admin("/ready").await.status, 200);
    assert_eq!(says(gateway.address()).await, "old");
}

#[tokio::test]
async fn one_that_must_wait_for_its_routes_stays_as_it_was_until_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let (file, routes) = (folder.path().join("listeners.json"), folder.path().join("routes.json"));
    let gateway = serving(&file, answering("old")).await;
    let first = gateway.address();
    // The file is there; the routes that are looked for are not.
    replace(&routes, json!([]));

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    replace(&file, json!([listener(free, routed_by(&routes))]));
    gateway.prints("routes").await;
    gateway.stat_becomes("listener_manager.listener_modified", 1).await;
    assert_eq!(says(first).await, "old");
    assert!(get(free, "/").await.is_err());

    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "new"}}});
    let hosts = json!([{"name": "all", "domains": ["*"], "routes": [route]}]);
    let kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    replace(&routes, json!([{"@type": kind, "name": "routes", "virtual_hosts": hosts}]));
    eventually("it has moved", async || says(free).await == "new").await;
    eventually("it has left", async || get(first, "/").await.is_err()).await;
}

#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_served_although_the_listener_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("listeners.json");
    replace(&file, json!([listener(([127, 0, 0, 1], 0).into(), answering("old"))]));
    let limits = json!({"vm_config": {"environment_variables": {"key_values": {"WEIR_CALLBACK_TIMEOUT": "2s"}}}});
    let busy = Hcm::new().wasm_with("chaos", "", limits).routes(json!([]));
    let lds = json!({"dynamic_resources": {"lds_config": {"path_config_source": {"path": file}}}});
    let gateway = Gateway::weir(Bootstrap::new().listener("busy", busy).set(lds)).await;
    let address = gateway.listener("main");
    let before = gateway.processor_time();
    let mut first = Client::connect(gateway.listener("busy")).await;
    first.send("GET / HTTP/1.1\r\nhost: a\r\nx-chaos: loop@request\r\n\r\n").await;
    eventually("the only worker is in the guest", async || gateway.processor_time() > before + 0.5).await;

    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(address).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        waiting.push(client);
    }
    replace(&file, json!([]));
    gateway.stat_becomes("listener_manager.total_listeners_active", 1).await;

    for mut client in waiting {
        assert_eq!(client.response().await.text(), "old");
    }
    assert_eq!(first.response().await.status, 503);
}

#[tokio::test]
async fn a_file_that_a_refused_listener_named_counts_for_the_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let [file, one, two] = ["listeners.json", "one.json", "two.json"].map(|name| folder.path().join(name));
    for (file, text) in [(&one, "one"), (&two, "two")] {
        let answer = json!({"status": 200, "body": {"inline_string": text}});
        let hosts = json!([{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": answer}]}]);
        let routes = json!({"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "routes", "virtual_hosts": hosts});
        replace(file, json!([routes]));
    }
    let gateway = serving(&file, routed_by(&one)).await;
    assert_eq!(says(gateway.address()).await, "one");
    let any = ([127, 0, 0, 1], 0).into();

    let refused = routed_by(&two).set(json!({"no_such_field": 1}));
    replace(&file, json!([listener(any, refused)]));
    gateway.stat_becomes("listener_manager.lds.update_rejected", 1).await;
    assert_eq!(says(gateway.address()).await, "one");
    replace(&file, json!([listener(any, routed_by(&two))]));

    eventually("the routes of the other file", async || says(gateway.address()).await == "two").await;
}

#[tokio::test]
async fn one_that_cannot_be_bound_is_not_active_and_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("listeners.json");
    let gateway = serving(&file, answering("old")).await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut new = listener(other.local_addr().unwrap(), answering("new"));
    new["name"] = "new".into();
    let states = async || {
        let dump = gateway.admin("/config_dump?resource=dynamic_listeners&name_regex=new").await.text();
        let dump: Value = serde_json::from_str(&dump).unwrap();
        let config = &dump["configs"][0];
        let reason = config["error_state"]["details"].as_str().unwrap_or_default().to_owned();
        (config["active_state"].is_object(), reason)
    };
    let began = Instant::now();

    replace(&file, json!([listener(([127, 0, 0, 1], 0).into(), answering("old")), new]));

    gateway.stat_becomes("listener_manager.lds.update_rejected", 1).await;
    let (is_active, reason) = states().await;
    assert!(!is_active && reason.starts_with("resources[1].address: cannot bind 127.0.0.1:"), "{reason}");
    eventually("it was tried twice more", async || began.elapsed() > Duration::from_secs(2)).await;
    drop(other);
    eventually("it is active", async || states().await == (true, String::new())).await;
    let counted = async |name: &str| gateway.stat(&format!("listener_manager.{name}")).await.unwrap();
    assert_eq!((counted("listener_create_failure").await, counted("listener_create_success").await), (1, 2));
    assert_eq!((counted("lds.update_attempt").await, counted("lds.update_success").await), (2, 1));
    assert_eq!(counted("lds.update_rejected").await, 1);
}
