//! Session tickets (RFC 5077, RFC 8446 section 4.6.1).
//!
//! rustls resumes a session when server name and cipher suite are equal and asks no verifier again. With one key for
//! the whole process, a session from a context that wants no client certificate would resume on one that does. So each
//! context's keys belong to its identity: a hash of everything that decides about a client, and of who the server is.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use rustls::server::ProducesTickets;
use rustls_pki_types::UnixTime;
use sha2::{Digest, Sha256};

/// BoringSSL's default, and so Envoy's.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

const NAME_LEN: usize = 16;

/// Hash of what a context's sessions are worth.
pub type Identity = [u8; 32];

/// Keys of the configuration (`session_ticket_keys`), the first for new tickets.
#[derive(Clone)]
pub struct TicketKeys(pub Vec<[u8; 80]>);

/// The ticketers of all contexts, so that equal contexts share one, also across a change of configuration.
#[derive(Debug, Default)]
pub struct TicketStore {
    by_identity: Mutex<HashMap<Identity, Weak<Ticketer>>>,
}

/// Seals and opens tickets. Shared by the workers without a lock.
pub struct Ticketer {
    keys: Keys,
    lifetime: Duration,
}

enum Keys {
    /// Made here, a new one every lifetime.
    Rotating(ArcSwap<Generation>),
    /// Of the configuration.
    Given(Vec<TicketKey>),
}

struct Generation {
    current: Arc<TicketKey>,
    previous: Option<Arc<TicketKey>>,
    /// Seconds since 1970.
    until: u64,
}

struct TicketKey {
    name: [u8; NAME_LEN],
    aead: RandomizedNonceKey,
}

impl TicketStore {
    /// The ticketer of an identity.
    pub fn ticketer(&self, identity: Identity, lifetime: Duration) -> Result<Arc<Ticketer>, Unspecified> {
        let mut ticketers = self.by_identity.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ticketer) = ticketers.get(&identity).and_then(Weak::upgrade) {
            return Ok(ticketer);
        }
        ticketers.retain(|_, ticketer| ticketer.strong_count() > 0);
        let ticketer = Arc::new(Ticketer::rotating(lifetime, UnixTime::now().as_secs())?);
        ticketers.insert(identity, Arc::downgrade(&ticketer));
        Ok(ticketer)
    }
}

impl Ticketer {
    /// One with the keys of the configuration, bound to an identity.
    pub fn given(keys: &TicketKeys, identity: &Identity, lifetime: Duration) -> Result<Self, Unspecified> {
        let keys = keys.0.iter().map(|key| TicketKey::derive(key, identity)).collect::<Result<_, _>>()?;
        Ok(Self { keys: Keys::Given(keys), lifetime })
    }

    fn rotating(lifetime: Duration, now: u64) -> Result<Self, Unspecified> {
        let first = Generation {
            current: Arc::new(TicketKey::random()?),
            previous: None,
            until: now.saturating_add(lifetime.as_secs()),
        };
        Ok(Self { keys: Keys::Rotating(ArcSwap::from_pointee(first)), lifetime })
    }

    fn seal(&self, message: &[u8], now: u64) -> Option<Vec<u8>> {
        match &self.keys {
            Keys::Given(keys) => keys.first()?.seal(message, now),
            Keys::Rotating(generation) => {
                self.rotate(generation, now);
                generation.load().current.seal(message, now)
            }
        }
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (sealed_at, message) = match &self.keys {
            Keys::Given(keys) => keys.iter().find_map(|key| key.open(ticket))?,
            Keys::Rotating(generation) => {
                self.rotate(generation, now);
                let generation = generation.load();
                let previous = || generation.previous.as_ref().and_then(|key| key.open(ticket));
                generation.current.open(ticket).or_else(previous)?
            }
        };
        (now.saturating_sub(sealed_at) <= self.lifetime.as_secs()).then_some(message)
    }

    fn rotate(&self, generation: &ArcSwap<Generation>, now: u64) {
        let seen = generation.load();
        if now < seen.until {
            return;
        }
        // Without a new key the old one serves on.
        let Ok(key) = TicketKey::random() else { return };
        let next = Generation {
            current: Arc::new(key),
            previous: Some(Arc::clone(&seen.current)),
            until: now.saturating_add(self.lifetime.as_secs().max(1)),
        };
        // If another worker was faster, its generation is as good.
        generation.compare_and_swap(&seen, Arc::new(next));
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, UnixTime::now().as_secs())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, UnixTime::now().as_secs())
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({})", self.0.len())
    }
}

