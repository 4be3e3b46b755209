//! How header names are spelled on both sides: `header_key_format` of the connection manager and of the cluster.

use crate::case::{Case, case, get, h2};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::{Hcm, cluster, merge, typed};

/// Each side has each of them: the name of a listener, of a cluster, and of the path that leads there.
const FORMATS: [&str; 4] = ["lower", "proper", "preserve", "preserve-proper"];

fn preserve_case(fields: Value) -> Value {
    let config = typed("envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig", fields);
    json!({"stateful_formatter": {"name": "preserve_case", "typed_config": config}})
}

fn http1(format: &str) -> Value {
    let format = match format {
        "proper" => json!({"proper_case_words": {}}),
        "preserve" => preserve_case(json!({})),
        "preserve-proper" => {
            preserve_case(json!({"forward_reason_phrase": true, "formatter_type_on_envoy_headers": "PROPER_CASE"}))
        }
        _ => Value::Null,
    };
    json!({"enable_trailers": true, "accept_http_10": true, "header_key_format": format})
}

/// A cluster whose endpoint is the upstream `a`.
fn to_a(name: &str, fields: Value) -> Value {
    let mut value = cluster(name, &[([127, 0, 0, 1], 0).into()]);
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": "$a"}}}});
    value["load_assignment"]["endpoints"][0]["lb_endpoints"][0] = endpoint;
    merge(&mut value, fields);
    value
}

fn with_options(format: &str) -> Value {
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = typed(name, json!({"explicit_http_config": {"http_protocol_options": http1(format)}}));
    json!({"typed_extension_protocol_options": {name: options}})
}

fn field(name: &str, value: &str) -> Value {
    json!({"header": {"key": name, "value": value}})
}

fn listeners_and_clusters(filters: impl Fn(Hcm) -> Hcm) -> Setup {
    let route = |name: &str| json!({"match": {"prefix": format!("/{name}/")}, "route": {"cluster": name}});
    let mut routes: Vec<_> = FORMATS.iter().chain(&["older", "refused"]).map(|name| route(name)).collect();
    let here = json!({"status": 200, "body": {"inline_string": "here"}});
    routes.push(json!({"match": {"path": "/direct"}, "direct_response": here}));
    routes.push(json!({"match": {"path": "/redirect"}, "redirect": {"path_redirect": "/new"}}));
    let older = to_a("older", json!({"http_protocol_options": http1("proper")}));
    let mut setup = Setup::new().with_reasons().cluster(older);
    for format in FORMATS {
        let fields = json!({"http_protocol_options": http1(format), "via": "gw", "use_remote_address": true});
        let mut hcm = filters(Hcm::new().routes(routes.clone().into()).set(fields));
        hcm.0["route_config"]["request_headers_to_add"] = json!([field("X-Added", "1")]);
        hcm.0["route_config"]["response_headers_to_add"] = json!([field("X-Added", "2")]);
        setup = setup.listener(format, hcm).cluster(to_a(format, with_options(format)));
    }
    setup
}

/// Fields are replaced, removed and added on the way.
fn changing() -> Setup {
    let append = |name: &str, value: &str| json!({"append": field(name, value)});
    let replace = |name: &str| {
        let mut append = append(name, "new");
        append["append"]["append_action"] = "OVERWRITE_IF_EXISTS_OR_ADD".into();
        append
    };
    let mutations = json!({
        "request_mutations": [
            replace("x-REPLACED"), {"remove": "X-Gone"}, append("x-gone", "back"), {"remove": "x-removed"},
        ],
        "response_mutations": [replace("X-Replaced"), append("x-dup", "3")],
        "request_trailers_mutations": [append("X-Added-Trailer", "1")],
    });
    let kind = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    let mutation = typed(kind, json!({"mutations": mutations}));
    listeners_and_clusters(|hcm| hcm.filter("envoy.filters.http.header_mutation", mutation.clone()))
}

/// To all listeners.
fn everywhere(case: impl Fn() -> Case) -> Vec<Case> {
    FORMATS.iter().map(|listener| case().to(listener)).collect()
}

/// From all listeners to all clusters.
fn all_ways(case: impl Fn(&str) -> Case) -> Vec<Case> {
    FORMATS.iter().flat_map(|cluster| everywhere(|| case(cluster))).collect()
}

const FIELDS: &str = "X-Dup: 1\r\nx-dup: 2\r\nx-Lower: 1\r\nX-Lower: 2\r\nX-REPLACED: old\r\nX-GONE: 1\r\nX-Removed: 1\r\n\
    X-Request-ID: a\r\nX-Envoy-Max-Retries: 1\r\nX-FORWARDED-FOR: 203.0.113.7\r\nVIA: before\r\nTE: trailers\r\n\
    x_under.Score$x: 1\r\n1st: 1\r\n";

const ANSWER: &str = "X-Upstream: raw=HTTP/1.1 200 Fine By Me\\r\\nX-Dup: 1\\r\\nx-dup: 2\\r\\nX-REPLACED: old\\r\\n\
    SERVER: up\\r\\nVia: up\\r\\nX-Envoy-Upstream-service-time: 1\\r\\n";

