//! Answers of the admin interface.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SERVER, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

const TEXT: &str = "text/plain; charset=UTF-8";

impl Reply {
    /// 200 with text.
    pub(super) fn text(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type: TEXT, body: body.into() }
    }

    /// 200 with `OK`, as Envoy answers what was done.
    pub(super) fn done() -> Self {
        Self::text("OK\n")
    }

    /// 200 with HTML.
    pub(super) fn html(body: String) -> Self {
        Self { content_type: "text/html; charset=UTF-8", ..Self::text(body) }
    }

    /// 200 with JSON text.
    pub(super) fn json_text(body: String) -> Self {
        Self { content_type: "application/json", ..Self::text(body) }
    }

    /// 200 with a JSON document, indented as Envoy does.
    pub(super) fn json(document: &Value) -> Self {
        let mut body = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        // A Value can always be written, and a Vec always be written to.
        drop(document.serialize(&mut serde_json::Serializer::with_formatter(&mut body, formatter)));
        body.push(b'\n');
        Self { content_type: "application/json", ..Self::text(body) }
    }

    /// Text with another status.
    pub(super) fn status(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, ..Self::text(body) }
    }

    /// 400: what the caller did wrong.
    pub(super) fn bad_request(reason: impl Into<Bytes>) -> Self {
        Self::status(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let post_only = self.status == StatusCode::METHOD_NOT_ALLOWED;
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(SERVER, HeaderValue::from_static("weir"));
        if post_only {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (u16, String) {
        (self.status.as_u16(), String::from_utf8_lossy(&self.body).into_owned())
    }
}
