//! The admin interface: Envoy's paths and forms, on a thread of its own, for the operator and for scrapers.
//!
//! It answers from what threads share (state, metrics, the configuration in force), so it answers while the control
//! thread compiles. Only `/config_dump` needs what the publisher alone has, and asks for it by message ([`Questions`]).
//!
//! It listens where the bootstrap's `admin.address` says, and has no authentication: keep it on the loopback.

mod certs;
mod clusters;
mod config_dump;
mod connections;
mod expirations;
mod inline_endpoints;
mod inline_routes;
mod listeners;
mod paths;
mod process;
mod query;
mod questions;
mod reply;
mod server;
mod stats;

use std::sync::Arc;

use bytes::Bytes;

use crate::control::Control;
use crate::snapshot::SnapshotStore;
use crate::telemetry::metrics::Registry;

pub use questions::{Asked, Questions};
pub use server::{Running, start};

/// What the admin interface shows and steers.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The running gateway.
    pub control: Control,
    /// Its metrics.
    pub registry: Arc<Registry>,
    /// The configuration in force.
    pub store: Arc<SnapshotStore>,
    /// The bootstrap as it came, in its wire form.
    pub bootstrap: Bytes,
    /// Gives memory that a large answer took back to the system.
    pub give_back: fn(),
    /// For what the publisher alone knows.
    pub questions: Questions,
}

#[cfg(test)]
mod tests;
