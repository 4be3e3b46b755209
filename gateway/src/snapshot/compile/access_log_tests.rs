#![allow(clippy::unwrap_used)]

use serde_json::json;
use weir_xds::pb;

use super::*;
use crate::telemetry::metrics::Registry;

const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STDOUT: &str = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";

fn compiled(config: serde_json::Value) -> Result<AccessLog, Vec<String>> {
    let sinks = Sinks::dry(&Registry::new(1));
    let decoded = weir_xds::decode(&config.to_string(), "envoy.config.accesslog.v3.AccessLog");
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    let proto = <pb::accesslog::AccessLog as prost::Message>::decode(decoded.bytes.as_slice()).unwrap();
    let mut problems = Problems::new();
    let log = compile_access_log(&proto, &sinks, &mut problems);
    let problems: Vec<_> = problems.into_vec().iter().map(ToString::to_string).collect();
    log.filter(|_| problems.is_empty()).ok_or(problems)
}

#[test]
fn formats() {
    for typed_config in [
        json!({"@type": STDOUT}),
        json!({"@type": STDOUT, "log_format": {"json_format": {"a": "%PROTOCOL%", "n": 1.5}}}),
        json!({"@type": FILE, "path": "/dev/stderr", "format": "%PROTOCOL%"}),
        json!({"@type": FILE, "path": "log", "log_format": {"text_format_source": {"inline_string": "x"}}}),
    ] {
        let log = json!({"name": "log", "typed_config": typed_config});
        assert!(compiled(log.clone()).is_ok(), "{log}");
    }
}

#[test]
fn problems_have_paths() {
    let number = |value: u32| json!({"default_value": value, "runtime_key": "k"});
    let typed = json!({"@type": STDOUT, "log_format": {"text_format_source": {"inline_string": "%NOPE%"}}});
    let either = json!({"or_filter": {"filters": [
        {"status_code_filter": {"comparison": {"op": "GE", "value": number(500)}}},
        {"header_filter": {"header": {"name": "x", "string_match": {"exact": "y"}}}},
        {"traceable_filter": {}},
    ]}});
    assert_eq!(
        compiled(json!({"name": "log", "filter": either, "typed_config": typed})).unwrap_err(),
        [
            "filter.or_filter.filters[2].traceable_filter: tracing is not supported by Weir",
            "typed_config.log_format.text_format_source: unknown operator %NOPE%",
        ]
    );
    let absent = json!({"@type": FILE, "path": "/nonexistent/folder/log"});
    let problems = compiled(json!({"name": "log", "typed_config": absent})).unwrap_err();
    assert!(problems[0].starts_with("typed_config.path: cannot open the access log"), "{problems:?}");
    assert_eq!(
        compiled(json!({"name": "log"})).unwrap_err(),
        ["typed_config: an access log needs a typed_config: a FileAccessLog, StdoutAccessLog or StderrAccessLog"]
    );
}
