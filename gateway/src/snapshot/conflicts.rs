//! What two resources cannot both have: an address, and a name that each reads from another file.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use weir_xds::{Kind, Problem};

use super::collection::{Candidate, Collection};
use super::compile::listener::CompiledListener;
use super::publisher::{NamedCluster, Publisher};
use super::update::{Reference, Report};

/// A resource that names others in files.
pub(super) trait Names: Sized {
    /// What it names.
    fn references(&self) -> &[Reference];

    /// Where the publisher keeps those of its kind.
    fn collection(publisher: &mut Publisher) -> &mut Collection<Self>;
}

impl Names for CompiledListener {
    fn references(&self) -> &[Reference] {
        &self.references
    }

    fn collection(publisher: &mut Publisher) -> &mut Collection<Self> {
        &mut publisher.listeners
    }
}

impl Names for NamedCluster {
    fn references(&self) -> &[Reference] {
        &self.references
    }

    fn collection(publisher: &mut Publisher) -> &mut Collection<Self> {
        &mut publisher.clusters
    }
}

/// For each name that is read from a file: which file, and for whom.
type Files = HashMap<(Kind, String), (PathBuf, Kind, Arc<str>)>;

impl Publisher {
    /// Refuses candidates that read a name from another file than somebody else does: routes, assignments and secrets go
    /// by their names, so one of two would get the other's.
    pub(super) fn without_rival_files<T: Names>(
        &mut self,
        candidates: Vec<Candidate<T>>,
        report: &mut Report,
    ) -> Vec<Candidate<T>> {
        let Some(kind) = candidates.iter().find(|c| !c.value.references().is_empty()).map(|c| c.resource.kind) else {
            return candidates;
        };
        let pending: HashSet<&Arc<str>> = candidates.iter().map(|c| &c.name).collect();
        let is_pending = |of: Kind, name: &Arc<str>| of == kind && pending.contains(name);
        let mut files = Files::new();
        let mut take = |of: Kind, name: &Arc<str>, references: &[Reference]| {
            for reference in references.iter().filter(|_| !is_pending(of, name)) {
                files.entry(key(reference)).or_insert_with(|| (reference.path.clone(), of, Arc::clone(name)));
            }
        };
        self.listeners.all().for_each(|(name, good)| take(Kind::Listener, name, &good.value.references));
        self.clusters.all().for_each(|(name, good)| take(Kind::Cluster, name, &good.value.references));
        let mut kept = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let problems = rivals(&candidate, &mut files);
            if problems.is_empty() {
                kept.push(candidate);
            } else {
                T::collection(self).refuse(&candidate.source, candidate.resource, problems, report);
            }
        }
        kept
    }

    /// Refuses candidates whose address another listener has: of two the first in order keeps it.
    pub(super) fn without_taken_addresses(
        &mut self,
        mut candidates: Vec<Candidate<CompiledListener>>,
        report: &mut Report,
    ) -> Vec<Candidate<CompiledListener>> {
        loop {
            let pending: HashSet<&Arc<str>> = candidates.iter().map(|c| &c.name).collect();
            let kept = self.listeners.all().filter(|(name, _)| !pending.contains(name));
            let mut taken: HashMap<_, Arc<str>> =
                kept.map(|(name, good)| (good.value.listener.address, Arc::clone(name))).collect();
            let conflict = candidates.iter().enumerate().find_map(|(at, candidate)| {
                let address = candidate.value.listener.address;
                // Port 0 is another port for each.
                if address.port() == 0 {
                    return None;
                }
                let by = taken.insert(address, Arc::clone(&candidate.name))?;
                Some((at, format!("{address} is taken by listener {by:?}")))
            });
            let Some((at, reason)) = conflict else { return candidates };
            let Candidate { source, resource, .. } = candidates.remove(at);
            let path = format!("{}.address", resource.path);
            let path = path.strip_prefix('.').unwrap_or(&path).to_owned();
            // What stays in force of this listener may in turn be in another's way: look again.
            self.listeners.refuse(&source, resource, vec![Problem { path, line: None, reason }], report);
        }
    }
}

fn key(reference: &Reference) -> (Kind, String) {
    (reference.kind, reference.name.clone())
}

/// What a candidate reads from another file than those before it; what it reads itself is noted if there is none.
fn rivals<T: Names>(candidate: &Candidate<T>, files: &mut Files) -> Vec<Problem> {
    let mut own = Files::new();
    let mut problems = Vec::new();
    for reference in candidate.value.references() {
        let name = key(reference);
        match files.get(&name).or_else(|| own.get(&name)) {
            Some((path, of, owner)) if *path != reference.path => {
                let (what, name, of) = (reference.kind.word(), &reference.name, of.word());
                let (here, there) = (reference.path.display(), path.display());
                let reason = format!(
                    "reads the {what} {name:?} from {here}, but {of} {owner:?} reads one of that name from {there}: rename one of them"
                );
                problems.push(Problem { path: candidate.resource.path.clone(), line: None, reason });
            }
            Some(_) => {}
            None => {
                own.insert(name, (reference.path.clone(), candidate.resource.kind, Arc::clone(&candidate.name)));
            }
        }
    }
    if problems.is_empty() {
        files.extend(own);
    }
    problems
}
