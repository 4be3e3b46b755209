//! Who the client is, as headers say it, and which of them may be believed: x-forwarded-*, x-envoy-*, x-request-id, via, server.

use crate::case::{Case, case, get};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::Hcm;

fn hcm(fields: Value) -> Hcm {
    Hcm::new().set(fields)
}

/// The same questions to a listener, under names that `prefix` tells apart.
fn of_the_client(listener: &'static str) -> Vec<Case> {
    let headers = [
        ("nothing", ""),
        ("x-forwarded-for", "x-forwarded-for: 203.0.113.7\r\n"),
        ("an internal x-forwarded-for", "x-forwarded-for: 10.0.0.1\r\n"),
        ("two addresses", "x-forwarded-for: 203.0.113.7, 198.51.100.9\r\n"),
        ("two x-forwarded-for", "x-forwarded-for: 203.0.113.7\r\nx-forwarded-for: 198.51.100.9\r\n"),
        ("an x-forwarded-for that is no address", "x-forwarded-for: unknown\r\n"),
        ("an empty x-forwarded-for", "x-forwarded-for:\r\n"),
        ("IPv6", "x-forwarded-for: 2001:db8::1\r\n"),
        ("x-forwarded-proto", "x-forwarded-proto: https\r\n"),
        ("a bad x-forwarded-proto", "x-forwarded-proto: gopher\r\n"),
        ("host and port", "x-forwarded-host: h.example\r\nx-forwarded-port: 99\r\nx-forwarded-prefix: /p\r\n"),
        ("claims of being internal", "x-envoy-internal: true\r\nx-envoy-external-address: 203.0.113.9\r\n"),
        ("claims with an internal address", "x-forwarded-for: 10.0.0.1\r\nx-envoy-internal: true\r\n"),
        ("claims with an external address", "x-forwarded-for: 203.0.113.7\r\nx-envoy-internal: true\r\n"),
        (
            "instructions to the router",
            "x-envoy-original-path: /o\r\nx-envoy-original-host: h\r\nx-envoy-attempt-count: 9\r\nx-envoy-expected-rq-timeout-ms: 7\r\nx-envoy-ip-tags: t\r\nx-envoy-decorator-operation: d\r\nx-envoy-downstream-service-cluster: c\r\nx-envoy-downstream-service-node: n\r\nx-envoy-is-timeout-retry: true\r\nx-envoy-upstream-alt-stat-name: s\r\nx-envoy-upstream-stream-duration-ms: 9000\r\nx-envoy-max-retries: 0\r\nx-envoy-retry-on: 5xx\r\nx-envoy-retry-grpc-on: cancelled\r\nx-envoy-retriable-status-codes: 500\r\nx-envoy-retriable-header-names: a\r\nx-envoy-upstream-rq-timeout-ms: 9000\r\nx-envoy-upstream-rq-per-try-timeout-ms: 8000\r\nx-envoy-upstream-rq-timeout-alt-response: 1\r\n",
        ),
        (
            "a wish for hedging",
            "x-envoy-hedge-on-per-try-timeout: true\r\nx-envoy-upstream-rq-per-try-timeout-ms: 8000\r\n",
        ),
        ("a client certificate", "x-forwarded-client-cert: By=x;Hash=y\r\n"),
        ("a request id", "x-request-id: given-by-the-client\r\n"),
        ("a request id that is a uuid", "x-request-id: 3f2504e0-4f89-41d3-9a0c-0305e82c3301\r\n"),
        (
            "via and server",
            "via: 1.1 before\r\nserver: x\r\nx-upstream: header=via:1.1 up;header=server:up;header=date:x\r\n",
        ),
        (
            "x-envoy headers of the answer",
            "x-upstream: header=x-envoy-overloaded:1;header=x-envoy-immediate-health-check-fail:1;header=x-envoy-degraded:1;header=x-envoy-internal:1\r\n",
        ),
        (
            "user-agent and baggage",
            "user-agent: test/1\r\nforwarded: for=1.2.3.4\r\nx-real-ip: 1.2.3.4\r\ntraceparent: 00-1-1-00\r\nx-client-trace-id: 5\r\n",
        ),
    ];
    headers.into_iter().map(|(name, headers)| get(name, "/", headers).to(listener)).collect()
}

