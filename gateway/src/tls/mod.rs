//! TLS towards clients and endpoints, certificates and their verification.

pub mod io;

pub use io::Io;
