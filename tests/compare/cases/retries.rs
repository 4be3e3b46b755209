//! Which failures are tried again, how often, and what the client sees.

use crate::case::{Case, Input, case, get};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::Hcm;

fn route(name: &str, policy: Value) -> Value {
    let mut policy = policy;
    if policy.get("retry_back_off").is_none() {
        policy["retry_back_off"] = json!({"base_interval": "0.001s", "max_interval": "0.002s"});
    }
    json!({"name": name, "match": {"prefix": format!("/{name}")}, "route": {"cluster": "a", "retry_policy": policy}})
}

/// The path of a route, an upstream's script, further headers.
fn ask(name: &'static str, path: &str, script: &str, headers: &str) -> Case {
    get(name, path, &format!("x-upstream: {script}\r\n{headers}"))
}

/// When the first try has failed, for which nothing tells but time.
fn failed(case: Case) -> Case {
    (0..5).fold(case, |case, _| case.then(Input::Gap))
}

#[tokio::test]
async fn policies() {
    let routes = json!([
        route("5xx", json!({"retry_on": "5xx"})),
        route("three", json!({"retry_on": "5xx", "num_retries": 3})),
        route("none", json!({"retry_on": "5xx", "num_retries": 0})),
        route("gateway", json!({"retry_on": "gateway-error"})),
        route("reset", json!({"retry_on": "reset"})),
        route("before", json!({"retry_on": "reset-before-request"})),
        route("connect", json!({"retry_on": "connect-failure"})),
        route("retriable-4xx", json!({"retry_on": "retriable-4xx"})),
        route("codes", json!({"retry_on": "retriable-status-codes", "retriable_status_codes": [418, 500]})),
        route("headers", json!({"retry_on": "retriable-headers", "retriable_headers": [{"name": "x-again", "present_match": true}]})),
        route("only", json!({"retry_on": "5xx", "retriable_request_headers": [{"name": "x-retry", "string_match": {"exact": "yes"}}]})),
        route("limited", json!({"retry_on": "envoy-ratelimited"})),
        route("two-conditions", json!({"retry_on": "connect-failure,retriable-4xx"})),
        {"name": "refused", "match": {"prefix": "/refused"}, "route": {"cluster": "refused", "retry_policy": {"retry_on": "connect-failure", "num_retries": 2,
            "retry_back_off": {"base_interval": "0.001s"}}}},
        route("two", json!({"retry_on": "5xx", "num_retries": 2})),
        {"name": "small-body", "match": {"prefix": "/small-body"}, "per_request_buffer_limit_bytes": 10,
            "route": {"cluster": "a", "retry_policy": {"retry_on": "5xx", "retry_back_off": {"base_interval": "0.001s"}}}},
        {"name": "small-body-later", "match": {"prefix": "/later"}, "request_body_buffer_limit": 10,
            "route": {"cluster": "a", "retry_policy": {"retry_on": "5xx", "retry_back_off": {"base_interval": "30000s", "max_interval": "60000s"}}}},
        {"name": "no-one", "match": {"prefix": "/no-one"}, "request_body_buffer_limit": 10, "route": {"cluster": "refused",
            "retry_policy": {"retry_on": "connect-failure", "retry_back_off": {"base_interval": "30000s", "max_interval": "60000s"}}}},
        {"name": "small-body-newer", "match": {"prefix": "/newer-small-body"}, "request_body_buffer_limit": 10,
            "route": {"cluster": "a", "retry_policy": {"retry_on": "5xx", "retry_back_off": {"base_interval": "0.001s"}}}},
        {"name": "refused-5xx", "match": {"prefix": "/unreachable"}, "route": {"cluster": "refused", "retry_policy": {"retry_on": "reset"}}},
        {"name": "per-try-only", "match": {"prefix": "/try-only"}, "route": {"cluster": "a", "timeout": "2s", "retry_policy": {"per_try_timeout": "0.13s"}}},
        {"name": "per-try-idle", "match": {"prefix": "/idle-try"}, "route": {"cluster": "a", "timeout": "2s", "retry_policy": {
            "retry_on": "5xx", "num_retries": 1, "per_try_idle_timeout": "0.13s", "retry_back_off": {"base_interval": "0.001s"}}}},
        {"name": "all-time", "match": {"prefix": "/all-time"}, "route": {"cluster": "a", "timeout": "0.3s", "retry_policy": {
            "retry_on": "5xx", "num_retries": 9, "per_try_timeout": "0.12s", "retry_back_off": {"base_interval": "0.001s"}}}},
        {"name": "stripped", "match": {"prefix": "/stripped"}, "route": {"cluster": "a"}, "request_headers_to_remove": ["x-envoy-retry-on"]},
        {"name": "added", "match": {"prefix": "/added"}, "route": {"cluster": "a"},
            "request_headers_to_add": [{"header": {"key": "x-envoy-retry-on", "value": "5xx"}}]},
        {"name": "no-policy", "match": {"prefix": "/no-policy"}, "route": {"cluster": "a"}},
        {"name": "per-try", "match": {"prefix": "/per-try"}, "route": {"cluster": "a", "timeout": "2s", "retry_policy": {
            "retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.13s", "retry_back_off": {"base_interval": "0.001s"}}}},
    ]);
    let hosts = json!([{"name": "all", "domains": ["*"], "routes": routes, "include_request_attempt_count": true,
        "include_attempt_count_in_response": true}]);
    // What a client asks of the router is heard from clients inside only.
    let inside = json!({"use_remote_address": true, "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}});
    let setup = Setup::main(Hcm::new().virtual_hosts(hosts.clone()))
        .listener("inside", Hcm::new().virtual_hosts(hosts).set(inside));
    let post = |name, path: &str, script: &str, body: &str| {
        case(
            name,
            format!(
                "POST {path} HTTP/1.1\r\nhost: test.example\r\nx-upstream: {script}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    };
    let cases = vec![
        ask("no failure", "/5xx", "", ""),
        ask("one failure", "/5xx", "status=503|status=200", ""),
        ask("two failures", "/5xx", "status=503", ""),
        ask("500", "/5xx", "status=500|status=200", ""),
        ask("a failure with a body", "/5xx", "status=503;body=first|body=second", ""),
        ask("a failure with a chunked body", "/5xx", "status=503;body=first;chunked|body=second", ""),
        ask("a failure that closes", "/5xx", "status=503;header=connection:close;close|body=second", ""),
        ask("a reset counts as 5xx", "/5xx", "nothing;reset|body=second", ""),
        ask("a close counts as 5xx", "/5xx", "nothing;close|body=second", ""),
        ask("three retries", "/three", "status=503|status=502|status=500|status=200", ""),
        ask("three retries are not enough", "/three", "status=503", ""),
        ask("no retries", "/none", "status=503|status=200", ""),
        ask("a gateway error", "/gateway", "status=502|status=200", ""),
        ask("500 is no gateway error", "/gateway", "status=500|status=200", ""),
        ask("a reset", "/reset", "nothing;reset|status=200", ""),
        ask("503 is no reset", "/reset", "status=503|status=200", ""),
        ask("a reset after the request", "/before", "nothing;reset|status=200", ""),
        ask("no failure to connect", "/connect", "nothing;reset|status=200", ""),
        ask("409", "/retriable-4xx", "status=409|status=200", ""),
        ask("404", "/retriable-4xx", "status=404|status=200", ""),
        ask("a listed code", "/codes", "status=418|status=200", ""),
        ask("a code that is not listed", "/codes", "status=503|status=200", ""),
        ask("a listed header", "/headers", "header=x-again:1|status=200", ""),
        ask("no listed header", "/headers", "status=503|status=200", ""),
        ask("a request that may be retried", "/only", "status=503|status=200", "x-retry: yes\r\n"),
        ask("a request that may not be retried", "/only", "status=503|status=200", ""),
        ask("rate limited", "/limited", "status=429;header=x-envoy-ratelimited:1|status=200", ""),
        ask("too many requests", "/limited", "status=429|status=200", ""),
        ask("two conditions", "/two-conditions", "status=409|status=200", ""),
        ask("refused", "/refused", "", ""),
        ask("the client asks for retries", "/no-policy", "status=503|status=200", "x-envoy-retry-on: 5xx\r\n"),
        ask(
            "the client asks for more",
            "/no-policy",
            "status=503|status=503|status=200",
            "x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 2\r\n",
        ),
        ask(
            "the client lists codes",
            "/no-policy",
            "status=418|status=200",
            "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 418,419\r\n",
        ),
        ask("the client asks for none", "/5xx", "status=503|status=200", "x-envoy-max-retries: 0\r\n"),
        ask("nobody asks", "/no-policy", "status=503|status=200", ""),
        ask("a try times out", "/per-try", "delay=400|body=second", ""),
        ask("both tries time out", "/per-try", "delay=400", ""),
        ask("a try is silent before the answer", "/idle-try", "delay=400|body=second", ""),
        ask("both tries are silent", "/idle-try", "delay=400", ""),
        ask("a try is silent inside the answer", "/idle-try", "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;stall", ""),
        ask("a try talks slowly", "/idle-try", "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 3\\r\\n\\r\\na;pause=60;more=b;pause=60;more=c", ""),
        ask("a limit of tries without retries", "/try-only", "delay=400", ""),
        ask("tries until the time is over", "/all-time", "delay=900", ""),
        ask("unreachable twice", "/unreachable", "", ""),
        ask("reset twice", "/5xx", "nothing;reset", ""),
        ask("closed twice", "/two", "nothing;close", ""),
        ask("broken twice", "/5xx", "raw=nonsense\\r\\n\\r\\n;close", ""),
        ask("reset, then 503", "/two", "nothing;reset|status=503", ""),
        ask("an interim answer, then nothing", "/5xx", "raw=HTTP/1.1 103 Early\\r\\n\\r\\n;close|body=second", ""),
        ask("an interim answer, then a failure", "/5xx", "1xx=103;status=503|body=second", ""),
        case(
            "a connection that was used before is closed",
            "GET /no-policy HTTP/1.1\r\nhost: a\r\n\r\nGET /no-policy HTTP/1.1\r\nhost: a\r\nx-upstream: nothing;close\r\n\r\n",
        )
        .answers(2),
        case(
            "a connection that was used before is reset",
            "GET /no-policy HTTP/1.1\r\nhost: a\r\n\r\nPOST /no-policy HTTP/1.1\r\nhost: a\r\nx-upstream: nothing;reset\r\ncontent-length: 2\r\n\r\nhi",
        )
        .answers(2),
        post("a body is sent again", "/5xx", "status=503|status=200", "hello"),
        post("a body within the limit is sent again", "/small-body", "status=503|status=200", "0123456789"),
        post("a body beyond the limit is not", "/small-body", "status=503|status=200", "0123456789a"),
        post("a body within the newer limit is sent again", "/newer-small-body", "status=503|status=200", "0123456789"),
        post("a body beyond the newer limit is not", "/newer-small-body", "status=503|status=200", "0123456789a"),
        failed(case(
            "a body outgrows the limit while a try is waited for",
            "POST /later HTTP/1.1\r\nhost: a\r\nx-upstream: early;status=503|status=200\r\ncontent-length: 20\r\n\r\n01234",
        )
        .then(Input::AtUpstream))
        .piece("56789abcdefghij"),
        failed(case(
            "a body in chunks outgrows the limit while a try is waited for",
            "POST /later HTTP/1.1\r\nhost: a\r\nx-upstream: early;status=503|status=200\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .then(Input::AtUpstream))
        .piece("5\r\n01234\r\n")
        .piece("6\r\n56789a\r\n")
        .piece("0\r\n\r\n"),
        failed(case(
            "a body outgrows the limit, nobody listens",
            "POST /no-one HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n",
        ))
        .piece("0123456789a"),
        post("a large body is sent again", "/5xx", "status=503|status=200", &"x".repeat(50_000)),
        case(
            "chunks are sent again",
            "POST /5xx HTTP/1.1\r\nhost: a\r\nx-upstream: status=503|status=200\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        post("a body after an early failure", "/5xx", "early;status=503|status=200", "hello"),
        case("HEAD", "HEAD /5xx HTTP/1.1\r\nhost: a\r\nx-upstream: status=503|status=200\r\n\r\n"),
        ask(
            "a failure after the head",
            "/5xx",
            "raw=HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello;reset|status=200",
            "",
        ),
    ];
    compare(setup, cases.into_iter().chain(instructions()).collect()).await;
}

/// How much of a body is kept for another try. That of a connection bounds it only where it was not said for requests.
#[tokio::test]
async fn limits_of_bodies() {
    let route = |name: &str, fields: Value| {
        let mut route = route(name, json!({"retry_on": "5xx"}));
        weir_tests::merge(&mut route, fields);
        route
    };
    let routes = json!([
        route("unsaid", json!({})),
        route("none", json!({"per_request_buffer_limit_bytes": 0})),
        route("newer-none", json!({"request_body_buffer_limit": 0})),
        route("large", json!({"per_request_buffer_limit_bytes": 1_000_000})),
        route("newer-large", json!({"request_body_buffer_limit": 1_000_000})),
        route("small", json!({"per_request_buffer_limit_bytes": 10})),
        route("newer-small", json!({"request_body_buffer_limit": 10})),
    ]);
    let hcm = Hcm::new().routes(routes);
    let setup = Setup::main(hcm.clone())
        .listener_with("unbounded", hcm.clone(), json!({"per_connection_buffer_limit_bytes": 0}))
        .listener_with("bounded", hcm, json!({"per_connection_buffer_limit_bytes": 1000}));
    let mut cases = Vec::new();
    for listener in ["main", "unbounded", "bounded"] {
        for path in ["/unsaid", "/none", "/newer-none", "/large", "/newer-large", "/small", "/newer-small"] {
            for bytes in [5, 500, 5000] {
                let name = &*Box::leak(format!("{bytes} bytes to {path} of {listener}").into_boxed_str());
                let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nx-upstream: status=503|status=200\r\n");
                let bytes = format!("{head}content-length: {bytes}\r\n\r\n{}", "x".repeat(bytes));
                cases.push(case(name, bytes).to(listener));
            }
        }
    }
    compare(setup, cases).await;
}

/// What clients inside ask for.
fn instructions() -> Vec<Case> {
    let ask = |name, path: &str, script: &str, headers: &str| ask(name, path, script, headers).to("inside");
    vec![
        ask("inside: retries", "/no-policy", "status=503|status=200", "x-envoy-retry-on: 5xx\r\n"),
        ask(
            "inside: more",
            "/no-policy",
            "status=503|status=503|status=200",
            "x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 2\r\n",
        ),
        ask("inside: fewer", "/three", "status=503|status=503|status=200", "x-envoy-max-retries: 1\r\n"),
        ask("inside: none", "/5xx", "status=503|status=200", "x-envoy-max-retries: 0\r\n"),
        ask("inside: a bad number", "/5xx", "status=503|status=200", "x-envoy-max-retries: many\r\n"),
        ask("inside: a number without a reason", "/no-policy", "status=503|status=200", "x-envoy-max-retries: 3\r\n"),
        ask(
            "inside: unknown reasons",
            "/no-policy",
            "status=503|status=200",
            "x-envoy-retry-on: nonsense,unavailable\r\n",
        ),
        ask(
            "inside: one of the reasons",
            "/no-policy",
            "status=409|status=200",
            "x-envoy-retry-on: nonsense, retriable-4xx\r\n",
        ),
        ask(
            "inside: two fields of reasons",
            "/no-policy",
            "status=409|status=200",
            "x-envoy-retry-on: connect-failure\r\nx-envoy-retry-on: retriable-4xx\r\n",
        ),
        ask(
            "inside: codes",
            "/no-policy",
            "status=418|status=200",
            "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 417, 418\r\n",
        ),
        ask(
            "inside: codes beside the route's",
            "/codes",
            "status=500|status=419|status=200",
            "x-envoy-max-retries: 2\r\nx-envoy-retriable-status-codes: 419\r\n",
        ),
        ask(
            "inside: headers",
            "/no-policy",
            "header=x-again:1|status=200",
            "x-envoy-retry-on: retriable-headers\r\nx-envoy-retriable-header-names: x-other, X-Again\r\n",
        ),
        ask("inside: gRPC", "/no-policy", "header=grpc-status:14|status=200", "x-envoy-retry-grpc-on: unavailable\r\n"),
        ask(
            "inside: gRPC's reasons in the other field",
            "/no-policy",
            "status=503|status=200",
            "x-envoy-retry-grpc-on: 5xx\r\n",
        ),
        ask("inside: only some requests", "/only", "status=503|status=200", "x-envoy-retry-on: 5xx\r\n"),
        ask("inside: the route removes it", "/stripped", "status=503|status=200", "x-envoy-retry-on: 5xx\r\n"),
        ask("inside: the route adds it", "/added", "status=503|status=200", ""),
        ask("inside: a time", "/no-policy", "delay=400", "x-envoy-upstream-rq-timeout-ms: 150\r\n"),
        ask(
            "inside: a time, 204",
            "/no-policy",
            "delay=400",
            "x-envoy-upstream-rq-timeout-ms: 150\r\nx-envoy-upstream-rq-timeout-alt-response: 1\r\n",
        ),
        ask("inside: a time for a try", "/no-policy", "delay=400", "x-envoy-upstream-rq-per-try-timeout-ms: 150\r\n"),
        ask(
            "inside: a time for a try, again",
            "/5xx",
            "delay=400|body=second",
            "x-envoy-upstream-rq-per-try-timeout-ms: 150\r\n",
        ),
        ask(
            "inside: a time for a try, 204",
            "/5xx",
            "delay=400",
            "x-envoy-upstream-rq-per-try-timeout-ms: 150\r\nx-envoy-upstream-rq-timeout-alt-response:\r\n",
        ),
        ask(
            "inside: a try longer than all",
            "/5xx",
            "delay=400|body=second",
            "x-envoy-upstream-rq-timeout-ms: 150\r\nx-envoy-upstream-rq-per-try-timeout-ms: 200\r\n",
        ),
        ask(
            "inside: no limit",
            "/all-time",
            "delay=500",
            "x-envoy-upstream-rq-timeout-ms: 0\r\nx-envoy-upstream-rq-per-try-timeout-ms: 0\r\n",
        ),
        ask(
            "inside: bad times",
            "/no-policy",
            "",
            "x-envoy-upstream-rq-timeout-ms: 1.5\r\nx-envoy-upstream-rq-per-try-timeout-ms: -3\r\n",
        ),
        ask(
            "inside: two times",
            "/no-policy",
            "delay=200",
            "x-envoy-upstream-rq-timeout-ms: 100\r\nx-envoy-upstream-rq-timeout-ms: 100\r\n",
        ),
        ask("inside: a large time", "/no-policy", "", "x-envoy-upstream-rq-timeout-ms: 99999999999\r\n"),
    ]
}
