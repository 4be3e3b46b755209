//! What a cluster's settings do to a request, and what the gateway answers then.

use crate::case::{Case, case, get};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::{Hcm, merge, typed};

/// A cluster whose endpoint is the upstream `a`.
fn to_a(name: &str, fields: Value) -> Value {
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": "$a"}}}});
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    });
    merge(&mut cluster, fields);
    cluster
}

fn http_options(fields: Value) -> Value {
    let mut options = json!({"explicit_http_config": {"http_protocol_options": {}}});
    merge(&mut options, fields);
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({"typed_extension_protocol_options": {name: typed(name, options)}})
}

/// A route to the cluster of its name, with what the gateway adds to its own answers.
fn route(name: &str, fields: Value) -> Value {
    let mut action = json!({"cluster": name});
    merge(&mut action, fields);
    json!({"name": name, "match": {"prefix": format!("/{name}")}, "route": action,
        "response_headers_to_add": [{"header": {"key": "x-route", "value": name}}]})
}

fn hosts(routes: Vec<Value>) -> Value {
    json!([{"name": "all", "domains": ["*"], "routes": routes, "include_attempt_count_in_response": true,
        "include_request_attempt_count": true}])
}

fn drops(share: Value) -> Value {
    json!({"load_assignment": {"policy": {"drop_overloads": [{"category": "some", "drop_percentage": share}]}}})
}

#[tokio::test]
async fn refusals() {
    let routes = vec![
        route("drops-all", json!({})),
        route("drops-most", json!({})),
        route("small", json!({"cluster": "a"})),
        route("idle", json!({"cluster": "a", "idle_timeout": "0.1s"})),
        route("empty", json!({})),
        route("nowhere", json!({"cluster": "missing"})),
        route("none", json!({})),
        route("refused", json!({})),
        route("empty-retried", json!({"cluster": "empty", "retry_policy": {"retry_on": "5xx"}})),
    ];
    let quiet = typed("envoy.extensions.filters.http.router.v3.Router", json!({"suppress_envoy_headers": true}));
    let buffer = typed("envoy.extensions.filters.http.buffer.v3.Buffer", json!({"max_request_bytes": 100}));
    let mut hcm = Hcm::new().virtual_hosts(hosts(routes)).filter("envoy.filters.http.buffer", buffer);
    hcm.0["route_config"]["validate_clusters"] = false.into();
    let mut suppressed = hcm.clone();
    suppressed.0["http_filters"][1]["typed_config"] = quiet;
    let none = json!({"thresholds": [{"max_requests": 0}]});
    let setup = Setup::main(hcm)
        .listener("quiet", suppressed)
        .cluster(to_a("drops-all", drops(json!({"numerator": 100, "denominator": "HUNDRED"}))))
        .cluster(to_a("drops-most", drops(json!({"numerator": 999_999, "denominator": "MILLION"}))))
        .cluster(to_a("empty", json!({"load_assignment": {"endpoints": []}})))
        .cluster(to_a("none", json!({"circuit_breakers": none})));
    let of = |listener: &'static str| {
        vec![
            get("all are dropped", "/drops-all", "").to(listener),
            get("most are dropped", "/drops-most", "").to(listener),
            get("silence", "/idle", "x-upstream: delay=300\r\n").to(listener),
            case(
                "a body too large",
                format!("POST /small HTTP/1.1\r\nhost: a\r\ncontent-length: 200\r\n\r\n{}", "x".repeat(200)),
            )
            .to(listener),
            get("no endpoint", "/empty", "").to(listener),
            get("no endpoint, retried", "/empty-retried", "").to(listener),
            get("no cluster", "/nowhere", "").to(listener),
            get("no request may be active", "/none", "").to(listener),
            get("nobody listens", "/refused", "").to(listener),
            get("no route", "/other", "").to(listener),
        ]
    };
    compare(setup, of("main").into_iter().chain(of("quiet")).collect()).await;
}

#[tokio::test]
async fn sources() {
    let from =
        |address: &str| json!({"upstream_bind_config": {"source_address": {"address": address, "port_value": 0}}});
    let routes = vec![
        route("v4", json!({})),
        route("v6", json!({})),
        route("nobodys", json!({})),
        route(
            "retried",
            json!({"cluster": "v6", "retry_policy": {"retry_on": "connect-failure", "num_retries": 1,
            "retry_back_off": {"base_interval": "0.001s"}}}),
        ),
    ];
    let setup = Setup::main(Hcm::new().virtual_hosts(hosts(routes)))
        .cluster(to_a("v4", from("127.0.0.9")))
        .cluster(to_a("v6", from("::1")))
        .cluster(to_a("nobodys", from("192.0.2.1")));
    let cases = vec![
        get("an address of ours", "/v4", ""),
        get("of the other IP version", "/v6", ""),
        get("nobody's", "/nobodys", ""),
        get("of the other IP version, retried", "/retried", ""),
    ];
    compare(setup, cases).await;
}

