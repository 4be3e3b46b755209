//! A worker: one thread with its own runtime, connections, pools and filter instances. Nothing here is shared.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::limits::ConnectionLimits;
use crate::cluster::WorkerClusters;
use crate::snapshot::compile::filter::WorkerFilters;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::telemetry::access_log::{LogBuffers, Sinks};
use crate::telemetry::format::civil;
use crate::telemetry::metrics::names::Weir;
use crate::telemetry::metrics::{Chunk, Scope};
use crate::upstream::Pools;

/// A snapshot as a worker holds it. The outer count is this thread's own: requests that come and go must not move a count
/// that all workers share.
#[allow(clippy::redundant_allocation, reason = "two counts, for the reason above")]
pub(super) type HeldSnapshot = Rc<Arc<Snapshot>>;

/// What the connections of one worker have in common.
pub struct Worker {
    /// Its number, from 1; also its chunk of each metric (0 is the control thread's).
    pub index: usize,
    /// Connections to endpoints.
    pub pools: Pools,
    /// State of load balancing.
    pub clusters: WorkerClusters,
    /// Instances of filters.
    pub filters: WorkerFilters,
    /// Lines of access logs on their way out.
    pub logs: RefCell<LogBuffers>,
    /// How many connections clients may have.
    pub connection_limits: Arc<ConnectionLimits>,
    store: Arc<SnapshotStore>,
    current: RefCell<(u64, HeldSnapshot)>,
    draining: Cell<Draining>,
    drain: Notify,
    /// Shared with the control thread, which waits for it while draining; only this worker writes it.
    connections: Arc<ConnectionCounts>,
    scope: Scope<Weir>,
    accepted: Cell<u64>,
    date: RefCell<(Instant, [u8; 29])>,
}

/// How many clients a worker has, for other threads to read; only the worker itself writes.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    open: AtomicUsize,
    accepted: AtomicUsize,
}

impl ConnectionCounts {
    /// Those that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Those that have ever come.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    No,
    /// More answers say so the more of `over` has gone by.
    Announces {
        inbound_only: bool,
        since: Instant,
        over: Duration,
    },
    Ends,
}

impl Worker {
    /// A worker that sees what `store` has. `connections` tells others how many clients it serves.
    pub fn new(
        index: usize,
        store: Arc<SnapshotStore>,
        sinks: Arc<Sinks>,
        connections: Arc<ConnectionCounts>,
        connection_limits: Arc<ConnectionLimits>,
        scope: Scope<Weir>,
    ) -> Rc<Self> {
        let current = store.load();
        Rc::new(Self {
            index,
            pools: Pools::new(index),
            clusters: WorkerClusters::new(index),
            filters: WorkerFilters::new(index),
            logs: RefCell::new(LogBuffers::new(sinks, index)),
            connection_limits,
            current: RefCell::new((store.generation(), Rc::new(current))),
            store,
            draining: Cell::new(Draining::No),
            drain: Notify::new(),
            connections,
            scope,
            accepted: Cell::new(0),
            date: RefCell::new((Instant::now(), http_date(SystemTime::now()))),
        })
    }

    /// The newest snapshot. Costs one atomic load while it has not changed; no count is shared between workers.
    pub(super) fn snapshot(&self) -> HeldSnapshot {
        let generation = self.store.generation();
        let mut current = self.current.borrow_mut();
        if current.0 != generation {
            *current = (generation, Rc::new(self.store.load()));
        }
        Rc::clone(&current.1)
    }

    /// Drops an old snapshot that no request holds any more; called when a new one is announced.
    pub fn refresh(&self) {
        self.snapshot();
        self.filters.sweep();
    }

    /// Whether connections are to end after the request they serve, and idle ones now.
    pub fn draining(&self) -> bool {
        self.draining.get() == Draining::Ends
    }

    /// Whether an answer is to say that its connection ends; `inbound` tells of which listener it is.
    pub(super) fn announces_end(&self, inbound: impl FnOnce() -> bool) -> bool {
        match self.draining.get() {
            Draining::No => false,
            Draining::Announces { inbound_only, since, over } => {
                (!inbound_only || inbound()) && {
                    // As Envoy's gradual strategy, so that clients do not all come back at once.
                    let (gone, over) = (since.elapsed().as_millis() as u64, over.as_millis() as u64);
                    gone >= over || self.clusters.random() % over < gone
                }
            }
            Draining::Ends => true,
        }
    }

    /// From now on answers say that their connections end, all of them after `over` (`/drain_listeners?graceful`). What
    /// drains already goes its way.
    pub fn announce_end(&self, inbound_only: bool, over: Duration) {
        if self.draining.get() == Draining::No {
            self.draining.set(Draining::Announces { inbound_only, since: Instant::now(), over });
        }
    }

    /// Ends idle connections now, and others after their request.
    pub fn begin_drain(&self) {
        self.draining.set(Draining::Ends);
        self.drain.notify_waiters();
    }

    /// Ready when draining begins.
    pub(super) fn drain_begins(&self) -> impl Future<Output = ()> + '_ {
        self.drain.notified()
    }

    /// Counters of limits that were reached.
    pub(super) fn limits(&self) -> Chunk<'_, Weir> {
        self.scope.chunk(self.index)
    }

    pub(super) fn connection_opened(&self) {
        let ConnectionCounts { open, accepted } = &*self.connections;
        open.store(open.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        accepted.store(accepted.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn connection_closed(&self) {
        let open = &self.connections.open;
        open.store(open.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// A number that no other connection of the process has.
    pub(super) fn next_connection_id(&self) -> u64 {
        self.accepted.set(self.accepted.get() + 1);
        (self.index as u64) << 48 | self.accepted.get()
    }

    /// The time as the `date` field has it (RFC 9110 section 5.6.7), made once a second.
    pub(super) fn date(&self) -> [u8; 29] {
        let now = Instant::now();
        let mut date = self.date.borrow_mut();
        if now.saturating_duration_since(date.0).as_millis() >= 500 {
            *date = (now, http_date(SystemTime::now()));
        }
        date.1
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(now: SystemTime) -> [u8; 29] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default();
    let days = seconds / 86_400;
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let mut put = |at: usize, value: u64| {
        text[at] = b'0' + (value / 10 % 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    };
    put(5, day);
    put(12, year / 100);
    put(14, year);
    put(17, seconds / 3600 % 24);
    put(20, seconds / 60 % 60);
    put(23, seconds % 60);
    text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    text[8..11].copy_from_slice(MONTHS[(month - 1) as usize % 12]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (1_795_392_000, "Mon, 23 Nov 2026 00:00:00 GMT"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))),
                text
            );
        }
    }
}
