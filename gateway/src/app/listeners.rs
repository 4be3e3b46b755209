//! Which listeners are bound: what the snapshot says, as soon as what they wait for is there.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use super::workers::{Mail, Workers};
use crate::control::{Control, Listening};
use crate::snapshot::Publisher;
use crate::snapshot::listener::Listener;

/// A listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {name}: cannot bind {address}: {source}{}", hint(.source))]
pub struct BindError {
    name: Arc<str>,
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another program listens there; stop it or choose another port)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}

/// All listening sockets.
#[derive(Default)]
pub(super) struct Listeners {
    bound: HashMap<Arc<str>, Bound>,
    /// Since when a listener waits for its routes and secrets.
    warming: HashMap<Arc<str>, Instant>,
    /// Those that were stopped for good stay closed, whatever the next snapshot says.
    stopped: Option<Stopped>,
}

/// Which listeners were stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    All,
    Inbound,
}

impl Stopped {
    fn concerns(self, listener: &Listener) -> bool {
        self == Self::All || listener.inbound
    }
}

struct Bound {
    /// As configured: port 0 stays 0.
    configured: SocketAddr,
    close: watch::Sender<bool>,
}

impl Listeners {
    /// Makes the sockets follow the snapshot. A listener that only changed inside keeps its sockets and connections.
    /// Returns when to look again if a listener is still warming.
    pub(super) fn follow(
        &mut self,
        publisher: &Publisher,
        workers: &Workers,
        control: &Control,
        errors: &mut Vec<BindError>,
    ) -> Option<Instant> {
        let snapshot = publisher.store().load();
        self.bound.retain(|name, bound| {
            let stays = snapshot.listener(name).is_some_and(|listener| listener.address == bound.configured);
            if !stays {
                let _ = bound.close.send(true);
                control.set_listening(name, None);
            }
            stays
        });
        self.warming.retain(|name, _| snapshot.listener(name).is_some());
        let mut again = None;
        for listener in snapshot.listeners() {
            if self.bound.contains_key(&listener.name) || self.stopped.is_some_and(|which| which.concerns(listener)) {
                continue;
            }
            let what = format!("listener {}", listener.name);
            match self.warm(listener, publisher) {
                Warm::Wait(until, missing) => {
                    control.block(what, format!("waits for {missing}"));
                    again = [again, until].into_iter().flatten().min();
                }
                Warm::Ready => match bind(listener, workers) {
                    Ok((bound, address)) => {
                        control.set_listening(&listener.name, Some(Listening { address }));
                        control.unblock(&what);
                        tracing::info!(listener = &*listener.name, %address, "listening");
                        self.bound.insert(Arc::clone(&listener.name), bound);
                    }
                    Err(error) => {
                        control.block(what, error.to_string());
                        errors.push(error);
                    }
                },
            }
        }
        again
    }

    /// Stops accepting for good.
    pub(super) fn stop(&mut self, which: Stopped, publisher: &Publisher, control: &Control) {
        if self.stopped != Some(Stopped::All) {
            self.stopped = Some(which);
        }
        let snapshot = publisher.store().load();
        self.bound.retain(|name, bound| {
            // One that is gone from the snapshot was closed with it.
            let stays = snapshot.listener(name).is_some_and(|listener| !which.concerns(listener));
            if !stays {
                let _ = bound.close.send(true);
                control.set_listening(name, None);
            }
            stays
        });
    }

    fn warm(&mut self, listener: &Arc<Listener>, publisher: &Publisher) -> Warm {
        let awaited = publisher.awaited(&listener.name);
        if awaited.is_empty() {
            self.warming.remove(&listener.name);
            return Warm::Ready;
        }
        let missing = awaited.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let since = *self.warming.entry(Arc::clone(&listener.name)).or_insert_with(Instant::now);
        let until = listener.warming_timeout.and_then(|limit| since.checked_add(limit));
        if until.is_some_and(|until| until <= Instant::now()) {
            tracing::warn!(listener = &*listener.name, "listens without {missing}, which did not come in time");
            return Warm::Ready;
        }
        Warm::Wait(until, missing)
    }
}

enum Warm {
    Ready,
    Wait(Option<Instant>, String),
}

/// All sockets of a listener are bound before any worker accepts: the kernel spreads connections over those it knows.
fn bind(listener: &Listener, workers: &Workers) -> Result<(Bound, SocketAddr), BindError> {
    let fail = |source| BindError { name: Arc::clone(&listener.name), address: listener.address, source };
    let first = open(listener.address, listener.backlog).map_err(fail)?;
    let address = first.local_addr().map_err(fail)?;
    let mut sockets = vec![first];
    for _ in 1..workers.count() {
        sockets.push(open(address, listener.backlog).map_err(fail)?);
    }
    let (close, closed) = watch::channel(false);
    for (worker, socket) in sockets.into_iter().enumerate() {
        workers.tell(worker, Mail::Listen { name: Arc::clone(&listener.name), socket, close: closed.clone() });
    }
    Ok((Bound { configured: listener.address, close }, address))
}

fn open(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}
