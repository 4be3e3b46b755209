//! Which formats of access logs can be used.

use crate::case::get;
use crate::run::compare;
use crate::setup::Setup;
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

/// Operators in fields that are added to requests and to answers.
#[tokio::test]
async fn in_header_fields() {
    let added = |name: &str, value: &str| json!({"header": {"key": name, "value": value}});
    let host = json!([{
        "name": "all",
        "domains": ["*"],
        "response_headers_to_add": [added("x-details", "%RESPONSE_CODE_DETAILS%")],
        "request_headers_to_add": [
            added("x-q", "[%QUERY_PARAM(a)%][%QUERY_PARAM(a):2%]"),
            added("x-attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        ],
        "routes": [
            {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}},
            {"match": {"prefix": "/moved"}, "redirect": {"path_redirect": "/there"}},
            {"match": {"prefix": "/missing"}, "route": {"cluster": "missing"}},
            {"match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "a"}},
        ],
    }]);
    let hcm = Hcm::new().virtual_hosts(host).set(json!({"route_config": {"validate_clusters": false}}));
    let cases = vec![
        get("encoded", "/?a=x%20y%2B+z", ""),
        get("an encoded name", "/?b=1&%61=2", ""),
        get("no digits", "/?a=%zz%4", ""),
        get("the end of digits", "/?a=%4", ""),
        get("a percent sign alone", "/?a=%", ""),
        get("small digits", "/?a=%c3%a4%2f", ""),
        get("encoded twice", "/?a=%2541", ""),
        get("an encoded ampersand", "/?a=1%262&a=3", ""),
        get("no value", "/?a", ""),
        get("an empty value", "/?a=", ""),
        get("no such parameter", "/?b=1", ""),
        get("a direct response", "/direct", ""),
        get("a redirect", "/moved", ""),
        get("no cluster", "/missing", ""),
        get("an endpoint that refuses", "/refused", ""),
    ];
    compare(Setup::main(hcm), cases).await;
}
