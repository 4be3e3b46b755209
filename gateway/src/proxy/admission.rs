//! How a connection that was accepted comes to be served: what its client says first, which filter chain takes it, its
//! network filters, and the TLS handshake.

use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::counted::{End, OfManager};
use super::worker::Worker;
use crate::filter::network::{Arrival, NetworkAction, NetworkChain, join};
use crate::snapshot::compile::network_filter::{self, NetworkFilterInstance};
use crate::snapshot::listener::{FilterChain, Hello, HelloLimits, Listener};
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{TlsInspector, listener as metric, listener_ssl, tls_inspector};
use crate::telemetry::{ConnectionInfo, HandshakeFailure, TlsInfo};
use crate::tls::client_hello::{ClientHello, Inspection, Inspector, MAX_CLIENT_HELLO};
use crate::tls::{Failed, Io, TlsError, Unverified};

/// One read takes a usual ClientHello whole.
const HELLO_READ: usize = 2048;

/// A connection that is served.
pub(super) struct Admitted {
    pub(super) chain: Arc<FilterChain>,
    pub(super) counted: OfManager,
    /// What it has passed, unless it is a part of `io` ([`join`]); they count it until they are dropped.
    pub(super) network: Option<NetworkChain<NetworkFilterInstance>>,
    pub(super) io: Io,
}

/// Why a connection is not served.
pub(super) enum NotAdmitted {
    /// It ended, or the time was over, before it was known which chain it wants.
    Unheard,
    /// No filter chain takes it.
    NoChain,
    /// A network filter closes it.
    Filtered,
    /// Its handshake failed; the connection's [`ConnectionInfo::failure`] says why, unless the client just left.
    Handshake,
}

/// Finds the chain of a connection and shakes hands; what becomes known on the way stands in `info`, however it ends.
pub(super) async fn admit(
    worker: &Rc<Worker>,
    listener: &Listener,
    mut tcp: TcpStream,
    info: &mut ConnectionInfo,
) -> Result<Admitted, NotAdmitted> {
    let mut peeked = BytesMut::new();
    let hello = listen_first(worker, listener, &mut tcp, &mut peeked).await.ok_or(NotAdmitted::Unheard)?;
    let protocols: Vec<Vec<u8>> = hello.iter().flat_map(ClientHello::alpn).map(<[u8]>::to_vec).collect();
    let said = Hello {
        tls: hello.is_some(),
        server_name: hello.as_ref().and_then(|hello| hello.server_name.as_deref()),
        protocols: &protocols,
    };
    let chosen = listener.choose(&said).map(Arc::clone);
    info.requested_server_name = hello.and_then(|hello| hello.server_name);
    let metrics = listener.scope.chunk(worker.index);
    let Some(chain) = chosen else {
        metrics.inc(metric::NO_FILTER_CHAIN_MATCH);
        return Err(NotAdmitted::NoChain);
    };
    info.filter_chain = Arc::clone(&chain.given_name);
    let mut counted = OfManager::new(worker, &chain, info.accepted);
    let mut network = network_filter::instantiate(&chain.network, &worker.filters);
    let server_name = info.requested_server_name.as_deref();
    let arrival = Arrival { remote: info.remote, local: info.local, server_name };
    if let NetworkAction::Close(after) = network.new_connection(&arrival) {
        tokio::time::sleep(after).await;
        swallow(&tcp);
        return Err(NotAdmitted::Filtered);
    }
    let io = match chain.tls.as_ref().map(Arc::clone) {
        None => Io::replaying(peeked.freeze(), tcp),
        Some(tls) => {
            let shaken = shake_hands(worker, listener, &chain, Box::pin(tls.accept(tcp, peeked)), info).await;
            // As Envoy counts, a handshake that fails is ended by the client, whoever refuses it.
            let by_client = info.failure != Some(HandshakeFailure::TimedOut);
            shaken.inspect_err(|_| counted.ended(End { by_client, ..End::default() }))?
        }
    };
    let (io, network) = join(network, io, chain.manager.buffer_limit);
    Ok(Admitted { chain, counted, network, io })
}

/// Takes what has come unread, as far as it is no burden: to close before it would reset the connection, as if something was
/// wrong with it.
fn swallow(tcp: &TcpStream) {
    let mut unread = [MaybeUninit::uninit(); 16 * 1024];
    let _ = SockRef::from(tcp).recv(&mut unread);
}

