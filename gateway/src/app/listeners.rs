//! Which listeners are bound: what the snapshot says, as soon as what they wait for is there.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use super::remedy::remedy;
use super::workers::{Mail, Workers};
use crate::control::{Control, Listening};
use crate::proxy::listener::Accepting;
use crate::snapshot::listener::Listener;
use crate::snapshot::{Publisher, SnapshotStore, Stopped, Unbound};

/// A listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {name}: {}", self.reason())]
pub struct BindError {
    name: Arc<str>,
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    fn reason(&self) -> String {
        format!("cannot bind {}: {}{}", self.address, self.source, remedy(&self.source))
    }
}

/// A listener that could not be bound is tried again after this time, doubled up to the second one.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// All listening sockets.
#[derive(Default)]
pub(super) struct Listeners {
    bound: HashMap<Arc<str>, Bound>,
    /// Since when a listener waits for its routes and secrets.
    warming: HashMap<Arc<str>, Instant>,
    /// Those that could not be bound.
    failed: HashMap<Arc<str>, Failed>,
    /// All of them have been bound once. From then on the gateway is ready, as Envoy is: what comes later and cannot listen
    /// yet must not take away from clients what serves.
    settled: bool,
    /// Those that were stopped for good stay closed, whatever the next snapshot says.
    stopped: Option<Stopped>,
    /// How many were stopped of which the publisher has not been told: it may be compiling.
    untold: usize,
}

struct Bound {
    /// As configured: port 0 stays 0.
    configured: SocketAddr,
    state: watch::Sender<Accepting>,
}

struct Failed {
    address: SocketAddr,
    unbound: Unbound,
    again: Instant,
    pause: Duration,
}

/// Sockets of a listener, one for each worker, that nobody accepts on yet.
struct Opened {
    listener: Arc<Listener>,
    address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

impl Listeners {
    /// Makes the sockets follow the configuration. A listener that only changed inside keeps its sockets and connections.
    /// One that moves, or that waits for something, stays as it was until the new version is bound and has what it needs.
    /// Returns when to look again if a listener is still warming, or could not be bound.
    pub(super) fn follow(
        &mut self,
        publisher: &mut Publisher,
        workers: &Workers,
        control: &Control,
        errors: &mut Vec<BindError>,
    ) -> Option<Instant> {
        if let Some(which) = self.stopped {
            publisher.stop_listeners(which, std::mem::take(&mut self.untold));
        }
        let newest = publisher.newest_listeners();
        let names: HashSet<&Arc<str>> = newest.iter().map(|listener| &listener.name).collect();
        for gone in self.warming.keys().chain(self.failed.keys()).filter(|name| !names.contains(name)) {
            control.unblock(&blocker(gone));
        }
        self.warming.retain(|name, _| names.contains(name));
        self.failed.retain(|name, _| names.contains(name));
        let (mut again, mut opened, mut ready) = (None, Vec::new(), Vec::new());
        let (mut waiting, mut unbound, mut news) = (0, 0, Vec::new());
        for listener in &newest {
            if self.stopped.is_some_and(|which| which.concerns(listener)) {
                continue;
            }
            let bound = self.bound.get(&listener.name);
            let is_bound = bound.is_some_and(|bound| bound.configured == listener.address);
            if is_bound && !publisher.is_held_back(&listener.name) {
                self.failed.remove(&listener.name);
                continue;
            }
            let keeps_from_ready = bound.is_none() && !self.settled;
            let look_at = match self.warm(listener, publisher) {
                Warm::Wait(until, missing) => {
                    waiting += 1;
                    self.failed.remove(&listener.name);
                    if keeps_from_ready {
                        control.block(blocker(&listener.name), format!("waits for {missing}"));
                    }
                    until
                }
                Warm::Ready if is_bound => {
                    self.failed.remove(&listener.name);
                    ready.push(Arc::clone(&listener.name));
                    None
                }
                Warm::Ready => match self.pause_of(listener) {
                    Some(until) => {
                        unbound += 1;
                        Some(until)
                    }
                    None => match open_all(listener, workers.count()) {
                        Ok(sockets) => {
                            self.failed.remove(&listener.name);
                            ready.push(Arc::clone(&listener.name));
                            opened.push(sockets);
                            None
                        }
                        Err(error) => {
                            unbound += 1;
                            if keeps_from_ready {
                                control.block(blocker(&listener.name), error.to_string());
                            }
                            let (is_first, again) = self.fail(listener, error.reason());
                            if is_first {
                                news.push(Arc::clone(&listener.name));
                                errors.push(error);
                            }
                            Some(again)
                        }
                    },
                },
            };
            again = [again, look_at].into_iter().flatten().min();
        }
        control.set_waiting_listeners(waiting);
        self.settled |= waiting + unbound == 0 && !control.is_starting();
        let failed = self.failed.iter().map(|(name, failed)| (Arc::clone(name), failed.unbound.clone()));
        publisher.follow_sockets(failed.collect(), &news, opened.len());
        publisher.promote(&ready);
        self.begin(opened, workers, control);
        let snapshot = publisher.store().load();
        self.bound.retain(|name, bound| {
            if let Some(listener) = snapshot.listener(name) {
                bound.follow(listener);
            }
            let stays = names.contains(name);
            if !stays {
                bound.end();
            }
            stays
        });
        // A stopped one is told of as long as the configuration has it.
        for (gone, _) in control.listening().iter().filter(|(name, _)| !names.contains(&Arc::from(name.as_str()))) {
            control.set_listening(gone, None);
        }
        again
    }

