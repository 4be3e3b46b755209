//! Options of route configurations and connection managers that change what a request is taken for.

use crate::case::{Case, case, get, h2};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::Hcm;

fn says(name: &str, matches: Value) -> Value {
    let answer = json!({"status": 200, "body": {"inline_string": name}});
    json!({"name": name, "match": matches, "direct_response": answer})
}

#[tokio::test]
async fn path_parameters() {
    let regex = |regex: &str| json!({"safe_regex": {"regex": regex}});
    let rewrite = json!({"pattern": {"regex": "^/regex-rewrite/(.*)$"}, "substitution": "/new/\\1"});
    let routes = json!([
        says("exact", json!({"path": "/exact"})),
        says("regex", regex("/regex/[a-z]+")),
        says("separated", json!({"path_separated_prefix": "/separated/by"})),
        {"name": "rewrite", "match": {"prefix": "/rewrite/this"}, "route": {"cluster": "a", "prefix_rewrite": "/new"}},
        {"name": "regex-rewrite", "match": {"prefix": "/regex-rewrite"}, "route": {"cluster": "a", "regex_rewrite": rewrite}},
        {"name": "redirect", "match": {"prefix": "/redirect/this"}, "redirect": {"prefix_rewrite": "/new"}},
        {"name": "all", "match": {"path": "/all"}, "route": {"cluster": "a", "prefix_rewrite": "/new"}},
        {"name": "pattern", "match": {"safe_regex": {"regex": "/pattern/.*"}}, "route": {"cluster": "a", "prefix_rewrite": "/new"}},
        {"name": "pass", "match": {"prefix": "/a/b"}, "route": {"cluster": "a"}},
        says("insensitive", json!({"prefix": "/fold/me", "case_sensitive": false})),
        says("semicolon", json!({"prefix": "/semi;colon"})),
        says("rest", json!({"prefix": "/"})),
    ]);
    let mut hcm = Hcm::new().routes(routes);
    hcm.0["route_config"]["ignore_path_parameters_in_path_matching"] = true.into();
    let paths = [
        "/exact",
        "/exact;v=1",
        "/exact;",
        "/exact;v=1/more",
        "/exact;v=1?q=1",
        "/exact?q=;v",
        "/;v=1/exact",
        "/exact/;v=1",
        "/a/b;v=1",
        "/a;v=1/b",
        "/a;v=1/b;w=2/c;x",
        "/a;v=1;w=2/b",
        "/a;/b",
        "/a;b=/b",
        "/a%3Bv=1/b",
        "/a;v=%2F/b",
        "/;/a/b",
        "/a/b?q=1;v=2/c",
        "/regex;v=1/abc",
        "/regex/abc;v=1",
        "/separated;a/by",
        "/separated/by;v=1/more",
        "/separated/by;v=1",
        "/rewrite;v=1/this/rest;w=2?q",
        "/rewrite/this;v=1/rest?q",
        "/regex-rewrite;v=1/rest;w=2?q",
        "/redirect;v=1/this/rest;w=2?q",
        "/redirect/this;v=1?q",
        "/FOLD;v=1/ME",
        "/all?q",
        "/all;v=1?q",
        "/all;v=1/?q",
        "/pattern/a?q",
        "/pattern/a;v=1?q",
        "/pattern;v=1/a?q",
        "/semi;colon",
    ];
    compare(Setup::main(hcm), paths.iter().map(|path| get(path, path, "")).collect()).await;
}

