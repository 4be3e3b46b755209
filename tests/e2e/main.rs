//! The gateway through its front door: one binary, one module per subject.
#![allow(clippy::unwrap_used)]

mod access_log;
mod admin;
mod admin_limits;
mod admission;
mod busy;
mod check;
mod client_certs;
mod clusters;
mod compiling;
mod connection_limit;
mod connections;
mod drain;
mod drain_listeners;
mod files;
mod floods;
mod guest_limits;
mod http2;
mod kept_streams;
mod late_files;
mod moving;
mod not_files;
mod plugins;
mod refusals;
mod refused;
mod silence;
mod slow_readers;
mod streaming;
mod tls;
mod under_load;
mod uploads;
mod upstream_names;
