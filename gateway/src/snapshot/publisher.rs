//! The one writer of configuration: takes what sources have, compiles what changed, swaps one pointer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use prost::Message;
use weir_xds::{Kind, Problem, Resource, pb};

use super::asides::{Aside, Asides};
use super::collection::Collection;
use super::compile::cluster::{ClusterCx, compile_cluster, compile_update, eds_reference};
use super::compile::connection_manager::compile_routes;
use super::compile::listener::{CompiledListener, secrets};
use super::compile::secret::compile_secret;
use super::compile::transport_socket::TlsCx;
use super::counters::{Counters, Outcome};
use super::listener::{Awaited, Listener};
use super::outcomes::Listed;
use super::references::KnownReferences;
use super::snapshot::{RouteConfig, Snapshot};
use super::sockets::Sockets;
use super::stopped::Stopped;
use super::store::SnapshotStore;
use super::update::{Reference, Rejected, Report, STATIC, Update};
use super::{Problems, dump};
use crate::cluster::{Assignment, Cluster, ClusterTable};
use crate::plugin::Plugins;
use crate::telemetry::access_log::Sinks;
use crate::telemetry::metrics::Registry;
use crate::tls::secret::Loaded;
use crate::tls::{Secrets, TicketStore};

/// What the publisher builds with; all of it lives as long as the process.
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// Where metrics are.
    pub registry: Arc<Registry>,
    /// Loads Wasm filters.
    pub plugins: Arc<Plugins>,
    /// Where access logs go; [`Sinks::dry`] to check a configuration.
    pub access_logs: Arc<Sinks>,
}

/// The one writer of configuration. Belongs to the control thread: compiling takes long.
///
/// Each resource stands alone: one that cannot be used is refused with reasons, and its last good version stays. What did
/// not change is reused as it is.
#[derive(Debug)]
pub struct Publisher {
    pub(super) settings: PublisherSettings,
    pub(super) tls_secrets: Secrets,
    pub(super) tickets: Arc<TicketStore>,
    pub(super) secrets: Collection<Arc<Loaded>>,
    pub(super) endpoints: Collection<Assignment>,
    pub(super) clusters: Collection<NamedCluster>,
    pub(super) routes: Collection<Arc<RouteConfig>>,
    pub(super) listeners: Collection<CompiledListener>,
    /// The clusters in force.
    pub(super) table: ClusterTable,
    /// Clusters as they were before those in the table, until the next snapshot is in force.
    replaced: Vec<Arc<Cluster>>,
    /// Which clusters take the assignment of a service.
    pub(super) eds_clusters: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// What of the listeners waits for its sockets.
    pub(super) sockets: Sockets,
    /// Refusals that are only shown.
    pub(super) asides: Asides,
    pub(super) counters: Counters,
    pub(super) store: Arc<SnapshotStore>,
    /// Snapshots that somebody may still hold: freed here, never by a worker.
    retired: Vec<Arc<Snapshot>>,
    changes: u64,
    /// Listeners that connections may still hold, or only a chain of them.
    pub(super) retired_listeners: Vec<Arc<Listener>>,
    /// Former versions of listeners, in force until the new ones can take over.
    pub(super) former: BTreeMap<Arc<str>, CompiledListener>,
    /// Listeners of which no other version is taken.
    pub(super) stopped: Option<Stopped>,
    /// The references as they were when they were last looked for.
    pub(super) known_references: Option<KnownReferences>,
    /// What was warned of, by source and path.
    pub(super) warned: HashSet<(Arc<str>, String)>,
}

/// A cluster with what it names; the cluster itself is in the table.
#[derive(Debug)]
pub(super) struct NamedCluster {
    eds_service: Option<Arc<str>>,
    pub(super) references: Vec<Reference>,
    /// Only until it is accepted.
    compiled: Option<Arc<Cluster>>,
}

/// What of the snapshot has to be built anew.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) clusters: bool,
    pub(super) routes: bool,
    pub(super) listeners: bool,
}

/// What is named comes before what names it.
const ORDER: [Kind; 6] = [Kind::Secret, Kind::Endpoint, Kind::Cluster, Kind::Route, Kind::Listener, Kind::Extension];

