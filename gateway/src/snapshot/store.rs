//! Where workers find the newest snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;

/// The newest snapshot. One thread puts snapshots in (the publisher's), all others take them out.
#[derive(Debug, Default)]
pub struct SnapshotStore {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
}

impl SnapshotStore {
    /// A store with an empty snapshot.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The newest snapshot.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Differs after each publication. To be read before [`Self::load`]: then what was loaded is at least as new as the
    /// number says, and a snapshot that comes in between is noticed the next time.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes a snapshot the newest and gives back the one before it, which the caller keeps until nobody else does:
    /// freeing one takes long.
    pub(super) fn swap(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        let old = self.current.swap(snapshot);
        self.generation.fetch_add(1, Ordering::Release);
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_seen_by_its_generation() {
        let store = SnapshotStore::new();
        let (before, first) = (store.generation(), store.load());
        let old = store.swap(Arc::new(Snapshot { version: 7, ..Snapshot::default() }));
        assert!(Arc::ptr_eq(&old, &first));
        assert_ne!(store.generation(), before);
        assert_eq!(store.load().version, 7);
    }
}
