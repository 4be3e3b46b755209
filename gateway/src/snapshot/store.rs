//! The pointer to the newest snapshot.
use super::Snapshot;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
/// The newest snapshot.
#[derive(Debug)]
pub struct SnapshotStore {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
}
impl SnapshotStore {
    /// l
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
    /// g
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
