//! Why a handshake failed.

use std::io;

use rustls::CertificateError;

use super::secret::SecretError;
use super::validation::Refused;

/// Why a TLS connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server name for an endpoint is neither a host name nor an address.
    #[error("{0:?} cannot be sent as a server name to the endpoint")]
    BadServerName(String),
    /// The peer went away during the handshake.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The socket failed.
    #[error("the connection failed during the TLS handshake: {0}")]
    Io(#[source] io::Error),
    /// `require_sni` is set and the client sent no server name.
    #[error("the client sent no server name, which require_sni asks for")]
    NoServerName,
    /// The peer's certificate of a resumed session is no longer good.
    #[error("the certificate of the resumed session is refused: {0}")]
    Resumption(#[source] rustls::Error),
    /// The handshake was refused, by us or by the peer.
    #[error("TLS handshake failed: {0}")]
    Rustls(#[source] rustls::Error),
    /// A secret that the configuration refers to has not arrived.
    #[error("secret {0:?} has not arrived; the handshake is refused until the source delivers it")]
    SecretMissing(String),
    /// Keys and settings do not make a working context.
    #[error(transparent)]
    Unusable(#[from] SecretError),
}

impl TlsError {
    /// What `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%` and `%UPSTREAM_TRANSPORT_FAILURE_REASON%` show, in Envoy's form,
    /// without spaces.
    pub fn transport_failure_reason(&self) -> String {
        let what = match self {
            Self::Rustls(rustls::Error::InvalidCertificate(error))
            | Self::Resumption(rustls::Error::InvalidCertificate(error)) => {
                format!("CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_{}", unverified_reason(error))
            }
            Self::Resumption(_) => "CERTIFICATE_VERIFY_FAILED".to_owned(),
            Self::Rustls(rustls::Error::AlertReceived(alert)) => format!("ALERT_{alert:?}").to_ascii_uppercase(),
            Self::Rustls(rustls::Error::NoCertificatesPresented) => "PEER_DID_NOT_RETURN_A_CERTIFICATE".to_owned(),
            Self::SecretMissing(_) => return "TLS_error:_Secret_is_not_supplied_by_SDS".to_owned(),
            other => without_spaces(&other.to_string()),
        };
        format!("TLS_error:|{what}:TLS_error_end")
    }
}

/// What is not good about a certificate, in OpenSSL's words where it has some.
fn unverified_reason(error: &CertificateError) -> String {
    use CertificateError as E;
    let words = match error {
        E::Expired | E::ExpiredContext { .. } => "certificate_has_expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "certificate_is_not_yet_valid",
        E::UnknownIssuer => "unable_to_get_local_issuer_certificate",
        E::Revoked => "certificate_revoked",
        E::UnknownRevocationStatus => "unable_to_get_certificate_CRL",
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => "CRL_has_expired",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "unsupported_certificate_purpose",
        E::BadSignature => "certificate_signature_failure",
        E::Other(other) => match other.0.downcast_ref() {
            Some(Refused::NotTheName | Refused::NoName) => return "SAN_matcher".to_owned(),
            Some(Refused::NotListed) => return "cert_hash_and_spki".to_owned(),
            None => return without_spaces(&other.to_string()),
        },
        other => return without_spaces(&other.to_string()),
    };
    format!("X509_verify_cert:_{words}")
}

fn without_spaces(text: &str) -> String {
    text.replace(char::is_whitespace, "_")
}

/// What of a peer's certificate was not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// Its chain, or the certificate itself.
    Chain,
    /// Its names.
    Name,
    /// Its hash, or that of its key.
    Hash,
}

impl TlsError {
    /// What of the peer's certificate was not good, if that is the reason.
    pub fn unverified(&self) -> Option<Unverified> {
        match self {
            Self::Resumption(_) => Some(Unverified::Chain),
            Self::Rustls(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
                Some(match other.0.downcast_ref() {
                    Some(Refused::NotTheName | Refused::NoName) => Unverified::Name,
                    Some(Refused::NotListed) => Unverified::Hash,
                    None => Unverified::Chain,
                })
            }
            Self::Rustls(rustls::Error::InvalidCertificate(_)) => Some(Unverified::Chain),
            _ => None,
        }
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(inner) => Self::Rustls(inner.clone()),
                    None => Self::Io(error),
                }
            }
            _ => Self::Io(error),
        }
    }
}
