//! Requests that wait for a connection, the first one first.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::sync::oneshot;

use super::connection::Connection;
use super::error::UpstreamError;
use super::pool::Pool;
use crate::cluster::{BreakerKind, Cluster, Endpoint, RoutingPriority};
use crate::telemetry::metrics::names::cluster as metric;

/// What a waiting request is given: a connection that was made or that another request has released.
type Handed = Result<Box<Connection>, UpstreamError>;

/// All that wait in one pool.
#[derive(Debug, Default)]
pub(super) struct Queue(RefCell<VecDeque<oneshot::Sender<Handed>>>);

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Gives a connection to the first; back if nobody waits.
    pub(super) fn hand_over(&self, connection: Box<Connection>) -> Option<Box<Connection>> {
        let mut handed = Ok(connection);
        loop {
            let first = self.0.borrow_mut().pop_front();
            let Some(first) = first else { return handed.ok() };
            match first.send(handed) {
                Ok(()) => return None,
                Err(back) => handed = back,
            }
        }
    }

    /// Fails all, so that each can decide what to do next. Returns how many.
    pub(super) fn fail(&self, error: &UpstreamError) -> u64 {
        let all = std::mem::take(&mut *self.0.borrow_mut());
        all.into_iter().map(|waiting| u64::from(waiting.send(Err(error.clone())).is_ok())).sum()
    }
}

/// A place in the queue.
pub(super) struct Waiting {
    pool: Rc<Pool>,
    handed: oneshot::Receiver<Handed>,
}

impl Waiting {
    pub(super) fn new(pool: &Rc<Pool>) -> Self {
        let (sender, handed) = oneshot::channel();
        pool.waiting.0.borrow_mut().push_back(sender);
        Self { pool: Rc::clone(pool), handed }
    }

    pub(super) async fn handed(mut self) -> Handed {
        // The pool, which is held here, lets go of nobody without an answer.
        (&mut self.handed).await.unwrap_or(Err(UpstreamError::Timeout))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.handed.is_terminated() {
            return;
        }
        self.handed.close();
        match self.handed.try_recv() {
            // Given, and not taken any more.
            Ok(Ok(connection)) => self.pool.keep(connection, Instant::now()),
            Ok(Err(_)) => {}
            Err(_) => self.pool.waiting.0.borrow_mut().retain(|waiting| !waiting.is_closed()),
        }
    }
}

/// A request that waits for a connection, in the counts.
pub(super) struct Pending<'a> {
    pool: &'a Pool,
    endpoint: &'a Endpoint,
    priority: RoutingPriority,
}

impl<'a> Pending<'a> {
    pub(super) fn enter(
        pool: &'a Pool,
        cluster: &Cluster,
        endpoint: &'a Endpoint,
        priority: RoutingPriority,
    ) -> Option<Self> {
        cluster.take(BreakerKind::Pending, priority, false).then(|| {
            pool.metrics().up(metric::UPSTREAM_RQ_PENDING_ACTIVE);
            endpoint.stats.rq_pending_active.fetch_add(1, Relaxed);
            Self { pool, endpoint, priority }
        })
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.pool.metrics().down(metric::UPSTREAM_RQ_PENDING_ACTIVE);
        self.endpoint.stats.rq_pending_active.fetch_sub(1, Relaxed);
        self.pool.runtime.give_back(BreakerKind::Pending, self.priority);
    }
}
