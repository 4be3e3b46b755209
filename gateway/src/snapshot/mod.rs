//! The compiled configuration: Snapshot, SnapshotStore, Publisher, and compilation of each kind of resource.

pub mod compile;
pub mod connection_manager;
pub mod listener;
pub mod problem;
pub mod snapshot;
pub mod store;
pub mod update;

pub use problem::{Problem, Problems};
pub use snapshot::Snapshot;
pub use store::SnapshotStore;
pub use update::{Reference, Rejected, Report, Update};
