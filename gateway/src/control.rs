//! What the admin and the sources may ask of the running gateway, and what it tells of its state.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;

use crate::telemetry::log::LogControl;

/// A handle on the running gateway. Cloning shares it; nothing here is on the path of a request.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    started_wall: SystemTime,
    concurrency: usize,
    log: LogControl,
    failing_health: AtomicBool,
    draining: AtomicBool,
    not_ready: Mutex<BTreeMap<String, String>>,
    listening: Mutex<BTreeMap<String, Listening>>,
    waiting_listeners: AtomicUsize,
    commands: mpsc::UnboundedSender<Command>,
}

/// A listener that is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where it really listens: with the port that the system chose for port 0.
    pub address: SocketAddr,
}

/// What the gateway is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop listening.
    DrainListeners(Drain),
    /// Drain, then end the process.
    Shutdown {
        /// Listeners close at once.
        hurried: bool,
    },
    /// End the process now.
    Quit,
    /// Open access log files anew.
    ReopenLogs,
}

/// How listeners are drained (`/drain_listeners`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Ever more answers announce the end of their connections during the drain time, and only then listeners close.
    pub graceful: bool,
    /// Only listeners whose `traffic_direction` is INBOUND.
    pub inbound_only: bool,
    /// Announce, but never close.
    pub skip_exit: bool,
}

/// Where the gateway stands in its life, with Envoy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Serves.
    Live,
    /// Ends, or was told to look as if.
    Draining,
    /// Waits for configuration.
    Initializing,
}

impl State {
    /// As `/ready` and `/server_info` show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::Initializing => "INITIALIZING",
        }
    }
}

impl Control {
    /// A handle, and what is asked through it.
    pub fn new(concurrency: usize, log: LogControl) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, asked) = mpsc::unbounded_channel();
        let inner = Inner {
            started: Instant::now(),
            started_wall: SystemTime::now(),
            concurrency,
            log,
            failing_health: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            not_ready: Mutex::new(BTreeMap::from([("start".to_owned(), "the gateway is starting".to_owned())])),
            listening: Mutex::default(),
            waiting_listeners: AtomicUsize::new(0),
            commands,
        };
        (Self(Arc::new(inner)), asked)
    }

    /// When the process began to start.
    pub fn started(&self) -> (Instant, SystemTime) {
        (self.0.started, self.0.started_wall)
    }

    /// How many workers there are.
    pub fn concurrency(&self) -> usize {
        self.0.concurrency
    }

    /// The level of the log.
    pub fn log(&self) -> &LogControl {
        &self.0.log
    }

    /// Where the gateway stands.
    pub fn state(&self) -> State {
        if self.0.draining.load(Ordering::Relaxed) || self.0.failing_health.load(Ordering::Relaxed) {
            State::Draining
        } else if lock(&self.0.not_ready).is_empty() {
            State::Live
        } else {
            State::Initializing
        }
    }

    /// Whether it has not been up yet.
    pub fn is_starting(&self) -> bool {
        lock(&self.0.not_ready).contains_key("start")
    }

    /// Why it is not ready: what is missing, and why.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        lock(&self.0.not_ready).iter().map(|(what, why)| (what.clone(), why.clone())).collect()
    }

    /// Something is missing.
    pub fn block(&self, what: impl Into<String>, why: impl Into<String>) {
        lock(&self.0.not_ready).insert(what.into(), why.into());
    }

    /// It is there now.
    pub fn unblock(&self, what: &str) {
        lock(&self.0.not_ready).remove(what);
    }

    /// `/healthcheck/fail` and `/healthcheck/ok`: look as if draining.
    pub fn fail_health(&self, fail: bool) {
        self.0.failing_health.store(fail, Ordering::Relaxed);
    }

    /// Says on /ready that the end is near.
    pub fn set_draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Listeners that are bound, by name.
    pub fn listening(&self) -> Vec<(String, Listening)> {
        lock(&self.0.listening).iter().map(|(name, listening)| (name.clone(), listening.clone())).collect()
    }

    /// How many listeners wait for something, or could not be bound.
    pub fn waiting_listeners(&self) -> usize {
        self.0.waiting_listeners.load(Ordering::Relaxed)
    }

    /// So many wait now.
    pub fn set_waiting_listeners(&self, count: usize) {
        self.0.waiting_listeners.store(count, Ordering::Relaxed);
    }

    /// A listener was bound, or closed.
    pub fn set_listening(&self, name: &str, listening: Option<Listening>) {
        let mut all = lock(&self.0.listening);
        match listening {
            Some(listening) => all.insert(name.to_owned(), listening),
            None => all.remove(name),
        };
    }

    /// Asks for something; it is done by the main thread.
    pub fn ask(&self, command: Command) {
        // The receiver is gone only when the process is ending, which is what it would do.
        let _ = self.0.commands.send(command);
    }
}

/// A thread that panicked while it held one of these maps left it whole: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
