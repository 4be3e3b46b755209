//! The resources of one kind: what is in force of each, and what was refused last.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use weir_xds::{Kind, Problem, Resource};

use super::Problems;
use super::asides::Aside;
use super::update::{Rejected, Report, Update, Warning};
use super::wanted::Wanted;

/// The resources of one kind by name.
#[derive(Debug)]
pub(super) struct Collection<T> {
    entries: BTreeMap<Arc<str>, Entry<T>>,
    by_source: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// In force although their source lists them no more.
    unlisted: BTreeSet<Arc<str>>,
    revision: u64,
}

/// A resource; `good` and `refused` may both be there, never neither.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) source: Arc<str>,
    pub(super) good: Option<Good<T>>,
    pub(super) refused: Option<Refused>,
}

/// The version in force.
#[derive(Debug)]
pub(super) struct Good<T> {
    hash: u64,
    pub(super) bytes: Bytes,
    pub(super) version: String,
    /// Where it stands in its document, for problems that show later.
    pub(super) path: String,
    pub(super) since: SystemTime,
    pub(super) value: T,
    /// To be compiled again although it did not change: a file that it names did.
    expired: bool,
}

/// The version that was refused last.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) resource: Resource,
    pub(super) problems: Vec<Problem>,
    pub(super) at: SystemTime,
    /// From files.
    pub(super) wanted: Wanted,
}

/// A resource that compiled, before it is in force.
#[derive(Debug)]
pub(super) struct Candidate<T> {
    pub(super) name: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) resource: Resource,
    pub(super) value: T,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), by_source: HashMap::new(), unlisted: BTreeSet::new(), revision: 0 }
    }
}

impl<T> Collection<T> {
    /// A number that grows whenever a version comes into force, is refused, or goes.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The version in force.
    pub(super) fn good(&self, name: &str) -> Option<&Good<T>> {
        self.entries.get(name)?.good.as_ref()
    }

    /// Whether there is one of that name, if only one that was refused: its own problems are told already.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whose the version in force is, and that version as it came; of an unknown name, an empty one.
    pub(super) fn resource(&self, name: &str, kind: Kind) -> (Arc<str>, Resource) {
        let entry = self.entries.get(name);
        let good = entry.and_then(|entry| entry.good.as_ref());
        let resource = Resource {
            kind,
            name: name.to_owned(),
            bytes: good.map(|good| good.bytes.clone()).unwrap_or_default(),
            path: good.map(|good| good.path.clone()).unwrap_or_default(),
            version: good.map(|good| good.version.clone()).unwrap_or_default(),
            problems: Vec::new(),
            idle: Vec::new(),
        };
        (entry.map_or_else(|| Arc::from(""), |entry| Arc::clone(&entry.source)), resource)
    }