#[tokio::test]
async fn inside() {
    compare(Setup::main(Hcm::new()), of_the_client("main")).await;
}

#[tokio::test]
async fn at_the_edge() {
    let edge = hcm(json!({"use_remote_address": true}));
    compare(Setup::main(edge), of_the_client("main")).await;
}

#[tokio::test]
async fn at_the_edge_of_internal_clients() {
    let ranges = json!({"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]});
    let edge = hcm(json!({"use_remote_address": true, "internal_address_config": ranges}));
    let inside =
        hcm(json!({"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}));
    let cases = of_the_client("main").into_iter().chain(of_the_client("inside")).collect();
    compare(Setup::main(edge).listener("inside", inside), cases).await;
}

#[tokio::test]
async fn behind_trusted_hops() {
    let edge = hcm(json!({"use_remote_address": true, "xff_num_trusted_hops": 1}));
    let inside = hcm(json!({"xff_num_trusted_hops": 1}));
    let cases = of_the_client("main").into_iter().chain(of_the_client("inside")).collect();
    compare(Setup::main(edge).listener("inside", inside), cases).await;
}

#[tokio::test]
async fn options() {
    let preserve = json!({"use_remote_address": true, "preserve_external_request_id": true, "always_set_request_id_in_response": true});
    let setup = Setup::main(Hcm::new())
        .listener("skip-append", hcm(json!({"use_remote_address": true, "skip_xff_append": true})))
        .listener("no-id", hcm(json!({"generate_request_id": false})))
        .listener("preserve-id", hcm(preserve))
        .listener("id-in-response", hcm(json!({"use_remote_address": true, "always_set_request_id_in_response": true})))
        .listener("via", hcm(json!({"via": "weir-test"})))
        .listener("named", hcm(json!({"server_name": "my-server"})))
        .listener("append", hcm(json!({"server_name": "mine", "server_header_transformation": "APPEND_IF_ABSENT"})))
        .listener("pass", hcm(json!({"server_header_transformation": "PASS_THROUGH"})))
        .listener("port", hcm(json!({"append_x_forwarded_port": true, "use_remote_address": true})))
        .listener("strip-port", hcm(json!({"strip_any_host_port": true})))
        .listener("strip-dot", hcm(json!({"strip_trailing_host_dot": true})));
    let uuid = "x-request-id: 3f2504e0-4f89-41d3-9a0c-0305e82c3301\r\n";
    let host = |name, host: &str, listener| case(name, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).to(listener);
    let cases = vec![
        get("x-forwarded-for is not appended", "/", "x-forwarded-for: 203.0.113.7\r\n").to("skip-append"),
        get("no request id is made", "/", "").to("no-id"),
        get("a given request id without making one", "/", uuid).to("no-id"),
        get("an external request id is preserved", "/", uuid).to("preserve-id"),
        get("a request id is made and returned", "/", "").to("preserve-id"),
        get("a request id is replaced and returned", "/", uuid).to("id-in-response"),
        get("via is added", "/", "").to("via"),
        get("via is appended", "/", "via: 1.1 before\r\nx-upstream: header=via:1.1 up\r\n").to("via"),
        get("the name of the server", "/", "x-upstream: header=server:up\r\n").to("named"),
        get("the server's name is appended when absent", "/", "").to("append"),
        get("the server's name is kept", "/", "x-upstream: header=server:up\r\n").to("append"),
        get("the server header passes", "/", "x-upstream: header=server:up\r\n").to("pass"),
        get("no server header passes", "/", "").to("pass"),
        get("x-forwarded-port", "/", "").to("port"),
        get("x-forwarded-port of the client", "/", "x-forwarded-port: 99\r\n").to("port"),
        host("a port of the host is stripped", "test.example:8080", "strip-port"),
        host("a port of an IPv6 host is stripped", "[::1]:8080", "strip-port"),
        host("a host without port", "test.example", "strip-port"),
        host("a trailing dot is stripped", "test.example.", "strip-dot"),
        host("a trailing dot before a port is stripped", "test.example.:80", "strip-dot"),
        host("a trailing dot is kept", "test.example.", "main"),
    ];
    compare(setup, cases).await;
}