    /// Lets workers accept. Only then does the socket that a listener had before close: there is always one.
    fn begin(&mut self, opened: Vec<Opened>, workers: &Workers, control: &Control) {
        if !opened.is_empty() {
            workers.tell_all(|| Mail::Snapshot);
        }
        for Opened { listener, address, sockets } in opened {
            let (name, configured) = (Arc::clone(&listener.name), listener.address);
            let (state, seen) = watch::channel(Accepting { listener, closed: false });
            for (worker, socket) in sockets.into_iter().enumerate() {
                workers.tell(worker, Mail::Listen { name: Arc::clone(&name), socket, state: seen.clone() });
            }
            control.set_listening(&name, Some(Listening { address }));
            control.unblock(&blocker(&name));
            tracing::info!(listener = &*name, %address, "listening");
            if let Some(former) = self.bound.insert(name, Bound { configured, state }) {
                former.end();
            }
        }
    }

    /// Until when not to try: it failed a short time ago.
    fn pause_of(&self, listener: &Listener) -> Option<Instant> {
        let failed = self.failed.get(&listener.name).filter(|failed| failed.address == listener.address)?;
        Some(failed.again).filter(|again| *again > Instant::now())
    }

    /// Notes that it could not be bound. Whether that is news, and when to try again.
    fn fail(&mut self, listener: &Listener, reason: String) -> (bool, Instant) {
        let before = self.failed.get(&listener.name).filter(|failed| failed.address == listener.address);
        let is_first = before.is_none();
        let pause = before.map_or(BACK_OFF.0, |failed| (failed.pause * 2).min(BACK_OFF.1));
        let again = Instant::now() + pause;
        let since = before.map_or_else(SystemTime::now, |failed| failed.unbound.since);
        let failed = Failed { address: listener.address, unbound: Unbound { reason, since }, again, pause };
        self.failed.insert(Arc::clone(&listener.name), failed);
        (is_first, again)
    }

    /// Stops accepting for good.
    pub(super) fn stop(&mut self, which: Stopped, store: &SnapshotStore) {
        if self.stopped != Some(Stopped::All) {
            self.stopped = Some(which);
        }
        let before = self.bound.len();
        let snapshot = store.load();
        self.bound.retain(|name, bound| {
            // One that is gone from the snapshot was closed with it.
            let stays = snapshot.listener(name).is_some_and(|listener| !which.concerns(listener));
            if !stays {
                bound.end();
            }
            stays
        });
        self.untold += before - self.bound.len();
    }

    fn warm(&mut self, listener: &Arc<Listener>, publisher: &Publisher) -> Warm {
        let awaited = publisher.awaited(&listener.name);
        if awaited.is_empty() {
            self.warming.remove(&listener.name);
            return Warm::Ready;
        }
        let missing = awaited.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let since = *self.warming.entry(Arc::clone(&listener.name)).or_insert_with(|| {
            tracing::info!(listener = &*listener.name, "waits for {missing}");
            Instant::now()
        });
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

impl Bound {
    /// The newest version is the one to remember, and the one before is let go.
    fn follow(&self, newest: &Arc<Listener>) {
        self.state.send_if_modified(|socket| {
            if !Arc::ptr_eq(&socket.listener, newest) {
                socket.listener = Arc::clone(newest);
            }
            false
        });
    }

    /// Workers stop accepting.
    fn end(&self) {
        self.state.send_modify(|socket| socket.closed = true);
    }
}

fn blocker(listener: &str) -> String {
    format!("listener {listener}")
}

/// All sockets of a listener are bound before any worker accepts: the kernel spreads connections over those it knows.
fn open_all(listener: &Arc<Listener>, workers: usize) -> Result<Opened, BindError> {
    let fail = |source| BindError { name: Arc::clone(&listener.name), address: listener.address, source };
    let first = open(listener.address, listener.backlog).map_err(fail)?;
    let address = first.local_addr().map_err(fail)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(open(address, listener.backlog).map_err(fail)?);
    }
    Ok(Opened { listener: Arc::clone(listener), address, sockets })
}

fn open(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // What it accepts has it from here.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_accepted_waits_for_no_further_bytes() {
        let listener = open(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }
}