    /// The same version, read again.
    pub(super) fn renew(&mut self, name: &str, value: T, now: SystemTime) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        self.revision += 1;
        if let Some(good) = &mut entry.good {
            (good.value, good.since) = (value, now);
            entry.refused = None;
        }
    }

    /// Has the version in force compiled again with its next update.
    pub(super) fn expire(&mut self, name: &str) {
        if let Some(good) = self.entries.get_mut(name).and_then(|entry| entry.good.as_mut()) {
            good.expired = true;
        }
    }

    /// All versions in force, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Good<T>)> {
        self.entries.iter().filter_map(|(name, entry)| Some((name, entry.good.as_ref()?)))
    }

    /// Versions that were refused and are not in force otherwise.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&Entry<T>, &Refused)> {
        let refused = self.entries.values().filter_map(|entry| Some((entry, entry.refused.as_ref()?)));
        refused.filter(|(entry, refused)| entry.good.as_ref().is_none_or(|good| good.bytes != refused.resource.bytes))
    }

    /// Whether one of them is this source's.
    pub(super) fn refuses(&self, source: &str) -> bool {
        self.refused().any(|(entry, _)| *entry.source == *source)
    }

    /// Whether a version is in force that this source gave to the name; of an empty name, to any.
    pub(super) fn keeps(&self, name: &str, source: &str) -> bool {
        match self.by_source.get(source) {
            Some(names) if name.is_empty() => names.iter().any(|name| self.good(name).is_some()),
            Some(names) => names.contains(name) && self.good(name).is_some(),
            None => false,
        }
    }

    /// Everything, by name.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Entry<T>)> {
        self.entries.iter()
    }

    /// Marks what the update does not list any more, and returns the names of it that were in force.
    pub(super) fn unlist(&mut self, update: &Update) -> Vec<Arc<str>> {
        // With a resource whose name could not be read, nothing can be said about what is missing.
        if update.resources.iter().any(|r| r.name.is_empty() && !r.problems.is_empty()) {
            return Vec::new();
        }
        let Some(known) = self.by_source.get(&update.source) else { return Vec::new() };
        let listed: HashSet<&str> = update.resources.iter().map(|r| r.name.as_str()).collect();
        let gone: Vec<Arc<str>> = known.iter().filter(|name| !listed.contains(&***name)).cloned().collect();
        let mut in_force = Vec::with_capacity(gone.len());
        for name in gone {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            self.revision += 1;
            entry.refused = None;
            if entry.good.is_some() {
                self.unlisted.insert(Arc::clone(&name));
                in_force.push(name);
            } else {
                self.remove(&name);
            }
        }
        in_force
    }

    /// The versions in force that their source does not list any more.
    pub(super) fn unlisted(&self) -> Vec<Arc<str>> {
        self.unlisted.iter().cloned().collect()
    }

    /// Takes one out, and returns what was in force.
    pub(super) fn remove(&mut self, name: &str) -> Option<T> {
        let entry = self.entries.remove(name)?;
        self.revision += 1;
        self.unlisted.remove(name);
        if let Some(names) = self.by_source.get_mut(&entry.source) {
            names.remove(name);
            if names.is_empty() {
                self.by_source.remove(&entry.source);
            }
        }
        entry.good.map(|good| good.value)
    }

    /// Compiles what is new or changed; refuses what does not compile, what had problems before, and what another source
    /// has.
    pub(super) fn candidates(
        &mut self,
        update: Update,
        report: &mut Report,
        mut compile: impl FnMut(&Resource, Option<&T>, &mut Problems) -> Option<T>,
    ) -> Vec<Candidate<T>> {
        let mut candidates = Vec::new();
        let mut seen = HashSet::new();
        for resource in update.resources {
            let name: Arc<str> = resource.name.as_str().into();
            let twice = (!seen.insert(Arc::clone(&name))).then(|| format!("the name {name:?} stands here twice"));
            let is_second = twice.is_some();
            if let Some(reason) = twice.or_else(|| self.unusable_name(&resource, &update.source)) {
                // Of a name that could not be read, and of a second one in a document, the reason is told already.
                let known = !resource.problems.is_empty() && (is_second || resource.name.is_empty());
                let problem = (!known).then(|| Problem { path: resource.path.clone(), line: None, reason });
                let problems: Vec<_> = resource.problems.iter().cloned().chain(problem).collect();
                let source = Arc::clone(&update.source);
                let (kind, name, kept) = (resource.kind, resource.name.clone(), self.keeps(&name, &update.source));
                report.asides.push(Aside::of(resource, problems.clone()));
                report.rejected.push(Rejected { kind, name, source, problems, kept });
                continue;
            }
            if !resource.problems.is_empty() {
                // What could be read is compiled all the same: everything is to be told in one go. What compilation says
                // of a field that could not be read (or of what holds it) follows from that and is not told again.
                let mut more = Problems::new();
                let previous = self.good(&name).map(|good| &good.value);
                let _ = compile(&resource, previous, &mut more);
                let mut problems = resource.problems.clone();
                for problem in located(&resource.path, more) {
                    let known =
                        problems.iter().any(|p| p.path.starts_with(&problem.path) || problem.path.starts_with(&p.path));
                    if !known {
                        problems.push(problem);
                    }
                }
                self.refuse(&update.source, resource, problems, report);
                continue;
            }
            let hash = resource.content_hash();
            let same = |good: &&Good<T>| !good.expired && good.hash == hash && good.bytes == resource.bytes;
            if self.good(&name).filter(same).is_some() {
                self.take_over(&name, &update.source);
                self.unlisted.remove(&name);
                if let Some(entry) = self.entries.get_mut(&name) {
                    self.revision += u64::from(entry.refused.take().is_some());
                    if let Some(good) = &mut entry.good {
                        good.path = resource.path;
                    }
                }
                report.unchanged.push(name);
                continue;
            }
            let mut problems = Problems::new();
            let previous = self.good(&name).map(|good| &good.value);
            match compile(&resource, previous, &mut problems) {
                Some(value) if problems.is_empty() => {
                    let warnings = located(&resource.path, problems.take_warnings()).into_iter();
                    let source = &update.source;
                    report.warnings.extend(warnings.map(|problem| Warning { source: Arc::clone(source), problem }));
                    candidates.push(Candidate { name, source: Arc::clone(&update.source), resource, value });
                }
                _ => {
                    let problems = located(&resource.path, problems);
                    self.refuse(&update.source, resource, problems, report);
                }
            }
        }
        candidates
    }

    fn unusable_name(&self, resource: &Resource, source: &Arc<str>) -> Option<String> {
        if resource.name.is_empty() {
            return Some(format!("a {} needs a name", resource.kind.word()));
        }
        let entry = self.entries.get(resource.name.as_str()).filter(|entry| entry.source != *source)?;
        // What was never in force keeps no name from others, nor does what its source has given up.
        if self.unlisted.contains(resource.name.as_str()) {
            return None;
        }
        entry.good.as_ref().map(|_| format!("the name {:?} is taken by {}", resource.name, entry.source))
    }

    /// Puts a candidate in force, and returns what was before.
    pub(super) fn accept(&mut self, candidate: Candidate<T>, now: SystemTime, report: &mut Report) -> Option<T> {
        let Candidate { name, source, resource, value } = candidate;
        report.accepted += 1;
        self.revision += 1;
        let hash = resource.content_hash();
        let Resource { bytes, version, path, .. } = resource;
        let good = Good { hash, bytes, version, path, since: now, value, expired: false };
        self.own(&name, &source);
        self.unlisted.remove(&name);
        let entry = Entry { source, good: Some(good), refused: None };
        self.entries.insert(name, entry)?.good.map(|good| good.value)
    }

    /// Refuses a version; the one in force stays.
    pub(super) fn refuse(
        &mut self,
        source: &Arc<str>,
        resource: Resource,
        problems: Vec<Problem>,
        report: &mut Report,
    ) {
        let name: Arc<str> = resource.name.as_str().into();
        self.revision += 1;
        let (kind, source) = (resource.kind, Arc::clone(source));
        let wanted = Wanted::of(&resource);
        let refused = Some(Refused { resource, problems: problems.clone(), at: SystemTime::now(), wanted });
        if self.unlisted.contains(&name) {
            self.take_over(&name, &source);
        }
        let kept = match self.entries.get_mut(&name) {
            Some(entry) if entry.good.is_some() => {
                entry.refused = refused;
                self.unlisted.remove(&name);
                true
            }
            _ => {
                self.own(&name, &source);
                self.entries.insert(Arc::clone(&name), Entry { source: Arc::clone(&source), good: None, refused });
                false
            }
        };
        report.rejected.push(Rejected { kind, name: (*name).to_owned(), source, problems, kept });
    }

    /// Makes it this source's: the one that had it may have given it up.
    fn take_over(&mut self, name: &Arc<str>, source: &Arc<str>) {
        self.own(name, source);
        if let Some(entry) = self.entries.get_mut(name) {
            entry.source = Arc::clone(source);
        }
    }

    /// Notes whose it is.
    fn own(&mut self, name: &Arc<str>, source: &Arc<str>) {
        if let Some(before) = self.entries.get(name).filter(|entry| entry.source != *source)
            && let Some(names) = self.by_source.get_mut(&before.source)
        {
            names.remove(name);
        }
        self.by_source.entry(Arc::clone(source)).or_default().insert(Arc::clone(name));
    }
}

/// Problems with paths from the top of the document.
pub(super) fn located(path: &str, problems: Problems) -> Vec<Problem> {
    let mut all = Problems::new();
    all.nest(path, problems);
    all.into_vec().into_iter().map(|p| Problem { path: p.path, line: None, reason: p.reason }).collect()
}
