//! Sending one request to one endpoint: per-worker pools, connecting, HTTP/1.

pub mod h1;
pub mod wire;

pub use wire::Wire;
