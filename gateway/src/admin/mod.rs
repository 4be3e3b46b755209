//! The admin interface: Envoy's paths and forms, on the control thread, for the operator and for scrapers.
//!
//! It listens where the bootstrap's `admin.address` says, and has no authentication: keep it on the loopback.

mod certs;
mod clusters;
mod config_dump;
mod listeners;
mod paths;
mod process;
mod query;
mod reply;
mod server;
mod stats;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::control::Control;
use crate::snapshot::{Publisher, SnapshotStore};
use crate::telemetry::metrics::Registry;

pub use server::start;

/// What the admin interface shows and steers.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The running gateway.
    pub control: Control,
    /// Its metrics.
    pub registry: Arc<Registry>,
    /// The configuration in force.
    pub store: Arc<SnapshotStore>,
}

/// What a handler works with.
struct Admin {
    parts: Parts,
    publisher: Rc<RefCell<Publisher>>,
}

#[cfg(test)]
mod tests;
