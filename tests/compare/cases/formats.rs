//! Which formats of access logs can be used.

use serde_json::json;
use std::process::{Command, Output};
use weir_tests::{Bootstrap, Hcm, envoy_binary, typed, weir_binary};

const FORMATS: [&str; 30] = [
    "%REQ(:/x)%",
    "%REQ(:x)%",
    "%REQ(:PATH)%",
    "%REQ(:)%",
    "%REQ(::a)%",
    "%REQ(a:b)%",
    "%REQ(a b)%",
    "%REQ( a)%",
    "%REQ(a/b)%",
    "%REQ(ä)%",
    "%REQ(\")%",
    "%REQ(a,b)%",
    "%REQ(a#$!'*+.^`|~-b_c&d)%",
    "%REQ(a?b)%",
    "%REQ(a?:/x)%",
    "%REQ(:/x?a)%",
    "%REQ(a?b?c)%",
    "%REQ%",
    "%REQ()%",
    "%REQUEST_HEADER(a):3%",
    "%REQUEST_HEADER(:/x)%",
    "%RESP(:status)%",
    "%RESP(:/x)%",
    "%RESP(a?b c)%",
    "%RESPONSE_HEADER(a)%",
    "%TRAILER(x)%",
    "%TRAILER(:/x)%",
    "%TRAILER(a b)%",
    "%RESPONSE_TRAILER(a)%",
    "%QUERY_PARAM(a b)%",
];

fn bootstrap(format: &str) -> Bootstrap {
    let log = json!({"path": "/dev/null", "log_format": {"text_format_source": {"inline_string": format}}});
    let log =
        json!({"name": "file", "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", log)});
    let route = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    Bootstrap::new().listener("main", Hcm::new().routes(route).set(json!({"access_log": [log]})))
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_cannot_be_a_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    let mut differ = Vec::new();
    for format in FORMATS {
        std::fs::write(&file, bootstrap(format).0.to_string()).unwrap();
        let envoy = Command::new(envoy_binary()).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
        let weir = Command::new(weir_binary()).arg("check").arg(&file).output().unwrap();
        if envoy.status.success() != weir.status.success() {
            differ.push(format!("{format}\nenvoy: {}\nweir: {}", printed(&envoy), printed(&weir)));
        }
        let place = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.access_log[0].typed_config.log_format";
        assert!(weir.status.success() || printed(&weir).contains(place), "{}", printed(&weir));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n\n"));
}
