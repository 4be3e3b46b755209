//! Who ended a connection, as both count it.

use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use weir_tests::{
    Authority, Bootstrap, Client, Gateway, H2Client, Hcm, Kind, Launch, Reply, TlsClient, Upstream, client_hello,
    eventually, typed,
};

type Counts = BTreeMap<String, u64>;

/// Deeds of clients, one after the other; each ends its connection, or waits for its end.
const DEEDS: [&str; 8] = [
    "leaves after an answer",
    "leaves at once",
    "leaves in a head",
    "leaves while it waits",
    "asks for the end and leaves",
    "asks for the end and stays",
    "sends nonsense and stays",
    "leaves HTTP/2 after an answer",
];

async fn does(deed: &str, gateway: &Gateway, upstream: &Upstream) {
    let before = upstream.seen().len();
    let is_there = async || eventually("it is at the upstream", async || upstream.seen().len() > before).await;
    if deed.contains("HTTP/2") {
        let mut client = H2Client::connect(gateway.address()).await;
        client.get("/").await;
        return;
    }
    let mut client = Client::connect(gateway.address()).await;
    match deed {
        "leaves after an answer" => drop(client.get("/").await),
        "leaves in a head" => client.send("GET / HTTP/1.1\r\nhost:").await,
        "leaves while it waits" => {
            client.send("GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await;
            is_there().await;
        }
        "asks for the end and leaves" | "asks for the end and stays" => {
            client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            client.response().await;
        }
        "sends nonsense and stays" => {
            client.send("nonsense\r\n\r\n").await;
            client.response().await;
        }
        _ => {}
    }
    if deed.ends_with("stays") {
        // Its end of the connection is open until the gateway has given up.
        gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
    }
}

async fn counts(gateway: &Gateway) -> Counts {
    let stats = gateway.admin("/stats?filter=downstream_cx_(destroy|delayed|total|ssl_total)").await.text();
    let lines = stats.lines().filter_map(|line| line.strip_prefix("http.test.")?.split_once(": "));
    lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

async fn after_each(kind: Kind) -> Vec<Counts> {
    let upstream =
        Upstream::answering(|seen, _| if seen.path() == "/never" { Reply::never() } else { Reply::ok("") }).await;
    let hcm = Hcm::new().set(json!({"delayed_close_timeout": "0.2s"}));
    let gateway = Launch::new(kind, Bootstrap::serving(hcm, upstream.address)).start().await;
    let mut all = Vec::new();
    for deed in DEEDS {
        let total = gateway.stat("http.test.downstream_cx_total").await.unwrap_or(0);
        does(deed, &gateway, &upstream).await;
        let came = async || gateway.stat("http.test.downstream_cx_total").await.unwrap_or(0) > total;
        eventually("the connection is counted", came).await;
        gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
        all.push(counts(&gateway).await);
    }
    all
}

#[tokio::test]
async fn of_connections() {
    let (envoy, weir) = tokio::join!(after_each(Kind::Envoy), after_each(Kind::Weir));
    let mut differ = Vec::new();
    for ((deed, envoy), weir) in DEEDS.iter().zip(&envoy).zip(&weir) {
        for (name, value) in envoy.iter().filter(|(name, value)| weir.get(*name) != Some(value)) {
            differ.push(format!("{deed}: {name}: envoy {value}, weir {:?}", weir.get(name)));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Connections that never carry a request: their handshake fails, or a network filter closes them.
async fn after_what_is_not_served(kind: Kind) -> Vec<(&'static str, Counts)> {
    let authority = Authority::new("root");
    let identity = authority.issue(&["a.example"]);
    let pair = json!({"certificate_chain": {"inline_string": identity.certificate}, "private_key": {"inline_string": identity.key}});
    let context = json!({
        "require_client_certificate": true,
        "common_tls_context": {"tls_certificates": [pair], "validation_context": {"trusted_ca": {"inline_string": authority.pem}}},
    });
    let context = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
    let limit = json!({"stat_prefix": "limit", "max_connections": 1});
    let limit = typed("envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", limit);
    let answers = || Hcm::new().routes(json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]));
    let bootstrap = Bootstrap::new()
        .listener_value(json!({"name": "tls", "filter_chains": [{
            "filters": [answers().filter_value()],
            "transport_socket": {"name": "tls", "typed_config": context},
            "transport_socket_connect_timeout": "0.3s",
        }]}))
        .listener_value(json!({"name": "limited", "filter_chains": [{
            "filters": [{"name": "limit", "typed_config": limit}, answers().filter_value()],
        }]}));
    let gateway = Launch::new(kind, bootstrap).start().await;
    let (secured, limited) = (gateway.listener("tls"), gateway.listener("limited"));
    let hello = client_hello(&authority, "a.example").await;
    let mut all = Vec::new();
    for deed in ["nonsense", "no certificate", "leaves", "leaves in the handshake", "halts in the handshake"] {
        let total = gateway.stat("http.test.downstream_cx_total").await.unwrap_or(0);
        match deed {
            "no certificate" => {
                // TLS 1.3: the client believes that it is through, and is told later.
                if let Ok(mut client) = Client::tls(secured, &TlsClient::trusting(&authority), "a.example").await {
                    client.end(Duration::from_secs(4)).await;
                }
            }
            deed => {
                let mut client = Client::connect(secured).await;
                match deed {
                    "nonsense" => client.send("nonsense\r\n\r\n").await,
                    "leaves" => {}
                    _ => client.send(&hello).await,
                }
                if !deed.starts_with("leaves") {
                    client.end(Duration::from_secs(4)).await;
                }
            }
        }
        let came = async || gateway.stat("http.test.downstream_cx_total").await.unwrap_or(0) > total;
        eventually("the connection is counted", came).await;
        gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
        all.push((deed, counts(&gateway).await));
    }
    let held = Client::connect(limited).await;
    gateway.stat_becomes("http.test.downstream_cx_active", 1).await;
    Client::connect(limited).await.end(Duration::from_secs(4)).await;
    drop(held);
    gateway.stat_becomes("http.test.downstream_cx_active", 0).await;
    all.push(("closed by a network filter", counts(&gateway).await));
    all
}

#[tokio::test]
async fn of_what_is_not_served() {
    let (envoy, weir) = tokio::join!(after_what_is_not_served(Kind::Envoy), after_what_is_not_served(Kind::Weir));
    assert_eq!(weir, envoy, "weir, envoy");
}
