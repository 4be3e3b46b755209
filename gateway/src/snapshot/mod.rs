//! The compiled configuration: Snapshot, SnapshotStore, Publisher, and compilation of each kind of resource.

pub mod compile;
pub mod problem;
pub mod update;

pub use problem::{Problem, Problems};
pub use update::{Reference, Rejected, Report, Update};
