//! What streams and connections leave in the access logs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::admission::NotAdmitted;
use super::connection::{ConnectionContext, Serving};
use super::error::NO_FILTER_CHAIN;
use super::worker::Worker;
use crate::filter::Stream;
use crate::http::{ResponseHead, Version};
use crate::snapshot::listener::Listener;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::format::{AccessLogType, FormatCx};
use crate::telemetry::{ConnectionInfo, ResponseFlags, StreamInfo};

/// A stream that had a request's head.
pub(super) fn request(cx: &ConnectionContext, serving: &Serving, stream: &Stream) {
    let state = stream.get();
    if let Some(log) = &cx.log {
        log.carries(state.info.protocol);
        if state.info.flags.contains(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR) {
            log.breaks_protocol();
        }
    }
    let logs = &serving.manager().access_logs;
    if logs.is_empty() {
        return;
    }
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

/// Bytes that were no request, and what they were answered, if they were.
pub(super) fn malformed(
    cx: &ConnectionContext,
    serving: &Serving,
    mut info: StreamInfo,
    response: Option<&ResponseHead>,
) {
    if let Some(log) = &cx.log
        && info.flags.contains(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR)
    {
        log.breaks_protocol();
    }
    info.end = Some(Instant::now());
    let format = FormatCx { response, access_log_type: AccessLogType::DownstreamEnd, ..FormatCx::new(&info) };
    write(&cx.worker, &serving.manager().access_logs, &format);
}

/// The line that a connection leaves in the access logs of its listener, as in Envoy however it ends: written when the last
/// of its streams is gone.
pub(super) struct ConnectionLog {
    worker: Rc<Worker>,
    /// Not the listener itself: holding that would keep its former configuration for as long as the connection.
    logs: Arc<[AccessLog]>,
    /// None until the connection is served.
    info: RefCell<Option<StreamInfo>>,
}

impl ConnectionLog {
    /// None if the listener has no access log.
    pub(super) fn of(worker: &Rc<Worker>, listener: &Listener) -> Option<Rc<Self>> {
        let logs = (!listener.access_logs.is_empty()).then(|| Arc::clone(&listener.access_logs))?;
        Some(Rc::new(Self { worker: Rc::clone(worker), logs, info: RefCell::default() }))
    }

    /// The connection is served from now on.
    pub(super) fn serves(&self, connection: &Rc<ConnectionInfo>) {
        let info = StreamInfo { start: connection.accepted, ..StreamInfo::new(Rc::clone(connection), None) };
        self.info.replace(Some(info));
    }

    /// The connection was never served.
    pub(super) fn not_admitted(&self, connection: ConnectionInfo, why: &NotAdmitted) {
        self.serves(&Rc::new(connection));
        if let (NotAdmitted::NoChain, Some(info)) = (why, &mut *self.info.borrow_mut()) {
            let (flags, details) = NO_FILTER_CHAIN;
            info.flags.insert(flags);
            info.details = Some(details);
        }
    }

    /// It carries a request of this version.
    fn carries(&self, version: Option<Version>) {
        if let Some(info) = &mut *self.info.borrow_mut() {
            info.protocol = version;
        }
    }

    /// The client broke the protocol.
    pub(super) fn breaks_protocol(&self) {
        if let Some(info) = &mut *self.info.borrow_mut() {
            info.flags.insert(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
        }
    }

    /// So many bytes more have come and gone, above TLS.
    pub(super) fn moved(&self, received: u64, sent: u64) {
        if let Some(info) = &mut *self.info.borrow_mut() {
            info.bytes_received += received;
            info.bytes_sent += sent;
        }
    }
}

impl Drop for ConnectionLog {
    fn drop(&mut self) {
        if let Some(mut info) = self.info.take() {
            info.end = Some(Instant::now());
            write(&self.worker, &self.logs, &FormatCx::new(&info));
        }
    }
}

fn write(worker: &Worker, logs: &[AccessLog], format: &FormatCx<'_>) {
    let mut buffers = worker.logs.borrow_mut();
    for log in logs {
        log.log(format, &mut buffers);
    }
}
