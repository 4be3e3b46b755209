//! What the gateway tells of itself: metrics, its own log, access logs.

pub mod access_log;
pub mod flags;
pub mod format;
pub mod info;
pub mod log;
pub mod metrics;
pub mod unique_id;

pub use flags::ResponseFlags;
pub use info::{CertificateInfo, ConnectionInfo, Details, HandshakeFailure, StreamInfo, TlsInfo, WireBytes};
pub use unique_id::unique_id;
