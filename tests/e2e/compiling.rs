//! Compiling a module takes long, and nothing waits for it but its own listener.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use weir_tests::{Bootstrap, Gateway, Hcm, Upstream, get, merge, socket_address, typed};

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn section(id: u8, count: usize, items: &[u8]) -> Vec<u8> {
    let content = [leb(count), items.to_vec()].concat();
    [vec![id], leb(content.len()), content].concat()
}

/// A module of so many functions that compiling it takes many seconds.
fn large_module() -> Vec<u8> {
    const FUNCTIONS: usize = 2000;
    // local.get 0, i32.const 7, i32.add, local.set 0; at last local.get 0.
    let code = [0x20, 0, 0x41, 7, 0x6a, 0x21, 0].repeat(2000);
    let body = [vec![0], code, vec![0x20, 0, 0x0b]].concat();
    let function = [leb(body.len()), body].concat();
    let types = section(1, 1, &[0x60, 1, 0x7f, 1, 0x7f]);
    let functions = section(3, FUNCTIONS, &[0; FUNCTIONS]);
    [b"\0asm\x01\0\0\0".to_vec(), types, functions, section(10, FUNCTIONS, &function.repeat(FUNCTIONS))].concat()
}

fn running(module: &Path) -> Value {
    let code = json!({"name": "large", "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}}});
    let filter = typed("envoy.extensions.filters.http.wasm.v3.Wasm", json!({"config": code}));
    let mut listener = json!({"name": "late", "address": socket_address(([127, 0, 0, 1], 0).into()),
        "filter_chains": [{"filters": [Hcm::new().filter("wasm", filter).filter_value()]}]});
    merge(&mut listener, json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}));
    listener
}

#[tokio::test]
async fn signals_and_requests_are_served_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (file, module) = (folder.path().join("lds.json"), folder.path().join("large.wasm"));
    std::fs::write(&file, json!({"resources": []}).to_string()).unwrap();
    std::fs::write(&module, large_module()).unwrap();
    let upstream = Upstream::start().await;
    let lds = json!({"dynamic_resources": {"lds_config": {"path_config_source": {"path": file}}}});
    let gateway = Gateway::weir(Bootstrap::serving(Hcm::new(), upstream.address).set(lds)).await;

    let new = folder.path().join("new.json");
    std::fs::write(&new, json!({"resources": [running(&module)]}).to_string()).unwrap();
    std::fs::rename(&new, &file).unwrap();
    gateway.prints("compiling a module").await;
    assert_eq!(get(gateway.address(), "/").await.unwrap().status, 200);
    assert_eq!(gateway.admin("/ready").await.status, 200);

    gateway.terminate();
    let exit = tokio::time::timeout(Duration::from_secs(60), gateway.exit()).await.expect("it ends");
    assert_eq!(exit.status.code(), Some(0));
    assert!(!exit.output.contains("late"), "it did not wait for the listener: {}", exit.output);
}
