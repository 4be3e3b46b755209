//! What is counted of a request that is served, and of bytes that are none, on the connection manager and its listener.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::{Request, Response};
use crate::http::{ResponseHead, Version};
use crate::proxy::connection::{ConnectionContext, Serving};
use crate::proxy::error::{BadHead, Cause, Failed};
use crate::proxy::{log, response};
use crate::telemetry::StreamInfo;
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{Http, ListenerHttp, http, listener_http, weir};

/// The answer to bytes that are no request, or not yet one. It is counted; logged only once it is known what was sent of it.
pub(in crate::proxy) struct Malformed {
    pub(in crate::proxy) head: ResponseHead,
    pub(in crate::proxy) body: Bytes,
    pub(in crate::proxy) info: StreamInfo,
}

impl Malformed {
    pub(in crate::proxy) fn new(
        cx: &Rc<ConnectionContext>,
        serving: &Rc<Serving>,
        version: Version,
        cause: Cause,
    ) -> Self {
        let mut info = StreamInfo::new(Rc::clone(&cx.info), version);
        let Failed { cause, flags, reply } = Failed::from(cause);
        info.flags.insert(flags);
        info.details = Some(reply.details.clone());
        let reply = match &serving.manager().local_replies {
            Some(configured) => configured.rewrite(reply, None, &mut info, false),
            None => reply,
        };
        info.status = reply.status;
        let metrics = serving.manager().scope.chunk(cx.worker.index);
        count_begin(metrics, version);
        metrics.inc(http::DOWNSTREAM_RQ_RX_RESET);
        if version != Version::Http2 {
            metrics.inc(http::DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE);
        }
        metrics.inc(match cause {
            Cause::HeadTimeout => http::DOWNSTREAM_RQ_HEADER_TIMEOUT,
            Cause::RequestTimeout => http::DOWNSTREAM_RQ_TIMEOUT,
            Cause::IdleTimeout(_) => http::DOWNSTREAM_RQ_IDLE_TIMEOUT,
            _ => http::DOWNSTREAM_CX_PROTOCOL_ERROR,
        });
        if cause.is_header_limit() {
            cx.worker.limits().inc(weir::HEADER_LIMIT_EXCEEDED);
        }
        count_status(cx, serving, reply.status);
        let (mut head, body) = response::of_local_reply(reply);
        response::name(serving.manager(), &cx.worker, &mut head);
        info.bytes_sent = body.len() as u64;
        Self { head, body, info }
    }

    pub(in crate::proxy) fn log(self, cx: &ConnectionContext, serving: &Serving) {
        log::malformed(cx, serving, self.info, Some(&self.head));
    }
}

/// Logs and counts a head over HTTP/2 whose stream is reset; as Envoy, as a request that was reset.
pub(in crate::proxy) fn refuse_head(cx: &Rc<ConnectionContext>, serving: &Serving, bad: BadHead) {
    let mut info = StreamInfo::new(Rc::clone(&cx.info), Version::Http2);
    let (flags, details) = bad.look();
    info.flags.insert(flags);
    info.details = Some(details);
    let metrics = serving.manager().scope.chunk(cx.worker.index);
    count_begin(metrics, Version::Http2);
    metrics.inc(http::DOWNSTREAM_RQ_RX_RESET);
    match bad {
        BadHead::Repeated => metrics.inc(http::DOWNSTREAM_CX_PROTOCOL_ERROR),
        BadHead::TooMany => cx.worker.limits().inc(weir::HEADER_LIMIT_EXCEEDED),
    }
    log::malformed(cx, serving, info, None);
}

/// A request has come.
fn count_begin(metrics: Chunk<'_, Http>, version: Version) {
    metrics.inc(http::DOWNSTREAM_RQ_TOTAL);
    let http2 = version == Version::Http2;
    metrics.inc(if http2 { http::DOWNSTREAM_RQ_HTTP2_TOTAL } else { http::DOWNSTREAM_RQ_HTTP1_TOTAL });
}

/// A response by its status.
fn count_status(cx: &ConnectionContext, serving: &Serving, status: u16) {
    let metrics = serving.manager().scope.chunk(cx.worker.index);
    let of_listener = serving.listener_scope().chunk(cx.worker.index);
    if let (Some(class), Some(listener_class)) = (Http::class(status), ListenerHttp::class(status)) {
        metrics.inc(http::DOWNSTREAM_RQ_COMPLETED);
        metrics.inc(class);
        of_listener.inc(listener_http::DOWNSTREAM_RQ_COMPLETED);
        of_listener.inc(listener_class);
    }
}

impl Request {
    pub(super) fn count_begin(&self) {
        let metrics = self.metrics();
        count_begin(metrics, self.stream.get().request.version);
        metrics.up(http::DOWNSTREAM_RQ_ACTIVE);
    }

    pub(super) fn count_end(&self, now: Instant) {
        let info = &self.stream.get().info;
        let metrics = self.metrics();
        // As Envoy counts: whatever ends before both messages have is a reset, whoever is to blame.
        if info.request_complete.is_none() || self.response != Response::Complete {
            metrics.inc(http::DOWNSTREAM_RQ_RX_RESET);
        }
        if !self.request_read && self.response != Response::Unwanted {
            metrics.inc(http::DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE);
        }
        metrics.down(http::DOWNSTREAM_RQ_ACTIVE);
        metrics.record(http::DOWNSTREAM_RQ_TIME, now.saturating_duration_since(info.start).as_millis() as u64);
        count_status(&self.cx, &self.serving, info.status);
    }

    pub(super) fn metrics(&self) -> Chunk<'_, Http> {
        self.serving.manager().scope.chunk(self.cx.worker.index)
    }
}
