//! Which virtual host and which route a request finds.

use crate::case::{Case, case, get};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::Hcm;

/// A route that answers with its name.
fn route(name: &str, matches: Value) -> Value {
    json!({"name": name, "match": matches, "direct_response": {"status": 200, "body": {"inline_string": name}}})
}

fn host(name: &str, domains: &[&str]) -> Value {
    json!({"name": name, "domains": domains, "routes": [route(name, json!({"prefix": "/"}))]})
}

#[tokio::test]
async fn hosts() {
    let hosts = json!([
        host("exact", &["exact.example", "Capital.Example"]),
        host("suffix", &["*.example"]),
        host("longer-suffix", &["*.suffix.example"]),
        host("dashed-suffix", &["*-dash.example"]),
        host("prefix", &["prefix.*"]),
        host("longer-prefix", &["prefix.longer.*"]),
        host("port", &["port.example:8080"]),
        host("address", &["127.0.0.1", "[::1]"]),
    ]);
    let with_any = json!([host("any", &["*"]), host("exact", &["exact.example"])]);
    let names = [
        "exact.example",
        "EXACT.example",
        "capital.example",
        "exact.example:80",
        "exact.example:8080",
        "exact.example.",
        "other.example",
        "a.b.example",
        ".example",
        "example",
        "a.suffix.example",
        "suffix.example",
        "a-dash.example",
        "-dash.example",
        "prefix.org",
        "prefix.longer.org",
        "prefix.",
        "prefix",
        "port.example:8080",
        "port.example",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:80",
        "nowhere.org",
    ];
    let ask = |name: &'static str| case(name, format!("GET / HTTP/1.1\r\nhost: {name}\r\n\r\n"));
    let setup = Setup::main(Hcm::new().virtual_hosts(hosts.clone()))
        .listener("any", Hcm::new().virtual_hosts(with_any))
        .listener(
            "ignore-port",
            Hcm::new().virtual_hosts(hosts).set(json!({"route_config": {"ignore_port_in_host_matching": true}})),
        );
    let cases = names.iter().map(|name| ask(name)).chain(names.iter().map(|name| ask(name).to("ignore-port")));
    let any = ["exact.example", "nowhere.org"].iter().map(|name| ask(name).to("any"));
    compare(setup, cases.chain(any).collect()).await;
}

#[tokio::test]
async fn paths() {
    let routes = json!([
        route("path", json!({"path": "/path"})),
        route("path-folded", json!({"path": "/Folded", "case_sensitive": false})),
        route("prefix", json!({"prefix": "/prefix"})),
        route("prefix-folded", json!({"prefix": "/PREFold", "case_sensitive": false})),
        route("longer-but-later", json!({"prefix": "/prefix/longer"})),
        route("separated", json!({"path_separated_prefix": "/sep"})),
        route("regex", json!({"safe_regex": {"regex": "/regex/[0-9]+"}})),
        route("regex-any", json!({"safe_regex": {"regex": "/any/.*x"}})),
        route("regex-classes", json!({"safe_regex": {"regex": "/class/\\w+\\d\\s?[[:alpha:]]"}})),
        route("regex-alternatives", json!({"safe_regex": {"regex": "/one|/two"}})),
        route("regex-folded", json!({"safe_regex": {"regex": "(?i)/insensitive"}})),
        route("path-after-prefix", json!({"path": "/prefix/exact"})),
        route("escaped", json!({"path": "/a%20b"})),
    ]);
    let paths = [
        "/path",
        "/path/",
        "/path?query",
        "/path#fragment",
        "/Path",
        "/folded",
        "/FOLDED",
        "/prefix",
        "/prefixed",
        "/prefix/x",
        "/prefix/longer",
        "/prefix/exact",
        "/prefix?query",
        "/Prefix",
        "/prefold/x",
        "/sep",
        "/sep/",
        "/sep/x",
        "/separate",
        "/sep?query",
        "/sep;x",
        "/regex/123",
        "/regex/123/4",
        "/regex/",
        "/regex/1?query",
        "/any/ax",
        "/any/a/x?y",
        "/any/ay",
        "/class/a1b",
        "/class/\u{e9}1b",
        "/class/a\u{661}b",
        "/one",
        "/two",
        "/onetwo",
        "/INSENSITIVE",
        "/a%20b",
        "/a%20B",
        "/nowhere",
        "/",
    ];
    let cases = paths.iter().map(|path| get(path, path, "")).collect();
    compare(Setup::main(Hcm::new().routes(routes)), cases).await;
}

