//! Fields that say something to the gateway itself, and fields that came twice.

use crate::case::{Input, case, get, h2, post};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::json;
use weir_tests::{Hcm, typed};

#[tokio::test]
async fn te() {
    let cases = vec![
        get("trailers", "/", "te: trailers\r\n"),
        get("in capitals", "/", "TE: Trailers\r\n"),
        get("another word", "/", "te: gzip\r\n"),
        get("among other words", "/", "te: gzip, trailers ,deflate\r\n"),
        get("among other words, in capitals", "/", "te: gzip, TRAILERS\r\n"),
        get("with a weight", "/", "te: trailers;q=0.5\r\n"),
        get("a longer word", "/", "te: trailers2\r\n"),
        get("empty", "/", "te:\r\n"),
        get("twice", "/", "te: gzip\r\nte: trailers\r\n"),
        get("twice trailers", "/", "te: trailers\r\nte: trailers\r\n"),
        get("named by connection", "/", "te: trailers\r\nconnection: te\r\n"),
        get("another word named by connection", "/", "te: gzip\r\nconnection: te\r\n"),
        get("named by connection, absent", "/", "connection: te\r\n"),
        get("trailers named by connection", "/", "te: trailers\r\nconnection: trailers\r\n"),
        post("a body", "te: trailers\r\n", "hello"),
        h2("HTTP/2: trailers", "GET", "/", &[("te", "trailers")], ""),
        h2("HTTP/2: another word", "GET", "/", &[("te", "gzip")], ""),
        h2("HTTP/2: among other words", "GET", "/", &[("te", "gzip, trailers")], ""),
        h2("HTTP/2: twice trailers", "GET", "/", &[("te", "trailers"), ("te", "trailers")], ""),
    ];
    compare(Setup::main(Hcm::new()), cases).await;
}