impl Publisher {
    /// A publisher that puts snapshots into `store`, of which it is the only writer.
    pub fn new(settings: PublisherSettings, store: Arc<SnapshotStore>) -> Self {
        let counters = Counters::new(&settings.registry);
        Self {
            settings,
            tls_secrets: Secrets::default(),
            tickets: Arc::default(),
            secrets: Collection::default(),
            endpoints: Collection::default(),
            clusters: Collection::default(),
            routes: Collection::default(),
            listeners: Collection::default(),
            table: ClusterTable::new(),
            replaced: Vec::new(),
            eds_clusters: HashMap::new(),
            sockets: Sockets::default(),
            asides: Asides::default(),
            counters,
            store,
            retired: Vec::new(),
            retired_listeners: Vec::new(),
            changes: 0,
            former: BTreeMap::new(),
            stopped: None,
            known_references: None,
            warned: HashSet::new(),
        }
    }

    /// Takes what sources have now, and makes it the newest snapshot as far as it can be used.
    pub fn publish(&mut self, updates: Vec<Update>) -> Report {
        let started = Instant::now();
        let mut report = Report::default();
        let mut changed = Changed::default();
        // Something that others name.
        let mut came = false;
        let mut rest = updates;
        for kind in ORDER {
            let (mine, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|update| update.kind == kind);
            rest = others;
            for update in mine {
                let (source, before, accepted) = (Arc::clone(&update.source), report.rejected.len(), report.accepted);
                let listed = Listed::of(&update, &report);
                let version = update.resources.first().map(|r| r.version.clone()).unwrap_or_default();
                match kind {
                    Kind::Secret => came |= self.take_secrets(update, &mut report),
                    Kind::Endpoint => changed.clusters |= self.take_endpoints(update, &mut report),
                    Kind::Cluster => {
                        let clusters = self.take_clusters(update, &mut report);
                        (came, changed.clusters) = (came | clusters, changed.clusters | clusters);
                    }
                    Kind::Route => changed.routes |= self.take_routes(update, &mut report),
                    Kind::Listener => changed.listeners |= self.take_listeners(update, &mut report),
                    Kind::Extension => refuse_extensions(update, &mut report),
                }
                let is_right = report.rejected.len() == before;
                self.counters.source(kind, &source, &version, is_right, report.accepted > accepted);
                if kind == Kind::Listener && *source != *STATIC {
                    self.settle_listeners(is_right, version);
                }
                self.count_outcomes(&listed, &mut report);
                self.asides.replace(kind, &source, std::mem::take(&mut report.asides));
            }
        }
        if came {
            self.retry(&mut report, &mut changed);
        }
        changed.listeners |= self.promote_ready();
        changed.routes |= self.drop_unnamed(&mut report);
        if changed.listeners || changed.routes {
            self.warn_of_unused(&mut report);
        }
        self.swap(&changed);
        self.conclude(started, &report, &changed);
        report
    }

    /// A source whose document cannot be used as a whole: all that it had stays.
    pub fn refuse(&mut self, source: &Arc<str>, kind: Kind, problems: Vec<Problem>) -> Report {
        let started = Instant::now();
        self.count_failure(source, kind, &problems);
        let kept = self.keeps(kind, source);
        let rejected = Rejected { kind, name: String::new(), source: Arc::clone(source), problems, kept };
        let report = Report { rejected: vec![rejected], ..Report::default() };
        self.conclude(started, &report, &Changed::default());
        report
    }

    /// Whether something of this source is in force.
    fn keeps(&self, kind: Kind, source: &str) -> bool {
        match kind {
            Kind::Secret => self.secrets.keeps("", source),
            Kind::Endpoint => self.endpoints.keeps("", source),
            Kind::Cluster => self.clusters.keeps("", source),
            Kind::Route => self.routes.keeps("", source),
            Kind::Listener => self.listeners.keeps("", source),
            Kind::Extension => false,
        }
    }

    /// Whether a version of a resource is refused that this source has.
    pub fn refuses(&self, source: &str) -> bool {
        self.secrets.refuses(source)
            || self.endpoints.refuses(source)
            || self.clusters.refuses(source)
            || self.routes.refuses(source)
            || self.listeners.refuses(source)
    }

