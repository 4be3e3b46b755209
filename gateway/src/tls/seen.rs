//! With which algorithm a peer signed its handshake. rustls tells only the verifier, which is shared by all handshakes;
//! but it is asked on the thread of the handshake, while that is polled.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use rustls::SignatureScheme;

thread_local! {
    static SEEN: Cell<Option<SignatureScheme>> = const { Cell::new(None) };
}

/// A verifier was shown a signature.
pub(super) fn seen(scheme: SignatureScheme) {
    SEEN.set(Some(scheme));
}

/// Runs a handshake; the name of the peer's algorithm, empty if the peer signed nothing.
pub(super) async fn observed<F: Future>(handshake: F) -> (F::Output, &'static str) {
    let mut handshake = pin!(handshake);
    let mut name = "";
    let output = poll_fn(|cx| {
        SEEN.set(None);
        let polled = handshake.as_mut().poll(cx);
        if let Some(scheme) = SEEN.take() {
            name = of(scheme);
        }
        polled
    });
    let output = output.await;
    (output, name)
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
