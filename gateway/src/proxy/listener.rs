//! Accepting connections: one loop for each listening socket of a worker.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::connection;
use super::limits::Full;
use super::worker::Worker;
use crate::snapshot::listener::Listener;
use crate::telemetry::metrics::names::{listener as metric, weir};

/// Pause after an error of the machine (no descriptors, no memory), doubled up to a second while it lasts.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// What a listening socket is there for.
#[derive(Clone, Debug)]
pub struct Accepting {
    /// The listener as it was when it was last looked at: for connections that come when it is gone from the snapshot already.
    pub listener: Arc<Listener>,
    /// No more connections are wanted.
    pub closed: bool,
}

/// Accepts until the socket is closed (or its sender is gone), then empties the queue of the kernel: what a client was
/// told is connected is served.
pub async fn accept(worker: Rc<Worker>, name: Arc<str>, socket: TcpListener, mut state: watch::Receiver<Accepting>) {
    // One that is bound to all addresses has to ask each connection.
    let bound = socket.local_addr().ok().filter(|bound| !bound.ip().is_unspecified());
    let mut pause = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = state.wait_for(|socket| socket.closed) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((tcp, remote)) => {
                pause = BACK_OFF.0;
                spawn(&worker, &name, &state, tcp, Ends { remote, local: bound });
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                worker.limits().inc(weir::ACCEPT_ERRORS);
                tracing::warn!(listener = &*name, "cannot accept connections, trying again in {pause:?}: {error}");
                worker.limits().inc(weir::ACCEPT_BACKOFF);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
    empty(&worker, &name, &state, socket);
}

/// Takes what has come already. The system is asked, and not the runtime, which may not have looked at the socket for as long as
/// the worker was busy.
fn empty(worker: &Rc<Worker>, name: &str, state: &watch::Receiver<Accepting>, socket: TcpListener) {
    let Ok(socket) = socket.into_std() else { return };
    loop {
        match socket.accept() {
            Ok((tcp, remote)) => {
                let tcp = tcp.set_nonblocking(true).and_then(|()| tokio::net::TcpStream::from_std(tcp));
                if let Ok(tcp) = tcp {
                    spawn(worker, name, state, tcp, Ends { remote, local: None });
                }
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // Nothing more can be taken, and a listener that is closed must not go on listening until it can.
            Err(error) => {
                worker.limits().inc(weir::ACCEPT_ERRORS);
                tracing::warn!(listener = name, "connections that waited when it was closed may be lost: {error}");
                return;
            }
        }
    }
}

/// The addresses of a connection, ours if it is known without asking.
struct Ends {
    remote: SocketAddr,
    local: Option<SocketAddr>,
}

fn spawn(
    worker: &Rc<Worker>,
    name: &str,
    state: &watch::Receiver<Accepting>,
    tcp: tokio::net::TcpStream,
    Ends { remote, local }: Ends,
) {
    let newest = worker.snapshot().listener(name).cloned();
    let listener = newest.unwrap_or_else(|| Arc::clone(&state.borrow().listener));
    let room = match worker.connection_limits.take(&listener) {
        Ok(room) => room,
        // As in Envoy it is accepted and closed at once: it must not wait where nobody looks.
        Err(full) => {
            listener.scope.chunk(worker.index).inc(match full {
                Full::Gateway => metric::DOWNSTREAM_GLOBAL_CX_OVERFLOW,
                Full::Listener => metric::DOWNSTREAM_CX_OVERFLOW,
            });
            return;
        }
    };
    let Ok(local) = local.map_or_else(|| tcp.local_addr(), Ok) else { return };
    tokio::task::spawn_local(connection::serve(Rc::clone(worker), listener, tcp, remote, local, room));
}

/// The client was gone before it was accepted: nothing is wrong with the listener.
fn concerns_one_connection(error: &std::io::Error) -> bool {
    use ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted | K::TimedOut
    )
}
