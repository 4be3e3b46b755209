//! Accepting connections: one loop for each listening socket of a worker.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::connection;
use super::worker::Worker;
use crate::telemetry::metrics::names::weir;

/// Pause after an error of the machine (no descriptors, no memory), doubled up to a second while it lasts.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Accepts until `close` says so (or its sender is gone), then empties the queue of the kernel: what a client was told is
/// connected is served.
pub async fn accept(worker: Rc<Worker>, name: Arc<str>, socket: TcpListener, mut close: watch::Receiver<bool>) {
    let mut pause = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = close.wait_for(|close| *close) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((tcp, remote)) => {
                pause = BACK_OFF.0;
                spawn(&worker, &name, tcp, remote);
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
    while let Some(Ok((tcp, remote))) = ready_now(&socket) {
        spawn(&worker, &name, tcp, remote);
    }
}

fn ready_now(socket: &TcpListener) -> Option<std::io::Result<(tokio::net::TcpStream, std::net::SocketAddr)>> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match socket.poll_accept(&mut cx) {
        std::task::Poll::Ready(accepted) => Some(accepted),
        std::task::Poll::Pending => None,
    }
}

fn spawn(worker: &Rc<Worker>, name: &str, tcp: tokio::net::TcpStream, remote: std::net::SocketAddr) {
    let Some(listener) = worker.snapshot().listener(name).cloned() else { return };
    let Ok(local) = tcp.local_addr() else { return };
    tokio::task::spawn_local(connection::serve(Rc::clone(worker), listener, tcp, remote, local));
}

/// The client was gone before it was accepted: nothing is wrong with the listener.
fn concerns_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted | K::TimedOut
    )
}
