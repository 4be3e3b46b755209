//! Secrets: certificates with their keys, what peers are verified against, session ticket keys; and the slots through
//! which handshakes see the current ones.
//!
//! A slot outlives the values in it: a rotated certificate is stored in its slot, the next handshake uses it, and
//! nothing else changes.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, NamedGroup, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tracing::warn;
use weir_xds::{MAX_FILE_BYTES, ReadError, read_file};

use super::ticket::TicketKeys;
use super::validation::{TrustedCa, Validation};
use super::{certificate, protocol};
use crate::telemetry::CertificateInfo;

/// Where the operating system keeps its certificate authorities.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}", .path.display(), .error)]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ReadError,
    },
    /// An environment variable is not set.
    #[error("environment variable {0} is not set")]
    NoVariable(String),
    /// No certificate where one must be.
    #[error("{0} has no PEM certificate")]
    NoCertificate(String),
    /// A certificate is not sound.
    #[error("{0} has an unusable certificate: {1}")]
    BadCertificate(String, String),
    /// No private key where one must be.
    #[error("{0} has no PEM private key")]
    NoKey(String),
    /// The private key needs a password.
    #[error("{0} is encrypted; give the key without a password")]
    EncryptedKey(String),
    /// The private key is of no supported type.
    #[error("{0} has an unusable private key (RSA of 2048 to 8192 bits, ECDSA P-256, P-384 or P-521, or Ed25519): {1}")]
    BadKey(String, String),
    /// Certificate and key do not belong together.
    #[error("private key {key} does not match certificate {chain}")]
    Mismatch {
        /// The key's source.
        key: String,
        /// The certificate's source.
        chain: String,
    },
    /// A revocation list is not sound.
    #[error("{0} has an unusable revocation list: {1}")]
    BadCrl(String, String),
    /// A key for session tickets is not 80 bytes long.
    #[error("{0} has {1} bytes; a session ticket key has 80")]
    BadTicketKey(String, usize),
    /// The operating system's authorities were asked for and are not there.
    #[error("no bundle of certificate authorities on this machine (looked in {0})")]
    NoSystemRoots(String),
    /// A secret of another kind stands where this one is needed.
    #[error("secret {name:?} is {is}, where {wanted} is needed")]
    WrongKind {
        /// Its name.
        name: String,
        /// What it is.
        is: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
    /// Keys and settings do not make a context.
    #[error("{0}")]
    Context(String),
}

/// Where bytes come from (Envoy's `DataSource`).
#[derive(Clone, PartialEq, Eq)]
pub enum DataSource {
    /// A file, read again when the secret is loaded again.
    File(PathBuf),
    /// The configuration itself.
    Inline(Vec<u8>),
    /// An environment variable.
    Environment(String),
}

/// What to load.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// A certificate chain with its key.
    Certificate(CertificateSource),
    /// What peers are verified against.
    Validation(Box<ValidationSource>),
    /// Keys for session tickets, the first for new ones.
    TicketKeys(Vec<DataSource>),
}

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub struct CertificateSource {
    /// PEM, leaf first.
    pub chain: DataSource,
    /// PEM.
    pub key: DataSource,
    /// DER of an OCSP response that is stapled.
    pub ocsp_staple: Option<DataSource>,
    /// A directory whose change means that the files changed.
    pub watched_directory: Option<PathBuf>,
}

/// What peers are verified against; [`ValidationSource::rules`] has what needs no loading.
#[derive(Clone, Debug, Default)]
pub struct ValidationSource {
    /// PEM.
    pub trusted_ca: Option<DataSource>,
    /// The operating system's authorities, where `trusted_ca` is not set.
    pub system_roots: bool,
    /// PEM.
    pub crl: Option<DataSource>,
    /// A directory whose change means that the files changed.
    pub watched_directory: Option<PathBuf>,
    /// Everything else.
    pub rules: Validation,
}