#[tokio::test]
async fn schemes() {
    let scheme = |name: &str| {
        says(name, json!({"prefix": "/", "headers": [{"name": ":scheme", "string_match": {"exact": name}}]}))
    };
    let seen = json!({"response_headers_to_add": [{"header": {"key": "x-scheme", "value": "%REQ(:SCHEME)%"}}]});
    let routes = json!([
        {"name": "redirect", "match": {"prefix": "/redirect"}, "redirect": {"host_redirect": "other.example"}},
        scheme("https"), scheme("http"), scheme("HTTPS"),
        says("other", json!({"prefix": "/"})),
    ]);
    let hcm = |fields: Value| {
        let mut hcm = Hcm::new().routes(routes.clone()).set(fields);
        hcm.0["route_config"]["response_headers_to_add"] = seen["response_headers_to_add"].clone();
        hcm
    };
    let internal = json!({"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]});
    let setup = Setup::main(hcm(json!({})))
        .listener("edge", hcm(json!({"use_remote_address": true})))
        .listener("hops", hcm(json!({"use_remote_address": true, "xff_num_trusted_hops": 1})))
        .listener("internal", hcm(json!({"use_remote_address": true, "internal_address_config": internal})));
    let mut cases = Vec::new();
    for listener in ["main", "edge", "hops", "internal"] {
        let host = "host: test.example\r\n";
        cases.extend(
            [
                get("nothing", "/", ""),
                get("https", "/", "x-forwarded-proto: https\r\n"),
                get("http", "/", "x-forwarded-proto: http\r\n"),
                get("upper case", "/", "x-forwarded-proto: HTTPS\r\n"),
                get("unknown", "/", "x-forwarded-proto: gopher\r\n"),
                get("empty", "/", "x-forwarded-proto:\r\n"),
                get("twice", "/", "x-forwarded-proto: https\r\nx-forwarded-proto: http\r\n"),
                get("redirect", "/redirect", "x-forwarded-proto: https\r\n"),
                get("redirect with an unknown one", "/redirect", "x-forwarded-proto: gopher\r\n"),
                case(
                    "an absolute target",
                    format!("GET http://test.example/ HTTP/1.1\r\n{host}x-forwarded-proto: https\r\n\r\n"),
                ),
                case("an absolute target of https", format!("GET https://test.example/ HTTP/1.1\r\n{host}\r\n")),
                h2("HTTP/2", "GET", "/", &[], ""),
                h2("HTTP/2 https", "GET", "/", &[("x-forwarded-proto", "https")], ""),
            ]
            .map(|case| case.to(listener)),
        );
    }
    compare(setup, cases).await;
}

#[tokio::test]
async fn addresses_as_ipv6() {
    let mapped = |mut fields: Value| {
        fields["represent_ipv4_remote_address_as_ipv4_mapped_ipv6"] = true.into();
        let told = json!([{"header": {"key": "x-remote", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}}]);
        let mut hcm = Hcm::new().set(fields);
        hcm.0["route_config"]["request_headers_to_add"] = told;
        hcm
    };
    let ranges = json!({"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]});
    let setup = Setup::main(mapped(json!({})))
        .listener("edge", mapped(json!({"use_remote_address": true})))
        .listener("internal", mapped(json!({"use_remote_address": true, "internal_address_config": ranges})))
        .listener("hops", mapped(json!({"use_remote_address": true, "xff_num_trusted_hops": 1})));
    let ask = |listener: &'static str| -> Vec<Case> {
        let all = [
            get("nothing", "/", ""),
            get("x-forwarded-for", "/", "x-forwarded-for: 203.0.113.7\r\n"),
            get("two addresses", "/", "x-forwarded-for: 203.0.113.7, 198.51.100.9\r\n"),
        ];
        all.map(|case| case.to(listener)).into()
    };
    compare(setup, ["main", "edge", "internal", "hops"].into_iter().flat_map(ask).collect()).await;
}

#[tokio::test]
async fn redirects_to_a_path_without_a_slash() {
    let redirect =
        |name: &str, action: Value| json!({"name": name, "match": {"prefix": format!("/{name}")}, "redirect": action});
    let routes = json!([
        redirect("path", json!({"path_redirect": "no-slash"})),
        redirect("query", json!({"path_redirect": "?own=1"})),
        redirect("host", json!({"path_redirect": "no-slash", "host_redirect": "h", "port_redirect": 81})),
        redirect("prefix", json!({"prefix_rewrite": "new"})),
        redirect("regex", json!({"regex_rewrite": {"pattern": {"regex": "^/regex/"}, "substitution": "new"}})),
    ]);
    let cases = ["path", "query", "host", "prefix", "regex"]
        .iter()
        .map(|name| get(name, &format!("/{name}/rest?query=1"), ""))
        .collect();
    compare(Setup::main(Hcm::new().routes(routes)), cases).await;
}

#[tokio::test]
async fn answers_to_heads_that_are_refused_say_via() {
    let limited = json!({"via": "gw", "common_http_protocol_options": {"max_headers_count": 4}});
    let fields = (0..6).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let cases = vec![
        get("too many fields", "/", &fields),
        case("no host", "GET / HTTP/1.1\r\n\r\n"),
        case("nonsense", "nonsense\r\n\r\n"),
        get("two lengths", "/", "content-length: 1\r\ncontent-length: 2\r\n"),
    ];
    compare(Setup::main(Hcm::new().set(limited)), cases).await;
}
