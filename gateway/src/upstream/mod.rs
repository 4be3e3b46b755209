//! Sending one request to one endpoint: per-worker pools, connecting, HTTP/1, and requests of the gateway's own.

mod bell;
pub mod call;
mod connect;
mod connection;
mod error;
pub mod h1;
mod pool;
mod pools;
mod waiting;
pub mod wire;

pub use call::{CallFailed, CallOut, CallResponse, CallResult, call};
pub use connection::Connection;
pub use error::UpstreamError;
pub use pool::Lease;
pub use pools::{Acquire, Pools};
pub use wire::Wire;