    /// A number that grows whenever something was taken or is gone.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What a listener still waits for; empty if it may listen.
    pub fn awaited(&self, listener: &str) -> Vec<Awaited> {
        let Some(good) = self.listeners.good(listener) else { return Vec::new() };
        let missing = |awaited: &&Awaited| match awaited {
            Awaited::Routes(name) => self.routes.good(name).is_none(),
            Awaited::Secret(name) => self.secrets.good(name).is_none(),
        };
        good.value.listener.waits_for.iter().filter(missing).cloned().collect()
    }

    /// Secrets in use, by name.
    pub fn secrets(&self) -> &Secrets {
        &self.tls_secrets
    }

    /// The store that snapshots go to.
    pub fn store(&self) -> &Arc<SnapshotStore> {
        &self.store
    }

    /// Frees old snapshots that nobody holds any more; to be called now and then. Says how many are still held.
    pub fn free_retired(&mut self) -> usize {
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.retired_listeners.retain(|listener| {
            Arc::strong_count(listener) > 1 || listener.all_chains().any(|chain| Arc::strong_count(chain) > 1)
        });
        self.retired.len()
    }

    /// Everything there is, for `/config_dump`.
    pub fn dump(&self) -> Vec<dump::DumpEntry> {
        dump::dump(self)
    }

    fn take_secrets(&mut self, update: Update, report: &mut Report) -> bool {
        self.secrets.unlist(&update);
        self.compile_secrets(update, report)
    }

    pub(super) fn compile_secrets(&mut self, update: Update, report: &mut Report) -> bool {
        let candidates = self.secrets.candidates(update, report, |resource, _, problems| {
            compile_secret(&decode::<pb::tls::Secret>(resource, problems)?, problems)
        });
        let (now, changed) = (SystemTime::now(), !candidates.is_empty());
        for candidate in candidates {
            if *candidate.source != *STATIC {
                let outcome = Outcome::Accepted(&candidate.resource.version);
                self.counters.secret(&self.settings.registry, &candidate.name, outcome);
            }
            self.tls_secrets.publish(&candidate.name, Arc::clone(&candidate.value));
            self.secrets.accept(candidate, now, report);
        }
        changed
    }

    fn take_endpoints(&mut self, update: Update, report: &mut Report) -> bool {
        self.endpoints.unlist(&update);
        let candidates = self.endpoints.candidates(update, report, |resource, _, problems| {
            compile_update(&decode::<pb::endpoint::ClusterLoadAssignment>(resource, problems)?, problems)
        });
        let (now, mut changed) = (SystemTime::now(), false);
        for candidate in candidates {
            for name in self.eds_clusters.get(&candidate.name).into_iter().flatten() {
                let Some(before) = self.table.find(name) else { continue };
                let cluster = Arc::new(before.with_assignment(candidate.value.clone()));
                self.counters.members(before, &cluster);
                self.counters.endpoints(&cluster, Outcome::Accepted(&candidate.resource.version));
                self.replaced.extend(self.table.insert(cluster));
                changed = true;
            }
            self.endpoints.accept(candidate, now, report);
        }
        changed
    }

    fn take_clusters(&mut self, update: Update, report: &mut Report) -> bool {
        let gone = self.clusters.unlist(&update);
        let changed = !gone.is_empty();
        for name in gone {
            report.removed += 1;
            self.counters.cluster_removed();
            self.replaced.extend(self.table.remove(&name));
            let removed = self.clusters.remove(&name);
            self.unlink(&name, removed.as_ref());
        }
        self.compile_clusters(update, report) || changed
    }

