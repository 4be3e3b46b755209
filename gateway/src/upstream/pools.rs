//! All pools of one worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::bell::Heard;
use super::error::UpstreamError;
use super::pool::{Lease, Pool};
use crate::cluster::{Cluster, Endpoint, RoutingPriority};

/// The connections of one worker to all endpoints. A pool is made at its first request and dropped when it is empty.
#[derive(Clone, Debug)]
pub struct Pools(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    worker: usize,
    /// By endpoint and priority ([`Acquire::key`]).
    pools: RefCell<PoolMap<u64>>,
    /// Where the host of requests decides whom connections lead to: by the same, and the host.
    named: RefCell<HashMap<u64, PoolMap<Box<str>>, RandomState>>,
    reaper: Rc<Reaper>,
}

type PoolMap<K> = HashMap<K, Rc<Pool>, RandomState>;

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Acquire<'a> {
    /// The endpoint's cluster.
    pub cluster: &'a Arc<Cluster>,
    /// Where to.
    pub endpoint: &'a Arc<Endpoint>,
    /// Whose circuit breakers count.
    pub priority: RoutingPriority,
    /// Host of the request, for clusters that look at it ([`HttpOptions::by_host`](crate::cluster::HttpOptions::by_host)).
    pub host: &'a [u8],
}

impl Acquire<'_> {
    /// As in Envoy each priority has connections of its own: those of one must not use up the limits of the other.
    pub(super) fn key(&self) -> u64 {
        self.endpoint.id << 1 | u64::from(self.priority == RoutingPriority::High)
    }
}

impl Pools {
    /// Pools of one worker, whose metrics go into chunk `worker`. [`Self::maintain`] is to run beside them.
    pub fn new(worker: usize) -> Self {
        let reaper = Rc::new(Reaper { heard: Arc::default(), planned: Cell::new(None) });
        Self(Rc::new(Inner { worker, pools: RefCell::default(), named: RefCell::default(), reaper }))
    }

    /// The worker's number in metrics.
    pub fn worker(&self) -> usize {
        self.0.worker
    }

    /// An idle connection for one request; `None` if there is none, see [`Self::establish`].
    ///
    /// # Errors
    /// A circuit breaker is open.
    pub fn checkout(&self, wanted: Acquire<'_>) -> Result<Option<Lease>, UpstreamError> {
        self.pool_for(&wanted).checkout(wanted.cluster, wanted.endpoint, wanted.priority)
    }

    /// A new connection for one request, or one that another request gives back in the meantime. To be called within a
    /// `LocalSet`: what is being made goes on without the request.
    pub fn establish(&self, wanted: Acquire<'_>) -> impl Future<Output = Result<Lease, UpstreamError>> + use<> {
        let pool = self.pool_for(&wanted);
        pool.establish(Arc::clone(wanted.cluster), Arc::clone(wanted.endpoint), wanted.priority)
    }

    /// Connections with another server name, or to who must have another name, are another pool.
    fn pool_for(&self, wanted: &Acquire<'_>) -> Rc<Pool> {
        let config = &wanted.cluster.config;
        if config.tls.is_none() || !config.http.by_host() {
            return self.pool(wanted);
        }
        let host = without_port(wanted.host);
        // An address is no server name: without one to verify, it makes no difference.
        if !config.http.auto_san_validation && host.parse::<IpAddr>().is_ok() {
            return self.pool(wanted);
        }
        self.named_pool(wanted, &host)
    }

    /// Closes idle connections whose time has come, that endpoints have closed or that lead to none, until the pools are
    /// dropped. One task for all of them.
    pub fn maintain(&self) -> impl Future<Output = ()> + use<> {
        let (inner, reaper) = (Rc::downgrade(&self.0), Rc::clone(&self.0.reaper));
        async move {
            loop {
                reaper.sleep().await;
                let Some(inner) = Weak::upgrade(&inner) else { return };
                let now = Instant::now();
                reaper.heard.take().into_iter().for_each(|key| inner.reap_rung(key, now));
                if reaper.planned.get().is_some_and(|at| at <= now) {
                    reaper.planned.set(inner.reap(now));
                }
            }
        }
    }

