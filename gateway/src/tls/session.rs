//! What both directions share: the secrets a context was built from, and what a finished handshake tells.

use std::sync::Arc;

use rustls::CommonState;

use super::error::TlsError;
use super::protocol::{cipher_name, curve_name, version_name};
use super::secret::{Certificate, Loaded, Secret, SecretError, SecretSlot};
use super::validation::Validation;
use super::{certificate, ticket};
use crate::telemetry::TlsInfo;

/// The secrets that a configuration was built from, by which it is told whether it is still current.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<(Arc<SecretSlot>, Arc<Loaded>)>);

impl Sources {
    /// Whether every slot still holds what was taken from it.
    pub(super) fn are_current(&self) -> bool {
        self.0.iter().all(|(slot, seen)| slot.is_current(seen))
    }

    /// A certificate of a slot.
    pub(super) fn certificate(&mut self, slot: &Arc<SecretSlot>) -> Result<Arc<Certificate>, TlsError> {
        match &self.take(slot)?.secret {
            Secret::Certificate(certificate) => Ok(Arc::clone(certificate)),
            other => Err(wrong_kind(slot, other, "a certificate")),
        }
    }

    /// Session ticket keys of a slot.
    pub(super) fn ticket_keys(&mut self, slot: &Arc<SecretSlot>) -> Result<Arc<ticket::TicketKeys>, TlsError> {
        match &self.take(slot)?.secret {
            Secret::TicketKeys(keys) => Ok(Arc::clone(keys)),
            other => Err(wrong_kind(slot, other, "session ticket keys")),
        }
    }

    /// The validation contexts of slots, the later merged over the earlier.
    pub(super) fn validation(&mut self, slots: &[Arc<SecretSlot>]) -> Result<Validation, TlsError> {
        let mut merged = Validation::default();
        for slot in slots {
            match &self.take(slot)?.secret {
                Secret::Validation(validation) => merged = merged.merged(validation),
                other => return Err(wrong_kind(slot, other, "a validation context")),
            }
        }
        Ok(merged)
    }

    fn take(&mut self, slot: &Arc<SecretSlot>) -> Result<Arc<Loaded>, TlsError> {
        let loaded = slot.load().ok_or_else(|| TlsError::SecretMissing(slot.name().to_owned()))?;
        self.0.push((Arc::clone(slot), Arc::clone(&loaded)));
        Ok(loaded)
    }
}

fn wrong_kind(slot: &SecretSlot, secret: &Secret, wanted: &'static str) -> TlsError {
    SecretError::WrongKind { name: slot.name().to_owned(), is: secret.kind(), wanted }.into()
}

/// What a finished handshake settled. `alpn` has the protocols of the configuration, so that their names are shared;
/// `validated` says that the peer's certificate was found good.
pub(super) fn describe(
    session: &CommonState,
    alpn: &[Arc<str>],
    local: Option<&Certificate>,
    signature: &'static str,
    validated: bool,
) -> TlsInfo {
    let protocol = session.alpn_protocol().unwrap_or_default();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    TlsInfo {
        version: version_name(session.protocol_version()),
        cipher: session.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
        curve: session.negotiated_key_exchange_group().map_or("", |group| curve_name(group.name())),
        signature,
        alpn: alpn.iter().find(|name| name.as_bytes() == protocol).cloned().unwrap_or_default(),
        // A certificate that rustls accepted but that cannot be read tells nothing, as if there was none.
        peer: leaf.and_then(|der| certificate::describe(der).ok()).map(Arc::new),
        validated,
        local: local.map(Certificate::info),
    }
}
