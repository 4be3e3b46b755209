//! Connections of one worker to one endpoint.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak as RcWeak};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Wire;
use super::connect::connect;
use super::connection::{Connection, End, Slot};
use super::error::UpstreamError;
use super::pools::Reaper;
use crate::cluster::{BreakerKind, Cluster, ClusterConfig, ClusterRuntime, Endpoint, RoutingPriority};
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{self, cluster as metric};
use crate::tls::ServerIdentity;

/// Connections of one worker to one endpoint, for requests of one priority.
#[derive(Debug)]
pub(super) struct Pool {
    worker: usize,
    /// Weak: an endpoint that no snapshot and no request holds any more is gone, and its connections go, too.
    endpoint: Weak<Endpoint>,
    runtime: Arc<ClusterRuntime>,
    /// The host of its requests, if that decides whom its connections go to.
    host: Option<Box<str>>,
    /// As the latest request found it.
    config: RefCell<Arc<ClusterConfig>>,
    /// Oldest first; the newest is taken first, so that what is not needed grows old.
    idle: RefCell<VecDeque<Idle>>,
    /// Connections, idle or not, and those being made.
    open: Cell<u32>,
    /// Requests that may not make a connection, for there are too many.
    waiting: RefCell<VecDeque<oneshot::Sender<Handed>>>,
    reaper: Rc<Reaper>,
    this: RcWeak<Self>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

/// What a waiting request is given.
#[derive(Debug)]
enum Handed {
    /// A connection that another request has released.
    Connection(Box<Connection>),
    /// A connection was closed: look again whether one may be made.
    Turn,
}

impl Pool {
    pub(super) fn new(
        worker: usize,
        cluster: &Cluster,
        endpoint: &Arc<Endpoint>,
        host: Option<Box<str>>,
        reaper: Rc<Reaper>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            worker,
            endpoint: Arc::downgrade(endpoint),
            runtime: Arc::clone(&cluster.runtime),
            host,
            config: RefCell::new(Arc::clone(&cluster.config)),
            idle: RefCell::default(),
            open: Cell::new(0),
            waiting: RefCell::default(),
            reaper,
            this: this.clone(),
        })
    }

    /// Takes an idle connection, the newest that is still good.
    pub(super) fn checkout(
        self: &Rc<Self>,
        cluster: &Cluster,
        endpoint: &Arc<Endpoint>,
        priority: RoutingPriority,
    ) -> Result<Option<Lease>, UpstreamError> {
        if !Arc::ptr_eq(&self.config.borrow(), &cluster.config) {
            self.config.replace(Arc::clone(&cluster.config));
        }
        loop {
            let newest = self.idle.borrow_mut().pop_back();
            let Some(Idle { mut connection, .. }) = newest else { return Ok(None) };
            if connection.is_quiet() {
                return self.attach(connection, cluster, endpoint, priority).map(Some);
            }
            connection.slot.end = End::Remote;
        }
    }

    /// Makes a connection, or waits for one where no more may be made.
    pub(super) async fn establish(
        self: Rc<Self>,
        cluster: Arc<Cluster>,
        endpoint: Arc<Endpoint>,
        priority: RoutingPriority,
    ) -> Result<Lease, UpstreamError> {
        let metrics = self.metrics();
        let Some(pending) = Pending::enter(&self, &cluster, priority) else {
            metrics.inc(metric::UPSTREAM_RQ_PENDING_OVERFLOW);
            return Err(UpstreamError::Overflow(BreakerKind::Pending));
        };
        metrics.inc(metric::UPSTREAM_RQ_PENDING_TOTAL);
        let mut full = false;
        loop {
            if let Some(slot) = self.open_slot(&cluster, &endpoint, priority) {
                let connection = self.fill(slot, &cluster, &endpoint).await?;
                drop(pending);
                return self.attach(connection, &cluster, &endpoint, priority);
            }
            if !std::mem::replace(&mut full, true) {
                metrics.inc(metric::UPSTREAM_CX_OVERFLOW);
            }
            match Waiting::new(&self).handed().await {
                Some(Handed::Connection(connection)) => {
                    drop(pending);
                    return self.attach(connection, &cluster, &endpoint, priority);
                }
                Some(Handed::Turn) | None => {}
            }
        }
    }

    /// Counts one more connection if the limits allow it. A pool may always have one.
    fn open_slot(&self, cluster: &Cluster, endpoint: &Endpoint, priority: RoutingPriority) -> Option<Slot> {
        let first = self.open.get() == 0;
        let of_endpoint = cluster.config.endpoint_max_connections(priority);
        if !first && endpoint.stats.cx_active.load(Relaxed) >= of_endpoint {
            return None;
        }
        if !cluster.take(BreakerKind::Connections, priority, first) {
            return None;
        }
        self.open.set(self.open.get() + 1);
        endpoint.stats.cx_active.fetch_add(1, Relaxed);
        endpoint.stats.cx_total.fetch_add(1, Relaxed);
        let metrics = self.metrics();
        metrics.inc(metric::UPSTREAM_CX_TOTAL);
        metrics.inc(metric::UPSTREAM_CX_HTTP1_TOTAL);
        metrics.up(metric::UPSTREAM_CX_ACTIVE);
        let (opened, requests) = (Instant::now(), 0);
        Some(Slot { pool: self.this.clone(), priority, opened, requests, end: End::Local, in_use: false })
    }

    async fn fill(
        &self,
        mut slot: Slot,
        cluster: &Cluster,
        endpoint: &Endpoint,
    ) -> Result<Box<Connection>, UpstreamError> {
        match connect(&cluster.config, endpoint.address, self.identity(cluster), self.worker).await {
            Ok((io, tls)) => {
                let taken = slot.opened.elapsed();
                self.metrics().record(metric::UPSTREAM_CX_CONNECT_MS, milliseconds(taken));
                let local = io.local_addr().ok();
                Ok(Box::new(Connection { wire: Wire::new(io, cluster.config.buffer_limit), local, tls, slot }))
            }
            Err(error) => {
                endpoint.stats.cx_connect_fail.fetch_add(1, Relaxed);
                let metrics = self.metrics();
                metrics.inc(metric::UPSTREAM_CX_CONNECT_FAIL);
                metrics.inc(metric::UPSTREAM_RQ_PENDING_FAILURE_EJECT);
                match error {
                    UpstreamError::Timeout => metrics.inc(metric::UPSTREAM_CX_CONNECT_TIMEOUT),
                    _ => slot.end = End::Remote,
                }
                Err(error)
            }
        }
    }

    /// Whom a connection is to lead to: an address is never sent as a server name.
    fn identity(&self, cluster: &Cluster) -> ServerIdentity<'_> {
        let (host, http) = (self.host.as_deref(), &cluster.config.http);
        ServerIdentity {
            sni: host.filter(|host| http.auto_sni && host.parse::<IpAddr>().is_err()),
            san: host.filter(|_| http.auto_san_validation),
        }
    }

    /// Gives a connection to a request, if the cluster may have one more.
    fn attach(
        self: &Rc<Self>,
        mut connection: Box<Connection>,
        cluster: &Cluster,
        endpoint: &Arc<Endpoint>,
        priority: RoutingPriority,
    ) -> Result<Lease, UpstreamError> {
        let metrics = self.metrics();
        if !cluster.take(BreakerKind::Requests, priority, false) {
            metrics.inc(metric::UPSTREAM_RQ_ACTIVE_OVERFLOW);
            self.keep(connection, Instant::now());
            return Err(UpstreamError::Overflow(BreakerKind::Requests));
        }
        connection.slot.requests = connection.slot.requests.saturating_add(1);
        if connection.slot.requests == cluster.config.http.max_requests_per_connection {
            metrics.inc(metric::UPSTREAM_CX_MAX_REQUESTS);
        }
        connection.slot.in_use = true;
        endpoint.stats.rq_active.fetch_add(1, Relaxed);
        endpoint.stats.rq_total.fetch_add(1, Relaxed);
        metrics.inc(metric::UPSTREAM_RQ_TOTAL);
        metrics.up(metric::UPSTREAM_RQ_ACTIVE);
        let (pool, endpoint) = (Rc::clone(self), Arc::clone(endpoint));
        Ok(Lease { connection: Some(connection), pool, endpoint, priority })
    }

    /// Takes a connection back: for a request that waits, or for later.
    fn keep(&self, mut connection: Box<Connection>, now: Instant) {
        connection.slot.in_use = false;
        // Bytes behind the response were not asked for: they would be taken for the answer to somebody else.
        if !connection.wire.input.is_empty() || connection.wire.queued() > 0 {
            return;
        }
        let config = self.config.borrow();
        let limit = config.http.max_requests_per_connection;
        if limit != 0 && connection.slot.requests >= limit {
            return;
        }
        if is_old(&connection, &config, now) {
            self.metrics().inc(metric::UPSTREAM_CX_MAX_DURATION_REACHED);
            return;
        }
        let idle_timeout = config.http.idle_timeout;
        drop(config);
        let Some(connection) = self.hand_over(connection) else { return };
        self.idle.borrow_mut().push_back(Idle { connection, since: now });
        self.reaper.note_idle(idle_timeout, now);
    }

    /// Gives a connection to the first request that waits; back if none does.
    fn hand_over(&self, mut connection: Box<Connection>) -> Option<Box<Connection>> {
        while let Some(waiter) = self.next_waiting() {
            if !connection.is_quiet() {
                connection.slot.end = End::Remote;
                // Its end gives a turn to the next.
                self.waiting.borrow_mut().push_front(waiter);
                return None;
            }
            match waiter.send(Handed::Connection(connection)) {
                Ok(()) => return None,
                Err(Handed::Connection(back)) => connection = back,
                Err(Handed::Turn) => return None,
            }
        }
        Some(connection)
    }

    /// A connection has ended.
    pub(super) fn closed(&self, slot: &Slot) {
        self.open.set(self.open.get().saturating_sub(1));
        self.runtime.give_back(BreakerKind::Connections, slot.priority);
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.stats.cx_active.fetch_sub(1, Relaxed);
        }
        let metrics = self.metrics();
        metrics.down(metric::UPSTREAM_CX_ACTIVE);
        metrics.inc(metric::UPSTREAM_CX_DESTROY);
        let (any, with_request) = match slot.end {
            End::Local => (metric::UPSTREAM_CX_DESTROY_LOCAL, metric::UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ),
            End::Remote => (metric::UPSTREAM_CX_DESTROY_REMOTE, metric::UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ),
        };
        metrics.inc(any);
        if slot.in_use {
            metrics.inc(metric::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ);
            metrics.inc(with_request);
        }
        metrics.record(metric::UPSTREAM_CX_LENGTH_MS, milliseconds(slot.opened.elapsed()));
        metrics.record(metric::UPSTREAM_RQ_PER_CX, slot.requests.into());
        self.give_turn();
    }

    fn give_turn(&self) {
        while let Some(waiter) = self.next_waiting() {
            if waiter.send(Handed::Turn).is_ok() {
                return;
            }
        }
    }

    fn next_waiting(&self) -> Option<oneshot::Sender<Handed>> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Closes what has idled for too long, grew too old, was closed by the endpoint, or leads to an endpoint that is
    /// gone. Returns when to look again; `None` if nothing idles.
    pub(super) fn reap(&self, now: Instant) -> Option<Instant> {
        let gone = self.endpoint.strong_count() == 0;
        let config = Arc::clone(&self.config.borrow());
        let mut ended = Vec::new();
        let mut next = None;
        self.idle.borrow_mut().retain_mut(|idle| {
            let expires = config.http.idle_timeout.and_then(|timeout| idle.since.checked_add(timeout));
            let connection = &mut idle.connection;
            let counter = if gone {
                None
            } else if !connection.is_quiet() {
                connection.slot.end = End::Remote;
                None
            } else if expires.is_some_and(|at| at <= now) {
                Some(metric::UPSTREAM_CX_IDLE_TIMEOUT)
            } else if is_old(connection, &config, now) {
                Some(metric::UPSTREAM_CX_MAX_DURATION_REACHED)
            } else {
                // Not at once: the next request would only ask for them again.
                if idle.since + Reaper::PERIOD <= now {
                    connection.wire.release_buffers();
                }
                next = [next, expires, Some(now + Reaper::PERIOD)].into_iter().flatten().min();
                return true;
            };
            ended.push(counter);
            false
        });
        let metrics = self.metrics();
        ended.into_iter().flatten().for_each(|counter| metrics.inc(counter));
        next
    }

    /// Whether nothing would be lost with it. The table's reference is the one that counts.
    pub(super) fn is_unused(self: &Rc<Self>) -> bool {
        self.open.get() == 0 && Rc::strong_count(self) == 1
    }

    fn metrics(&self) -> Chunk<'_, names::Cluster> {
        self.runtime.metrics().chunk(self.worker)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The connections cannot reach the pool any more to be counted out.
        for mut idle in std::mem::take(self.idle.get_mut()) {
            idle.connection.slot.pool = RcWeak::new();
            self.closed(&idle.connection.slot);
        }
    }
}

