//! Builds every part in order and joins them; a newcomer reads this first.
//!
//! Threads: the main thread runs control (sources, listeners, signals), one thread the admin, one publishes while there is
//! something to compile, one waits for news of files, one writes access logs, one the gateway's own log, one gives guests
//! their clock, and the workers serve requests. Only the store of snapshots, the registry of metrics, [`Control`] and (off
//! the path of a request) the publisher are shared.

mod listeners;
mod memory;
mod remedy;
mod shutdown;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::LocalSet;

use crate::admin;
use crate::control::{Command, Control, Drain};
use crate::plugin::{Node, Plugins};
use crate::proxy::limits::ConnectionLimits;
use crate::snapshot::{Publisher, PublisherSettings, SnapshotStore, Stopped};
use crate::source::{self, Finding, Sources};
use crate::telemetry::access_log::Sinks;
use crate::telemetry::log::LogControl;
use crate::telemetry::metrics::Registry;
use crate::telemetry::metrics::names::{Server, Weir, server};
pub use listeners::BindError;
use listeners::Listeners;
use remedy::remedy;
use workers::{Mail, Workers};

/// What to start with.
#[derive(Debug)]
pub struct Settings {
    /// Resources and where they come from.
    pub sources: Sources,
    /// How many connections clients may have.
    pub limits: ConnectionLimits,
    /// Worker threads; at least 1.
    pub concurrency: usize,
    /// The log of the process.
    pub log: LogControl,
    /// What plugins read of this node.
    pub node: Node,
    /// The bootstrap in its wire form, for the admin to show.
    pub bootstrap: Bytes,
    /// Where the admin listens; `None` for no admin.
    pub admin: Option<SocketAddr>,
    /// File that the admin's real address is written to.
    pub admin_address_path: Option<PathBuf>,
    /// How long connections may go on after SIGTERM (`--drain-time-s`).
    pub drain_time: Duration,
}

/// Why the gateway did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration cannot be used; each finding says what, where and why.
    #[error("the configuration has {} problem{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Configuration(Vec<Finding>),
    /// A static listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin cannot be started.
    #[error("admin: cannot listen on {address}: {source}{}", remedy(.source))]
    Admin {
        /// Where it was to listen.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused a thread, a timer or a signal handler.
    #[error("cannot start {what}: {source}{}", remedy(.source))]
    System {
        /// What could not be started.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Who asked for the admin's address would wait for it in vain.
    #[error("--admin-address-path: cannot write {path}: {source}", path = .path.display())]
    AdminAddress {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl AppError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Runs the gateway until it is told to end.
///
/// # Errors
/// It could not start.
pub fn run(settings: Settings) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AppError::system("the control thread"))?;
    let tasks = LocalSet::new();
    let ended = runtime.block_on(tasks.run_until(serve(settings)));
    // What is still being compiled is for nobody.
    runtime.shutdown_background();
    ended
}

async fn serve(settings: Settings) -> Result<(), AppError> {
    let Settings { mut sources, limits, concurrency, log, node, bootstrap, admin, admin_address_path, drain_time } =
        settings;
    let registry = Registry::new(concurrency);
    log.count_in(registry.scope(Weir, ""));
    let (control, commands) = Control::new(concurrency, log);
    let sinks = Sinks::start(&registry).map_err(AppError::system("the thread that writes access logs"))?;
    let plugins = Plugins::new(Arc::clone(&registry), node, weir_wasm::EngineSettings::from_environment());
    let store = Arc::new(SnapshotStore::default());
    let parts = PublisherSettings { registry: Arc::clone(&registry), plugins, access_logs: Arc::clone(&sinks) };
    let mut publisher = Publisher::new(parts, Arc::clone(&store));

    // It answers from the start: that the gateway is not ready, and why.
    let (questions, mut asked) = admin::Questions::new();
    let running = match admin {
        Some(address) => {
            let (control, registry, store) = (control.clone(), Arc::clone(&registry), Arc::clone(&store));
            let give_back = memory::give_back;
            let parts = admin::Parts { control, registry, store, bootstrap, give_back, questions };
            Some(admin::start(address, parts).map_err(|source| AppError::Admin { address, source })?)
        }
        None => None,
    };
    if let (Some(running), Some(path)) = (&running, admin_address_path) {
        std::fs::write(&path, running.address.to_string()).map_err(|source| AppError::AdminAddress { path, source })?;
    }

    let findings = sources.load(&mut publisher);
    if !findings.is_empty() {
        return Err(AppError::Configuration(findings));
    }
    if !sources.idle().is_empty() {
        let told = match sources.idle().len() {
            1 => "1 field that is set has no effect".to_owned(),
            count => format!("{count} fields that are set have no effect"),
        };
        tracing::info!(target: "config", "{told}; `weir check` tells which and why");
    }
    memory::give_back();
    let publisher = Arc::new(Mutex::new(publisher));
    let for_admin = Arc::clone(&publisher);
    tokio::task::spawn_local(async move { asked.answer(&for_admin).await });

    let workers = Workers::start(concurrency, &store, &sinks, &registry, &Arc::new(limits));
    let workers = workers.map_err(AppError::system("the workers"))?;
    let mut gateway = Gateway { control, store, workers, listeners: Listeners::default(), sinks, drain_time };
    gateway.follow(&mut *publisher.lock().await)?;
    // Before it is ready: files that are wrong keep it from that.
    let changed = Rc::new(Notify::new());
    let control = gateway.control.clone();
    tokio::task::spawn_local(source::watch(sources, Arc::clone(&publisher), control, Rc::clone(&changed)));
    // Who sees that it is ready may end it.
    let signals = Signals::listen().map_err(AppError::system("listening for signals"))?;
    gateway.control.unblock("start");
    let took = gateway.control.started().0.elapsed().as_millis() as u64;
    registry.scope(Server, "").chunk(0).record(server::INITIALIZATION_TIME_MS, took);
    tracing::info!(workers = concurrency, "ready to serve");

    gateway.main_loop(commands, signals, &publisher, &changed).await?;
    gateway.workers.stop();
    gateway.sinks.sync(Duration::from_secs(5));
    if let Some(running) = running {
        running.stop();
    }
    Ok(())
}

/// What the system tells. Until it is listened for, SIGTERM and SIGINT end the process at once.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, reopen: signal(SignalKind::user_defined1())? })
    }
}

