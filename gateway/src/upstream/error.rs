//! Why an endpoint could not be reached.

use std::io;
use std::net::SocketAddr;

use crate::cluster::BreakerKind;

/// No connection to send a request over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The cluster has as much in use as it may have.
    #[error("circuit breaker open: too many {0:?}")]
    Overflow(BreakerKind),
    /// The endpoint does not take connections, or cannot be reached.
    #[error("{reason}")]
    Connect {
        /// In Envoy's words, such as `delayed connect error: Connection refused`.
        reason: String,
    },
    /// The address that the cluster wants connections to come from cannot be used.
    #[error("{reason}")]
    Bind {
        /// In Envoy's words.
        reason: String,
    },
    /// TCP and TLS together took longer than `connect_timeout`.
    #[error("no connection within connect_timeout")]
    Timeout,
    /// The endpoint was reached, but the TLS handshake failed.
    #[error("{reason}")]
    Tls {
        /// What failed.
        reason: String,
    },
}

impl UpstreamError {
    /// The socket could not even start to connect.
    pub(super) fn immediate(error: &io::Error) -> Self {
        Self::Connect { reason: format!("immediate connect error: {}", system_text(error)) }
    }

    /// The socket cannot come from where it should.
    pub(super) fn source(error: &io::Error, source: SocketAddr) -> Self {
        Self::Bind { reason: format!("failed to bind to {source}: {}", system_text(error)) }
    }

    /// The system knows no way there.
    pub(super) fn unreachable(error: &io::Error, address: SocketAddr) -> Self {
        let reason = format!("immediate connect error: {}|remote address:{address}", system_text(error));
        Self::Connect { reason }
    }

    /// The endpoint, or the network, refused.
    pub(super) fn delayed(error: &io::Error) -> Self {
        Self::Connect { reason: format!("delayed connect error: {}", system_text(error)) }
    }
}

/// The system's words alone, as strerror has them.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).map(str::to_owned).unwrap_or_default(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_as_envoy_does() {
        let refused = UpstreamError::delayed(&io::Error::from_raw_os_error(111));
        assert_eq!(refused.to_string(), "delayed connect error: Connection refused");
    }
}
