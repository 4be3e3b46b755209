#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::net::SocketAddr;

use http::Method;
use serde_json::Value;
use tokio::sync::Mutex;

use super::*;
use crate::control::{Command, Drain, Listening};
use crate::plugin::Plugins;
use crate::snapshot::Publisher;
use crate::snapshot::{PublisherSettings, STATIC, Update};
use crate::telemetry::access_log::Sinks;
use crate::telemetry::log::{Level, LogControl};

struct Fixture {
    admin: Parts,
    publisher: Arc<Mutex<Publisher>>,
    asked: RefCell<Option<Asked>>,
    commands: tokio::sync::mpsc::UnboundedReceiver<Command>,
}

const CLUSTER: &str = r#"{"name": "up", "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [
    {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}}]}]}}"#;

fn fixture() -> Fixture {
    let registry = Registry::new(1);
    let (control, commands) = Control::new(1, LogControl::detached());
    let store = Arc::new(SnapshotStore::default());
    let plugins = Plugins::new(Arc::clone(&registry), Default::default(), weir_wasm::EngineSettings::default());
    let access_logs = Arc::new(Sinks::dry(&registry));
    let settings = PublisherSettings { registry: Arc::clone(&registry), plugins, access_logs };
    let mut publisher = Publisher::new(settings, Arc::clone(&store));
    let resource = |source: &str, text: &str| {
        let resource = weir_xds::read_resource(weir_xds::Kind::Cluster, text);
        Update { source: source.into(), kind: weir_xds::Kind::Cluster, resources: vec![resource] }
    };
    let broken = CLUSTER.replace("\"up\"", "\"broken\"").replace("127.0.0.1", "nowhere.example");
    let report = publisher.publish(vec![resource(STATIC, CLUSTER), resource("/etc/cds.yaml", &broken)]);
    assert_eq!((report.accepted, report.rejected.len()), (1, 1), "{report:?}");
    let (questions, asked) = Questions::new();
    let bootstrap = weir_xds::read_bootstrap("node: {id: me}\nadmin: {}\n").bytes;
    let admin = Parts { control, registry, store, bootstrap, give_back: || (), questions };
    Fixture { admin, publisher: Arc::new(Mutex::new(publisher)), asked: RefCell::new(Some(asked)), commands }
}

impl Fixture {
    fn get(&self, path: &str) -> (u16, String) {
        self.ask(Method::GET, path)
    }

    fn post(&self, path: &str) -> (u16, String) {
        self.ask(Method::POST, path)
    }

