//! What only a verifier is told of a handshake: with which algorithm the peer signed, and which certificate was refused. A verifier is
//! shared by all handshakes; but it is asked on the thread of the handshake, while that is polled.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use rustls::SignatureScheme;
use rustls_pki_types::CertificateDer;

thread_local! {
    static SIGNATURE: Cell<Option<SignatureScheme>> = const { Cell::new(None) };
    static REFUSED: Cell<Option<CertificateDer<'static>>> = const { Cell::new(None) };
}

/// What was seen of a handshake.
#[derive(Default)]
pub(super) struct Seen {
    /// The name of the peer's algorithm; empty if the peer signed nothing.
    pub(super) signature: &'static str,
    /// The peer's certificate, if it was refused.
    pub(super) refused: Option<CertificateDer<'static>>,
}

/// A verifier was shown a signature.
pub(super) fn signed(scheme: SignatureScheme) {
    SIGNATURE.set(Some(scheme));
}

/// A verifier has refused a certificate.
pub(super) fn refused(certificate: &CertificateDer<'_>) {
    REFUSED.set(Some(certificate.clone().into_owned()));
}

impl Seen {
    /// Runs a step of a handshake, and notes what is seen in it.
    pub(super) fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        SIGNATURE.set(None);
        REFUSED.set(None);
        let output = step();
        if let Some(scheme) = SIGNATURE.take() {
            self.signature = of(scheme);
        }
        self.refused = REFUSED.take().or_else(|| self.refused.take());
        output
    }
}

/// Runs a handshake, and what was seen of it.
pub(super) async fn observed<F: Future>(handshake: F) -> (F::Output, Seen) {
    let mut handshake = pin!(handshake);
    let mut seen = Seen::default();
    let output = poll_fn(|cx| seen.during(|| handshake.as_mut().poll(cx))).await;
    (output, seen)
}

/// As BoringSSL names it.
fn of(scheme: SignatureScheme) -> &'static str {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256",
        SignatureScheme::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384",
        SignatureScheme::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512",
        SignatureScheme::ED25519 => "ed25519",
        SignatureScheme::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256",
        SignatureScheme::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384",
        SignatureScheme::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512",
        SignatureScheme::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256",
        SignatureScheme::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384",
        SignatureScheme::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512",
        _ => "",
    }
}
