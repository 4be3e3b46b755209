//! What becomes of listeners of a source after `/drain_listeners`.

use serde_json::json;
use std::path::Path;
use weir_tests::{Bootstrap, Client, Gateway, Hcm, Kind, Launch, Upstream, eventually, socket_address, typed};

/// Lets the source have these listeners, each with a `stat_prefix`, and waits until that is taken.
async fn lists(gateway: &Gateway, file: &Path, listeners: &[(&str, &str)]) {
    let taken = async || gateway.stat("listener_manager.lds.update_success").await.unwrap();
    let before = taken().await;
    write(file, listeners);
    eventually("the update is taken", async || taken().await > before).await;
}

fn write(file: &Path, listeners: &[(&str, &str)]) {
    let listener = |&(name, prefix): &(&str, &str)| {
        let direction = if name.starts_with("in") { "INBOUND" } else { "OUTBOUND" };
        let hcm = Hcm::new().set(json!({"stat_prefix": prefix}));
        let listener = json!({
            "name": name,
            "traffic_direction": direction,
            "address": socket_address(([127, 0, 0, 1], 0).into()),
            "filter_chains": [{"filters": [hcm.filter_value()]}],
        });
        typed("envoy.config.listener.v3.Listener", listener)
    };
    let resources: Vec<_> = listeners.iter().map(listener).collect();
    let new = file.with_extension("new");
    std::fs::write(&new, json!({"resources": resources}).to_string()).unwrap();
    std::fs::rename(new, file).unwrap();
}

async fn drain(gateway: &Gateway, how: &str) {
    let mut client = Client::connect(gateway.admin).await;
    let request = format!("POST /drain_listeners{how} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n");
    client.send(request.as_bytes()).await;
    assert_eq!(client.response().await.status, 200);
}

/// What the gateway tells of its listeners.
async fn told(gateway: &Gateway) -> String {
    let mut lines = Vec::new();
    for name in
        ["listener_added", "listener_modified", "listener_removed", "listener_stopped", "total_listeners_active"]
    {
        lines.push(format!("{name} {:?}", gateway.stat(&format!("listener_manager.{name}")).await));
    }
    let listeners = gateway.admin("/listeners").await.text();
    let mut names: Vec<_> = listeners.lines().filter_map(|line| line.split("::").next()).collect();
    names.sort_unstable();
    lines.push(names.join(","));
    lines.join("; ")
}

/// A step of the story; waits for what `expected` says of it, as listeners follow an update a moment later.
async fn step(gateway: &Gateway, story: &mut Vec<String>, expected: &[String]) {
    if let Some(expected) = expected.get(story.len()) {
        eventually(expected, async || told(gateway).await == *expected).await;
    }
    story.push(told(gateway).await);
}

async fn story(kind: Kind, expected: &[String]) -> Vec<String> {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lds.json");
    write(&file, &[("m1", "old"), ("in1", "old")]);
    let lds = json!({"path_config_source": {"path": file}});
    let bootstrap =
        Bootstrap::new().cluster("a", upstream.address).set(json!({"dynamic_resources": {"lds_config": lds}}));
    let gateway = Launch::new(kind, bootstrap).start().await;
    let mut story = Vec::new();
    step(&gateway, &mut story, expected).await;

    drain(&gateway, "?inboundonly").await;
    let stopped = async |count| {
        eventually("listeners are stopped", async || {
            gateway.stat("listener_manager.listener_stopped").await == Some(count)
        })
        .await;
    };
    stopped(1).await;
    step(&gateway, &mut story, expected).await;
    lists(&gateway, &file, &[("m1", "new"), ("in1", "new"), ("in2", "new")]).await;
    step(&gateway, &mut story, expected).await;
    drain(&gateway, "").await;
    stopped(2).await;
    step(&gateway, &mut story, expected).await;
    lists(&gateway, &file, &[("m1", "newer"), ("m2", "new")]).await;
    step(&gateway, &mut story, expected).await;
    lists(&gateway, &file, &[("m2", "new")]).await;
    step(&gateway, &mut story, expected).await;
    if kind == Kind::Weir {
        gateway.prints("not taken, for listeners were drained: in1, in2").await;
        gateway.prints("not taken, for listeners were drained: m1, m2").await;
    }
    story
}

#[tokio::test]
async fn no_other_version_is_taken() {
    let envoys = story(Kind::Envoy, &[]).await;
    assert_eq!(story(Kind::Weir, &envoys).await, envoys);
}
