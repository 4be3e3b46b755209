//! Listening and serving, by hyper on a thread with a runtime of its own.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::connections::{Connections, Progress, Watched};
use super::{Parts, paths};
use crate::telemetry::metrics::Scope;
use crate::telemetry::metrics::names::{Weir, weir};

/// How long a client may take for a request's head, and stay idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers under way may take when the gateway ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The running admin interface.
#[derive(Debug)]
pub struct Running {
    /// Where it really listens.
    pub address: SocketAddr,
    end: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it after the answers that are under way.
    pub fn stop(self) {
        let _ = self.end.send(true);
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }
}

/// After a larger answer the allocator is asked to keep nothing of it.
const LARGE_ANSWER: u64 = 1 << 20;

/// Binds the admin interface and serves it on a thread of its own.
///
/// # Errors
/// The address cannot be bound, or there is no thread.
pub fn start(address: SocketAddr, parts: Parts) -> io::Result<Running> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let bound = socket.local_addr()?;
    if !bound.ip().is_loopback() {
        tracing::warn!(target: "admin", address = %bound, "the admin interface is open to the network and has no authentication");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (end, ends) = watch::channel(false);
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(LocalSet::new().run_until(async {
            match TcpListener::from_std(socket) {
                Ok(listener) => serve(listener, parts, ends).await,
                Err(error) => tracing::error!(target: "admin", %error, "cannot listen"),
            }
        }));
    })?;
    Ok(Running { address: bound, end, thread })
}

async fn serve(listener: TcpListener, parts: Parts, mut ends: watch::Receiver<bool>) {
    let mut connections = Connections::default();
    tokio::select! {
        () = accept(&listener, &parts, &mut connections, ends.clone()) => {}
        // Also if the other end is gone.
        _ = ends.changed() => {}
    }
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.ended()).await;
}

async fn accept(listener: &TcpListener, parts: &Parts, connections: &mut Connections, ends: watch::Receiver<bool>) {
    let limits = parts.registry.scope(Weir, "");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (parts, ends, counted) = (parts.clone(), ends.clone(), limits.clone());
                if connections.add(|progress| converse(stream, parts, ends, progress, counted)) {
                    limits.inc(weir::ADMIN_CONNECTION_OVERFLOW);
                }
            }
            // Out of descriptors, or the client is gone already: others may be served later.
            Err(error) => {
                tracing::debug!(target: "admin", %error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one connection; after `ends` only the request that is under way.
async fn converse(
    stream: TcpStream,
    parts: Parts,
    mut ends: watch::Receiver<bool>,
    progress: Progress,
    limits: Scope<Weir>,
) {
    let give_back = parts.give_back;
    let gave_much = Rc::new(Cell::new(false));
    let noted = Rc::clone(&gave_much);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (parts, noted) = (parts.clone(), Rc::clone(&noted));
        async move {
            let (method, uri) = (request.method(), request.uri());
            let reply = paths::answer(&parts, method, uri.path(), uri.query().unwrap_or_default()).await;
            let response = reply.into_response();
            // What it was made of is freed by now, and is many times as large.
            if response.body().size_hint().lower() > LARGE_ANSWER {
                noted.set(true);
                give_back();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Watched::new(stream, progress)), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        _ = ends.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if gave_much.get() {
        give_back();
    }
    if let Err(error) = served {
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
        if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) {
            limits.inc(weir::ADMIN_WRITE_TIMEOUT);
        } else if error.is_timeout() {
            limits.inc(weir::ADMIN_HEAD_TIMEOUT);
        }
        tracing::debug!(target: "admin", %error, "connection ended");
    }
}
