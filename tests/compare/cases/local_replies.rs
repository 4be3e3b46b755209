//! The gateway's own answers, changed by `local_reply_config`.

use super::connection::{answering_by_itself, local_replies};
use crate::case::{case, get, post};
use crate::run::compare;
use crate::setup::Setup;
use serde_json::{Value, json};
use weir_tests::{Hcm, typed};

fn comparison(op: &str, value: u32) -> Value {
    json!({"comparison": {"op": op, "value": {"default_value": value, "runtime_key": "none"}}})
}

fn status(code: u32) -> Value {
    json!({"status_code_filter": comparison("EQ", code)})
}

fn text(format: &str) -> Value {
    json!({"text_format_source": {"inline_string": format}})
}

fn configured(config: Value) -> Hcm {
    answering_by_itself().set(json!({"local_reply_config": config}))
}

#[tokio::test]
async fn own_answers_as_configured() {
    let mut format = text("%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% <%LOCAL_REPLY_BODY%>\n");
    format["content_type"] = "text/x-mine".into();
    let mapped = configured(json!({
        "mappers": [
            {"filter": status(404), "status_code": 410, "body": {"inline_string": "gone"},
             "headers_to_add": [{"header": {"key": "x-mapped", "value": "%RESPONSE_CODE%"}}]},
            {"filter": status(503), "body_format_override": {"json_format": {
                "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "path": "%REQ(:PATH)%", "text": "%LOCAL_REPLY_BODY%",
            }}},
        ],
        "body_format": format,
    }));
    let fields = json!({"code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "body": "%LOCAL_REPLY_BODY%"});
    let json_only = configured(json!({"body_format": {"json_format": fields}}));
    let setup = Setup::main(mapped).listener("json", json_only).listener("empty", configured(json!({})));
    let to = |listener| local_replies().into_iter().map(move |case| case.to(listener));
    compare(setup, to("main").chain(to("json")).chain(to("empty")).collect()).await;
}

/// Every kind of filter that chooses an answer, and that the first match alone counts.
#[tokio::test]
async fn filters() {
    let header = |matcher: Value| json!({"header_filter": {"header": matcher}});
    let mapper = |filter: Value, body: &str| json!({"filter": filter, "body": {"inline_string": body}});
    let hcm = configured(json!({"mappers": [
        mapper(header(json!({"name": "x-pick", "string_match": {"exact": "header"}})), "by header"),
        mapper(json!({"and_filter": {"filters": [status(503), {"response_flag_filter": {"flags": ["UF"]}}]}}), "by flag"),
        mapper(json!({"or_filter": {"filters": [status(504), status(403)]}}), "by either"),
        mapper(json!({"and_filter": {"filters": [status(301), {"duration_filter": comparison("LE", 60_000)}]}}), "soon"),
        mapper(json!({"runtime_filter": {"runtime_key": "none", "percent_sampled": {"numerator": 0}}}), "never"),
        mapper(json!({"and_filter": {"filters": [
            header(json!({"name": "x-pick", "string_match": {"exact": "share"}})),
            {"runtime_filter": {"runtime_key": "none", "percent_sampled": {"numerator": 100}}},
        ]}}), "by share"),
        mapper(json!({"and_filter": {"filters": [
            header(json!({"name": "x-pick", "present_match": false})), {"status_code_filter": comparison("GE", 426)},
        ]}}), "without the header"),
        mapper(json!({"grpc_status_filter": {"statuses": ["UNIMPLEMENTED"]}}), "by gRPC status"),
    ]}));
    let mut cases = local_replies();
    cases.extend([
        get("picked by header", "/nowhere", "x-pick: header\r\n"),
        get("picked by share", "/nowhere", "x-pick: share\r\n"),
        get("not picked", "/refused", "x-pick: other\r\n"),
    ]);
    compare(Setup::main(hcm), cases).await;
}

/// What is set and added where something is there already, and what becomes of lengths and types.
#[tokio::test]
async fn headers_and_bodies() {
    let add =
        |key: &str, value: &str, action: &str| json!({"header": {"key": key, "value": value}, "append_action": action});
    let by_path = |path: &str| json!({"header_filter": {"header": {"name": ":path", "string_match": {"exact": path}}}});
    let hcm = configured(json!({
        "mappers": [
            {"filter": by_path("/nowhere"), "headers_to_add": [
                add("content-type", "text/added", "OVERWRITE_IF_EXISTS_OR_ADD"),
                add("x-a", "%RESPONSE_CODE_DETAILS%", "APPEND_IF_EXISTS_OR_ADD"),
                add("server", "mine", "OVERWRITE_IF_EXISTS_OR_ADD"),
            ], "body": {"inline_string": "text"}},
            {"filter": by_path("/direct"), "status_code": 200, "headers_to_add": [
                add("x-code", "%RESPONSE_CODE%", "APPEND_IF_EXISTS_OR_ADD"),
                add("x-route", "mapped", "APPEND_IF_EXISTS_OR_ADD"),
            ]},
            {"filter": by_path("/typed"), "body": {"inline_string": "other"}},
            {"filter": by_path("/emptied"), "body_format_override": text("%REQ(x-nothing)%")},
            {"filter": by_path("/redirect"), "body_format_override": text("moved to %RESP(location)%")},
        ],
    }));
    let own = [json!({"match": {"path": "/typed"}}), json!({"match": {"path": "/emptied"}})];
    let mut routes = vec![
        json!({"match": {"path": "/direct"}, "direct_response": {"status": 403, "body": {"inline_string": "direct"}},
               "response_headers_to_add": [{"header": {"key": "x-route", "value": "route"}}]}),
        json!({"match": {"prefix": "/refused"}, "route": {"cluster": "refused"},
               "response_headers_to_add": [{"header": {"key": "x-route", "value": "route"}}]}),
        json!({"match": {"prefix": "/large"}, "route": {"cluster": "a"}}),
        json!({"match": {"prefix": "/redirect"}, "redirect": {"host_redirect": "x"}}),
    ];
    for mut route in own {
        route["direct_response"] = json!({"status": 403, "body": {"inline_string": "direct"}});
        route["response_headers_to_add"] = json!([{"header": {"key": "content-type", "value": "text/own"}}]);
        routes.push(route);
    }
    let buffer = typed("envoy.extensions.filters.http.buffer.v3.Buffer", json!({"max_request_bytes": 10}));
    let too_large = configured(
        json!({"mappers": [{"filter": status(413), "status_code": 400, "body": {"inline_string": "less!"}}]}),
    )
    .filter("envoy.filters.http.buffer", buffer);
    let setup = Setup::main(hcm.routes(json!(routes))).listener("buffered", too_large);
    let cases = vec![
        get("its own type", "/nowhere", ""),
        get("gRPC with headers", "/nowhere", "content-type: application/grpc\r\n"),
        get("a direct response with headers", "/direct", ""),
        get("the route's headers on an answer of the router", "/refused", ""),
        get("another body of a type", "/typed", ""),
        get("a body that is nothing", "/emptied", ""),
        get("a redirect with a body", "/redirect", ""),
        case("HEAD", "HEAD /nowhere HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("HEAD of a direct response", "HEAD /direct HTTP/1.1\r\nhost: a\r\n\r\n"),
        post("an answer of a filter", "", "more than ten bytes").to("buffered"),
    ];
    compare(setup, cases).await;
}