#[tokio::test]
async fn durations() {
    let retry = json!({"retry_policy": {"retry_on": "reset", "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s"}}});
    let mut retried = retry;
    retried["cluster"] = "brief".into();
    let routes =
        vec![route("brief", json!({})), route("retried", retried), route("a", json!({})), route("older", json!({}))];
    let brief = json!({"common_http_protocol_options": {"max_stream_duration": "0.15s"}});
    let setup = Setup::main(Hcm::new().virtual_hosts(hosts(routes)))
        .cluster(to_a("brief", http_options(brief.clone())))
        .cluster(to_a("older", brief));
    let slow = "x-upstream: delay=600\r\n";
    let half = "x-upstream: raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;stall\r\n";
    let ms = "x-envoy-upstream-stream-duration-ms: 150\r\n";
    let cases: Vec<Case> = vec![
        get("in time", "/brief", ""),
        get("too long", "/brief", slow),
        get("too long after the head", "/brief", half),
        get("too long, tried again", "/retried", "x-upstream: delay=600|body=second\r\n"),
        get("too long twice", "/retried", slow),
        get("the field's older place", "/older", slow),
        get("as the client asks", "/a", &format!("{slow}{ms}")),
        get(
            "longer, as the client asks",
            "/brief",
            "x-upstream: delay=200\r\nx-envoy-upstream-stream-duration-ms: 900\r\n",
        ),
        case("a body that does not come", "POST /brief HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello")
            .unprobed(),
    ];
    compare(setup, cases).await;
}

#[tokio::test]
async fn answers_that_are_too_large() {
    let routes = ["few", "few-older", "small", "a"].map(|name| route(name, json!({})));
    let few = json!({"common_http_protocol_options": {"max_headers_count": 8}});
    let small = json!({"common_http_protocol_options": {"max_response_headers_kb": 1}});
    let setup = Setup::main(Hcm::new().virtual_hosts(hosts(routes.into())))
        .cluster(to_a("few", http_options(few.clone())))
        .cluster(to_a("few-older", few))
        .cluster(to_a("small", http_options(small)));
    let many = |count: usize| format!("x-upstream: {}\r\n", "header=x-h:1;".repeat(count));
    let large = |size: usize| format!("x-upstream: header=x-h:{}\r\n", "v".repeat(size));
    let cases = vec![
        get("few", "/few", &many(7)),
        get("more than a few", "/few", &many(9)),
        get("more than a few, by the older field", "/few-older", &many(9)),
        get("small", "/small", &large(500)),
        get("more than 1 kB", "/small", &large(1500)),
        get("no limit of its own", "/a", &large(1500)),
    ];
    compare(setup, cases).await;
}

#[tokio::test]
async fn names_of_endpoints() {
    let named = |name: &str| {
        json!({"load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {
        "hostname": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": "$a"}}}}]}]}})
    };
    let routes = vec![
        route("named", json!({"auto_host_rewrite": true})),
        route("appended", json!({"cluster": "named", "auto_host_rewrite": true, "append_x_forwarded_host": true})),
        route("kept", json!({"cluster": "named"})),
        route("nameless", json!({"cluster": "a", "auto_host_rewrite": true})),
    ];
    let setup = Setup::main(Hcm::new().virtual_hosts(hosts(routes))).cluster(to_a("named", named("endpoint.example")));
    let cases = vec![
        get("the endpoint's", "/named", ""),
        get("the endpoint's, the client's kept", "/appended", ""),
        get("the client's", "/kept", ""),
        get("an endpoint without a name", "/nameless", ""),
    ];
    compare(setup, cases).await;
}

#[tokio::test]
async fn trailers() {
    let routes = ["with", "a"].map(|name| route(name, json!({})));
    let with = json!({"explicit_http_config": {"http_protocol_options": {"enable_trailers": true}}});
    let hcm = Hcm::new().virtual_hosts(hosts(routes.into()));
    let setup = Setup::main(hcm.set(json!({"http_protocol_options": {"enable_trailers": true}})))
        .cluster(to_a("with", http_options(with)));
    let of = |name, path: &str| {
        case(
            name,
            format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\nx-upstream: trailer=x-t:1\r\ntransfer-encoding: chunked\r\n\r\n\
            2\r\nhi\r\n0\r\nx-mine: 2\r\n\r\n"
            ),
        )
    };
    let names = "grpc-status grpc-message accept content-type date x-a etag x-request-id user-agent via".split(' ');
    let twice = |before: &str, end: &str| -> String {
        names.clone().map(|name| format!("{before}{name}:1{end}{before}{name}:2{end}")).collect()
    };
    let (of_answer, of_request) = (twice("trailer=", ";"), twice("", "\r\n"));
    let cases = vec![
        of("both ways", "/with"),
        of("neither way", "/a"),
        get("of an answer, twice", "/with", &format!("x-upstream: {of_answer}\r\n")),
        case(
            "of a request, twice",
            format!("POST /with HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{of_request}\r\n"),
        ),
    ];
    compare(setup, cases).await;
}
