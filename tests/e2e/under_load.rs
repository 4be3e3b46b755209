//! Changes under load: no request fails, no connection is closed for them.

use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use weir_tests::{Authority, Bootstrap, Client, Gateway, Hcm, TlsClient, Upstream, eventually, typed};

const CHANGES: usize = 20;
const CONNECTIONS: usize = 8;

/// Clients that ask without a pause, each on one connection for all its life.
struct Load {
    stop: Rc<Cell<bool>>,
    /// How many answers came, and how many of the newest change.
    answers: Rc<Cell<usize>>,
    newest: Rc<Cell<usize>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(clients: Vec<Client>) -> Self {
        let (stop, answers, newest) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks = clients
            .into_iter()
            .map(|mut client| {
                let (stop, answers, newest) = (stop.clone(), answers.clone(), newest.clone());
                spawn_local(async move {
                    while !stop.get() {
                        // Panics when the connection was closed: that is the test.
                        let answer = client.get("/").await;
                        assert_eq!(answer.status, 200, "{answer:?}");
                        assert!(!answer.says_close(), "{answer:?}");
                        answers.set(answers.get() + 1);
                        let version = answer.header("x-version").and_then(|text| text.parse().ok()).unwrap_or(0);
                        newest.set(newest.get().max(version));
                    }
                })
            })
            .collect();
        Self { stop, answers, newest, tasks }
    }

    async fn more_answers(&self, count: usize) {
        let goal = self.answers.get() + count;
        eventually("answers keep coming", async || self.answers.get() >= goal).await;
    }

    async fn stop(self) -> usize {
        self.stop.set(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.answers.get()
    }
}

async fn connect(gateway: &Gateway) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(gateway.address()).await);
    }
    clients
}

fn routes(version: usize) -> Value {
    let add = json!([{"header": {"key": "x-version", "value": version.to_string()}}]);
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "a"}, "response_headers_to_add": add});
    let hosts = json!([{"name": "all", "domains": ["*"], "routes": [route]}]);
    let routes = json!({"name": "routes", "virtual_hosts": hosts});
    json!({"resources": [typed("envoy.config.route.v3.RouteConfiguration", routes)]})
}

#[tokio::test]
async fn twenty_changes_of_routes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    let write = |version: usize| {
        let new = file.with_extension("new");
        std::fs::write(&new, routes(version).to_string()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write(0);
    let upstream = Upstream::start().await;
    let source = json!({"resource_api_version": "V3", "path_config_source": {"path": file}});
    let hcm =
        Hcm::new().set(json!({"route_config": null, "rds": {"route_config_name": "routes", "config_source": source}}));
    let gateway = Gateway::weir(Bootstrap::serving(hcm, upstream.address)).await;

    let work = async {
        let load = Load::start(connect(&gateway).await);
        for version in 1..=CHANGES {
            write(version);
            eventually("the change takes effect", async || load.newest.get() == version).await;
        }
        load.more_answers(100).await;
        let answers = load.stop().await;
        assert!(answers > CHANGES, "{answers}");
    };
    LocalSet::new().run_until(work).await;

    assert_eq!(gateway.stat("http.test.downstream_cx_total").await, Some(CONNECTIONS as u64));
    assert_eq!(upstream.seen().iter().filter(|seen| !seen.complete).count(), 0);
}

#[tokio::test]
async fn twenty_changes_of_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("root");
    let secret = folder.path().join("secret.json");
    let rotate = |version: usize| {
        let (certificate, key) = authority
            .issue(&["test.example", &format!("v{version}.example")])
            .write(folder.path(), &format!("v{version}"));
        let pair = json!({"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}});
        let message = typed(
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            json!({"name": "server", "tls_certificate": pair}),
        );
        let new = secret.with_extension("new");
        std::fs::write(&new, json!({"resources": [message]}).to_string()).unwrap();
        std::fs::rename(&new, &secret).unwrap();
    };
    rotate(0);
    let upstream = Upstream::start().await;
    let source = json!({"resource_api_version": "V3", "path_config_source": {"path": secret}});
    let context = json!({"common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "server", "sds_config": source}]}});
    let socket = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
    let chain = json!({
        "filters": [Hcm::new().filter_value()],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": socket},
    });
    let bootstrap = Bootstrap::new()
        .listener_value(json!({"name": "main", "filter_chains": [chain]}))
        .cluster("a", upstream.address);
    let gateway = Gateway::weir(bootstrap).await;
    let tls = TlsClient::trusting(&authority);

    let work = async {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(Client::tls(gateway.address(), &tls, "test.example").await.unwrap());
        }
        let load = Load::start(clients);
        for version in 1..=CHANGES {
            rotate(version);
            let name = format!("v{version}.example");
            eventually("a new handshake sees the new certificate", async || {
                // By the old certificate the handshake fails at the client, for the name; by no certificate at the gateway.
                let old_or_new = TlsClient::trusting(&authority);
                assert!(
                    Client::tls(gateway.address(), &old_or_new, "test.example").await.is_ok(),
                    "a handshake failed"
                );
                Client::tls(gateway.address(), &tls, &name).await.is_ok()
            })
            .await;
        }
        load.more_answers(100).await;
        load.stop().await;
    };
    LocalSet::new().run_until(work).await;
}
