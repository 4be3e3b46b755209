//! What the command line says of a run.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use crate::telemetry::log::{Level, LineFormat};

/// Everything that is not in the bootstrap.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to call the bootstrap in messages: its file.
    pub config_name: String,
    /// The bootstrap in YAML or JSON.
    pub config_text: String,
    /// Worker threads.
    pub concurrency: NonZeroUsize,
    /// How much is logged.
    pub log_level: Level,
    /// What a line of the log looks like.
    pub log_format: LineFormat,
    /// Where to write the address of the admin.
    pub admin_address_path: Option<PathBuf>,
    /// How long requests under way may take after SIGTERM.
    pub drain_time: Duration,
    /// Instead of `node.cluster`.
    pub service_cluster: Option<String>,
    /// Instead of `node.id`.
    pub service_node: Option<String>,
}
