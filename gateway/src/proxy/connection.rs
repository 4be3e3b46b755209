//! A client's connection: which filter chain takes it, TLS, and which protocol it speaks.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::worker::{HeldSnapshot, Worker};
use super::{h1, h2};
use crate::filter::network::{Arrival, NetworkAction};
use crate::route::RouteConfig;
use crate::snapshot::Snapshot;
use crate::snapshot::compile::filter::PerRoute;
use crate::snapshot::compile::network_filter;
use crate::snapshot::connection_manager::{Codec, ConnectionManager, RouteSource};
use crate::snapshot::listener::{FilterChain, Hello, Listener};
use crate::telemetry::metrics::names::{
    self as metric_names, Http, TlsInspector, http, listener as metric, listener_ssl, tls_inspector,
};
use crate::telemetry::metrics::{Chunk, Counter, Scope};
use crate::telemetry::{ConnectionInfo, TlsInfo};
use crate::tls::client_hello::{ClientHello, Inspection, Inspector};
use crate::tls::{Io, TlsError, Unverified};
use crate::upstream::Wire;

/// One read takes a usual ClientHello whole.
const HELLO_READ: usize = 2048;

/// What the requests of a connection have in common.
pub(crate) struct ConnectionContext {
    /// The worker that serves it.
    pub(crate) worker: Rc<Worker>,
    /// What is known of it.
    pub(crate) info: Rc<ConnectionInfo>,
    serving: RefCell<Rc<Serving>>,
    end: Cell<End>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// The client ended it.
    by_client: bool,
    /// While a request was served.
    in_request: bool,
}

/// The configuration that one request sees from its first byte to its log line.
pub(crate) struct Serving {
    snapshot: HeldSnapshot,
    chain: Arc<FilterChain>,
    listener: Arc<Listener>,
}

impl ConnectionContext {
    /// Counts why the connection ends.
    pub(super) fn count(&self, id: Counter<Http>) {
        self.serving.borrow().manager().scope.chunk(self.worker.index).inc(id);
    }

    /// The client has ended the connection.
    pub(super) fn client_left(&self, in_request: bool) {
        self.end.set(End { by_client: true, in_request });
    }