    fn ask(&self, method: Method, path: &str) -> (u16, String) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut asked = self.asked.take().unwrap();
        let reply = runtime.block_on(async {
            tokio::select! {
                reply = paths::answer(&self.admin, &method, path, query) => reply,
                () = asked.answer(&self.publisher) => unreachable!("the fixture can ask"),
            }
        });
        self.asked.replace(Some(asked));
        reply.parts()
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[test]
fn readiness_says_what_is_missing() {
    let fixture = fixture();
    let control = &fixture.admin.control;
    let (status, body) = fixture.get("/ready");
    assert_eq!((status, body.lines().next()), (503, Some("PRE_INITIALIZING")));
    control.unblock("start");
    control.block("listener main", "waits for routes r");
    assert_eq!(fixture.get("/ready"), (503, "INITIALIZING\nlistener main: waits for routes r\n".to_owned()));
    control.unblock("listener main");
    assert_eq!(fixture.get("/ready"), (200, "LIVE\n".to_owned()));
    assert_eq!(fixture.post("/healthcheck/fail").0, 200);
    assert_eq!(fixture.get("/ready"), (503, "DRAINING\n".to_owned()));
    assert_eq!(fixture.post("/healthcheck/ok").0, 200);
    assert_eq!(fixture.json("/server_info")["state"], "LIVE");
}

#[test]
fn what_changes_something_needs_post() {
    let mut fixture = fixture();
    for path in
        ["/quitquitquit", "/drain_listeners", "/logging", "/healthcheck/fail", "/reset_counters", "/reopen_logs"]
    {
        assert_eq!(fixture.get(path), (405, "Method GET not allowed, POST required.".to_owned()), "{path}");
    }
    assert!(fixture.commands.try_recv().is_err());
    for path in ["/drain_listeners?graceful", "/reopen_logs", "/quitquitquit"] {
        assert_eq!(fixture.post(path), (200, "OK\n".to_owned()), "{path}");
    }
    let graceful = Drain { graceful: true, ..Drain::default() };
    for command in [Command::DrainListeners(graceful), Command::ReopenLogs, Command::Quit] {
        assert_eq!(fixture.commands.try_recv(), Ok(command));
    }
    assert_eq!(fixture.post("/drain_listeners?skip_exit").0, 200);
    let announce = Drain { graceful: true, skip_exit: true, ..Drain::default() };
    assert_eq!(fixture.commands.try_recv(), Ok(Command::DrainListeners(announce)));
    assert_eq!(fixture.post("/drain_listeners?inboundonly").0, 200);
    let inbound = Drain { inbound_only: true, ..Drain::default() };
    assert_eq!(fixture.commands.try_recv(), Ok(Command::DrainListeners(inbound)));
    let (status, body) = fixture.get("/nope");
    assert!(status == 404 && body.starts_with("invalid path. admin commands are:\n"));
}

#[test]
fn the_log_level_can_be_changed() {
    let fixture = fixture();
    assert_eq!(fixture.post("/logging"), (200, "active loggers:\n  weir: info\n".to_owned()));
    assert_eq!(fixture.post("/logging?level=debug"), (200, "active loggers:\n  weir: debug\n".to_owned()));
    assert_eq!(fixture.admin.control.log().level(), Level::Debug);
    assert_eq!(fixture.post("/logging?level=loud").0, 400);
    assert_eq!(fixture.post("/logging?http=debug").0, 400);
}

#[test]
fn stats_in_all_forms() {
    let fixture = fixture();
    let (status, text) = fixture.get("/stats?usedonly");
    assert_eq!(status, 200);
    assert!(text.contains("cluster.up.membership_total: 1\n") && text.contains("server.concurrency: 1\n"), "{text}");
    assert_eq!(fixture.get("/stats?filter=server.live"), (200, "server.live: 0\n".to_owned()));
    assert!(fixture.json("/stats?format=json")["stats"].is_array());
    let (_, metrics) = fixture.get("/stats/prometheus?usedonly");
    assert!(metrics.contains("\nenvoy_cluster_membership_total{envoy_cluster_name=\"up\"} 1\n"), "{metrics}");
    assert_eq!(fixture.get("/stats?format=prometheus&usedonly").0, 200);
    assert_eq!(fixture.get("/stats?format=xml").0, 400);
    let (status, text) = fixture.get("/stats?format=active-html");
    assert!(status == 400 && text.starts_with("Weir has no HTML"), "{text}");
    assert_eq!(fixture.get("/stats?filter=*").0, 400);
}

#[test]
fn the_configuration_is_shown_with_what_was_refused() {
    let fixture = fixture();
    let dump = fixture.json("/config_dump");
    let clusters = dump["configs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["@type"] == "type.googleapis.com/envoy.admin.v3.ClustersConfigDump");
    let clusters = clusters.unwrap();
    assert_eq!(clusters["static_clusters"][0]["cluster"]["name"], "up");
    assert_eq!(
        clusters["static_clusters"][0]["cluster"]["@type"],
        "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    );
    let refused = &clusters["dynamic_active_clusters"][0]["error_state"];
    assert_eq!(refused["failed_configuration"]["name"], "broken");
    assert!(refused["details"].as_str().unwrap().contains("nowhere.example"), "{refused}");
    let one = fixture.json("/config_dump?resource=static_clusters&name_regex=u.");
    assert_eq!(one["configs"][0]["@type"], "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster");
    assert_eq!(fixture.json("/config_dump?resource=static_clusters&name_regex=u"), serde_json::json!({}));
    assert_eq!(fixture.get("/config_dump?resource=nope").0, 404);
    let bootstrap = &dump["configs"][0];
    assert_eq!(bootstrap["@type"], "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump");
    assert_eq!(bootstrap["bootstrap"]["node"]["id"], "me");
    let masked = fixture.json("/config_dump?mask=bootstrap.node");
    assert_eq!(masked["configs"].as_array().unwrap().len(), 1);
    assert_eq!(masked["configs"][0]["bootstrap"], serde_json::json!({"node": {"id": "me"}}));
    let named = fixture.json("/config_dump?resource=static_clusters&mask=cluster.name");
    assert_eq!(named["configs"][0]["cluster"]["name"], "up");
    assert_eq!(named["configs"][0]["cluster"].as_object().unwrap().len(), 2);
    assert_eq!(fixture.get("/config_dump?resource=static_clusters&mask=cluster.nope").0, 400);
    assert_eq!(fixture.get("/config_dump?resource=bootstrap").0, 400);
    assert_eq!(fixture.get("/config_dump?mask=nope").0, 400);
    assert_eq!(fixture.json("/config_dump?resource=dynamic_warming_clusters"), serde_json::json!({}));
}

#[test]
fn clusters_and_listeners() {
    let fixture = fixture();
    let (_, text) = fixture.get("/clusters");
    for line in [
        "up::observability_name::up",
        "up::default_priority::max_connections::1024",
        "up::high_priority::max_retries::3",
        "up::added_via_api::false",
        "up::127.0.0.1:1::cx_active::0",
        "up::127.0.0.1:1::health_flags::healthy",
        "up::127.0.0.1:1::priority::0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    assert_eq!(fixture.get("/clusters?filter=zz"), (200, String::new()));
    let json = fixture.json("/clusters?format=json");
    let host = &json["cluster_statuses"][0]["host_statuses"][0];
    assert_eq!(host["address"]["socket_address"]["port_value"], 1);
    assert_eq!(host["health_status"]["eds_health_status"], "HEALTHY");

    let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    fixture.admin.control.set_listening("main", Some(Listening { address }));
    assert_eq!(fixture.get("/listeners"), (200, "main::127.0.0.1:8080\n".to_owned()));
    assert_eq!(fixture.json("/listeners?format=json")["listener_statuses"][0]["name"], "main");
    assert_eq!(fixture.json("/certs"), serde_json::json!({"certificates": []}));
    assert!(fixture.get("/").1.contains("<a href=\"stats\">/stats</a>"));
    assert!(fixture.get("/help").1.contains("  /quitquitquit (POST): exit the server\n"));
    assert_ne!(fixture.json("/memory")["total_physical_bytes"], "0");
}

#[test]
fn it_is_served_over_http() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Fixture { admin, .. } = fixture();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let running = start("127.0.0.1:0".parse().unwrap(), admin.clone()).unwrap();
        let address = running.address;
        let ask = async |request: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = ask("GET /stats?filter=server.live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\nserver: weir\r\n"), "{answer}");
        assert!(answer.contains("server.live: 0\n"), "{answer}");
        let answer = ask("HEAD /help HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("content-length: "), "{answer}");
        assert!(ask("GARBAGE\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        running.stop();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }));
}
