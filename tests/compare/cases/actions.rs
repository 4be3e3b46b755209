//! What a route does: redirects, direct responses, clusters, rewrites, headers.

use crate::case::{Case, case, get};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::Hcm;

/// A route for `/NAME` that goes to cluster `a` with these fields of its action.
fn to_a(name: &str, action: Value) -> Value {
    let mut action = action;
    action["cluster"] = "a".into();
    json!({"name": name, "match": {"prefix": format!("/{name}")}, "route": action})
}

fn redirect(name: &str, action: Value) -> Value {
    json!({"name": name, "match": {"prefix": format!("/{name}")}, "redirect": action})
}

fn ask(names: &[&'static str]) -> Vec<Case> {
    names.iter().map(|name| get(name, &format!("/{name}/rest?query=1"), "")).collect()
}

#[tokio::test]
async fn redirects() {
    let regex = |substitution: &str| json!({"pattern": {"regex": "^/([^/]+)/(.*)$"}, "substitution": substitution});
    let routes = json!([
        redirect("https", json!({"https_redirect": true})),
        redirect("scheme", json!({"scheme_redirect": "ftp"})),
        redirect("host", json!({"host_redirect": "other.example"})),
        redirect("port", json!({"port_redirect": 8443})),
        redirect("port-443", json!({"https_redirect": true, "port_redirect": 443})),
        redirect("path", json!({"path_redirect": "/new"})),
        redirect("query-path", json!({"path_redirect": "/new?own=1"})),
        redirect("rewrite", json!({"prefix_rewrite": "/new"})),
        redirect("regex", json!({"regex_rewrite": regex("/\\2/\\1")})),
        redirect("to-nothing", json!({"regex_rewrite": {"pattern": {"regex": "^/to.*$"}, "substitution": ""}})),
        redirect("no-query", json!({"https_redirect": true, "strip_query": true})),
        redirect("found", json!({"host_redirect": "x", "response_code": "FOUND"})),
        redirect("see-other", json!({"host_redirect": "x", "response_code": "SEE_OTHER"})),
        redirect("temporary", json!({"host_redirect": "x", "response_code": "TEMPORARY_REDIRECT"})),
        redirect("permanent", json!({"host_redirect": "x", "response_code": "PERMANENT_REDIRECT"})),
        {"name": "headers", "match": {"prefix": "/headers"}, "redirect": {"host_redirect": "x"},
         "response_headers_to_add": [{"header": {"key": "x-added", "value": "%PROTOCOL%"}}]},
    ]);
    let names = [
        "https",
        "scheme",
        "host",
        "port",
        "port-443",
        "path",
        "query-path",
        "rewrite",
        "regex",
        "to-nothing",
        "no-query",
        "found",
        "see-other",
        "temporary",
        "permanent",
        "headers",
    ];
    let mut cases = ask(&names);
    let with_port = |name, path: &str| case(name, format!("GET {path} HTTP/1.1\r\nhost: test.example:8080\r\n\r\n"));
    cases.extend([
        with_port("https with a port", "/https/x"),
        with_port("host with a port", "/host/x"),
        with_port("port over a port", "/port/x"),
        with_port("path with a port", "/path/x"),
        case("https of an IPv6 host", "GET /https HTTP/1.1\r\nhost: [::1]:80\r\n\r\n"),
        case("HEAD", "HEAD /https HTTP/1.1\r\nhost: test.example\r\n\r\n"),
        case("POST", "POST /https HTTP/1.1\r\nhost: test.example\r\ncontent-length: 5\r\n\r\nhello"),
        get("https when it was https", "/https", "x-forwarded-proto: https\r\n"),
        get("a fragment", "/rewrite/x#fragment", ""),
        get("rewritten to nothing", "/rewrite", ""),
    ]);
    compare(Setup::main(Hcm::new().routes(routes)), cases).await;
}

#[tokio::test]
async fn direct_responses() {
    let direct = |name: &str, response: Value| json!({"name": name, "match": {"prefix": format!("/{name}")}, "direct_response": response});
    let routes = json!([
        direct("text", json!({"status": 200, "body": {"inline_string": "some text\n"}})),
        direct("bytes", json!({"status": 201, "body": {"inline_bytes": "AAEC"}})),
        direct("empty", json!({"status": 503})),
        direct("no-content", json!({"status": 204})),
        direct("teapot", json!({"status": 418, "body": {"inline_string": "short"}})),
        direct("large-status", json!({"status": 599})),
        {"name": "headers", "match": {"prefix": "/headers"}, "direct_response": {"status": 200, "body": {"inline_string": "{}"}},
         "response_headers_to_add": [{"header": {"key": "content-type", "value": "application/json"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
         "response_headers_to_remove": ["server", "date"]},
    ]);
    let mut cases = ask(&["text", "bytes", "empty", "no-content", "teapot", "large-status", "headers"]);
    cases.push(case("HEAD", "HEAD /text HTTP/1.1\r\nhost: test.example\r\n\r\n"));
    cases.push(case("POST", "POST /text HTTP/1.1\r\nhost: test.example\r\ncontent-length: 5\r\n\r\nhello"));
    let half = "POST /text HTTP/1.1\r\nhost: test.example\r\ncontent-length: 50\r\n\r\nhello";
    cases.push(case("a POST whose body has not come", half).unprobed());
    cases.push(case("close", "GET /text HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n"));
    compare(Setup::main(Hcm::new().routes(routes)), cases).await;
}

#[tokio::test]
async fn clusters() {
    let routes = json!([
        {"name": "weighted", "match": {"prefix": "/weighted"}, "route": {"weighted_clusters": {"clusters": [
            {"name": "a", "weight": 0}, {"name": "b", "weight": 100, "request_headers_to_add": [{"header": {"key": "x-weighted", "value": "yes"}}],
             "response_headers_to_add": [{"header": {"key": "x-from", "value": "b"}}], "request_headers_to_remove": ["x-drop"]}]}}},
        {"name": "refused", "match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
        {"name": "empty", "match": {"prefix": "/empty"}, "route": {"cluster": "empty"}},
        {"name": "unhealthy", "match": {"prefix": "/unhealthy"}, "route": {"cluster": "unhealthy"}},
        {"name": "priority", "match": {"prefix": "/priority"}, "route": {"cluster": "priority"}},
    ]);
    let endpoint = |port: &str, health: &str| json!({"health_status": health, "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}});
    let cluster = |name: &str, endpoints: Value| json!({"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {"cluster_name": name, "endpoints": endpoints}});
    let setup = Setup::main(Hcm::new().routes(routes))
        .cluster(cluster("empty", json!([])))
        .cluster(cluster(
            "unhealthy",
            json!([{"lb_endpoints": [endpoint("$a", "UNHEALTHY"), endpoint("$b", "HEALTHY")]}]),
        ))
        .cluster(cluster(
            "priority",
            json!([
            {"priority": 0, "lb_endpoints": [endpoint("$a", "UNHEALTHY")]},
            {"priority": 1, "lb_endpoints": [endpoint("$b", "HEALTHY")]}]),
        ));
    let cases = vec![
        get("by header", "/header", "x-cluster: b\r\n"),
        get("by header, unknown", "/header", "x-cluster: nowhere\r\n"),
        get("by header, none", "/header", ""),
        get("unknown is 404", "/not-found", "x-cluster: nowhere\r\n"),
        get("unknown is 500", "/internal", "x-cluster: nowhere\r\n"),
        get("by weight", "/weighted", "x-drop: 1\r\n"),
        get("refused", "/refused", ""),
        case("refused, a POST", "POST /refused HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"),
        case("refused, HEAD", "HEAD /refused HTTP/1.1\r\nhost: a\r\n\r\n"),
        get("without endpoints", "/empty", ""),
        get("an unhealthy endpoint is passed over", "/unhealthy", ""),
        get("the next priority takes over", "/priority", ""),
    ];
    compare(setup, cases).await;
}

#[tokio::test]
async fn rewrites() {
    let regex =
        |pattern: &str, substitution: &str| json!({"pattern": {"regex": pattern}, "substitution": substitution});
    let routes = json!([
        to_a("prefix", json!({"prefix_rewrite": "/new"})),
        to_a("slash", json!({"prefix_rewrite": "/"})),
        to_a("regex", json!({"regex_rewrite": regex("^/([^/]+)/(.*)$", "/\\2/\\1")})),
        to_a("all", json!({"regex_rewrite": regex("e", "E")})),
        to_a("empty", json!({"regex_rewrite": regex("^/e.*$", "")})),
        to_a("whole", json!({"regex_rewrite": regex("(r)(e)(g)", "<\\0>")})),
        to_a("literal-host", json!({"host_rewrite_literal": "new.example"})),
        to_a("header-host", json!({"host_rewrite_header": "x-host"})),
        to_a("path-host", json!({"host_rewrite_path_regex": regex("^/([^/]+)/.*$", "\\1.example")})),
        to_a("appended-host", json!({"host_rewrite_literal": "new.example", "append_x_forwarded_host": true})),
        to_a("auto-host", json!({"auto_host_rewrite": true})),
        {"name": "exact", "match": {"path": "/exact"}, "route": {"cluster": "a", "prefix_rewrite": "/other"}},
        {"name": "folded", "match": {"prefix": "/FOLDED", "case_sensitive": false}, "route": {"cluster": "a", "prefix_rewrite": "/new"}},
        {"name": "separated", "match": {"path_separated_prefix": "/separated"}, "route": {"cluster": "a", "prefix_rewrite": "/new"}},
    ]);
    let mut cases = ask(&[
        "prefix",
        "slash",
        "regex",
        "all",
        "empty",
        "whole",
        "literal-host",
        "header-host",
        "path-host",
        "appended-host",
        "auto-host",
        "folded",
        "separated",
    ]);
    cases.extend([
        get("prefix only", "/prefix", ""),
        get("prefix to a slash", "/slash", ""),
        get("a longer word", "/prefixed", ""),
        get("exact", "/exact?query", ""),
        get("host from a header", "/header-host", "x-host: from-header.example\r\n"),
        get("original path of the client", "/prefix", "x-envoy-original-path: /forged\r\n"),
        get("a host was appended before", "/appended-host", "x-forwarded-host: before.example\r\n"),
    ]);
    compare(Setup::main(Hcm::new().routes(routes)), cases).await;
}

#[tokio::test]
async fn headers() {
    let add = |key: &str, value: &str| json!({"header": {"key": key, "value": value}});
    let action = |key: &str, action: &str| json!({"header": {"key": key, "value": "new"}, "append_action": action});
    let to_add = json!([
        add("x-level", "route"),
        add("x-default", "route"),
        action("x-append", "APPEND_IF_EXISTS_OR_ADD"),
        action("x-if-absent", "ADD_IF_ABSENT"),
        action("x-overwrite", "OVERWRITE_IF_EXISTS_OR_ADD"),
        action("x-if-exists", "OVERWRITE_IF_EXISTS"),
        {"header": {"key": "x-old-append", "value": "new"}, "append": false},
        {"header": {"key": "x-empty", "value": ""}},
        {"header": {"key": "x-kept-empty", "value": ""}, "keep_empty_value": true},
        add("x-formatted", "%PROTOCOL% %REQ(:METHOD)% %REQ(x-given)% %REQ(x-none)% 100%%"),
        add("x-host", "%REQ(:AUTHORITY)% %REQ(:PATH)% %REQ(x-none?:path):3%"),
        add("x-route", "%ROUTE_NAME% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER%"),
        add("x-addresses", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
        add("x-upstream-address", "%UPSTREAM_REMOTE_ADDRESS%"),
    ]);
    let response = json!([
        add("x-level", "route"),
        add("x-default", "route"),
        action("x-append", "APPEND_IF_EXISTS_OR_ADD"),
        action("x-if-absent", "ADD_IF_ABSENT"),
        action("x-overwrite", "OVERWRITE_IF_EXISTS_OR_ADD"),
        action("x-if-exists", "OVERWRITE_IF_EXISTS"),
        add("x-formatted", "%RESPONSE_CODE% %RESP(x-given)% %REQ(x-given)% %UPSTREAM_HOST% %RESPONSE_CODE_DETAILS%"),
        {"header": {"key": "server", "value": "mine"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
    ]);
    let hosts = json!([{
        "name": "all",
        "domains": ["*"],
        "request_headers_to_add": [add("x-level", "host")],
        "response_headers_to_add": [add("x-level", "host")],
        "request_headers_to_remove": ["x-removed-by-host"],
        "include_request_attempt_count": true,
        "include_attempt_count_in_response": true,
        "routes": [{
            "name": "the-route",
            "match": {"prefix": "/"},
            "route": {"cluster": "a"},
            "request_headers_to_add": to_add,
            "response_headers_to_add": response,
            "request_headers_to_remove": ["x-removed", "X-Removed-Capital"],
            "response_headers_to_remove": ["x-removed"],
        }],
    }]);
    let table = json!({"route_config": {
        "request_headers_to_add": [add("x-level", "table")],
        "response_headers_to_add": [add("x-level", "table")],
        "request_headers_to_remove": ["x-removed-by-table"],
        "response_headers_to_remove": ["x-removed-by-table"],
        "internal_only_headers": ["x-internal-only"],
    }});
    let specific = json!({"route_config": {"most_specific_header_mutations_wins": true}});
    let hcm = Hcm::new().virtual_hosts(hosts).set(table);
    let setup = Setup::main(hcm.clone())
        .listener("specific", hcm.clone().set(specific))
        .listener("edge", hcm.set(json!({"use_remote_address": true})));
    let given = "x-append: old\r\nx-if-absent: old\r\nx-overwrite: old\r\nx-if-exists: old\r\nx-old-append: old\r\nx-given: given\r\nx-empty: old\r\nx-removed: 1\r\nx-removed-capital: 1\r\nx-removed-by-host: 1\r\nx-removed-by-table: 1\r\nx-internal-only: 1\r\nx-level: client\r\n";
    let answered = "x-upstream: header=x-append:old;header=x-if-absent:old;header=x-overwrite:old;header=x-if-exists:old;header=x-given:up;header=x-removed:1;header=x-removed-by-table:1;header=x-level:up\r\n";
    let cases = vec![
        get("nothing given", "/path?q=1", ""),
        get("everything given", "/path", given),
        get("everything given twice", "/path", &format!("{given}{given}")),
        get("everything answered", "/path", answered),
        get("the most specific wins", "/path", &format!("{given}{answered}")).to("specific"),
        get("from outside", "/path", given).to("edge"),
    ];
    compare(setup, cases).await;
}