#[tokio::test]
async fn headers_and_queries() {
    let header = |name: &str, matcher: Value| {
        let mut matcher = matcher;
        matcher["name"] = format!("x-{name}").into();
        route(name, json!({"prefix": format!("/{name}"), "headers": [matcher]}))
    };
    let query = |name: &str, matcher: Value| {
        let mut matcher = matcher;
        matcher["name"] = "q".into();
        route(name, json!({"prefix": format!("/{name}"), "query_parameters": [matcher]}))
    };
    let string = |matcher: Value| json!({"string_match": matcher});
    let routes = json!([
        header("exact", string(json!({"exact": "Value"}))),
        header("folded", string(json!({"exact": "Value", "ignore_case": true}))),
        header("start", string(json!({"prefix": "va"}))),
        header("end", string(json!({"suffix": "ue"}))),
        header("middle", string(json!({"contains": "al"}))),
        header("regex", string(json!({"safe_regex": {"regex": "v[a-z]+e"}}))),
        header("present", json!({"present_match": true})),
        header("absent", json!({"present_match": false})),
        header("range", json!({"range_match": {"start": -5, "end": 10}})),
        header("inverted", json!({"string_match": {"exact": "value"}, "invert_match": true})),
        header("inverted-present", json!({"present_match": true, "invert_match": true})),
        header("missing", json!({"string_match": {"exact": ""}, "treat_missing_header_as_empty": true})),
        header(
            "missing-inverted",
            json!({"string_match": {"exact": "a"}, "invert_match": true, "treat_missing_header_as_empty": true})
        ),
        route(
            "method",
            json!({"prefix": "/method", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]})
        ),
        route(
            "authority",
            json!({"prefix": "/authority", "headers": [{"name": ":authority", "string_match": {"prefix": "test"}}]})
        ),
        route(
            "two",
            json!({"prefix": "/two", "headers": [
            {"name": "x-a", "string_match": {"exact": "1"}}, {"name": "x-b", "present_match": true}]})
        ),
        query("q-exact", string(json!({"exact": "value"}))),
        query("q-regex", string(json!({"safe_regex": {"regex": "[0-9]*"}}))),
        query("q-present", json!({"present_match": true})),
        query("q-absent", json!({"present_match": false})),
        route("never", json!({"prefix": "/fraction", "runtime_fraction": {"default_value": {"numerator": 0}}})),
        route("always", json!({"prefix": "/fraction", "runtime_fraction": {"default_value": {"numerator": 100}}})),
        route("grpc", json!({"prefix": "/grpc", "grpc": {}})),
        route("not-found", json!({"prefix": "/"})),
    ]);
    let with = |name: &'static str, values: &[&str]| -> Vec<Case> {
        let ask = |value: &&str| get(name, &format!("/{name}"), &format!("x-{name}: {value}\r\n"));
        values.iter().map(ask).chain([get(name, &format!("/{name}"), "")]).collect()
    };
    let mut cases = Vec::new();
    for name in ["exact", "folded", "start", "end", "middle", "regex"] {
        cases.extend(with(name, &["Value", "value", "VALUE", "valve", "xvalue", "value, value", ""]));
        cases.push(get(name, &format!("/{name}"), &format!("x-{name}: value\r\nx-{name}: Value\r\n")));
    }
    for name in ["present", "absent", "inverted", "inverted-present", "missing", "missing-inverted"] {
        cases.extend(with(name, &["value", "", "a"]));
    }
    cases.extend(with("range", &["-5", "9", "10", "-6", "x", "3x", " 3", "03", "99999999999999999999"]));
    cases.push(get("method", "/method", ""));
    cases.push(case("another method", "POST /method HTTP/1.1\r\nhost: test.example\r\ncontent-length: 0\r\n\r\n"));
    cases.push(get("authority", "/authority", ""));
    cases.push(get("both headers", "/two", "x-a: 1\r\nx-b:\r\n"));
    cases.push(get("one of two headers", "/two", "x-a: 1\r\n"));
    for (name, path) in [
        ("query equal", "/q-exact?q=value"),
        ("query other", "/q-exact?q=other"),
        ("query twice", "/q-exact?q=value&q=other"),
        ("query twice, reversed", "/q-exact?q=other&q=value"),
        ("query encoded", "/q-exact?q=val%75e"),
        ("query name encoded", "/q-exact?%71=value"),
        ("query none", "/q-exact"),
        ("query empty regex", "/q-regex?q="),
        ("query without equals", "/q-regex?q"),
        ("query digits", "/q-regex?a=1&q=123"),
        ("query letters", "/q-regex?q=12a"),
        ("query plus", "/q-regex?q=1+2"),
        ("query present", "/q-present?q"),
        ("query not present", "/q-present?p"),
        ("query absent", "/q-absent?p"),
        ("query not absent", "/q-absent?q=1"),
        ("query before a fragment", "/q-exact?q=value#f"),
        ("query separated by semicolon", "/q-exact?a=1;q=value"),
        ("fraction", "/fraction"),
    ] {
        cases.push(get(name, path, ""));
    }
    cases.push(get("grpc", "/grpc", "content-type: application/grpc+proto\r\n"));
    cases.push(get("no grpc", "/grpc", "content-type: application/json\r\n"));
    compare(Setup::main(Hcm::new().routes(routes)), cases).await;
}

#[tokio::test]
async fn whole_tables() {
    let tls_only = json!([
        {"name": "all", "domains": ["*"], "require_tls": "ALL", "routes": [route("r", json!({"prefix": "/"}))]},
        {"name": "external", "domains": ["external.example"], "require_tls": "EXTERNAL_ONLY", "routes": [route("r", json!({"prefix": "/"}))]},
    ]);
    let setup = Setup::main(Hcm::new().virtual_hosts(json!([])))
        .listener("empty-host", Hcm::new().routes(json!([])))
        .listener("tls", Hcm::new().virtual_hosts(tls_only));
    let cases = vec![
        get("no virtual host", "/", ""),
        get("no route", "/", "").to("empty-host"),
        get("TLS is required", "/path?query", "").to("tls"),
        case(
            "TLS is required, a POST",
            "POST /path HTTP/1.1\r\nhost: test.example:8080\r\ncontent-length: 2\r\n\r\nhi",
        )
        .to("tls"),
        get("TLS is required and was used before", "/", "x-forwarded-proto: https\r\n").to("tls"),
        case("TLS is required of external clients", "GET / HTTP/1.1\r\nhost: external.example\r\n\r\n").to("tls"),
    ];
    compare(setup, cases).await;
}
