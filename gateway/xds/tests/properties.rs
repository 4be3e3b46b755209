//! What holds for every text, however hostile: `make soak` tries many more of them.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use weir_xds::{BOOTSTRAP, decode, read_bootstrap};

const WORDS: &[&str] = &[
    "static_resources:",
    "listeners:",
    "clusters:",
    "name:",
    "typed_config:",
    "\"@type\":",
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "address:",
    "port_value:",
    "1s",
    "-1",
    "1e99",
    "0x10",
    ".nan",
    "~",
    "null",
    "true",
    "- ",
    "-",
    "? ",
    ": ",
    "&a",
    "*a",
    "<<:",
    "!!binary",
    "|",
    ">-",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "\\",
    "#",
    "---",
    "...",
    "%YAML 1.2",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    "\r",
    "\u{0}",
    "\u{feff}",
    "\u{1f600}",
];

const KEYS: &[&str] = &[
    "static_resources",
    "staticResources",
    "clusters",
    "listeners",
    "name",
    "type",
    "connect_timeout",
    "load_assignment",
    "endpoints",
    "lb_endpoints",
    "cluster_name",
    "node",
    "id",
    "metadata",
    "admin",
    "address",
    "socket_address",
    "port_value",
    "circuit_breakers",
    "thresholds",
    "max_requests",
    "typed_extension_protocol_options",
    "@type",
    "value",
    "lb_policy",
    "dynamic_resources",
    "unknown",
];

/// Documents that are nearly bootstraps.
fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&["1s", "STATIC", "EDS", "0.25s", "a", "", "7", "127.0.0.1", "ROUND_ROBIN"][..])
            .prop_map(Value::from),
        "[a-z~ \\\\\"é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
        let fields = proptest::collection::vec((proptest::sample::select(KEYS), inner), 0..5);
        let map = fields
            .prop_map(|fields| Value::from(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>()));
        prop_oneof![list, map]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_reason(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let text = words.concat();
        for problem in read_bootstrap(&text).all_problems() {
            prop_assert!(!problem.reason.is_empty());
        }
    }

    /// JSON has a reader of its own for speed: it and the YAML one are of one mind.
    #[test]
    fn json_is_the_same_as_yaml(document in documents()) {
        let document = json!({"static_resources": document, "node": {"metadata": document}});
        let text = document.to_string();
        // A comment is no JSON.
        let (json, yaml) = (decode(&text, BOOTSTRAP), decode(&format!("{text} # yaml"), BOOTSTRAP));
        prop_assert_eq!(&json.problems, &yaml.problems);
        if json.problems.is_empty() {
            prop_assert_eq!(json.bytes, yaml.bytes);
        }
    }
}
