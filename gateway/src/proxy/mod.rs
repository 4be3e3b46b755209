//! The path of a request: listener, connection, request, router, access log.

mod admission;
mod alarm;
mod connection;
mod counted;
mod downstream;
mod error;
mod forwarded;
mod h1;
mod h2;
pub mod limits;
pub mod listener;
mod log;
mod prepare;
mod request;
mod response;
mod router;
#[cfg(test)]
mod tests;
mod wait;
pub mod worker;
