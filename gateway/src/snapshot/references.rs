//! Which resources in files are named by listeners and clusters.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use weir_xds::Kind;

use super::publisher::Publisher;
use super::update::Reference;

/// References, and of which state of listeners and clusters they are: a change of routes or endpoints must not cost a walk
/// through all clusters.
#[derive(Debug)]
pub(super) struct KnownReferences {
    /// Revisions of listeners and clusters, and how many former listeners are in force: their number only falls until another
    /// listener is accepted.
    of: (u64, u64, usize),
    all: Arc<[Reference]>,
}

impl Publisher {
    /// Resources in files that listeners and clusters name, those that were refused included; sorted, each once.
    pub fn references(&mut self) -> Arc<[Reference]> {
        let of = (self.listeners.revision(), self.clusters.revision(), self.former.len());
        if let Some(known) = self.known_references.as_ref().filter(|known| known.of == of) {
            return Arc::clone(&known.all);
        }
        let all = self.find_references();
        self.known_references = Some(KnownReferences { of, all: Arc::clone(&all) });
        all
    }

    fn find_references(&self) -> Arc<[Reference]> {
        let listeners = self.listeners.all().flat_map(|(_, good)| &good.value.references);
        let clusters = self.clusters.all().flat_map(|(_, good)| &good.value.references);
        let of_refused = self.listeners.refused().flat_map(|(_, refused)| &refused.wanted.references);
        let of_refused = of_refused.chain(self.clusters.refused().flat_map(|(_, refused)| &refused.wanted.references));
        let mut all: BTreeSet<&Reference> = listeners.chain(clusters).chain(of_refused).collect();
        // Where the newest versions find a resource of that name is where former ones find it, too.
        let named: HashSet<(Kind, &str)> = all.iter().map(|r| (r.kind, r.name.as_str())).collect();
        let former = self.former.values().flat_map(|listener| &listener.references);
        all.extend(former.filter(|r| !named.contains(&(r.kind, r.name.as_str()))));
        all.into_iter().cloned().collect()
    }
}
