//! A client's connection, once it is admitted: what its requests have in common, and which protocol it speaks.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use super::admission::{Admitted, admit};
use super::counted::{End, OfListener, OfManager};
use super::limits::Room;
use super::log::ConnectionLog;
use super::worker::{HeldSnapshot, Worker};
use super::{h1, h2};
use crate::route::RouteConfig;
use crate::snapshot::Snapshot;
use crate::snapshot::compile::filter::PerRoute;
use crate::snapshot::connection_manager::{Codec, ConnectionManager, RouteSource};
use crate::snapshot::listener::{FilterChain, Listener};
use crate::telemetry::metrics::names::{self as metric_names, Http, http};
use crate::telemetry::metrics::{Counter, Scope};
use crate::telemetry::{ConnectionInfo, TlsInfo};
use crate::upstream::Wire;

/// What the requests of a connection have in common.
pub(crate) struct ConnectionContext {
    /// The worker that serves it.
    pub(crate) worker: Rc<Worker>,
    /// What is known of it.
    pub(crate) info: Rc<ConnectionInfo>,
    /// The line that it leaves in its listener's access logs, if there are any.
    pub(super) log: Option<Rc<ConnectionLog>>,
    serving: RefCell<Rc<Serving>>,
    end: Cell<End>,
}

/// The configuration that one request sees from its first byte to its log line.
pub(crate) struct Serving {
    snapshot: HeldSnapshot,
    chain: Arc<FilterChain>,
    listener: Arc<Listener>,
}

impl ConnectionContext {
    /// So many bytes more have come and gone, above TLS.
    pub(super) fn moved(&self, received: u64, sent: u64) {
        if received + sent == 0 {
            return;
        }
        let serving = self.serving.borrow();
        let metrics = serving.manager().scope.chunk(self.worker.index);
        metrics.add(http::DOWNSTREAM_CX_RX_BYTES_TOTAL, received);
        metrics.add(http::DOWNSTREAM_CX_TX_BYTES_TOTAL, sent);
        if let Some(log) = &self.log {
            log.moved(received, sent);
        }
    }

    /// Counts what has come and gone over its wire since this was asked last.
    pub(super) fn count_bytes(&self, wire: &mut Wire) {
        let (received, sent) = wire.take_counts();
        self.moved(received, sent);
    }

    /// Counts why the connection ends.
    pub(super) fn count(&self, id: Counter<Http>) {
        self.serving.borrow().manager().scope.chunk(self.worker.index).inc(id);
    }

    /// The client has ended the connection.
    pub(super) fn client_left(&self, in_request: bool) {
        self.end.set(End { by_client: true, in_request, broken: false });
    }

    /// The gateway ends the connection while it serves requests, perhaps for what the client broke.
    pub(super) fn cut_in_request(&self, broken: bool) {
        self.end.set(End { by_client: false, in_request: true, broken });
    }

    /// If the gateway ends the connection while it serves requests: whether it does so for what the client broke.
    pub(super) fn is_cut(&self) -> Option<bool> {
        let end = self.end.get();
        (end.in_request && !end.by_client).then_some(end.broken)
    }

    /// Whether the connection is to end after the request it serves, because the gateway or its listener drains.
    pub(super) fn drains(&self) -> bool {
        self.worker.announces_end(|| self.serving.borrow().listener.inbound)
    }

    /// The newest configuration for the next request. A connection outlives changes of its listener: it follows its
    /// filter chain by name, and keeps what it has when that is gone.
    pub(crate) fn serving(&self) -> Rc<Serving> {
        let snapshot = self.worker.snapshot();
        let mut serving = self.serving.borrow_mut();
        if !Rc::ptr_eq(&serving.snapshot, &snapshot) {
            let listener = snapshot.listener(&self.info.listener).unwrap_or(&serving.listener).clone();
            let chain = listener.chain_named(&serving.chain.name).unwrap_or(&serving.chain).clone();
            *serving = Rc::new(Serving { snapshot, chain, listener });
        }
        Rc::clone(&serving)
    }
}

impl Serving {
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Counters of the connection manager on this listener.
    pub(crate) fn listener_scope(&self) -> &Scope<metric_names::ListenerHttp> {
        &self.chain.scope
    }

    pub(crate) fn manager(&self) -> &ConnectionManager {
        &self.chain.manager
    }

    /// The route configuration; none if it has not come.
    pub(crate) fn routes(&self) -> Option<Arc<RouteConfig<PerRoute>>> {
        match &self.manager().routes {
            RouteSource::Inline(routes) => Some(Arc::clone(routes)),
            RouteSource::Named(name) => self.snapshot.route_config(name).cloned(),
        }
    }
}

/// Serves a connection from its first byte to its last. What is seldom or short is boxed: an idle connection holds no room
/// for a handshake that is over or a protocol that it does not speak.
pub(super) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<Listener>,
    tcp: TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
    room: Room,
) {
    let accepted = Instant::now();
    let _counted = OfListener::new(&worker, &listener, accepted, room);
    let log = ConnectionLog::of(&worker, &listener);
    let mut info = ConnectionInfo {
        id: worker.next_connection_id(),
        remote,
        local,
        tls: None,
        requested_server_name: None,
        listener: Arc::clone(&listener.name),
        filter_chain: Arc::from(""),
        accepted,
        shaken: None,
        failure: None,
    };
    let Admitted { chain, counted: mut active, network: _network, io } =
        match Box::pin(admit(&worker, &listener, tcp, &mut info)).await {
            Ok(admitted) => admitted,
            Err(end) => {
                if let Some(log) = log {
                    log.not_admitted(info, &end);
                }
                return;
            }
        };
    let info = Rc::new(info);
    if let Some(log) = &log {
        log.serves(&info);
    }
    let serving = RefCell::new(Rc::new(Serving { snapshot: worker.snapshot(), chain, listener }));
    let cx = Rc::new(ConnectionContext { worker, info, serving, end: Cell::default(), log });
    let buffer_limit = cx.serving().manager().buffer_limit;
    speak(&cx, &mut active, Wire::new(io, buffer_limit)).await;
    active.ended(cx.end.get());
}

/// Settles the protocol: by ALPN, by the configuration, else by the first bytes.
async fn speak(cx: &Rc<ConnectionContext>, active: &mut OfManager, mut wire: Wire) {
    let serving = cx.serving();
    let alpn = cx.info.tls.as_ref().map(|tls: &TlsInfo| &*tls.alpn).unwrap_or_default();
    let http2 = match (serving.manager().codec, alpn) {
        (Codec::Http2, _) | (Codec::Auto, "h2") => true,
        (Codec::Http1, _) | (Codec::Auto, "http/1.1" | "http/1.0") => false,
        (Codec::Auto, _) => match Box::pin(h2::begins_with_preface(cx, &mut wire)).await {
            Some(preface) => preface,
            None => return cx.count_bytes(&mut wire),
        },
    };
    active.speaks(http2);
    drop(serving);
    if http2 {
        Box::pin(h2::serve(Rc::clone(cx), wire)).await;
    } else {
        h1::serve(Rc::clone(cx), wire).await;
    }
}
