//! Files that configuration names and that change on their own: certificates, keys, modules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use weir_xds::{Kind, Problem};

use super::collection::{Collection, Entry, Refused};
use super::counters::Outcome;
use super::publisher::{Changed, Publisher};
use super::update::{Report, Update};
use crate::tls::SecretSlot;
use crate::tls::secret::Loaded;

/// A file whose change matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchedFile {
    /// Which: for [`Publisher::refresh`].
    pub path: PathBuf,
    /// The folder whose moves announce a change; by default the file's own folder.
    pub directory: Option<PathBuf>,
}

impl Publisher {
    /// Files that what is in force was read from: certificates, keys, lists, and modules of plugins; and those that what
    /// was refused wants to read. Sorted, each once.
    /// Not the files that resources come from: those are [`Publisher::references`].
    pub fn files(&self) -> Vec<WatchedFile> {
        let mut files = BTreeSet::new();
        let named = self.secrets.all().map(|(_, good)| Arc::clone(&good.value));
        let inline = self.inline_secrets().into_iter().filter_map(|(_, slot)| slot.load());
        for loaded in named.chain(inline) {
            let directory = loaded.source.watched_directory().cloned();
            let all = loaded.source.files().into_iter();
            files.extend(all.map(|path| WatchedFile { path, directory: directory.clone() }));
        }
        for (_, good) in self.listeners.all() {
            let managers = good.value.listener.all_chains().map(|chain| &chain.manager);
            let modules = managers.flat_map(|manager| manager.filters.plugins()).filter_map(|plugin| plugin.file());
            files.extend(modules.map(|path| WatchedFile { path: path.to_owned(), directory: None }));
        }
        files.extend(self.secrets.refused().flat_map(|(_, refused)| refused.wanted.files.iter().cloned()));
        files.extend(self.clusters.refused().flat_map(|(_, refused)| refused.wanted.files.iter().cloned()));
        files.extend(self.routes.refused().flat_map(|(_, refused)| refused.wanted.files.iter().cloned()));
        files.extend(self.listeners.refused().flat_map(|(_, refused)| refused.wanted.files.iter().cloned()));
        files.into_iter().collect()
    }

    /// A file changed: what was read from it is read again. What cannot be used is refused, and what was read before
    /// stays. New handshakes see new certificates at once; new requests see new modules.
    pub fn refresh(&mut self, path: &Path) -> Report {
        let started = Instant::now();
        let mut report = Report::default();
        self.refresh_secrets(path, &mut report);
        let mut changed = Changed { listeners: self.refresh_modules(path, &mut report), ..Changed::default() };
        self.retry_waiting(path, &mut report, &mut changed);
        self.swap(&changed);
        self.conclude(started, &report, &changed);
        report
    }