/// The parts that the main thread steers.
struct Gateway {
    control: Control,
    store: Arc<SnapshotStore>,
    workers: Workers,
    listeners: Listeners,
    sinks: Arc<Sinks>,
    drain_time: Duration,
}

impl Gateway {
    /// Makes workers and sockets follow the newest snapshot. At the start a listener that cannot be bound ends the
    /// process; later it is said in the log (and on /ready, if it has no former version), and tried again.
    fn follow(&mut self, publisher: &mut Publisher) -> Result<Option<Instant>, AppError> {
        let mut errors = Vec::new();
        self.workers.tell_all(|| Mail::Snapshot);
        let again = self.listeners.follow(publisher, &self.workers, &self.control, &mut errors);
        for error in errors {
            if self.control.is_starting() {
                return Err(error.into());
            }
            tracing::error!("{error}");
        }
        Ok(again)
    }

    async fn main_loop(
        &mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut signals: Signals,
        publisher: &Mutex<Publisher>,
        changed: &Notify,
    ) -> Result<(), AppError> {
        // Whether listeners have something to follow, and when to look at them again by themselves.
        let (mut behind, mut again) = (true, None);
        let mut drain_ends = None;
        loop {
            let command = tokio::select! {
                () = changed.notified() => {
                    behind = true;
                    continue;
                }
                () = sleep_until(again) => {
                    (behind, again) = (true, None);
                    continue;
                }
                // While it compiles, signals and commands are still heard.
                mut publisher = publisher.lock(), if behind => {
                    again = self.follow(&mut publisher)?;
                    behind = false;
                    memory::give_back();
                    continue;
                }
                () = sleep_until(drain_ends.map(|(at, _)| at)) => {
                    if let Some((_, which)) = drain_ends.take() {
                        self.listeners.stop(which, &self.store);
                        behind = true;
                    }
                    continue;
                }
                command = commands.recv() => command.unwrap_or(Command::Quit),
                _ = signals.terminate.recv() => Command::Shutdown { hurried: false },
                _ = signals.interrupt.recv() => Command::Shutdown { hurried: true },
                _ = signals.reopen.recv() => Command::ReopenLogs,
            };
            match command {
                Command::ReopenLogs => self.sinks.reopen(),
                Command::DrainListeners(drain) => {
                    self.drain_listeners(drain, &mut drain_ends);
                    behind = true;
                }
                Command::Quit => return Ok(()),
                Command::Shutdown { hurried } => {
                    self.shut_down(hurried, &mut signals, &mut commands).await;
                    return Ok(());
                }
            }
        }
    }

    /// As Envoy's admin: listeners close at once and connections go on; or, `graceful`, answers announce the end of their
    /// connections, and listeners close after the drain time.
    fn drain_listeners(&mut self, drain: Drain, drain_ends: &mut Option<(Instant, Stopped)>) {
        let which = if drain.inbound_only { Stopped::Inbound } else { Stopped::All };
        tracing::info!(?drain, connections = self.workers.connections(), "draining listeners");
        if !drain.graceful {
            return self.listeners.stop(which, &self.store);
        }
        self.workers.tell_all(|| Mail::Announce { inbound_only: drain.inbound_only, over: self.drain_time });
        // A drain that is under way goes its way.
        if !drain.skip_exit && drain_ends.is_none() {
            *drain_ends = Instant::now().checked_add(self.drain_time).map(|at| (at, which));
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