    pub(super) fn compile_clusters(&mut self, update: Update, report: &mut Report) -> bool {
        let (registry, table, endpoints) = (&self.settings.registry, &self.table, &self.endpoints);
        let tls = TlsCx { secrets: &self.tls_secrets, tickets: &self.tickets };
        let candidates = self.clusters.candidates(update, report, |resource, _, problems| {
            let proto = decode::<pb::cluster::Cluster>(resource, problems)?;
            let eds = eds_reference(&proto);
            let assignment = eds.as_ref().and_then(|eds| endpoints.good(&eds.name)).map(|good| &good.value);
            let previous = table.find(&resource.name).map(|cluster| &**cluster);
            let compiled = compile_cluster(&proto, ClusterCx { registry, tls, assignment, previous }, problems);
            let mut inner = Problems::new();
            let sources = secrets(proto.transport_socket.as_ref(), &mut inner);
            problems.nest("transport_socket", inner);
            let references = eds.into_iter().chain(sources.into_iter().map(|source| source.reference)).collect();
            let compiled = compiled?;
            let eds_service = compiled.config.eds_service.clone();
            Some(NamedCluster { eds_service, references, compiled: Some(compiled) })
        });
        let candidates = self.without_rival_files(candidates, report);
        let (now, changed) = (SystemTime::now(), !candidates.is_empty());
        for mut candidate in candidates {
            let Some(cluster) = candidate.value.compiled.take() else { continue };
            let replaced = self.table.insert(Arc::clone(&cluster));
            self.counters.cluster(&cluster, replaced.is_some());
            self.replaced.extend(replaced);
            let (name, service) = (Arc::clone(&candidate.name), candidate.value.eds_service.clone());
            let before = self.clusters.accept(candidate, now, report);
            self.unlink(&name, before.as_ref());
            if let Some(service) = service {
                self.eds_clusters.entry(service).or_default().insert(name);
            }
        }
        changed
    }

    /// Forgets that a cluster took the assignment of a service.
    fn unlink(&mut self, name: &Arc<str>, cluster: Option<&NamedCluster>) {
        let Some(service) = cluster.and_then(|cluster| cluster.eds_service.as_ref()) else { return };
        if let Some(names) = self.eds_clusters.get_mut(service) {
            names.remove(name);
            if names.is_empty() {
                self.eds_clusters.remove(service);
            }
        }
    }

    fn take_routes(&mut self, update: Update, report: &mut Report) -> bool {
        self.routes.unlist(&update);
        self.compile_route_configs(update, report)
    }

    pub(super) fn compile_route_configs(&mut self, update: Update, report: &mut Report) -> bool {
        let table = &self.table;
        let candidates = self.routes.candidates(update, report, |resource, _, problems| {
            let proto = decode::<pb::route::RouteConfiguration>(resource, problems)?;
            compile_routes(&proto, false, &|name| table.find(name).is_some(), problems).map(Arc::new)
        });
        let (now, changed) = (SystemTime::now(), !candidates.is_empty());
        for candidate in candidates {
            let outcome = Outcome::Accepted(&candidate.resource.version);
            self.counters.routes(&self.listeners, &candidate.name, outcome);
            self.routes.accept(candidate, now, report);
        }
        changed
    }

    /// Compiles again what was refused before and may be right now that something it names has come.
    pub(super) fn retry(&mut self, report: &mut Report, changed: &mut Changed) {
        let tried: HashSet<(Kind, String)> = report.rejected.iter().map(|r| (r.kind, r.name.clone())).collect();
        let clusters = refused(&self.clusters, &tried);
        changed.clusters |= self.retry_all(clusters, report, Self::compile_clusters);
        let routes = refused(&self.routes, &tried);
        changed.routes |= self.retry_all(routes, report, Self::compile_route_configs);
        let listeners = refused(&self.listeners, &tried);
        changed.listeners |= self.retry_all(listeners, report, Self::compile_listeners);
    }

    /// What is still refused was reported then.
    fn retry_all(
        &mut self,
        updates: Vec<Update>,
        report: &mut Report,
        compile: fn(&mut Self, Update, &mut Report) -> bool,
    ) -> bool {
        let mut again = Report::default();
        let changed = updates.into_iter().fold(false, |changed, update| compile(self, update, &mut again) | changed);
        report.accepted += again.accepted;
        report.warnings.append(&mut again.warnings);
        changed
    }

    /// Takes out what neither its source lists nor anything names. Says whether routes are among it.
    fn drop_unnamed(&mut self, report: &mut Report) -> bool {
        let (secrets, endpoints, routes) = (self.secrets.unlisted(), self.endpoints.unlisted(), self.routes.unlisted());
        if secrets.is_empty() && endpoints.is_empty() && routes.is_empty() {
            return false;
        }
        let named: HashSet<(Kind, String)> = self.references().iter().map(|r| (r.kind, r.name.clone())).collect();
        let unnamed = |kind: Kind, names: Vec<Arc<str>>| {
            names.into_iter().filter(|name| !named.contains(&(kind, name.to_string()))).collect::<Vec<_>>()
        };
        for name in unnamed(Kind::Secret, secrets) {
            self.tls_secrets.remove(&name);
            self.counters.secret_removed(&name);
            self.secrets.remove(&name);
            report.removed += 1;
        }
        for name in unnamed(Kind::Endpoint, endpoints) {
            self.endpoints.remove(&name);
            report.removed += 1;
        }
        let routes = unnamed(Kind::Route, routes);
        for name in &routes {
            self.routes.remove(name);
            report.removed += 1;
        }
        !routes.is_empty()
    }

