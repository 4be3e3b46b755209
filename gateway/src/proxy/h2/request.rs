//! One request of an HTTP/2 connection, from h2's form of its head to its end.

use std::rc::Rc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;

use super::activity::Running;
use super::budget::Charged;
use super::stream::Http2Stream;
use crate::http::one_line::{Of, join_lines};
use crate::http::{HeaderMap, RequestHead, ResponseHead, Version};
use crate::proxy::alarm::Alarm;
use crate::proxy::connection::ConnectionContext;
use crate::proxy::downstream::Downstream;
use crate::proxy::error::BadHead;
use crate::proxy::request::{self, Incoming};

/// Serves one request.
pub(super) async fn serve(
    cx: Rc<ConnectionContext>,
    mut running: Running,
    request: Request<RecvStream>,
    mut respond: SendResponse<Charged>,
) {
    let serving = cx.serving();
    let manager = serving.manager();
    let limit = manager.limits.fields;
    if let Some(bad) = what_is_bad(request.headers(), limit) {
        request::refuse_head(&cx, &serving, bad);
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return;
    }
    let (parts, body) = request.into_parts();
    let end = body.is_end_stream();
    let head_request = parts.method == http::Method::HEAD;
    let mut head = head_of(parts);
    let head_bytes = head.byte_size() as u64;
    let mut stream = Http2Stream::new(body, respond, running.held_back(), head_request, limit, head_bytes);
    if !manager.proxy_100_continue
        && head.headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    {
        head.headers.remove("expect");
        stream.informational(&ResponseHead::new(100));
    }
    let has_host = !head.authority.is_empty();
    let incoming = Incoming { head, end, has_host, upgrade: false };
    let mut down = Downstream::Http2(stream);
    request::serve(&cx, serving, &mut down, &mut Alarm::default(), incoming).await;
    running.was_reset = matches!(down, Downstream::Http2(stream) if stream.was_reset());
}

/// What h2 lets through and we do not. It compares one length with the body; two would reach an HTTP/1 endpoint that takes
/// the other one. Two hosts name nobody.
fn what_is_bad(fields: &http::HeaderMap, limit: usize) -> Option<BadHead> {
    let twice = |name: &str| fields.get_all(name).iter().nth(1).is_some();
    if twice("content-length") || twice("host") {
        return Some(BadHead::Repeated);
    }
    (fields.len() > limit).then_some(BadHead::TooMany)
}

/// h2 has checked what RFC 9113 section 8.3 asks of the head.
fn head_of(parts: http::request::Parts) -> RequestHead {
    let mut headers = HeaderMap::with_capacity(parts.headers.len() + 8, 1024);
    let mut cookies: Vec<u8> = Vec::new();
    let mut host = None;
    for (name, value) in &parts.headers {
        match name.as_str() {
            // Crumbs are joined (RFC 9113 section 8.2.3).
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value.as_bytes());
            }
            "host" => host = host.or(Some(value.as_bytes())),
            // h2 lets nothing else than `trailers` through.
            "te" => headers.set("te", value.as_bytes()),
            name => headers.append(name, value.as_bytes()),
        }
    }
    if !cookies.is_empty() {
        headers.append("cookie", cookies);
    }
    join_lines(&mut headers, Of::Request);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes()).or(host).unwrap_or_default();
    let path = parts.uri.path_and_query().map(|path| path.as_str()).unwrap_or_default();
    RequestHead {
        method: method_bytes(&parts.method),
        scheme: Bytes::from_static(if parts.uri.scheme_str() == Some("https") { b"https" } else { b"http" }),
        authority: Bytes::copy_from_slice(authority),
        path: Bytes::copy_from_slice(path.as_bytes()),
        version: Version::Http2,
        headers,
    }
}

fn method_bytes(method: &http::Method) -> Bytes {
    match *method {
        http::Method::GET => Bytes::from_static(b"GET"),
        http::Method::POST => Bytes::from_static(b"POST"),
        ref other => Bytes::copy_from_slice(other.as_str().as_bytes()),
    }
}
