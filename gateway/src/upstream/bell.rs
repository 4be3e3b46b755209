//! How a worker hears of connections that nobody uses: an endpoint closed one, or has left its cluster.
//!
//! No task waits for an idle connection: its socket wakes the bell of its pool, and one task looks at the pools whose bells rang.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use tokio::sync::Notify;

/// The bell of one pool. A waker, so it may be rung from any thread.
#[derive(Debug)]
pub(super) struct Bell {
    /// The endpoint and priority of its pool.
    key: u64,
    /// Rung since the pool was looked at last: once is enough.
    rung: AtomicBool,
    heard: Arc<Heard>,
}

/// Which bells rang, of one worker. Locked only when one rings, never by a request.
#[derive(Debug, Default)]
pub(super) struct Heard {
    keys: Mutex<Vec<u64>>,
    /// Notified when there is one more, and when the plan of the reaper changes.
    pub(super) wake: Notify,
}

impl Bell {
    pub(super) fn new(key: u64, heard: &Arc<Heard>) -> Arc<Self> {
        Arc::new(Self { key, rung: AtomicBool::new(false), heard: Arc::clone(heard) })
    }

    /// To be called before what it rings for is looked at: what happens meanwhile rings again.
    pub(super) fn quiet(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.heard.keys.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
            self.heard.wake.notify_one();
        }
    }
}

impl Heard {
    /// The keys of the bells that rang since this was asked last.
    pub(super) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
