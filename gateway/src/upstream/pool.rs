//! Connections of one worker to one endpoint.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::rc::{Rc, Weak as RcWeak};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::Wire;
use super::bell::Bell;
use super::connect::connect;
use super::connection::{Connection, End, Slot, next_id};
use super::error::UpstreamError;
use super::pools::{Acquire, Reaper};
use super::waiting::{Pending, Queue, Waiting};
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
    pub(super) runtime: Arc<ClusterRuntime>,
    priority: RoutingPriority,
    /// The host of its requests, if that decides whom its connections go to.
    host: Option<Box<str>>,
    /// As the latest request found it.
    config: RefCell<Arc<ClusterConfig>>,
    /// Oldest first; the newest is taken first, so that what is not needed grows old.
    idle: RefCell<VecDeque<Idle>>,
    /// Connections, idle or not, and those being made.
    open: Cell<u32>,
    /// Of these, those being made.
    connecting: Cell<usize>,
    /// Requests that found no idle connection.
    pub(super) waiting: Queue,
    reaper: Rc<Reaper>,
    bell: Arc<Bell>,
    /// Rings the bell.
    ring: Waker,
    this: RcWeak<Self>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(worker: usize, wanted: &Acquire<'_>, host: Option<Box<str>>, reaper: Rc<Reaper>) -> Rc<Self> {
        let Acquire { cluster, endpoint, priority, .. } = *wanted;
        let bell = Bell::new(wanted.key(), &reaper.heard);
        let ring = Waker::from(Arc::clone(&bell));
        endpoint.tell_leaving(&ring);
        Rc::new_cyclic(|this| Self {
            worker,
            endpoint: Arc::downgrade(endpoint),
            runtime: Arc::clone(&cluster.runtime),
            priority,
            host,
            config: RefCell::new(Arc::clone(&cluster.config)),
            idle: RefCell::default(),
            open: Cell::new(0),
            connecting: Cell::new(0),
            waiting: Queue::default(),
            reaper,
            bell,
            ring,
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
            if cluster.config.http.max_connection_duration.is_some()
                && is_old(&connection, &cluster.config, Instant::now())
            {
                self.metrics().inc(metric::UPSTREAM_CX_MAX_DURATION_REACHED);
                continue;
            }
            if connection.is_quiet() {
                return self.attach(connection, cluster, endpoint, priority).map(Some);
            }
        }
    }

    /// Waits for a connection: one that is made for it, or one that another request gives back or leaves before.
    pub(super) async fn establish(
        self: Rc<Self>,
        cluster: Arc<Cluster>,
        endpoint: Arc<Endpoint>,
        priority: RoutingPriority,
    ) -> Result<Lease, UpstreamError> {
        let metrics = self.metrics();
        let Some(pending) = Pending::enter(&self, &cluster, &endpoint, priority) else {
            metrics.inc(metric::UPSTREAM_RQ_PENDING_OVERFLOW);
            return Err(UpstreamError::Overflow(BreakerKind::Pending));
        };
        metrics.inc(metric::UPSTREAM_RQ_PENDING_TOTAL);
        let waiting = Waiting::new(&self);
        self.connect_for_waiting();
        let handed = waiting.handed().await;
        drop(pending);
        self.attach(handed?, &cluster, &endpoint, priority)
    }

    /// Starts as many connections as there are requests that wait, if the limits allow it. As in Envoy a connection is
    /// not for the request that it was started for: whoever waits first gets whatever is free first.
    fn connect_for_waiting(&self) {
        while self.waiting.len() > self.connecting.get() {
            let (Some(this), Some(endpoint)) = (self.this.upgrade(), self.endpoint.upgrade()) else { return };
            let Some(slot) = self.open_slot(&endpoint) else {
                self.metrics().inc(metric::UPSTREAM_CX_OVERFLOW);
                return;
            };
            self.connecting.set(self.connecting.get() + 1);
            tokio::task::spawn_local(this.connect(slot, endpoint.address));
        }
    }

    /// Counts one more connection if the limits allow it. A pool may always have one.
    fn open_slot(&self, endpoint: &Endpoint) -> Option<Slot> {
        let (first, priority) = (self.open.get() == 0, self.priority);
        let config = self.config.borrow();
        let of_endpoint = config.endpoint_max_connections(priority);
        if !first && endpoint.stats.cx_active.load(Relaxed) >= of_endpoint {
            return None;
        }
        if !self.runtime.take(&config, BreakerKind::Connections, priority, first) {
            return None;
        }
        self.open.set(self.open.get() + 1);
        endpoint.stats.cx_active.fetch_add(1, Relaxed);
        endpoint.stats.cx_total.fetch_add(1, Relaxed);
        let metrics = self.metrics();
        metrics.inc(metric::UPSTREAM_CX_TOTAL);
        metrics.inc(metric::UPSTREAM_CX_HTTP1_TOTAL);
        metrics.up(metric::UPSTREAM_CX_ACTIVE);
        let (pool, opened) = (self.this.clone(), Instant::now());
        Some(Slot { pool, priority, opened, connecting: true, requests: 0, end: End::Local, in_use: false })
    }

    /// Makes a connection, whoever may leave meanwhile.
    async fn connect(self: Rc<Self>, mut slot: Slot, address: SocketAddr) {
        let config = Arc::clone(&self.config.borrow());
        let connected = connect(&config, address, self.identity(&config), self.worker).await;
        slot.connecting = false;
        self.connecting.set(self.connecting.get().saturating_sub(1));
        match connected {
            Ok((io, tls)) => {
                let taken = slot.opened.elapsed();
                self.metrics().record(metric::UPSTREAM_CX_CONNECT_MS, milliseconds(taken));
                let local = io.local_addr().ok();
                let (id, wire) = (next_id(), Wire::new(io, config.buffer_limit));
                let connection = Box::new(Connection { id, wire, local, tls, slot });
                // Not looked at before: an endpoint that closes at once must fail a request, or there was no end to it.
                if let Some(connection) = self.waiting.hand_over(connection)
                    && !self.endpoint_left()
                {
                    self.lay_by(connection, Instant::now());
                }
            }
            Err(error) => self.not_connected(slot, &error),
        }
    }

    /// As in Envoy all that wait fail with the one attempt that did.
    fn not_connected(&self, mut slot: Slot, error: &UpstreamError) {
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.stats.cx_connect_fail.fetch_add(1, Relaxed);
        }
        let metrics = self.metrics();
        metrics.inc(metric::UPSTREAM_CX_CONNECT_FAIL);
        match error {
            UpstreamError::Timeout => metrics.inc(metric::UPSTREAM_CX_CONNECT_TIMEOUT),
            UpstreamError::Bind { .. } => metrics.inc(metric::BIND_ERRORS),
            _ => slot.end = End::Remote,
        }
        metrics.add(metric::UPSTREAM_RQ_PENDING_FAILURE_EJECT, self.waiting.fail(error));
    }

    /// Whom a connection is to lead to: an address is never sent as a server name.
    fn identity(&self, config: &ClusterConfig) -> ServerIdentity<'_> {
        let (host, http) = (self.host.as_deref(), &config.http);
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
    pub(super) fn keep(&self, mut connection: Box<Connection>, now: Instant) {
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
        drop(config);
        if !self.waiting.is_empty() {
            if !connection.is_quiet() {
                // Its end makes place for another.
                return;
            }
            let Some(back) = self.waiting.hand_over(connection) else { return };
            connection = back;
        }
        self.lay_by(connection, now);
    }

    /// Ends a connection between two requests.
    fn end(&self, mut connection: Box<Connection>) {
        connection.slot.in_use = false;
        drop(connection);
    }

    /// Keeps a connection for later. When its endpoint closes it, the bell rings.
    fn lay_by(&self, mut connection: Box<Connection>, now: Instant) {
        if !connection.stays_quiet(&mut Context::from_waker(&self.ring)) {
            return;
        }
        self.idle.borrow_mut().push_back(Idle { connection, since: now });
        self.reaper.note_idle(self.config.borrow().http.idle_timeout, now);
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
        // An attempt is dropped before its end only where tasks end, at once where they cannot start any more: if each
        // started the next, they would nest as deep as there are requests that wait.
        if !slot.connecting {
            self.connect_for_waiting();
        }
    }

    /// Closes what has idled for too long, grew too old, was closed by the endpoint, or leads to an endpoint that is
    /// gone. Returns when to look again; `None` if nothing idles.
    pub(super) fn reap(&self, now: Instant) -> Option<Instant> {
        self.bell.quiet();
        let gone = self.endpoint_left();
        let config = Arc::clone(&self.config.borrow());
        let mut ended = Vec::new();
        let mut next = None;
        self.idle.borrow_mut().retain_mut(|idle| {
            let expires = config.http.idle_timeout.and_then(|timeout| idle.since.checked_add(timeout));
            let connection = &mut idle.connection;
            let counter = if gone || !connection.stays_quiet(&mut Context::from_waker(&self.ring)) {
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

    /// Whether no request will be sent to the endpoint any more.
    fn endpoint_left(&self) -> bool {
        self.endpoint.upgrade().is_none_or(|endpoint| endpoint.has_left())
    }

    /// Whether nothing would be lost with it. The table's reference is the one that counts.
    pub(super) fn is_unused(self: &Rc<Self>) -> bool {
        self.open.get() == 0 && Rc::strong_count(self) == 1
    }

    pub(super) fn metrics(&self) -> Chunk<'_, names::Cluster> {
        self.runtime.metrics().chunk(self.worker)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.forget(&self.ring);
        }
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
            if self.endpoint.has_left() {
                // Ended by this, as in Envoy: nobody will ask for it.
                self.pool.end(connection);
            } else {
                self.pool.keep(connection, now);
            }
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

    /// Counts what has come and gone over it, and tells what was not counted before.
    pub fn count_bytes(&mut self) -> (u64, u64) {
        let (received, sent) = self.wire.take_counts();
        if received + sent == 0 {
            return (0, 0);
        }
        let metrics = self.pool.metrics();
        metrics.add(metric::UPSTREAM_CX_RX_BYTES_TOTAL, received);
        metrics.add(metric::UPSTREAM_CX_TX_BYTES_TOTAL, sent);
        (received, sent)
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

fn is_old(connection: &Connection, config: &ClusterConfig, now: Instant) -> bool {
    config.http.max_connection_duration.is_some_and(|limit| now.duration_since(connection.slot.opened) >= limit)
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
