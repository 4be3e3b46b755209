//! What a stream leaves in the access logs.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{ConnectionContext, Serving};
use super::error::NO_FILTER_CHAIN;
use super::worker::Worker;
use crate::filter::Stream;
use crate::http::Version;
use crate::snapshot::listener::Listener;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::format::{AccessLogType, FormatCx};
use crate::telemetry::{ConnectionInfo, StreamInfo};

/// A stream that had a request's head.
pub(super) fn request(cx: &ConnectionContext, serving: &Serving, stream: &Stream) {
    let logs = &serving.manager().access_logs;
    if logs.is_empty() {
        return;
    }
    let state = stream.get();
    let format = FormatCx {
        request: Some(&state.request),
        response: state.response.as_ref(),
        request_trailers: state.request_trailers.as_ref(),
        response_trailers: state.response_trailers.as_ref(),
        access_log_type: AccessLogType::DownstreamEnd,
        ..FormatCx::new(&state.info)
    };
    write(&cx.worker, logs, &format);
}

/// Bytes that were no request.
pub(super) fn malformed(cx: &ConnectionContext, serving: &Serving, mut info: StreamInfo) {
    info.end = Some(Instant::now());
    let format = FormatCx { access_log_type: AccessLogType::DownstreamEnd, ..FormatCx::new(&info) };
    write(&cx.worker, &serving.manager().access_logs, &format);
}

/// A connection that no filter chain took.
pub(super) fn no_chain(worker: &Worker, listener: &Listener, remote: SocketAddr, local: SocketAddr, accepted: Instant) {
    if listener.access_logs.is_empty() {
        return;
    }
    let connection = ConnectionInfo {
        id: worker.next_connection_id(),
        remote,
        local,
        tls: None,
        requested_server_name: None,
        listener: Arc::clone(&listener.name),
        filter_chain: Arc::from(""),
        accepted,
    };
    let mut info = StreamInfo::new(Rc::new(connection), Version::Http11);
    let (flags, details) = NO_FILTER_CHAIN;
    info.flags.insert(flags);
    info.details = Some(details);
    info.end = Some(Instant::now());
    write(worker, &listener.access_logs, &FormatCx::new(&info));
}

fn write(worker: &Worker, logs: &[AccessLog], format: &FormatCx<'_>) {
    let mut buffers = worker.logs.borrow_mut();
    for log in logs {
        log.log(format, &mut buffers);
    }
}
