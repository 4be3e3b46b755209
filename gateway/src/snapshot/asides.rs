//! Refusals that no entry of a collection stands for: a name that stands twice or is somebody else's, a whole file, a
//! resource that a file does not have. They are only shown: what is to be tried again is with the entries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use weir_xds::{Kind, Problem, Resource};

use super::dump::{DumpEntry, Rejection};

/// What the newest update of each source has of such refusals.
#[derive(Debug, Default)]
pub(super) struct Asides(HashMap<(Kind, Arc<str>), Vec<Aside>>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    /// Empty if it is not known.
    pub(super) name: Arc<str>,
    rejection: Rejection,
}

impl Aside {
    pub(super) fn of(resource: Resource, problems: Vec<Problem>) -> Self {
        let Resource { name, bytes, version, .. } = resource;
        Self { name: name.into(), rejection: Rejection { bytes, version, at: SystemTime::now(), problems } }
    }

    /// Of something of which nothing came.
    pub(super) fn absent(name: &str, problems: Vec<Problem>) -> Self {
        let rejection = Rejection { bytes: Bytes::new(), version: String::new(), at: SystemTime::now(), problems };
        Self { name: name.into(), rejection }
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.rejection.problems
    }
}

impl Asides {
    /// Puts them in the place of those before.
    pub(super) fn replace(&mut self, kind: Kind, source: &Arc<str>, asides: Vec<Aside>) {
        let key = (kind, Arc::clone(source));
        if asides.is_empty() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, asides);
        }
    }

    /// Shows them with what is in force of the same name and source, or by themselves.
    pub(super) fn show(&self, all: &mut Vec<DumpEntry>) {
        if self.0.is_empty() {
            return;
        }
        let places: HashMap<_, _> =
            all.iter().enumerate().map(|(at, e)| ((e.kind, Arc::clone(&e.source), Arc::clone(&e.name)), at)).collect();
        for ((kind, source), asides) in &self.0 {
            for Aside { name, rejection } in asides {
                let rejection = Some(rejection.clone());
                let place = places.get(&(*kind, Arc::clone(source), Arc::clone(name)));
                match place.and_then(|at| all.get_mut(*at)) {
                    Some(entry) => entry.rejection = rejection,
                    None => all.push(DumpEntry {
                        kind: *kind,
                        name: Arc::clone(name),
                        source: Arc::clone(source),
                        bytes: None,
                        version: String::new(),
                        last_updated: None,
                        rejection,
                        warming: Vec::new(),
                    }),
                }
            }
        }
    }
}
