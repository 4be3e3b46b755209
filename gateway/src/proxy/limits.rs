//! How many connections clients may have at a time: of the whole gateway, and of each listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::snapshot::listener::Listener;

/// The limits of a process. Workers share the counts: as in Envoy a limit is one of the process, and one that nobody has set
/// costs nothing.
#[derive(Debug, Default)]
pub struct ConnectionLimits {
    all: Option<Arc<Limit>>,
    listeners: BTreeMap<String, Arc<Limit>>,
}

#[derive(Debug)]
struct Limit {
    most: u64,
    open: AtomicU64,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Gateway,
    Listener,
}

/// Room for a connection, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Room([Option<Arc<Limit>>; 2]);

impl ConnectionLimits {
    /// Limits of the gateway and of listeners by name.
    pub fn new(all: Option<u64>, listeners: impl IntoIterator<Item = (String, u64)>) -> Self {
        let limit = |most| Arc::new(Limit { most, open: AtomicU64::new(0) });
        let listeners = listeners.into_iter().map(|(name, most)| (name, limit(most))).collect();
        Self { all: all.map(limit), listeners }
    }

    /// Takes room for a connection, if there is some.
    pub(super) fn take(&self, listener: &Listener) -> Result<Room, Full> {
        let mut room = Room([None, None]);
        if let Some(limit) = self.all.as_ref().filter(|_| !listener.ignores_global_limit) {
            room.0[0] = Some(limit.take().ok_or(Full::Gateway)?);
        }
        if let Some(limit) = self.listeners.get(&*listener.name) {
            room.0[1] = Some(limit.take().ok_or(Full::Listener)?);
        }
        Ok(room)
    }

    #[cfg(test)]
    pub(crate) fn told(&self) -> (Option<u64>, Vec<(String, u64)>) {
        let listeners = self.listeners.iter().map(|(name, limit)| (name.clone(), limit.most)).collect();
        (self.all.as_ref().map(|limit| limit.most), listeners)
    }
}

impl Limit {
    fn take(self: &Arc<Self>) -> Option<Arc<Self>> {
        let one_more = |open| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Arc::clone(self))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for limit in self.0.iter().flatten() {
            limit.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