#[tokio::test]
async fn of_requests_and_responses() {
    let chunked = |to: &str| {
        let body = "Transfer-ENCODING: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Dup: t\r\nX-Trailer: t\r\n\r\n";
        let answer =
            "Transfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nhi\\r\\n0\\r\\nX-Dup: t\\r\\nX-Trailer: t\\r\\n\\r\\n";
        let head = format!("POST /{to}/ HTTP/1.1\r\nHost: test.example\r\n{FIELDS}{ANSWER}{answer}\r\n");
        case("chunks and trailers", head + body)
    };
    let sized = |to: &str| {
        let head = format!("PUT /{to}/ HTTP/1.1\r\nhOST: test.example\r\n{FIELDS}Connection: Keep-Alive\r\n");
        case("lengths", format!("{head}{ANSWER}Content-LENGTH: 2\\r\\n\\r\\nhi\r\ncontent-Length: 2\r\n\r\nhi"))
    };
    let cases = [all_ways(chunked), all_ways(sized), everywhere(|| sized("older"))].concat();
    compare(changing(), cases).await;
}

#[tokio::test]
async fn of_what_the_gateway_adds() {
    let plain = |to: &str| {
        let answer = "Connection: close\\r\\n\\r\\nhi;close";
        let answer = format!("x-upstream: raw=HTTP/1.1 200 OK\\r\\nX-Dup: 1\\r\\n{answer}\r\n");
        case("no length and no body", format!("POST /{to}/ HTTP/1.1\r\nHost: test.example\r\n{answer}\r\n"))
    };
    let bare =
        |to: &str| case("no fields", format!("GET /{to}/ HTTP/1.1\r\nhost: test.example\r\nConnection: close\r\n\r\n"));
    let cases = [
        all_ways(plain),
        all_ways(bare),
        all_ways(|to| case("HTTP/1.0", format!("GET /{to}/ HTTP/1.0\r\nHOST: a\r\nConnection: Keep-Alive\r\n\r\n"))),
        all_ways(|to| case("an absolute target", format!("GET http://other/{to}/ HTTP/1.1\r\nHOST: a\r\n\r\n"))),
        all_ways(|to| case("HEAD", format!("HEAD /{to}/ HTTP/1.1\r\nHOST: a\r\nX-Upstream: header=X-A:b\r\n\r\n"))),
        all_ways(|to| {
            let fields = [("x-lower", "1"), ("x-upstream", "header=X-Answer:1;header=x-Lower:2")];
            let path: &'static str = format!("/{to}/").leak();
            h2("HTTP/2", "GET", path, &fields, "")
        }),
    ];
    compare(changing(), cases.concat()).await;
}

#[tokio::test]
async fn of_the_gateways_own_answers() {
    let cases = [
        everywhere(|| get("a direct response", "/direct", "X-Dup: 1\r\n")),
        everywhere(|| get("a redirect", "/redirect", "CONTENT-LENGTH: 0\r\n")),
        everywhere(|| get("nobody answers", "/refused/", "Server: a\r\nDate: b\r\n")),
        everywhere(|| get("no route", "/nowhere", "")),
        everywhere(|| get("malformed", "/direct", "Content-Length: x\r\n")),
        everywhere(|| case("HTTP/1.0", "GET /direct HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n")),
        everywhere(|| get("grpc", "/nowhere", "Content-Type: application/grpc\r\n")),
        all_ways(|to| {
            case(
                "a hundred",
                format!("POST /{to}/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"),
            )
        }),
    ];
    compare(listeners_and_clusters(|hcm| hcm), cases.concat()).await;
}

#[tokio::test]
async fn reason_phrases() {
    let answers = [
        ("a phrase of its own", "200 Fine By Me"),
        ("no phrase", "200 "),
        ("no blank either", "200"),
        ("blanks and tabs", "404   Not\\there  "),
        ("of an unknown status", "299 Odd"),
        ("a teapot", "418 I'm a teapot"),
    ];
    let cases = answers.iter().flat_map(|(name, answer)| {
        all_ways(move |to| {
            let answer = format!("x-upstream: raw=HTTP/1.1 {answer}\\r\\ncontent-length: 0\\r\\n\\r\\n\r\n");
            get(name, &format!("/{to}/"), &answer)
        })
    });
    compare(listeners_and_clusters(|hcm| hcm), cases.collect()).await;
}

#[tokio::test]
async fn interim_answers() {
    let proxied = |format: &str| {
        let fields = json!({"http_protocol_options": http1(format), "proxy_100_continue": true});
        Hcm::new().routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "preserve-proper"}}])).set(fields)
    };
    let setup =
        FORMATS.iter().fold(Setup::new().with_reasons(), |setup, format| setup.listener(format, proxied(format)));
    let setup = setup.cluster(to_a("preserve-proper", with_options("preserve-proper")));
    let answer = "raw=HTTP/1.1 100 Go On\\r\\nX-Early: 1\\r\\nx-dup: 1\\r\\n\\r\\nHTTP/1.1 200 Fine\\r\\nX-Dup: 2\\r\\n\
        Content-Length: 0\\r\\n\\r\\n";
    let cases = everywhere(|| get("continue", "/", &format!("Expect: 100-continue\r\nX-Upstream: {answer}\r\n")));
    compare(setup, cases).await;
}