/// Until the client may speak, or has taken too long.
async fn shake_hands(
    worker: &Worker,
    listener: &Listener,
    chain: &FilterChain,
    handshake: impl Future<Output = Result<(Io, TlsInfo), Failed>>,
    info: &mut ConnectionInfo,
) -> Result<Io, NotAdmitted> {
    match limited(chain.handshake_timeout, handshake).await {
        Some(Ok((io, settled))) => {
            count_handshake(worker, listener, &io, &settled);
            info.tls = Some(settled);
            info.shaken = Some(Instant::now());
            Ok(io)
        }
        Some(Err(Failed { error, tls })) => {
            // It is refused, but who it was is worth to know.
            info.tls = tls;
            count_failure(worker, listener, &error);
            let reason = error.transport_failure_reason();
            tracing::debug!(listener = &*listener.name, remote = %info.remote, "TLS handshake failed: {reason}");
            // As in Envoy, it is no failure that a client leaves.
            if !matches!(error, TlsError::Closed) {
                info.failure = Some(HandshakeFailure::Refused(reason.into()));
            }
            Err(NotAdmitted::Handshake)
        }
        None => {
            listener.scope.chunk(worker.index).inc(metric::DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT);
            info.failure = Some(HandshakeFailure::TimedOut);
            Err(NotAdmitted::Handshake)
        }
    }
}

/// Reads what tells filter chains apart, if the listener asks for it. The outer `None` is a connection that ended.
async fn listen_first(
    worker: &Worker,
    listener: &Listener,
    tcp: &mut TcpStream,
    peeked: &mut BytesMut,
) -> Option<Option<ClientHello>> {
    let Some(HelloLimits { most, only_tls }) = listener.tls_inspector else { return Some(None) };
    let metrics = listener.scope.chunk(worker.index);
    let inspector = listener.inspector_scope.chunk(worker.index);
    metrics.up(metric::DOWNSTREAM_PRE_CX_ACTIVE);
    let inspecting = async {
        let mut hello = Inspector::default();
        loop {
            match hello.inspect(peeked) {
                Inspection::Tls(hello) => return Ok(Heard::Tls(hello)),
                // Nothing else takes so long to be told.
                Inspection::NotTls(_) if peeked.len() >= MAX_CLIENT_HELLO => return Ok(Heard::TooLarge),
                Inspection::NotTls(_) => return Ok(Heard::Other),
                Inspection::Incomplete if peeked.len() >= most => return Ok(Heard::TooLarge),
                Inspection::Incomplete => {}
            }
            let room = HELLO_READ.min(most - peeked.len());
            peeked.reserve(room);
            if (&mut *tcp).take(room as u64).read_buf(peeked).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let inspected = limited(listener.inspect_timeout, inspecting).await;
    metrics.down(metric::DOWNSTREAM_PRE_CX_ACTIVE);
    if let Some(Ok(Heard::Tls(_) | Heard::Other)) = &inspected {
        inspector.record(tls_inspector::BYTES_PROCESSED, peeked.len() as u64);
    }
    match inspected {
        Some(Ok(Heard::Tls(hello))) => {
            count_hello(inspector, &hello);
            Some(Some(hello))
        }
        Some(Ok(Heard::Other)) => {
            inspector.inc(tls_inspector::TLS_NOT_FOUND);
            if only_tls { None } else { Some(None) }
        }
        // As in Envoy, whatever else is allowed.
        Some(Ok(Heard::TooLarge)) => {
            inspector.inc(tls_inspector::CLIENT_HELLO_TOO_LARGE);
            None
        }
        Some(Err::<_, std::io::Error>(_)) => {
            inspector.inc(tls_inspector::CONNECTION_CLOSED);
            metrics.inc(metric::DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE);
            None
        }
        None => {
            metrics.inc(metric::DOWNSTREAM_PRE_CX_TIMEOUT);
            if listener.continue_on_timeout { Some(None) } else { None }
        }
    }
}

/// What a client has said first.
enum Heard {
    Tls(ClientHello),
    /// No TLS, or none that is sound.
    Other,
    /// More than a ClientHello may have.
    TooLarge,
}

fn count_hello(inspector: Chunk<'_, TlsInspector>, hello: &ClientHello) {
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
    // As in Envoy: probes of load balancers do no more.
    if matches!(error, TlsError::Closed) {
        return;
    }
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