#[tokio::test]
async fn expectations() {
    let without = |name, method: &str, more: &str| {
        case(name, format!("{method} / HTTP/1.1\r\nhost: test.example\r\nexpect: 100-continue\r\n{more}\r\n"))
    };
    let proxied = json!({"proxy_100_continue": true});
    let setup = Setup::main(Hcm::new())
        .listener("proxied", Hcm::new().set(proxied))
        .listener("http-1.0", Hcm::new().set(json!({"http_protocol_options": {"accept_http_10": true}})))
        .listener("redirects", Hcm::new().set(json!({"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"})));
    let cases = vec![
        without("a GET", "GET", ""),
        without("a HEAD", "HEAD", ""),
        without("a POST without framing", "POST", ""),
        without("a length of zero", "POST", "content-length: 0\r\n"),
        case(
            "chunks without data",
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        case("HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi"),
        case("HTTP/1.0 accepted", "POST / HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi")
            .to("http-1.0"),
        case("HTTP/1.0 accepted, no body", "GET / HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\n\r\n").to("http-1.0"),
        get("a refused upgrade", "/", "connection: upgrade\r\nupgrade: x\r\nexpect: 100-continue\r\n"),
        get("a path that is refused", "/a%00b", "expect: 100-continue\r\n"),
        case("a host that is none", "GET / HTTP/1.1\r\nhost: a b\r\nexpect: 100-continue\r\n\r\n"),
        case("no host", "GET / HTTP/1.1\r\nexpect: 100-continue\r\n\r\n"),
        case("a redirect by the path", "GET /a%2Fb HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n")
            .to("redirects"),
        get("in capitals", "/", "expect: 100-Continue\r\n"),
        get("twice", "/", "expect: 100-continue\r\nexpect: 100-continue\r\n"),
        get("another one", "/", "expect: 200-ok\r\n"),
        get("with a space behind", "/", "expect: 100-continue \r\n"),
        get("no route", "/nowhere", "expect: 100-continue\r\n"),
        without("passed on: a GET", "GET", "").to("proxied"),
        without("passed on: a length of zero", "POST", "content-length: 0\r\n").to("proxied"),
        without("passed on: the endpoint says it", "GET", "x-upstream: 1xx=100\r\n").to("proxied"),
        without("passed on: a body is waited for", "POST", "content-length: 2\r\nx-upstream: early;1xx=100\r\n")
            .then(Input::Receive("100 Continue"))
            .piece("hi")
            .to("proxied"),
        h2("HTTP/2: a GET", "GET", "/", &[("expect", "100-continue")], ""),
        h2("HTTP/2: a length of zero", "POST", "/", &[("expect", "100-continue"), ("content-length", "0")], ""),
    ];
    compare(setup, cases).await;
}

/// Fields of requests, some of which have one line only.
const OF_REQUESTS: &str = "accept accept-charset accept-encoding accept-language access-control-request-headers \
    access-control-request-method age authorization baggage cache-control content-disposition content-encoding \
    content-language content-location content-range content-type cookie date dnt etag expect forwarded from \
    grpc-accept-encoding grpc-encoding grpc-timeout if-match if-modified-since if-none-match if-range \
    if-unmodified-since last-modified link location max-forwards origin pragma priority proxy-authorization \
    proxy-status range referer sec-fetch-mode sec-websocket-protocol server traceparent tracestate trailer user-agent \
    vary via warning www-authenticate x-a x-b3-traceid x-client-trace-id x-envoy-attempt-count \
    x-envoy-decorator-operation x-envoy-degraded x-envoy-downstream-service-cluster x-envoy-downstream-service-node \
    x-envoy-external-address x-envoy-force-trace x-envoy-internal x-envoy-ip-tags x-envoy-is-timeout-retry \
    x-envoy-original-host x-envoy-original-path x-envoy-original-url x-envoy-peer-metadata \
    x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-forwarded-scheme \
    x-request-id x-requested-with";

/// Fields of answers, some of which have one line only; an endpoint may send 100 lines.
const OF_ANSWERS: [&str; 3] = [
    "accept accept-ranges access-control-allow-credentials access-control-allow-headers access-control-allow-methods \
     access-control-allow-origin access-control-expose-headers access-control-max-age age allow alt-svc authorization \
     cache-control content-disposition content-encoding content-language content-location content-range \
     content-security-policy content-type date etag expires grpc-message grpc-status",
    "cookie grpc-accept-encoding grpc-encoding last-modified link location pragma priority proxy-authenticate \
     proxy-status referer retry-after server server-timing set-cookie strict-transport-security trailer user-agent vary via \
     warning www-authenticate x-a",
    "te x-envoy-attempt-count x-envoy-decorator-operation x-envoy-degraded x-envoy-external-address \
     x-envoy-immediate-health-check-fail x-envoy-overloaded x-envoy-peer-metadata x-envoy-ratelimited \
     x-envoy-upstream-canary x-envoy-upstream-healthchecked-cluster x-envoy-upstream-service-time x-forwarded-for \
     x-forwarded-proto x-frame-options x-powered-by x-request-id",
];

/// Each of these fields on two lines, with another line between.
fn twice(names: &str, end: &str) -> String {
    names.split(' ').map(|name| format!("{name}: 1{end}x-between: -{end}{name}: 2{end}")).collect()
}

#[tokio::test]
async fn came_twice() {
    let many = json!({"common_http_protocol_options": {"max_headers_count": 1000}});
    let inside = json!({
        "use_remote_address": true,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
    });
    let kept =
        json!({"forward_client_cert_details": "ALWAYS_FORWARD_ONLY", "server_header_transformation": "PASS_THROUGH"});
    let hcm = || Hcm::new().set(many.clone());
    let setup = Setup::main(hcm()).listener("inside", hcm().set(inside)).listener("kept", hcm().set(kept));
    let mut cases = vec![
        get("a request", "/", &twice(OF_REQUESTS, "\r\n")),
        get(
            "from inside",
            "/",
            &twice(OF_REQUESTS, "\r\n").replace("x-forwarded-for", "x").replace("x-envoy-force-trace", "y"),
        )
        .to("inside"),
        get("with certificates", "/", &twice(OF_REQUESTS, "\r\n")).to("kept"),
        get("three lines", "/", "accept: 1\r\naccept: 2\r\nx-a: 1\r\nAccept: 3\r\n"),
        get("empty lines", "/", "accept:\r\nuser-agent: a\r\naccept: 2\r\nuser-agent:\r\nreferer:\r\nreferer:\r\n"),
        get("two request ids", "/", "x-request-id: a\r\nx-request-id: b\r\n"),
        h2(
            "HTTP/2",
            "GET",
            "/",
            &[("accept", "1"), ("x-a", "1"), ("user-agent", "a"), ("accept", "2"), ("x-a", "2"), ("referer", "r")],
            "",
        ),
    ];
    let names = ["an answer", "an answer of other fields", "an answer of Envoy's fields"];
    for (name, fields) in names.into_iter().zip(OF_ANSWERS) {
        let fields = twice(fields, "\\r\\n");
        let script = format!("x-upstream: raw=HTTP/1.1 200 OK\\r\\n{fields}content-length: 2\\r\\n\\r\\nhi\r\n");
        cases.push(get(name, "/", &script));
        cases.push(get(name, "/", &script).to("kept"));
    }
    compare(setup, cases).await;
}

#[tokio::test]
async fn added_to_those_that_came() {
    let add = |name: &str| json!({"header": {"key": name, "value": "added"}});
    let (of_requests, of_answers) = (
        ["accept", "user-agent", "x-a", "x-client-trace-id", "cookie"],
        ["cache-control", "vary", "x-a", "set-cookie", "via"],
    );
    let routes = json!([{
        "match": {"prefix": "/"},
        "route": {"cluster": "a"},
        "request_headers_to_add": of_requests.map(add),
        "response_headers_to_add": of_answers.map(add),
    }]);
    let mutation = typed(
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        json!({"mutations": {
            "request_mutations": of_requests.map(|name| json!({"append": add(name)})),
            "response_mutations": of_answers.map(|name| json!({"append": add(name)})),
        }}),
    );
    let setup = Setup::main(Hcm::new().routes(routes))
        .listener("mutated", Hcm::new().filter("envoy.filters.http.header_mutation", mutation));
    let fields = "accept: 1\r\nuser-agent: a\r\nx-a: 1\r\nx-client-trace-id: i\r\ncookie: c=1\r\n\
        x-upstream: header=cache-control:1;header=vary:v;header=x-a:1;header=set-cookie:s=1;header=via:v\r\n";
    let cases = vec![
        get("by the route", "/", fields),
        get("by the route, to nothing", "/", ""),
        get("by the route, to empty ones", "/", "accept:\r\nx-upstream: header=vary:\r\n"),
        get("by the filter", "/", fields).to("mutated"),
        get("by the filter, to nothing", "/", "").to("mutated"),
    ];
    compare(setup, cases).await;
}
