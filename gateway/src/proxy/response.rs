//! What every response gets before it goes to the client, and how local replies look.

use bytes::Bytes;

use super::forwarded::append_to_list;
use super::worker::Worker;
use crate::filter::LocalReply;
use crate::http::{HeaderMap, RequestHead, ResponseHead};
use crate::route::{Answer, Matched};
use crate::snapshot::compile::filter::PerRoute;
use crate::snapshot::connection_manager::{ConnectionManager, ServerHeaderWhen};
use crate::telemetry::StreamInfo;
use crate::telemetry::format::grpc_of_http;

/// `date`, `server`, `via`, `x-request-id`, as Envoy's connection manager sets them.
pub(super) fn finalize(manager: &ConnectionManager, worker: &Worker, request: &RequestHead, head: &mut ResponseHead) {
    name(manager, worker, head);
    let headers = &mut head.headers;
    if manager.request_id.in_response
        && let Some(id) = request.headers.get("x-request-id")
    {
        headers.set("x-request-id", id);
    }
}

/// `date`, `server` and `via`: what an answer has even if nothing of the request could be read.
pub(super) fn name(manager: &ConnectionManager, worker: &Worker, head: &mut ResponseHead) {
    let headers = &mut head.headers;
    if !headers.contains("date") {
        headers.append("date", worker.date());
    }
    match manager.server.when {
        ServerHeaderWhen::Overwrite => headers.set("server", &manager.server.name),
        ServerHeaderWhen::AppendIfAbsent if !headers.contains("server") => {
            headers.append("server", &manager.server.name)
        }
        ServerHeaderWhen::AppendIfAbsent | ServerHeaderWhen::PassThrough => {}
    }
    if !manager.via.is_empty() {
        append_to_list(headers, "via", ", ", &manager.via);
    }
}

/// A local reply as a response.
pub(super) fn of_local_reply(reply: LocalReply) -> (ResponseHead, Bytes) {
    let mut headers = HeaderMap::with_capacity(reply.headers.len() + 6, reply.headers.byte_size() + 192);
    if !reply.body.is_empty() {
        headers.append("content-length", itoa::Buffer::new().format(reply.body.len()));
        if !reply.headers.contains("content-type") {
            headers.append("content-type", "text/plain");
        }
    }
    // As Envoy: a body that is not there has neither length nor type.
    let left_out = |name: &[u8]| name == b"content-length" || name == b"content-type" && reply.body.is_empty();
    for (name, value) in reply.headers.iter().filter(|(name, _)| !left_out(name)) {
        headers.append(name, value);
    }
    (ResponseHead { status: reply.status, headers }, reply.body)
}

/// A local reply to a gRPC request: status 200, the error in `grpc-status` and `grpc-message` (Envoy's
/// `sendLocalReply`).
pub(super) fn of_grpc_reply(reply: LocalReply) -> (ResponseHead, Bytes) {
    let mut head = ResponseHead { status: 200, headers: reply.headers };
    head.headers.remove("content-length");
    head.headers.set("content-type", "application/grpc");
    if !head.headers.contains("grpc-status") {
        let status = reply.grpc_status.unwrap_or_else(|| grpc_of_http(reply.status));
        head.headers.append("grpc-status", itoa::Buffer::new().format(status));
    }
    if !reply.body.is_empty() {
        head.headers.set("grpc-message", grpc_message(&reply.body));
    }
    (head, Bytes::new())
}

/// A redirect or a direct response of a route.
pub(super) fn of_route(answer: Answer) -> LocalReply {
    let mut reply = LocalReply::new(answer.status, answer.body, "direct_response");
    if let Some(location) = answer.location {
        reply.headers.append("location", location);
    }
    reply
}

/// A local reply with what the request's route adds to responses; the reply's own fields come behind that.
pub(super) fn with_headers_of_route(
    mut reply: LocalReply,
    matched: &Matched<'_, PerRoute>,
    request: &RequestHead,
    info: &StreamInfo,
) -> LocalReply {
    let mut head = ResponseHead::new(reply.status);
    matched.finalize_response(&mut head, request, info);
    if !head.headers.is_empty() {
        for (name, value) in reply.headers.iter() {
            head.headers.append(name, value);
        }
        reply.headers = head.headers;
    }
    reply
}

/// Whether a request is gRPC's.
pub(super) fn is_grpc(head: &RequestHead) -> bool {
    crate::route::matcher::is_grpc(&head.headers)
}

/// Percent-encoded as gRPC's protocol says.
fn grpc_message(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if (0x20..=0x7e).contains(byte) && *byte != b'%' {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}
