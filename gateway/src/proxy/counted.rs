//! A connection in the counts of its listener and of its connection manager.

use std::rc::Rc;
use std::time::Instant;

use super::limits::Room;
use super::worker::Worker;
use crate::snapshot::listener::{FilterChain, Listener};
use crate::telemetry::metrics::Scope;
use crate::telemetry::metrics::names::{self, Http, http, listener};

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// The client ended it.
    pub(super) by_client: bool,
    /// While a request was served.
    pub(super) in_request: bool,
    /// For what the client broke: its framing, or a limit of its protocol.
    pub(super) broken: bool,
}

/// A connection in its listener's counts.
pub(super) struct OfListener {
    worker: Rc<Worker>,
    /// The scope outlives the configuration that named it: holding that would keep it for as long as the connection.
    scope: Scope<names::Listener>,
    accepted: Instant,
    _room: Room,
}

impl OfListener {
    pub(super) fn new(worker: &Rc<Worker>, listener: &Listener, accepted: Instant, room: Room) -> Self {
        let metrics = listener.scope.chunk(worker.index);
        metrics.inc(listener::DOWNSTREAM_CX_TOTAL);
        metrics.up(listener::DOWNSTREAM_CX_ACTIVE);
        worker.connection_opened();
        Self { worker: Rc::clone(worker), scope: listener.scope.clone(), accepted, _room: room }
    }
}

impl Drop for OfListener {
    fn drop(&mut self) {
        let metrics = self.scope.chunk(self.worker.index);
        metrics.inc(listener::DOWNSTREAM_CX_DESTROY);
        metrics.down(listener::DOWNSTREAM_CX_ACTIVE);
        metrics.record(listener::DOWNSTREAM_CX_LENGTH_MS, self.accepted.elapsed().as_millis() as u64);
        self.worker.connection_closed();
    }
}

/// A connection in its connection manager's counts. As in Envoy it is there from the moment that its chain is chosen: before
/// network filters may close it, and before the handshake.
pub(super) struct OfManager {
    worker: Rc<Worker>,
    /// As above.
    scope: Scope<Http>,
    accepted: Instant,
    tls: bool,
    /// None while it is not known.
    http2: Option<bool>,
    end: End,
}

impl OfManager {
    pub(super) fn new(worker: &Rc<Worker>, chain: &FilterChain, accepted: Instant) -> Self {
        let (scope, tls) = (chain.manager.scope.clone(), chain.tls.is_some());
        let metrics = scope.chunk(worker.index);
        metrics.inc(http::DOWNSTREAM_CX_TOTAL);
        metrics.up(http::DOWNSTREAM_CX_ACTIVE);
        if tls {
            metrics.inc(http::DOWNSTREAM_CX_SSL_TOTAL);
            metrics.up(http::DOWNSTREAM_CX_SSL_ACTIVE);
        }
        Self { worker: Rc::clone(worker), scope, accepted, tls, http2: None, end: End::default() }
    }

    pub(super) fn speaks(&mut self, http2: bool) {
        self.http2 = Some(http2);
        let metrics = self.scope.chunk(self.worker.index);
        let (total, active) = if http2 {
            (http::DOWNSTREAM_CX_HTTP2_TOTAL, http::DOWNSTREAM_CX_HTTP2_ACTIVE)
        } else {
            (http::DOWNSTREAM_CX_HTTP1_TOTAL, http::DOWNSTREAM_CX_HTTP1_ACTIVE)
        };
        metrics.inc(total);
        metrics.up(active);
    }

    pub(super) fn ended(&mut self, end: End) {
        self.end = end;
    }
}

impl Drop for OfManager {
    fn drop(&mut self) {
        let metrics = self.scope.chunk(self.worker.index);
        let End { by_client, in_request, .. } = self.end;
        metrics.inc(http::DOWNSTREAM_CX_DESTROY);
        let (ended, cut) = if by_client {
            (http::DOWNSTREAM_CX_DESTROY_REMOTE, http::DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ)
        } else {
            (http::DOWNSTREAM_CX_DESTROY_LOCAL, http::DOWNSTREAM_CX_DESTROY_LOCAL_ACTIVE_RQ)
        };
        metrics.inc(ended);
        if in_request {
            metrics.inc(http::DOWNSTREAM_CX_DESTROY_ACTIVE_RQ);
            metrics.inc(cut);
        }
        metrics.down(http::DOWNSTREAM_CX_ACTIVE);
        if let Some(http2) = self.http2 {
            metrics.down(if http2 { http::DOWNSTREAM_CX_HTTP2_ACTIVE } else { http::DOWNSTREAM_CX_HTTP1_ACTIVE });
        }
        if self.tls {
            metrics.down(http::DOWNSTREAM_CX_SSL_ACTIVE);
        }
        metrics.record(http::DOWNSTREAM_CX_LENGTH_MS, self.accepted.elapsed().as_millis() as u64);
    }
}
