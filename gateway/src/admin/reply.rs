//! Answers of the admin interface.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SERVER, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use serde_json::Value;

use crate::telemetry::metrics::Pieces;

/// An answer.
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: ReplyBody,
}

/// The body of an answer, whole or rendered while it is sent.
pub(super) enum ReplyBody {
    Whole(Full<Bytes>),
    Pieces(Pieces),
}

const TEXT: &str = "text/plain; charset=UTF-8";

impl Reply {
    /// 200 with text.
    pub(super) fn text(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type: TEXT, body: ReplyBody::Whole(Full::new(body.into())) }
    }

    /// 200 with `OK`, as Envoy answers what was done.
    pub(super) fn done() -> Self {
        Self::text("OK\n")
    }

    /// 200 with HTML.
    pub(super) fn html(body: String) -> Self {
        Self { content_type: "text/html; charset=UTF-8", ..Self::text(body) }
    }

    /// 200 with text that is rendered while it is sent.
    pub(super) fn pieces(pieces: Pieces) -> Self {
        Self { status: StatusCode::OK, content_type: TEXT, body: ReplyBody::Pieces(pieces) }
    }

    /// 200 with JSON that is rendered while it is sent.
    pub(super) fn json_pieces(pieces: Pieces) -> Self {
        Self { content_type: "application/json", ..Self::pieces(pieces) }
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

    pub(super) fn into_response(self) -> Response<ReplyBody> {
        let post_only = self.status == StatusCode::METHOD_NOT_ALLOWED;
        let mut response = Response::new(self.body);
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
    pub(super) fn parts(self) -> (u16, String) {
        use http_body_util::BodyExt;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let body = runtime.ok().and_then(|runtime| runtime.block_on(self.body.collect()).ok());
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        (self.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Pieces(pieces) => Poll::Ready(pieces.next().map(|piece| Ok(Frame::data(piece.into())))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
