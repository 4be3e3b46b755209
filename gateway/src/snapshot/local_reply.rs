//! What answers of the gateway itself look like, as `local_reply_config` wants them.

use bytes::Bytes;

use crate::filter::LocalReply;
use crate::http::{NO_REQUEST, RequestHead, ResponseHead};
use crate::route::HeaderOps;
use crate::telemetry::StreamInfo;
use crate::telemetry::access_log::{LogFilter, LogFormat};
use crate::telemetry::format::FormatCx;

/// `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig`.
#[derive(Debug)]
pub struct LocalReplies {
    /// The first that matches changes the answer.
    pub mappers: Box<[Mapper]>,
    /// The body where no mapper has a format of its own; `None` leaves it as it is.
    pub format: Option<BodyFormat>,
}

/// `ResponseMapper`: for which answers, and what becomes of them.
#[derive(Debug)]
pub struct Mapper {
    /// Sees the answer as it would be sent.
    pub filter: LogFilter,
    /// `status_code`.
    pub status: Option<u16>,
    /// `body`; a format may still put something around it.
    pub body: Option<Bytes>,
    /// `headers_to_add`.
    pub headers: HeaderOps,
    /// `body_format_override`.
    pub format: Option<BodyFormat>,
}

/// How a body is written.
#[derive(Debug)]
pub struct BodyFormat {
    /// `%LOCAL_REPLY_BODY%` stands for the body as it was.
    pub format: LogFormat,
    /// What `content-type` says of it.
    pub content_type: Bytes,
}

const JSON: &[u8] = b"application/json";

impl LocalReplies {
    /// Changes an answer as Envoy does (`LocalReply::rewrite`, then `Utility::prepareLocalReply`). There is no request if
    /// what came was none.
    pub fn rewrite(
        &self,
        reply: LocalReply,
        request: Option<&RequestHead>,
        info: &mut StreamInfo,
        grpc: bool,
    ) -> LocalReply {
        let LocalReply { status, headers, body: original, details, grpc_status } = reply;
        let mut head = ResponseHead { status, headers };
        let own_type = head.headers.get("content-type").map(<[u8]>::to_vec);
        let mut body = original.clone();
        info.status = status;
        let mapper = self.mappers.iter().find(|mapper| mapper.filter.passes(&context(request, &head, info)));
        if let Some(mapper) = mapper {
            body = mapper.body.clone().unwrap_or(body);
            mapper.headers.apply_to_response(&mut head, request.unwrap_or(&NO_REQUEST), info);
            head.status = mapper.status.unwrap_or(head.status);
            info.status = head.status;
        }
        let format = mapper.and_then(|mapper| mapper.format.as_ref()).or(self.format.as_ref());
        let mut content_type: &[u8] = b"text/plain";
        if let Some(format) = format {
            body = format.render(&FormatCx { local_reply_body: &body, ..context(request, &head, info) });
            content_type = &format.content_type;
        }
        if grpc {
            // It becomes a header value, which the line end of a document must not end.
            if content_type == JSON && body.last() == Some(&b'\n') {
                body.truncate(body.len() - 1);
            }
        } else if !body.is_empty() {
            let was_set = head.headers.get("content-type").map(<[u8]>::to_vec) != own_type;
            if !head.headers.contains("content-type") || body != original && !was_set {
                head.headers.set("content-type", content_type);
            }
        }
        LocalReply { status: head.status, headers: head.headers, body, details, grpc_status }
    }
}

fn context<'a>(request: Option<&'a RequestHead>, head: &'a ResponseHead, info: &'a StreamInfo) -> FormatCx<'a> {
    FormatCx { request, response: Some(head), ..FormatCx::new(info) }
}

impl BodyFormat {
    fn render(&self, cx: &FormatCx<'_>) -> Bytes {
        let mut out = Vec::new();
        match &self.format {
            LogFormat::Text(format) => format.render(cx, &mut out),
            LogFormat::Json(format) => {
                format.render(cx, &mut out);
                out.push(b'\n');
            }
        }
        out.into()
    }
}
