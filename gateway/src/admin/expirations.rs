//! When certificates expire, as metrics. They are made when somebody asks and gone afterwards: ten thousand clusters with
//! TLS would hold as many in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Parts, certs};
use crate::telemetry::metrics::Scope;
use crate::telemetry::metrics::names::{
    ClusterCertificate, ListenerCertificate, cluster_certificate, listener_certificate,
};
use crate::tls::secret::{Loaded, Secret, SecretSlot};

/// Envoy's names for certificates and authorities that have none; the digits are the SHA-256 of nothing.
const UNNAMED: (&str, &str) = ("unnamed_cert_e3b0c442", "unnamed_ca_cert_e3b0c442");

/// The metrics of all certificates in use: there while this is held.
pub(super) struct Expirations {
    _listeners: Vec<Scope<ListenerCertificate>>,
    _clusters: Vec<Scope<ClusterCertificate>>,
    /// Of the one that expires first, in seconds since 1970.
    pub(super) first: Option<i64>,
}

/// Looks at all certificates in use.
pub(super) fn expirations(admin: &Parts) -> Expirations {
    let mut seen = Seen::default();
    let (mut of_listeners, mut of_clusters) = (BTreeMap::new(), BTreeMap::new());
    let snapshot = admin.store.load();
    for listener in snapshot.listeners() {
        for slot in listener.all_chains().filter_map(|chain| chain.tls.as_ref()).flat_map(|tls| tls.secrets()) {
            seen.add(slot, listener.scope.name(), &mut of_listeners);
        }
    }
    for config in snapshot.clusters.iter().map(|cluster| &cluster.config) {
        let (Some(tls), Some(scope)) = (&config.tls, &config.ssl) else { continue };
        tls.secrets().for_each(|slot| seen.add(slot, scope.name(), &mut of_clusters));
    }
    let first = of_listeners.values().chain(of_clusters.values()).min().copied();
    let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
    let listeners = of_listeners.into_iter().map(|((whose, name), at)| {
        let scope = admin.registry.scope(ListenerCertificate, (&*whose, &*name));
        scope.set(listener_certificate::EXPIRATION_UNIX_TIME_SECONDS, seconds(at));
        scope
    });
    let clusters = of_clusters.into_iter().map(|((whose, name), at)| {
        let scope = admin.registry.scope(ClusterCertificate, (&*whose, &*name));
        scope.set(cluster_certificate::EXPIRATION_UNIX_TIME_SECONDS, seconds(at));
        scope
    });
    Expirations { _listeners: listeners.collect(), _clusters: clusters.collect(), first }
}

/// By whose it is and what it is called: when it expires. Of several of one name the first counts.
type ByName = BTreeMap<(String, String), i64>;

/// Secrets are shared by many clusters: each is looked at once.
#[derive(Default)]
struct Seen(HashMap<*const Loaded, (Arc<Loaded>, Option<i64>)>);

impl Seen {
    fn add(&mut self, slot: &SecretSlot, whose: &str, into: &mut ByName) {
        let Some(loaded) = slot.load() else { return };
        let look = || (Arc::clone(&loaded), certs::expires(&loaded.secret));
        let Some(expires) = self.0.entry(Arc::as_ptr(&loaded)).or_insert_with(look).1 else { return };
        let name = match (slot.name(), &loaded.secret) {
            ("", Secret::Certificate(_)) => UNNAMED.0,
            ("", _) => UNNAMED.1,
            (name, _) => name,
        };
        into.entry((whose.to_owned(), name.to_owned())).and_modify(|at| *at = expires.min(*at)).or_insert(expires);
    }
}