/// A loaded secret.
#[derive(Clone, Debug)]
pub enum Secret {
    /// A certificate chain with its key.
    Certificate(Arc<Certificate>),
    /// What peers are verified against.
    Validation(Arc<Validation>),
    /// Keys for session tickets.
    TicketKeys(Arc<TicketKeys>),
}

/// The curves of keys that sign by these.
const CURVES: [(SignatureScheme, NamedGroup); 3] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, NamedGroup::secp256r1),
    (SignatureScheme::ECDSA_NISTP384_SHA384, NamedGroup::secp384r1),
    (SignatureScheme::ECDSA_NISTP521_SHA512, NamedGroup::secp521r1),
];

/// A certificate chain with its key, ready for handshakes.
pub struct Certificate {
    /// For rustls.
    pub certified: Arc<CertifiedKey>,
    /// DNS names, or the common name if it has none: what it is chosen by.
    pub names: Vec<String>,
    /// Whether its key is an RSA key, which only clients without ECDSA get.
    pub rsa: bool,
    /// The curve of an ECDSA key.
    pub curve: Option<NamedGroup>,
    /// What identifies the server across a renewal: names and issuer.
    pub identity: String,
    /// Computed when first asked for: many certificates are never shown.
    info: OnceLock<Arc<CertificateInfo>>,
}

/// A secret with what it was loaded from.
#[derive(Debug)]
pub struct Loaded {
    /// Where it came from.
    pub source: SecretSource,
    /// The secret.
    pub secret: Secret,
}

/// The place of a secret: contexts hold the slot, the slot holds what is current.
#[derive(Debug)]
pub struct SecretSlot {
    name: String,
    current: ArcSwapOption<Loaded>,
}

/// All named secrets of the configuration.
#[derive(Debug, Default)]
pub struct Secrets {
    slots: Mutex<HashMap<String, Arc<SecretSlot>>>,
}

impl Secrets {
    /// The slot of a name, made empty if nobody asked before.
    pub fn slot(&self, name: &str) -> Arc<SecretSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(name) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(SecretSlot::empty(name));
        slots.insert(name.to_owned(), Arc::clone(&slot));
        slot
    }

    /// Makes a secret current.
    pub fn publish(&self, name: &str, loaded: Arc<Loaded>) {
        self.slot(name).store(Some(loaded));
    }

    /// Takes a secret away: handshakes that need it are refused.
    pub fn remove(&self, name: &str) {
        self.slot(name).store(None);
    }

    /// All slots, by name, those without a secret included.
    pub fn all(&self) -> Vec<Arc<SecretSlot>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = slots.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

impl SecretSlot {
    /// A slot that waits for its secret.
    pub fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), current: ArcSwapOption::empty() }
    }

    /// The slot of a secret that stands in the context itself.
    pub fn inline(loaded: Loaded) -> Self {
        Self { name: String::new(), current: ArcSwapOption::from_pointee(loaded) }
    }

    /// Its name; empty for one that stands in the context itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is current.
    pub fn load(&self) -> Option<Arc<Loaded>> {
        self.current.load_full()
    }

    /// Whether `seen` is still what is current.
    pub fn is_current(&self, seen: &Arc<Loaded>) -> bool {
        self.current.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, seen))
    }

    /// Replaces what is current.
    pub fn store(&self, loaded: Option<Arc<Loaded>>) {
        self.current.store(loaded);
    }

    /// Reads files and variables again. On an error what was current stays.
    pub fn reload(&self) -> Result<(), SecretError> {
        if let Some(current) = self.load() {
            self.store(Some(Arc::new(current.source.clone().load()?)));
        }
        Ok(())
    }
}

impl SecretSource {
    /// Reads and parses it.
    pub fn load(self) -> Result<Loaded, SecretError> {
        let secret = match &self {
            Self::Certificate(source) => Secret::Certificate(Arc::new(source.load()?)),
            Self::Validation(source) => Secret::Validation(Arc::new(source.load()?)),
            Self::TicketKeys(sources) => Secret::TicketKeys(Arc::new(ticket_keys(sources)?)),
        };
        Ok(Loaded { source: self, secret })
    }

