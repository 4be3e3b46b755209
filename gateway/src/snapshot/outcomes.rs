//! What an update of routes, endpoints or secrets did, counted for each that takes something from its source: as Envoy
//! counts its subscriptions.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use weir_xds::{Kind, Problem};

use super::asides::Aside;
use super::counters::Outcome;
use super::publisher::Publisher;
use super::update::{Report, Update};

/// What an update has, kept until it is known what became of it.
pub(super) struct Listed {
    kind: Kind,
    source: Arc<str>,
    version: String,
    /// Empty if it has no resources at all.
    names: HashSet<String>,
    /// How much there was to tell before it.
    rejected: usize,
    unchanged: usize,
}

impl Listed {
    pub(super) fn of(update: &Update, report: &Report) -> Self {
        Self {
            kind: update.kind,
            source: Arc::clone(&update.source),
            version: update.resources.first().map(|r| r.version.clone()).unwrap_or_default(),
            names: update.resources.iter().map(|r| r.name.clone()).collect(),
            rejected: report.rejected.len(),
            unchanged: report.unchanged.len(),
        }
    }
}

impl Publisher {
    /// Counts what did not come into force; what did is counted where it is accepted.
    pub(super) fn count_outcomes(&mut self, listed: &Listed, report: &mut Report) {
        let Listed { kind, source, version, names, .. } = listed;
        let wanted = self.of_source(*kind, source);
        if wanted.is_empty() {
            return;
        }
        // A resource whose name could not be read is the one that is missed.
        let nameless: Vec<_> = report.asides.extract_if(.., |aside| aside.name.is_empty()).collect();
        let rejected: HashSet<&str> =
            report.rejected.iter().skip(listed.rejected).map(|rejected| rejected.name.as_str()).collect();
        let unchanged: HashSet<&str> = report.unchanged.iter().skip(listed.unchanged).map(|name| &**name).collect();
        for name in &wanted {
            let outcome = match () {
                () if rejected.contains(name.as_str()) => Outcome::Refused,
                () if unchanged.contains(name.as_str()) => Outcome::Unchanged(version),
                () if names.contains(name) => continue,
                // As in Envoy: a secret must be there, routes and endpoints may be left out to mean no change.
                () if names.is_empty() && *kind != Kind::Secret => Outcome::Empty,
                () => {
                    let mut problems: Vec<_> = nameless.iter().flat_map(|a| a.problems()).cloned().collect();
                    if problems.is_empty() {
                        let reason = format!("{source} has no {} named {name:?}", kind.word());
                        problems.push(Problem { path: String::new(), line: None, reason });
                    }
                    report.asides.push(Aside::absent(name, problems));
                    Outcome::Refused
                }
            };
            self.count(*kind, name, outcome);
        }
    }

    /// A source whose document cannot be read, for all that take something from it.
    pub(super) fn count_failure(&mut self, source: &Arc<str>, kind: Kind, problems: &[Problem]) {
        self.counters.source_failed(kind);
        let wanted = self.of_source(kind, source);
        wanted.iter().for_each(|name| self.count(kind, name, Outcome::Failed));
        let whole = wanted.is_empty().then(String::new);
        let names = wanted.iter().chain(&whole);
        let asides = names.map(|name| Aside::absent(name, problems.to_vec())).collect();
        self.asides.replace(kind, source, asides);
    }

    fn count(&mut self, kind: Kind, name: &str, outcome: Outcome<'_>) {
        match kind {
            Kind::Route => self.counters.routes(&self.listeners, name, outcome),
            Kind::Secret => self.counters.secret(&self.settings.registry, name, outcome),
            Kind::Endpoint => {
                let clusters = self.eds_clusters.get(name).into_iter().flatten();
                clusters.filter_map(|name| self.table.find(name)).for_each(|c| self.counters.endpoints(c, outcome));
            }
            Kind::Cluster | Kind::Listener | Kind::Extension => {}
        }
    }

    /// The names that something takes from this source.
    fn of_source(&mut self, kind: Kind, source: &str) -> BTreeSet<String> {
        let references = self.references();
        let all = references.iter().filter(|r| r.kind == kind && r.path.to_str() == Some(source));
        all.map(|reference| reference.name.clone()).collect()
    }
}