    fn refresh_secrets(&mut self, path: &Path, report: &mut Report) {
        let concerned = self.secrets.all().filter(|(_, good)| reads(&good.value, path));
        let names: Vec<Arc<str>> = concerned.map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            let Some(good) = self.secrets.good(&name) else { continue };
            let version = good.version.clone();
            match good.value.source.clone().load() {
                Ok(loaded) => {
                    let loaded = Arc::new(loaded);
                    self.tls_secrets.publish(&name, Arc::clone(&loaded));
                    self.secrets.renew(&name, loaded, SystemTime::now());
                    let outcome = Outcome::Accepted(&version);
                    self.counters.secret(&self.settings.registry, &name, outcome);
                    report.accepted += 1;
                }
                Err(error) => {
                    let problem = Problem { path: good.path.clone(), line: None, reason: error.to_string() };
                    let (source, resource) = self.secrets.resource(&name, Kind::Secret);
                    self.counters.key_rotation_failed(&self.settings.registry, &name);
                    self.secrets.refuse(&source, resource, vec![problem], report);
                }
            }
        }
        for (owner, slot) in self.inline_secrets() {
            if !slot.load().is_some_and(|loaded| reads(&loaded, path)) {
                continue;
            }
            match slot.reload() {
                Ok(()) => report.accepted += 1,
                Err(error) => report.rejected.push(owner.rejected(error.to_string())),
            }
        }
    }

    /// Compiles listeners again whose plugins run the module.
    fn refresh_modules(&mut self, path: &Path, report: &mut Report) -> bool {
        let concerned = self.listeners.all().filter(|(_, good)| {
            let mut managers = good.value.listener.all_chains().map(|chain| &chain.manager);
            managers.any(|manager| manager.filters.plugins().any(|plugin| plugin.file() == Some(path)))
        });
        let names: Vec<Arc<str>> = concerned.map(|(name, _)| Arc::clone(name)).collect();
        let mut changed = false;
        for name in names {
            let (source, resource) = self.listeners.resource(&name, Kind::Listener);
            self.listeners.expire(&name);
            changed |=
                self.compile_listeners(Update { source, kind: Kind::Listener, resources: vec![resource] }, report);
        }
        changed
    }

    /// Compiles again what was refused and reads the file: it may be there now, or right.
    fn retry_waiting(&mut self, path: &Path, report: &mut Report, changed: &mut Changed) {
        let mut came = false;
        for update in waiting(&self.secrets, path) {
            came |= self.compile_secrets(update, report);
        }
        for update in waiting(&self.clusters, path) {
            changed.clusters |= self.compile_clusters(update, report);
        }
        for update in waiting(&self.routes, path) {
            changed.routes |= self.compile_route_configs(update, report);
        }
        for update in waiting(&self.listeners, path) {
            changed.listeners |= self.compile_listeners(update, report);
        }
        if came || changed.clusters {
            self.retry(report, changed);
        }
    }

    /// Secrets that stand in contexts themselves, each with whose it is.
    fn inline_secrets(&self) -> Vec<(Owner, Arc<SecretSlot>)> {
        let mut all = Vec::new();
        for (name, entry) in self.listeners.entries() {
            let Some(good) = &entry.good else { continue };
            for tls in good.value.listener.all_chains().filter_map(|chain| chain.tls.as_ref()) {
                let inline = tls.secrets().filter(|slot| slot.name().is_empty());
                all.extend(
                    inline.map(|slot| (Owner::new(Kind::Listener, name, &entry.source, &good.path), slot.clone())),
                );
            }
        }
        for (name, entry) in self.clusters.entries() {
            let Some(good) = &entry.good else { continue };
            let Some(tls) = self.table.find(name).and_then(|cluster| cluster.config.tls.as_ref()) else { continue };
            let inline = tls.secrets().filter(|slot| slot.name().is_empty());
            all.extend(inline.map(|slot| (Owner::new(Kind::Cluster, name, &entry.source, &good.path), slot.clone())));
        }
        all
    }
}

/// Whose a secret is that has no name of its own.
struct Owner {
    kind: Kind,
    name: Arc<str>,
    source: Arc<str>,
    path: String,
}

impl Owner {
    fn new(kind: Kind, name: &Arc<str>, source: &Arc<str>, path: &str) -> Self {
        Self { kind, name: Arc::clone(name), source: Arc::clone(source), path: path.to_owned() }
    }

    fn rejected(self, reason: String) -> super::Rejected {
        let problems = vec![Problem { path: self.path, line: None, reason }];
        super::Rejected { kind: self.kind, name: (*self.name).to_owned(), source: self.source, problems, kept: true }
    }
}

/// What was refused, could be read itself, and wants that file.
fn waiting<T>(collection: &Collection<T>, path: &Path) -> Vec<Update> {
    let wants = |refused: &Refused| refused.wanted.files.iter().any(|file| file.path == path);
    let all = collection.refused().filter(|(_, refused)| refused.resource.problems.is_empty() && wants(refused));
    let update = |(entry, refused): (&Entry<T>, &Refused)| {
        let source = Arc::clone(&entry.source);
        Update { source, kind: refused.resource.kind, resources: vec![refused.resource.clone()] }
    };
    all.map(update).collect()
}

fn reads(loaded: &Loaded, path: &Path) -> bool {
    loaded.source.files().iter().any(|file| file == path)
        || loaded.source.watched_directory().is_some_and(|directory| directory == path)
}