/// A connection while one request has it. Closed when dropped, unless it was released: what is in the middle of a
/// message, or has broken framing, is never used again.
#[derive(Debug)]
pub struct Lease {
    /// There until release or drop.
    connection: Option<Box<Connection>>,
    pool: Rc<Pool>,
    endpoint: Arc<Endpoint>,
    priority: RoutingPriority,
}

impl Lease {
    /// Where it leads.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The message on it is complete in both directions: others may use it. `now` is when it ended.
    pub fn release(mut self, now: Instant) {
        self.count_bytes();
        if let Some(connection) = self.connection.take() {
            self.finish();
            self.pool.keep(connection, now);
        }
    }

    /// The message on it is complete in both directions, and it cannot carry another; `by_peer` says that the endpoint
    /// has closed it already.
    pub fn retire(mut self, by_peer: bool) {
        self.slot.in_use = false;
        if by_peer {
            self.closed_by_peer();
        } else {
            // The endpoint has said that it will.
            self.pool.metrics().inc(metric::UPSTREAM_CX_CLOSE_NOTIFY);
        }
    }

    /// Counts what came and went over it so far.
    pub fn count_bytes(&mut self) {
        let (received, sent) = self.wire.take_counts();
        let metrics = self.pool.metrics();
        metrics.add(metric::UPSTREAM_CX_RX_BYTES_TOTAL, received);
        metrics.add(metric::UPSTREAM_CX_TX_BYTES_TOTAL, sent);
    }

