//! What the system refuses at a start is told with what to do about it.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;
use weir_tests::{Bootstrap, Hcm, Kind, Launch, socket_address, weir_binary};

/// Needs no cluster.
fn answering() -> Hcm {
    Hcm::new().routes(json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]))
}

async fn fails_with(launch: Launch, texts: &[&str]) {
    let exit = launch.run_to_exit().await;
    assert_eq!(exit.status.code(), Some(1), "{}", exit.output);
    for text in texts {
        assert!(exit.output.contains(text), "{text} is not in:\n{}", exit.output);
    }
}

#[tokio::test]
async fn a_taken_address_of_the_admin_or_of_a_listener() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let remedy = "another program listens there; stop it or choose another port";

    let admin = Bootstrap::new().set(json!({"admin": {"address": socket_address(taken)}}));
    let message = format!("weir: admin: cannot listen on {taken}: ");
    fails_with(Launch::new(Kind::Weir, admin), &[&message, remedy]).await;

    let filters = json!([{"filters": [answering().filter_value()]}]);
    let listener = json!({"name": "front", "address": socket_address(taken), "filter_chains": filters});
    let message = format!("weir: listener front: cannot bind {taken}: ");
    fails_with(Launch::new(Kind::Weir, Bootstrap::new().listener_value(listener)), &[&message, remedy]).await;
}

#[tokio::test]
async fn descriptors() {
    let bootstrap = Bootstrap::new().listener("main", answering());
    for (limit, what) in [(10, "admin: cannot listen on "), (20, "cannot start the workers: ")] {
        let launch = Launch::new(Kind::Weir, bootstrap.clone()).workers(4).descriptors(limit);
        fails_with(launch, &[&format!("weir: {what}"), "raise `ulimit -n`", "for each worker"]).await;
    }
}

/// That is no fault of the module.
#[tokio::test]
async fn addresses_for_plugins() {
    let hcm = answering().wasm("header_tag", r#"{"name": "x-tag", "value": "a"}"#);
    let launch = Launch::new(Kind::Weir, Bootstrap::new().listener("main", hcm)).addresses(3_000_000);
    let place =
        "typed_config.config.vm_config: the plugin does not start: the system refused addresses for an instance";
    fails_with(launch, &[place, "raise `ulimit -v`", "WEIR_WASM_INSTANCES", "WEIR_WASM_ALLOCATION=on-demand"]).await;
}

#[test]
fn the_file_for_the_admins_address() {
    let text = r#"{"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}}"#;
    let arguments = ["run", "--config-yaml", text, "--admin-address-path", "/nowhere/address"];
    let output = Command::new(weir_binary()).args(arguments).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("weir: --admin-address-path: cannot write /nowhere/address: "), "{printed}");
}
