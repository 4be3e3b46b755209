//! Weir: a gateway for the edge of a service mesh.
//!
//! ARCHITECTURE.md tells how a request and an update travel, and has a table of the folders below, lowest first: a folder
//! uses only those above it in that table. A test checks it.

pub mod admin;
pub mod app;
pub mod bootstrap;
pub mod cli;
pub mod cluster;
pub mod control;
pub mod filter;
pub mod http;
pub mod plugin;
pub mod proxy;
pub mod route;
pub mod snapshot;
pub mod source;
pub mod telemetry;
pub mod tls;
pub mod upstream;