impl TicketKey {
    fn random() -> Result<Self, Unspecified> {
        let (mut name, mut key) = ([0; NAME_LEN], [0; 32]);
        aws_lc_rs::rand::fill(&mut name)?;
        aws_lc_rs::rand::fill(&mut key)?;
        Ok(Self { name, aead: RandomizedNonceKey::new(&AES_256_GCM, &key)? })
    }

    /// Bytes of the configuration are the same for every context; the identity keeps their sessions apart.
    fn derive(given: &[u8; 80], identity: &Identity) -> Result<Self, Unspecified> {
        let expand =
            |label: &[u8]| Sha256::new().chain_update(label).chain_update(given).chain_update(identity).finalize();
        let mut name = [0; NAME_LEN];
        name.iter_mut().zip(expand(b"ticket key name")).for_each(|(to, from)| *to = from);
        Ok(Self { name, aead: RandomizedNonceKey::new(&AES_256_GCM, &expand(b"ticket key"))? })
    }

    /// Name, nonce, then time and message sealed.
    fn seal(&self, message: &[u8], now: u64) -> Option<Vec<u8>> {
        let mut sealed = [&now.to_be_bytes()[..], message].concat();
        let nonce = self.aead.seal_in_place_append_tag(Aad::from(self.name), &mut sealed).ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        if *name != self.name {
            return None;
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let opened =
            self.aead.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(self.name), &mut sealed).ok()?;
        let (time, message) = opened.split_first_chunk()?;
        Some((u64::from_be_bytes(*time), message.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOUR: u64 = 3600;

    #[test]
    fn a_ticket_lives_for_its_lifetime_and_across_rotations() {
        let ticketer = Ticketer::rotating(Duration::from_secs(HOUR), 0).unwrap();
        let ticket = ticketer.seal(b"session", HOUR - 10).unwrap();
        assert_eq!(ticketer.open(&ticket, HOUR - 9).unwrap(), b"session");
        let later = ticketer.seal(b"later", HOUR + 5).unwrap();
        assert_eq!(ticketer.open(&ticket, HOUR + 5).unwrap(), b"session");
        assert_eq!(ticketer.open(&later, HOUR + 5).unwrap(), b"later");
        assert_eq!(ticketer.open(&ticket, 2 * HOUR), None);
    }

    #[test]
    fn a_ticket_opens_only_with_its_own_key() {
        let keys = TicketKeys(vec![[7; 80], [8; 80]]);
        let old = TicketKeys(vec![[8; 80]]);
        let one = Ticketer::given(&keys, &[1; 32], DEFAULT_LIFETIME).unwrap();
        let same = Ticketer::given(&keys, &[1; 32], DEFAULT_LIFETIME).unwrap();
        let before = Ticketer::given(&old, &[1; 32], DEFAULT_LIFETIME).unwrap();
        let other = Ticketer::given(&keys, &[2; 32], DEFAULT_LIFETIME).unwrap();
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(same.decrypt(&ticket).unwrap(), b"session");
        assert_eq!(one.decrypt(&before.encrypt(b"old").unwrap()).unwrap(), b"old");
        assert_eq!(other.decrypt(&ticket), None);
    }

    #[test]
    fn damaged_tickets_do_not_open() {
        let ticketer = Ticketer::rotating(DEFAULT_LIFETIME, UnixTime::now().as_secs()).unwrap();
        let ticket = ticketer.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert_eq!(ticketer.decrypt(&damaged), None);
            assert_eq!(ticketer.decrypt(&ticket[..at]), None);
        }
    }

    #[test]
    fn equal_identities_share_a_ticketer() {
        let store = TicketStore::default();
        let one = store.ticketer([1; 32], DEFAULT_LIFETIME).unwrap();
        assert!(Arc::ptr_eq(&one, &store.ticketer([1; 32], DEFAULT_LIFETIME).unwrap()));
        assert!(!Arc::ptr_eq(&one, &store.ticketer([2; 32], DEFAULT_LIFETIME).unwrap()));
    }
}