    fn pool(&self, wanted: &Acquire<'_>) -> Rc<Pool> {
        let mut pools = self.0.pools.borrow_mut();
        let pool = pools
            .entry(wanted.key())
            .or_insert_with(|| Pool::new(self.0.worker, wanted, None, Rc::clone(&self.0.reaper)));
        Rc::clone(pool)
    }

    fn named_pool(&self, wanted: &Acquire<'_>, name: &str) -> Rc<Pool> {
        let mut named = self.0.named.borrow_mut();
        let pools = named.entry(wanted.key()).or_default();
        if let Some(pool) = pools.get(name) {
            return Rc::clone(pool);
        }
        let reaper = Rc::clone(&self.0.reaper);
        let pool = Pool::new(self.0.worker, wanted, Some(name.into()), reaper);
        pools.insert(name.into(), Rc::clone(&pool));
        // Names are the clients' choice: those whose connection failed must not pile up until something idles.
        self.0.reaper.wake_by(Instant::now() + Reaper::PERIOD);
        pool
    }
}

/// The name or address of a host in lower case, without port and brackets. What is neither stays, and is nobody's name.
fn without_port(host: &[u8]) -> String {
    let host = String::from_utf8_lossy(host);
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => &host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    bare.unwrap_or(name).to_ascii_lowercase()
}

impl Inner {
    /// Looks at the pools of one endpoint and priority. When to look again stays as planned: nothing new idles.
    fn reap_rung(&self, key: u64, now: Instant) {
        let reap = |pool: &Rc<Pool>| {
            pool.reap(now);
            !pool.is_unused()
        };
        if let Entry::Occupied(pool) = self.pools.borrow_mut().entry(key)
            && !reap(pool.get())
        {
            pool.remove();
        }
        if let Entry::Occupied(mut pools) = self.named.borrow_mut().entry(key) {
            pools.get_mut().retain(|_, pool| reap(pool));
            if pools.get().is_empty() {
                pools.remove();
            }
        }
    }

    /// Returns when to look again; `None` if nothing idles.
    fn reap(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut reap = |pool: &mut Rc<Pool>| {
            let again = pool.reap(now);
            next = [next, again].into_iter().flatten().min();
            !pool.is_unused()
        };
        self.pools.borrow_mut().retain(|_, pool| reap(pool));
        self.named.borrow_mut().retain(|_, pools| {
            pools.retain(|_, pool| reap(pool));
            !pools.is_empty()
        });
        next
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Lets `maintain` see that they are gone.
        self.reaper.heard.wake.notify_one();
    }
}

/// When idle connections are looked at next.
#[derive(Debug)]
pub(super) struct Reaper {
    pub(super) heard: Arc<Heard>,
    planned: Cell<Option<Instant>>,
}

impl Reaper {
    /// While something idles, it is looked at so often: for its time-outs, and to give memory back.
    pub(super) const PERIOD: Duration = Duration::from_secs(1);

    /// A connection idles from `now` on.
    pub(super) fn note_idle(&self, timeout: Option<Duration>, now: Instant) {
        let next = timeout.map_or(Self::PERIOD, |timeout| timeout.min(Self::PERIOD));
        // A look that is planned is never further away than the period: no need to compute when.
        if next < Self::PERIOD || self.planned.get().is_none() {
            self.wake_by(now + next);
        }
    }

    /// Something at `at` needs to be looked at. Costs nothing if an earlier look is planned.
    fn wake_by(&self, at: Instant) {
        if self.planned.get().is_none_or(|planned| at < planned) {
            self.planned.set(Some(at));
            self.heard.wake.notify_one();
        }
    }

    /// Until the planned time, or until the plan changes.
    async fn sleep(&self) {
        match self.planned.get() {
            None => self.heard.wake.notified().await,
            Some(at) => {
                tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = self.heard.wake.notified() => {}
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