    /// The files it is read from.
    pub fn files(&self) -> Vec<PathBuf> {
        let sources: Vec<&DataSource> = match self {
            Self::Certificate(c) => {
                [Some(&c.chain), Some(&c.key), c.ocsp_staple.as_ref()].into_iter().flatten().collect()
            }
            Self::Validation(v) => [v.trusted_ca.as_ref(), v.crl.as_ref()].into_iter().flatten().collect(),
            Self::TicketKeys(keys) => keys.iter().collect(),
        };
        sources.into_iter().filter_map(DataSource::file).cloned().collect()
    }

    /// A directory whose change means that the files changed.
    pub fn watched_directory(&self) -> Option<&PathBuf> {
        match self {
            Self::Certificate(c) => c.watched_directory.as_ref(),
            Self::Validation(v) => v.watched_directory.as_ref(),
            Self::TicketKeys(_) => None,
        }
    }
}

impl Secret {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "a certificate",
            Self::Validation(_) => "a validation context",
            Self::TicketKeys(_) => "session ticket keys",
        }
    }
}

impl Certificate {
    /// What is told of the leaf.
    pub fn info(&self) -> Arc<CertificateInfo> {
        let info = self.info.get_or_init(|| {
            let leaf = self.certified.cert.first().map(|der| der.as_ref()).unwrap_or_default();
            // It was parsed when it was loaded.
            Arc::new(certificate::describe(leaf).unwrap_or_default())
        });
        Arc::clone(info)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

impl CertificateSource {
    /// What is wrong with each of its parts, by its field.
    pub fn problems(&self) -> Vec<(&'static str, SecretError)> {
        let chain = certificates(&self.chain).err().map(|error| ("certificate_chain", error));
        let key = private_key(&self.key).err().map(|error| ("private_key", error));
        let staple = self.ocsp_staple.as_ref().and_then(|staple| staple.read().err());
        chain.into_iter().chain(key).chain(staple.map(|error| ("ocsp_staple", error))).collect()
    }

    fn load(&self) -> Result<Certificate, SecretError> {
        let chain = certificates(&self.chain)?;
        let key = private_key(&self.key)?;
        let leaf = chain.first().ok_or_else(|| SecretError::NoCertificate(self.chain.to_string()))?;
        let bad =
            |e: certificate::MalformedCertificate| SecretError::BadCertificate(self.chain.to_string(), e.to_string());
        let parsed = certificate::parse(leaf).map_err(bad)?;
        let mut names = certificate::alt_names(&parsed).dns;
        if names.is_empty() {
            names.extend(certificate::common_name(&parsed));
        }
        names.iter_mut().for_each(|name| name.make_ascii_lowercase());
        let identity = format!("{:?}|{:?}|{}", names, certificate::alt_names(&parsed).uri, parsed.issuer());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let not_after = parsed.validity().not_after.timestamp();
        if i64::try_from(now).is_ok_and(|now| now > not_after) {
            warn!(certificate = %self.chain, "the certificate has expired; clients will refuse it");
        }

        if parsed.version() != x509_parser::x509::X509Version::V3 {
            let reason = "it is of X.509 version 1; an extension such as subjectAltName makes it version 3 \
                          (openssl x509 -req -extfile FILE)";
            return Err(SecretError::BadCertificate(self.chain.to_string(), reason.to_owned()));
        }
        let mut certified = CertifiedKey::from_der(chain, key, protocol::provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                SecretError::Mismatch { key: self.key.to_string(), chain: self.chain.to_string() }
            }
            rustls::Error::InvalidCertificate(e) => SecretError::BadCertificate(self.chain.to_string(), e.to_string()),
            e => SecretError::BadKey(self.key.to_string(), e.to_string()),
        })?;
        certified.ocsp =
            self.ocsp_staple.as_ref().map(DataSource::read).transpose()?.filter(|staple| !staple.is_empty());
        let rsa = certified.key.algorithm() == SignatureAlgorithm::RSA;
        let is_for = |(scheme, _): &(SignatureScheme, _)| certified.key.choose_scheme(&[*scheme]).is_some();
        let curve = CURVES.into_iter().find(is_for).map(|(_, curve)| curve);
        Ok(Certificate { certified: Arc::new(certified), names, rsa, curve, identity, info: OnceLock::new() })
    }
}