    /// Makes the next snapshot of what is in force, if anything of it changed.
    pub(super) fn swap(&mut self, changed: &Changed) {
        self.free_retired();
        if !(changed.clusters || changed.routes || changed.listeners) {
            return;
        }
        let mut next = Snapshot::clone(&self.store.load());
        next.version += 1;
        if changed.clusters {
            next.clusters = self.table.clone();
            let of_bootstrap = self.clusters.entries().filter(|(_, entry)| *entry.source == *STATIC);
            next.static_clusters = Arc::new(of_bootstrap.map(|(name, _)| Arc::clone(name)).collect());
        }
        if changed.routes {
            let all = self.routes.all().map(|(name, good)| (Arc::clone(name), Arc::clone(&good.value)));
            next.routes = Arc::new(all.collect());
        }
        if changed.listeners {
            next.listeners = Arc::new(self.listeners_in_force());
        }
        self.retired.push(self.store.swap(Arc::new(next)));
        for cluster in std::mem::take(&mut self.replaced) {
            cluster.endpoints.leave(self.table.find(cluster.name()).map(|now| &*now.endpoints));
        }
    }

    /// Tells what was done.
    pub(super) fn conclude(&mut self, started: Instant, report: &Report, changed: &Changed) {
        let version = self.store.load().version;
        let published = changed.clusters || changed.routes || changed.listeners;
        self.changes += u64::from(published || report.accepted > 0 || report.removed > 0);
        self.counters.publication(started.elapsed(), version, published, report.rejected.len());
        self.counters.clusters(self.table.len());
        for rejected in &report.rejected {
            let reasons: Vec<_> = rejected.problems.iter().map(ToString::to_string).collect();
            tracing::warn!(
                target: "config",
                kind = rejected.kind.word(),
                name = rejected.name,
                source = &*rejected.source,
                last_good_kept = rejected.kept,
                "rejected: {}",
                reasons.join("; ")
            );
        }
        let Report { accepted, unchanged, removed, rejected, .. } = report;
        let (unchanged, rejected) = (unchanged.len(), rejected.len());
        if *accepted == 0 && *removed == 0 && rejected == 0 {
            tracing::debug!(target: "config", version, unchanged, "nothing changed");
        } else {
            tracing::info!(target: "config", version, accepted, unchanged, removed, rejected, "configuration taken");
        }
    }
}

/// The message of a resource.
pub(super) fn decode<M: Message + Default>(resource: &Resource, problems: &mut Problems) -> Option<M> {
    M::decode(resource.bytes.clone()).map_err(|e| problems.push("", format!("malformed: {e}"))).ok()
}

/// Versions that were refused before this publication, though they could be read.
fn refused<T>(collection: &Collection<T>, tried: &HashSet<(Kind, String)>) -> Vec<Update> {
    let all = collection.entries().filter_map(|(_, entry)| Some((entry, &entry.refused.as_ref()?.resource)));
    all.filter(|(_, r)| r.problems.is_empty() && !tried.contains(&(r.kind, r.name.clone())))
        .map(|(entry, r)| Update { source: Arc::clone(&entry.source), kind: r.kind, resources: vec![r.clone()] })
        .collect()
}

fn refuse_extensions(update: Update, report: &mut Report) {
    for resource in update.resources {
        let reason = "filters over ECDS are not supported: configure them in the connection manager".to_owned();
        let problem = Problem { path: resource.path.clone(), line: None, reason };
        let problems: Vec<_> = resource.problems.iter().cloned().chain([problem]).collect();
        let (kind, name, source) = (resource.kind, resource.name.clone(), Arc::clone(&update.source));
        report.asides.push(Aside::of(resource, problems.clone()));
        report.rejected.push(Rejected { kind, name, source, problems, kept: false });
    }
}
