//! One resource in, one compiled value out. Raw protobuf ends here.

pub mod access_log;
pub mod cluster;
mod config_source;
pub mod connection_manager;
pub mod filter;
mod json;
mod key_format;
pub mod listener;
#[cfg(test)]
mod listener_tests;
mod local_reply;
pub mod network_filter;
pub mod route;
pub mod secret;
mod span;
pub mod transport_socket;
