//! rustls asks, [`Validation`] answers.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::protocol::provider;
use super::seen;
use super::validation::Validation;

/// Verifies clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    validation: Validation,
    chain: Option<Arc<dyn ClientCertVerifier>>,
    required: bool,
}

/// Verifies endpoints.
#[derive(Clone, Debug)]
pub(super) struct EndpointVerifier {
    validation: Arc<Validation>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    by_name: ByName,
}

/// Which name the certificate must have.
#[derive(Clone, Debug)]
enum ByName {
    Any,
    /// The one that was asked for.
    Asked,
    This(ServerName<'static>),
}

impl ClientVerifier {
    pub(super) fn new(validation: Validation, required: bool) -> Result<Self, String> {
        Ok(Self { chain: validation.client_chain()?, validation, required })
    }

    /// Whether a client that is let in is known to be who its certificate says. Its handshake proved that it has the key;
    /// of a resumed session that was an earlier one, since when the certificate may have expired or been revoked.
    pub(super) fn validates(&self, chain: &[CertificateDer<'_>], resumed: bool) -> Result<bool, Error> {
        let [leaf, intermediates @ ..] = chain else { return Ok(false) };
        let untrusted = self.validation.accept_untrusted;
        if !self.validation.holds_against_something() {
            return Ok(false);
        }
        if !untrusted && !resumed {
            return Ok(true);
        }
        match self.judge(leaf, intermediates, UnixTime::now()) {
            Err(_) if untrusted => Ok(false),
            judged => judged.map(|()| true),
        }
    }

    fn judge(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        self.validation.judge(leaf, now, None, |at| match &self.chain {
            Some(verifier) => verifier.verify_client_cert(leaf, chain, at).map(drop),
            None => Ok(()),
        })
    }
}

impl EndpointVerifier {
    pub(super) fn new(validation: Validation, by_name: bool) -> Result<Self, String> {
        let by_name = if by_name { ByName::Asked } else { ByName::Any };
        Ok(Self { chain: validation.server_chain()?, validation: Arc::new(validation), by_name })
    }

    /// Whether an endpoint that is let in is known to be who its certificate says.
    pub(super) fn validates(&self) -> bool {
        self.validation.verifies() && !self.validation.accept_untrusted
    }

    /// The same for an endpoint that must have this name, whatever was asked for.
    pub(super) fn expecting(&self, name: ServerName<'static>) -> Self {
        Self { by_name: ByName::This(name), ..self.clone() }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map(|chain| chain.root_hint_subjects()).unwrap_or_default()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Where untrusted ones are let in, how good it is is asked once the handshake is over.
        if !self.validation.accept_untrusted {
            self.judge(end_entity, intermediates, now).inspect_err(|_| seen::refused(end_entity))?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        seen::signed(dss.scheme);
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        seen::signed(dss.scheme);
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.validation.accept_untrusted {
            return Ok(ServerCertVerified::assertion());
        }
        let expected = match &self.by_name {
            ByName::Any => None,
            ByName::Asked => Some(server_name),
            ByName::This(name) => Some(name),
        };
        self.validation.judge(end_entity, now, expected, |at| {
            let Some(chain) = &self.chain else { return Ok(()) };
            match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at) {
                Ok(_) => Ok(()),
                // The name is the last thing it looks at, after the chain was found good; Envoy compares names only
                // where it is told to.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(()),
                Err(e) => Err(e),
            }
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        seen::signed(dss.scheme);
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        seen::signed(dss.scheme);
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
