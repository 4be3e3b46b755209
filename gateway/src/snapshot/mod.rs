//! The compiled configuration: Snapshot, SnapshotStore, Publisher, and compilation of each kind of resource.

mod asides;
mod collection;
pub mod compile;
mod conflicts;
pub mod connection_manager;
mod counters;
mod dump;
pub mod listener;
mod listeners;
pub mod local_reply;
mod outcomes;
pub mod problem;
pub mod publisher;
#[cfg(test)]
mod publisher_tests;
mod references;
mod refresh;
#[allow(clippy::module_inception, reason = "it is what the folder is about")]
pub mod snapshot;
mod sockets;
pub mod stopped;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
mod unused;
pub mod update;
mod version;
mod wanted;

pub use dump::{DumpEntry, Rejection};
pub use problem::{Problem, Problems};
pub use publisher::{Publisher, PublisherSettings};
pub use refresh::WatchedFile;
pub use snapshot::{RouteConfig, Snapshot};
pub use sockets::Unbound;
pub use stopped::Stopped;
pub use store::SnapshotStore;
pub use update::{Reference, Rejected, Report, STATIC, Update, Warning};
