//! Listening and serving, by hyper on the control thread's runtime.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Admin, Parts, paths};
use crate::snapshot::Publisher;

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 128;
/// How long a client may take for a request's head, and stay idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Binds the admin interface and serves it by tasks of the current `LocalSet`. Returns where it really listens.
pub fn start(address: SocketAddr, parts: Parts, publisher: Rc<RefCell<Publisher>>) -> io::Result<SocketAddr> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let bound = socket.local_addr()?;
    let listener = TcpListener::from_std(socket)?;
    if !bound.ip().is_loopback() {
        tracing::warn!(target: "admin", address = %bound, "the admin interface is open to the network and has no authentication");
    }
    tokio::task::spawn_local(accept(listener, Rc::new(Admin { parts, publisher })));
    Ok(bound)
}

async fn accept(listener: TcpListener, admin: Rc<Admin>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = Rc::clone(&admin);
                tokio::task::spawn_local(async move {
                    serve(stream, admin).await;
                    drop(place);
                });
            }
            // Out of descriptors, or the client is gone already: others may be served later.
            Err(error) => {
                tracing::debug!(target: "admin", %error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, admin: Rc<Admin>) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let reply =
            paths::answer(&admin, request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        async move { Ok::<_, Infallible>(reply.into_response()) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(target: "admin", %error, "connection ended");
    }
}