    /// Remembers, for the metrics, that the endpoint closed or broke the connection.
    pub fn closed_by_peer(&mut self) {
        self.slot.end = End::Remote;
    }

    fn finish(&self) {
        self.endpoint.stats.rq_active.fetch_sub(1, Relaxed);
        self.pool.runtime.give_back(BreakerKind::Requests, self.priority);
        self.pool.metrics().down(metric::UPSTREAM_RQ_ACTIVE);
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            // Only `release` and `drop` take it, and both end the lease.
            None => unreachable!("a lease has its connection until it ends"),
        }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.connection {
            Some(connection) => connection,
            // As above.
            None => unreachable!("a lease has its connection until it ends"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connection.is_some() {
            self.count_bytes();
            self.finish();
        }
    }
}

/// A request that waits for a connection, in the counts.
struct Pending<'a> {
    pool: &'a Pool,
    priority: RoutingPriority,
}

impl<'a> Pending<'a> {
    fn enter(pool: &'a Pool, cluster: &Cluster, priority: RoutingPriority) -> Option<Self> {
        cluster.take(BreakerKind::Pending, priority, false).then(|| {
            pool.metrics().up(metric::UPSTREAM_RQ_PENDING_ACTIVE);
            Self { pool, priority }
        })
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.pool.metrics().down(metric::UPSTREAM_RQ_PENDING_ACTIVE);
        self.pool.runtime.give_back(BreakerKind::Pending, self.priority);
    }
}

/// A place in the queue. A request that gives up with its turn already given passes it on.
struct Waiting<'a> {
    pool: &'a Pool,
    handed: oneshot::Receiver<Handed>,
}

impl<'a> Waiting<'a> {
    fn new(pool: &'a Pool) -> Self {
        let (sender, handed) = oneshot::channel();
        pool.waiting.borrow_mut().push_back(sender);
        Self { pool, handed }
    }

    async fn handed(mut self) -> Option<Handed> {
        (&mut self.handed).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // A connection, if it was that, closes here, and its end gives the turn.
        if let Ok(Handed::Turn) = self.handed.try_recv() {
            self.pool.give_turn();
        }
    }
}

fn is_old(connection: &Connection, config: &ClusterConfig, now: Instant) -> bool {
    config.http.max_connection_duration.is_some_and(|limit| now.duration_since(connection.slot.opened) >= limit)
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
