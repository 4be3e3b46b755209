//! The worker threads and their mailboxes.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::proxy::limits::ConnectionLimits;
use crate::proxy::listener::{self, Accepting};
use crate::proxy::worker::{ConnectionCounts, Worker};
use crate::snapshot::SnapshotStore;
use crate::telemetry::access_log::Sinks;
use crate::telemetry::metrics::Registry;
use crate::telemetry::metrics::names::Weir;

/// How often a worker looks after log lines that wait.
const TICK: Duration = Duration::from_millis(500);

/// What a worker is told.
pub(super) enum Mail {
    /// Accept on this socket until it is closed.
    Listen {
        /// Name of the listener.
        name: Arc<str>,
        /// Bound, listening, non-blocking.
        socket: std::net::TcpListener,
        /// What it is there for, and whether it still is.
        state: watch::Receiver<Accepting>,
    },
    /// There is a new snapshot: let the old one go.
    Snapshot,
    /// Announce the end of connections in answers, and go on.
    Announce {
        /// Only on listeners of inbound traffic.
        inbound_only: bool,
        /// After this time every answer says so.
        over: Duration,
    },
    /// End connections after the request they serve, idle ones at once.
    Drain,
    /// End now.
    Stop,
}

/// All workers.
pub(super) struct Workers {
    mailboxes: Vec<mpsc::UnboundedSender<Mail>>,
    connections: Vec<Arc<ConnectionCounts>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads.
    pub(super) fn start(
        count: usize,
        store: &Arc<SnapshotStore>,
        sinks: &Arc<Sinks>,
        registry: &Arc<Registry>,
        limits: &Arc<ConnectionLimits>,
    ) -> io::Result<Self> {
        let mut workers = Self { mailboxes: Vec::new(), connections: Vec::new(), threads: Vec::new() };
        for index in 1..=count {
            let (sender, mail) = mpsc::unbounded_channel();
            let connections = Arc::new(ConnectionCounts::default());
            let (store, sinks, open) = (Arc::clone(store), Arc::clone(sinks), Arc::clone(&connections));
            let (scope, limits) = (registry.scope(Weir, ""), Arc::clone(limits));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let tasks = LocalSet::new();
                let worker = Worker::new(index, store, sinks, open, limits, scope);
                runtime.block_on(tasks.run_until(run(Rc::clone(&worker), mail)));
                // Connections that are cut leave their lines.
                drop(tasks);
                worker.logs.borrow_mut().flush_all();
            })?;
            workers.mailboxes.push(sender);
            workers.connections.push(connections);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.mailboxes.len()
    }

    /// Tells one of them.
    pub(super) fn tell(&self, worker: usize, mail: Mail) {
        if let Some(mailbox) = self.mailboxes.get(worker) {
            // A worker that has stopped needs no mail.
            let _ = mailbox.send(mail);
        }
    }

    /// Tells all of them.
    pub(super) fn tell_all(&self, mail: impl Fn() -> Mail) {
        (0..self.count()).for_each(|worker| self.tell(worker, mail()));
    }

    /// Connections of clients that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.iter().map(|counts| counts.open()).sum()
    }

    /// Connections of clients that have ever come.
    pub(super) fn accepted(&self) -> usize {
        self.connections.iter().map(|counts| counts.accepted()).sum()
    }

    /// Ends them all and waits for their threads; log lines are handed over before.
    pub(super) fn stop(self) {
        self.tell_all(|| Mail::Stop);
        for thread in self.threads {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

async fn run(worker: Rc<Worker>, mut mail: mpsc::UnboundedReceiver<Mail>) {
    tokio::task::spawn_local(worker.pools.maintain());
    let mut tick = tokio::time::interval(TICK);
    loop {
        let mail = tokio::select! {
            mail = mail.recv() => mail,
            _ = tick.tick() => {
                worker.logs.borrow_mut().flush_due(Instant::now());
                continue;
            }
        };
        match mail {
            Some(Mail::Listen { name, socket, state }) => match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    let accepting = listener::accept(Rc::clone(&worker), name, socket, state);
                    tokio::task::spawn_local(accepting);
                }
                Err(error) => tracing::error!(listener = &*name, "cannot listen on worker {}: {error}", worker.index),
            },
            Some(Mail::Snapshot) => worker.refresh(),
            Some(Mail::Announce { inbound_only, over }) => worker.announce_end(inbound_only, over),
            Some(Mail::Drain) => worker.begin_drain(),
            Some(Mail::Stop) | None => return,
        }
    }
}