impl ValidationSource {
    fn load(&self) -> Result<Validation, SecretError> {
        let mut validation = self.rules.clone();
        let ca = match &self.trusted_ca {
            Some(source) => Some(source.clone()),
            None if self.system_roots => Some(system_roots()?),
            None => None,
        };
        if let Some(source) = ca {
            let ca = TrustedCa::new(certificates(&source)?)
                .map_err(|reason| SecretError::BadCertificate(source.to_string(), reason))?;
            validation.trusted_ca = Some(Arc::new(ca));
        }
        if let Some(source) = &self.crl {
            let bad = |e: String| SecretError::BadCrl(source.to_string(), e);
            let lists: Vec<CertificateRevocationListDer<'static>> =
                CertificateRevocationListDer::pem_slice_iter(&source.read()?)
                    .collect::<Result<_, _>>()
                    .map_err(|e| bad(e.to_string()))?;
            if lists.is_empty() {
                return Err(bad("no PEM revocation list in it".to_owned()));
            }
            validation.crls = lists.into();
        }
        // Whatever can be wrong with authorities and lists shows here, not at the first handshake.
        validation.check().map_err(SecretError::Context)?;
        Ok(validation)
    }
}

impl DataSource {
    /// The bytes.
    pub fn read(&self) -> Result<Vec<u8>, SecretError> {
        match self {
            Self::File(path) => {
                read_file(path, MAX_FILE_BYTES).map_err(|error| SecretError::Unreadable { path: path.clone(), error })
            }
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::Environment(name) => match std::env::var(name) {
                Ok(value) => Ok(value.into_bytes()),
                Err(_) => Err(SecretError::NoVariable(name.clone())),
            },
        }
    }

    fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }
}

/// Names the source, never its content.
impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Inline(_) => f.write_str("the inline value"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn certificates(source: &DataSource) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(&source.read()?)
        .collect::<Result<_, _>>()
        .map_err(|e| SecretError::BadCertificate(source.to_string(), e.to_string()))?;
    if list.is_empty() { Err(SecretError::NoCertificate(source.to_string())) } else { Ok(list) }
}

fn private_key(source: &DataSource) -> Result<PrivateKeyDer<'static>, SecretError> {
    let pem = source.read()?;
    for marker in [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"] {
        if memchr::memmem::find(&pem, marker).is_some() {
            return Err(SecretError::EncryptedKey(source.to_string()));
        }
    }
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => Ok(key),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => Err(SecretError::NoKey(source.to_string())),
        Err(e) => Err(SecretError::BadKey(source.to_string(), e.to_string())),
    }
}

fn ticket_keys(sources: &[DataSource]) -> Result<TicketKeys, SecretError> {
    let keys = sources.iter().map(|source| {
        let bytes = source.read()?;
        <[u8; 80]>::try_from(bytes.as_slice()).map_err(|_| SecretError::BadTicketKey(source.to_string(), bytes.len()))
    });
    Ok(TicketKeys(keys.collect::<Result<_, _>>()?))
}

fn system_roots() -> Result<DataSource, SecretError> {
    let found = SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file());
    found.map(DataSource::File).ok_or_else(|| SecretError::NoSystemRoots(SYSTEM_ROOTS.join(", ")))
}
