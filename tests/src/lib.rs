//! What the tests of the gateway stand on: the real binary on port 0, a recording upstream that misbehaves on demand, clients that
//! speak raw bytes, HTTP/2 and TLS, and certificates.
//!
//! Everything here fails by panic with what was seen, because its only user is a test.
#![allow(clippy::unwrap_used)]

pub mod support;

pub use support::*;