    /// The gateway ends the connection while it serves requests.
    pub(super) fn cut_in_request(&self) {
        self.end.set(End { by_client: false, in_request: true });
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
) {
    let mut tcp = tcp;
    let accepted = Instant::now();
    let _counted = Counted::new(&worker, &listener, accepted);
    let _ = tcp.set_nodelay(true);
    let mut peeked = BytesMut::new();
    let Some(hello) = Box::pin(listen_first(&worker, &listener, &mut tcp, &mut peeked)).await else { return };
    let metrics = listener.scope.chunk(worker.index);
    let protocols: Vec<Vec<u8>> = hello.iter().flat_map(ClientHello::alpn).map(<[u8]>::to_vec).collect();
    let said = Hello {
        tls: hello.is_some(),
        server_name: hello.as_ref().and_then(|hello| hello.server_name.as_deref()),
        protocols: &protocols,
    };
    let Some(chain) = listener.choose(&said) else {
        metrics.inc(metric::NO_FILTER_CHAIN_MATCH);
        super::log::no_chain(&worker, &listener, remote, local, accepted);
        return;
    };
    let chain = Arc::clone(chain);
    let mut network = network_filter::instantiate(&chain.network, worker.index);
    let server_name = hello.as_ref().and_then(|hello| hello.server_name.as_deref());
    if let NetworkAction::Close(after) = network.new_connection(&Arrival { remote, local, server_name }) {
        return tokio::time::sleep(after).await;
    }
    let (io, tls) = match &chain.tls {
        None if peeked.is_empty() => (Io::Tcp(tcp), None),
        None => (Io::replaying(peeked.freeze(), tcp), None),
        Some(tls) => match limited(chain.handshake_timeout, Box::pin(tls.accept(tcp, peeked))).await {
            Some(Ok((io, info))) => {
                count_handshake(&worker, &listener, &io, &info);
                (io, Some(info))
            }
            Some(Err(error)) => {
                count_failure(&worker, &listener, &error);
                tracing::debug!(listener = &*listener.name, %remote, "TLS handshake failed: {}", error.transport_failure_reason());
                return;
            }
            None => {
                metrics.inc(metric::DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT);
                return;
            }
        },
    };
    let info = Rc::new(ConnectionInfo {
        id: worker.next_connection_id(),
        remote,
        local,
        requested_server_name: hello.and_then(|hello| hello.server_name),
        tls,
        listener: Arc::clone(&listener.name),
        filter_chain: Arc::clone(&chain.name),
        accepted,
    });
    let serving = Serving { snapshot: worker.snapshot(), chain, listener };
    let cx = Rc::new(ConnectionContext { worker, info, serving: RefCell::new(Rc::new(serving)), end: Cell::default() });
    let buffer_limit = cx.serving().manager().buffer_limit;
    speak(cx, Wire::new(io, buffer_limit)).await;
}

/// Settles the protocol: by ALPN, by the configuration, else by the first bytes.
async fn speak(cx: Rc<ConnectionContext>, mut wire: Wire) {
    let serving = cx.serving();
    let mut active = Active::new(&cx, serving.manager().scope.clone());
    let alpn = cx.info.tls.as_ref().map(|tls: &TlsInfo| &*tls.alpn).unwrap_or_default();
    let http2 = match (serving.manager().codec, alpn) {
        (Codec::Http2, _) | (Codec::Auto, "h2") => true,
        (Codec::Http1, _) | (Codec::Auto, "http/1.1" | "http/1.0") => false,
        (Codec::Auto, _) => match Box::pin(h2::begins_with_preface(&cx, &mut wire)).await {
            Some(preface) => preface,
            None => return,
        },
    };
    active.speaks(http2);
    drop(serving);
    if http2 {
        Box::pin(h2::serve(cx, wire)).await;
    } else {
        h1::serve(cx, wire).await;
    }
}

/// Reads what tells filter chains apart, if the listener asks for it. The outer `None` is a connection that ended.
async fn listen_first(
    worker: &Worker,
    listener: &Listener,
    tcp: &mut TcpStream,
    peeked: &mut BytesMut,
) -> Option<Option<ClientHello>> {
    if !listener.tls_inspector {
        return Some(None);
    }
    let metrics = listener.scope.chunk(worker.index);
    let inspector = listener.inspector_scope.chunk(worker.index);
    metrics.up(metric::DOWNSTREAM_PRE_CX_ACTIVE);
    let inspecting = async {
        let mut hello = Inspector::default();
        loop {
            match hello.inspect(peeked) {
                Inspection::Tls(hello) => return Ok(Some(hello)),
                Inspection::NotTls(_) => return Ok(None),
                Inspection::Incomplete => {}
            }
            peeked.reserve(HELLO_READ);
            if tcp.read_buf(peeked).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let inspected = limited(listener.inspect_timeout, inspecting).await;
    metrics.down(metric::DOWNSTREAM_PRE_CX_ACTIVE);
    match inspected {
        Some(Ok(hello)) => {
            count_hello(inspector, hello.as_ref());
            Some(hello)
        }
        Some(Err::<_, std::io::Error>(_)) => {
            inspector.inc(tls_inspector::CONNECTION_CLOSED);
            metrics.inc(metric::DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE);
            None
        }
        None if listener.continue_on_timeout => Some(None),
        None => {
            metrics.inc(metric::DOWNSTREAM_PRE_CX_TIMEOUT);
            None
        }
    }
}

fn count_hello(inspector: Chunk<'_, TlsInspector>, hello: Option<&ClientHello>) {
    let Some(hello) = hello else { return inspector.inc(tls_inspector::TLS_NOT_FOUND) };
    let (sni, alpn) = (hello.server_name.is_some(), hello.alpn().next().is_some());
    inspector.inc(tls_inspector::TLS_FOUND);
    inspector.inc(if sni { tls_inspector::SNI_FOUND } else { tls_inspector::SNI_NOT_FOUND });
    inspector.inc(if alpn { tls_inspector::ALPN_FOUND } else { tls_inspector::ALPN_NOT_FOUND });
}

fn count_handshake(worker: &Worker, listener: &Listener, io: &Io, info: &TlsInfo) {
    let Some(scope) = &listener.tls_scope else { return };
    let metrics = scope.chunk(worker.index);
    metrics.inc(listener_ssl::HANDSHAKE);
    if io.is_resumed() {
        metrics.inc(listener_ssl::SESSION_REUSED);
    }
    if info.peer.is_none() {
        metrics.inc(listener_ssl::NO_CERTIFICATE);
    }
    metrics.negotiated(info);
}

fn count_failure(worker: &Worker, listener: &Listener, error: &TlsError) {
    let Some(scope) = &listener.tls_scope else { return };
    let metrics = scope.chunk(worker.index);
    metrics.inc(match (error.unverified(), error) {
        (Some(Unverified::Chain), _) => listener_ssl::FAIL_VERIFY_ERROR,
        (Some(Unverified::Name), _) => listener_ssl::FAIL_VERIFY_SAN,
        (Some(Unverified::Hash), _) => listener_ssl::FAIL_VERIFY_CERT_HASH,
        (None, TlsError::Rustls(rustls::Error::NoCertificatesPresented)) => listener_ssl::FAIL_VERIFY_NO_CERT,
        (None, _) => listener_ssl::CONNECTION_ERROR,
    });
}

/// `None` if it took longer than `limit`.
async fn limited<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// A connection in the listener's counts.
struct Counted {
    worker: Rc<Worker>,
    /// The scope outlives the configuration that named it: holding that would keep it for as long as the connection.
    scope: Scope<metric_names::Listener>,
    accepted: Instant,
}

impl Counted {
    fn new(worker: &Rc<Worker>, listener: &Listener, accepted: Instant) -> Self {
        let metrics = listener.scope.chunk(worker.index);
        metrics.inc(metric::DOWNSTREAM_CX_TOTAL);
        metrics.up(metric::DOWNSTREAM_CX_ACTIVE);
        worker.connection_opened();
        Self { worker: Rc::clone(worker), scope: listener.scope.clone(), accepted }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let metrics = self.scope.chunk(self.worker.index);
        metrics.inc(metric::DOWNSTREAM_CX_DESTROY);
        metrics.down(metric::DOWNSTREAM_CX_ACTIVE);
        metrics.record(metric::DOWNSTREAM_CX_LENGTH_MS, self.accepted.elapsed().as_millis() as u64);
        self.worker.connection_closed();
    }
}

/// A connection in its connection manager's counts.
struct Active {
    cx: Rc<ConnectionContext>,
    /// As above.
    scope: Scope<Http>,
    /// None while it is not known.
    http2: Option<bool>,
}

impl Active {
    fn new(cx: &Rc<ConnectionContext>, scope: Scope<Http>) -> Self {
        let metrics = scope.chunk(cx.worker.index);
        metrics.inc(http::DOWNSTREAM_CX_TOTAL);
        metrics.up(http::DOWNSTREAM_CX_ACTIVE);
        if cx.info.tls.is_some() {
            metrics.inc(http::DOWNSTREAM_CX_SSL_TOTAL);
            metrics.up(http::DOWNSTREAM_CX_SSL_ACTIVE);
        }
        Self { cx: Rc::clone(cx), scope, http2: None }
    }

    fn speaks(&mut self, http2: bool) {
        self.http2 = Some(http2);
        let metrics = self.scope.chunk(self.cx.worker.index);
        let (total, active) = if http2 {
            (http::DOWNSTREAM_CX_HTTP2_TOTAL, http::DOWNSTREAM_CX_HTTP2_ACTIVE)
        } else {
            (http::DOWNSTREAM_CX_HTTP1_TOTAL, http::DOWNSTREAM_CX_HTTP1_ACTIVE)
        };
        metrics.inc(total);
        metrics.up(active);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let metrics = self.scope.chunk(self.cx.worker.index);
        let End { by_client, in_request } = self.cx.end.get();
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
        if self.cx.info.tls.is_some() {
            metrics.down(http::DOWNSTREAM_CX_SSL_ACTIVE);
        }
        metrics.record(http::DOWNSTREAM_CX_LENGTH_MS, self.cx.info.accepted.elapsed().as_millis() as u64);
    }
}
