//! The compiled configuration: Snapshot, SnapshotStore, Publisher, and compilation of each kind of resource.

pub mod compile;
pub mod problem;

pub use problem::{Problem, Problems};
