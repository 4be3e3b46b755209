//! TLS towards clients and endpoints: certificates, verification, resumption.
//!
//! A context ([`DownstreamTls`], [`UpstreamTls`]) is compiled once; it holds slots of secrets ([`SecretSlot`]) and
//! builds rustls's configuration from what is in them when the first handshake after a change needs it.

pub mod certificate;
pub mod client_hello;
pub mod downstream;
pub mod error;
mod handshake;
pub mod io;
pub mod protocol;
pub mod secret;
mod seen;
mod session;
pub mod socket;
pub mod ticket;
pub mod upstream;
pub mod validation;
mod verifier;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use client_hello::{ClientHello, Inspection};
pub use downstream::{DownstreamParams, DownstreamTls, Failed};
pub use error::{TlsError, Unverified};
pub use io::{Io, Layer};
pub use secret::{Secret, SecretSlot, SecretSource, Secrets};
pub use ticket::TicketStore;
pub use upstream::{ServerIdentity, UpstreamParams, UpstreamTls};
