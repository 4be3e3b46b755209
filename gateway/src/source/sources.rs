//! From the bootstrap and watched files to the publisher, at start and whenever a file changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::Mutex;
use weir_xds::{Bootstrap, Idle, Kind, Problem, Resource, content_hash, pb};

use super::{
    file::{self, FileError},
    finding::{Finding, Summary, Texts},
    watch::FileWatch,
};
use crate::snapshot::{Publisher, Reference, Report, Update, update::STATIC};

/// A file of resources, and what was read from it.
type FileKey = (Kind, PathBuf);

/// All sources of one gateway.
#[derive(Debug)]
pub struct Sources {
    /// For the names and lines of what is wrong; without texts once everything is loaded.
    texts: Texts,
    /// What is wrong with the bootstrap outside of its resources; empty once everything is loaded.
    config_problems: Vec<Problem>,
    /// Empty once everything is loaded.
    static_resources: Vec<Resource>,
    /// The files of LDS and CDS: they are always there, while others come and go with what names them.
    roots: Vec<Reference>,
    /// Names of the resources in each file, as last read; None while it cannot be used.
    files: BTreeMap<FileKey, Option<BTreeSet<String>>>,
    /// Hashes of what files held when they were first read, until they are looked at again.
    first_read: BTreeMap<FileKey, u64>,
    /// References that have been reported to lead nowhere.
    dangling: BTreeSet<Reference>,
    /// Files that were not right at the start, until they are.
    unready: Vec<Finding>,
    /// What was looked for in files that are right, and was not there, as last told.
    lacking: Vec<Finding>,
    /// What is right and most likely not meant, as far as it was found at the start.
    warnings: Vec<Finding>,
    /// What is set and changes nothing, as far as it was found at the start; each with its file.
    idle: Vec<(Arc<str>, Idle)>,
    summary: Summary,
    /// Files in the state they had then, or before, have been read.
    read_at: SystemTime,
    watch: Option<FileWatch>,
}

impl Sources {
    /// Sources of a bootstrap. Nothing is read yet.
    pub fn new(texts: Texts, bootstrap: Bootstrap) -> Self {
        let dynamic = bootstrap.proto.dynamic_resources.unwrap_or_default();
        let root = |kind, config: Option<pb::core::ConfigSource>| root_reference(kind, &config?);
        let mut idle = bootstrap.idle;
        Idle::gather(&mut idle, bootstrap.resources.iter().flat_map(|resource| resource.idle.iter().cloned()));
        let idle = idle.into_iter().filter_map(|idle| texts.place(idle)).collect();
        let roots = [root(Kind::Cluster, dynamic.cds_config), root(Kind::Listener, dynamic.lds_config)];
        Self {
            texts,
            config_problems: bootstrap.problems,
            static_resources: bootstrap.resources,
            roots: roots.into_iter().flatten().collect(),
            files: BTreeMap::new(),
            first_read: BTreeMap::new(),
            dangling: BTreeSet::new(),
            unready: Vec::new(),
            lacking: Vec::new(),
            warnings: Vec::new(),
            idle,
            summary: Summary::default(),
            read_at: SystemTime::now(),
            watch: None,
        }
    }

    /// Publishes everything there is. What is returned are reasons not to start: the bootstrap itself is wrong, or names
    /// a file that is not there. What is wrong in files is told by [`Sources::unready`].
    pub fn load(&mut self, publisher: &mut Publisher) -> Vec<Finding> {
        self.read_at = SystemTime::now();
        let mut findings = self.texts.findings(mem::take(&mut self.config_problems));
        let mut updates = Vec::new();
        let mut resources = mem::take(&mut self.static_resources);
        for kind in [Kind::Secret, Kind::Cluster, Kind::Listener] {
            let of_kind: Vec<_> = resources.extract_if(.., |r| r.kind == kind).collect();
            if !of_kind.is_empty() {
                self.summary.add(kind, of_kind.len());
                updates.push(Update { source: Arc::from(STATIC), kind, resources: of_kind });
            }
        }
        updates.extend(self.read_new(&[], publisher, &mut findings));
        self.publish(updates, publisher, &mut findings);
        self.texts = Texts { name: mem::take(&mut self.texts.name), ..Texts::default() };
        let (fatal, unready) = findings.into_iter().partition(|f| f.is_fatal);
        self.unready = unready;
        fatal
    }

    /// What was wrong with files at the start and is not right yet.
    pub fn unready(&self) -> &[Finding] {
        &self.unready
    }

    /// What is named and not there, though its file is. As in Envoy only what needs it does without: a listener waits for a
    /// while, a cluster has no endpoints or refuses handshakes.
    pub fn lacking(&self) -> &[Finding] {
        &self.lacking
    }

    /// What is right and most likely not meant, as far as it was found at the start.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// What is set and changes nothing, as far as it was found at the start, the bootstrap's first.
    pub fn idle(&self) -> &[(Arc<str>, Idle)] {
        &self.idle
    }

    /// Waits until files have changed, and says which. To be followed by [`Sources::refresh`].
    pub async fn changed(&mut self, publisher: &Mutex<Publisher>) -> Vec<PathBuf> {
        if self.watch.is_none() {
            let mut publisher = publisher.lock().await;
            self.watch = Some(FileWatch::new());
            self.follow(&mut publisher);
        }
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => Vec::new(),
        }
    }

    /// Reads changed files again and publishes what is in them. What cannot be used is found wrong, and what was in
    /// force before stays.
    pub fn refresh(&mut self, changed: &[PathBuf], publisher: &mut Publisher) -> Vec<Finding> {
        self.read_at = SystemTime::now();
        let mut findings = Vec::new();
        let keys: Vec<_> = self.files.keys().filter(|(_, path)| changed.contains(path)).cloned().collect();
        let mut updates = Vec::new();
        for key in &keys {
            let contents = file::contents(&key.1);
            if !self.is_as_first_read(key, &contents) {
                updates.extend(self.take(key, contents, publisher, &mut findings));
            }
        }
        for path in changed.iter().filter(|path| !keys.iter().any(|(_, p)| p == *path)) {
            let report = publisher.refresh(path);
            self.rejections(report, &mut findings);
        }
        // What was refused until now may name files.
        updates.extend(self.read_new(&publisher.references(), publisher, &mut findings));
        self.publish(updates, publisher, &mut findings);
        self.follow_unready(&findings, publisher);
        findings.extend_from_slice(&self.lacking);
        findings
    }

    /// Keeps of what was wrong at the start what still is, in its newest words.
    fn follow_unready(&mut self, findings: &[Finding], publisher: &Publisher) {
        let before = mem::take(&mut self.unready);
        let is_wrong = |file: &Arc<str>| {
            let unusable = self.files.iter().any(|((_, path), names)| names.is_none() && *path == *Path::new(&**file));
            unusable || publisher.refuses(file)
        };
        let files: BTreeSet<&Arc<str>> = before.iter().map(|f| &f.file).filter(|file| is_wrong(file)).collect();
        let is_told_anew = |file: &Arc<str>| findings.iter().any(|f| f.file == *file);
        let old = before.iter().filter(|f| files.contains(&f.file) && !is_told_anew(&f.file));
        let new = findings.iter().filter(|f| files.contains(&f.file));
        self.unready = old.chain(new).cloned().collect();
    }

    /// How many resources there are.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Publishes, reads files that are named for the first time, and publishes again, until nothing new is named.
    fn publish(&mut self, mut updates: Vec<Update>, publisher: &mut Publisher, findings: &mut Vec<Finding>) {
        while !updates.is_empty() {
            let report = publisher.publish(mem::take(&mut updates));
            self.rejections(report, findings);
            let references = publisher.references();
            // What one file gives up another may have.
            updates = self.let_go(&references, publisher, findings);
            updates.extend(self.read_new(&references, publisher, findings));
        }
        let references = publisher.references();
        self.report_dangling(&references, publisher);
        self.follow(publisher);
    }

    /// Reads files that were not read before.
    fn read_new(
        &mut self,
        references: &[Reference],
        publisher: &mut Publisher,
        findings: &mut Vec<Finding>,
    ) -> Vec<Update> {
        let wanted: BTreeSet<(Kind, &Path)> = self.roots.iter().chain(references).map(|r| (r.kind, &*r.path)).collect();
        let wanted = wanted.into_iter().map(|(kind, path)| (kind, path.to_owned()));
        let new: Vec<FileKey> = wanted.filter(|key| !self.files.contains_key(key)).collect();
        new.iter().filter_map(|key| self.read(key, publisher, findings)).collect()
    }

    /// A file that was written just before it was first read is looked at once more. If it holds the same still, that is no
    /// further update.
    fn is_as_first_read(&mut self, key: &FileKey, contents: &Result<Vec<u8>, FileError>) -> bool {
        let Some(hash) = self.first_read.remove(key) else { return false };
        contents.as_ref().is_ok_and(|contents| content_hash(contents) == hash)
    }

    fn read(&mut self, key: &FileKey, publisher: &mut Publisher, findings: &mut Vec<Finding>) -> Option<Update> {
        self.take(key, file::contents(&key.1), publisher, findings)
    }

    fn take(
        &mut self,
        key: &FileKey,
        contents: Result<Vec<u8>, FileError>,
        publisher: &mut Publisher,
        findings: &mut Vec<Finding>,
    ) -> Option<Update> {
        let is_first = !self.files.contains_key(key);
        if let (true, Ok(contents)) = (is_first, &contents) {
            self.first_read.insert(key.clone(), content_hash(contents));
        }
        match contents.and_then(|contents| file::resources(key.0, &key.1, &contents)) {
            Ok(update) => {
                if is_first {
                    self.summary.add(key.0, update.resources.len());
                    let mut idle = Vec::new();
                    Idle::gather(&mut idle, update.resources.iter().flat_map(|resource| resource.idle.iter().cloned()));
                    self.idle.extend(idle.into_iter().map(|idle| (Arc::clone(&update.source), idle)));
                }
                let names = update.resources.iter().map(|r| r.name.clone()).collect();
                self.files.insert(key.clone(), Some(names));
                Some(update)
            }
            Err(error) => {
                let source: Arc<str> = Arc::from(key.1.display().to_string());
                let is_fatal = is_first && matches!(error, FileError::Unreadable { .. });
                // What it had before stays, and so do its names.
                self.files.entry(key.clone()).or_default();
                let problems = error.problems();
                publisher.refuse(&source, key.0, problems.clone());
                // One that is not there is the fault of what names it.
                if is_fatal && let Some((namer, path)) = self.namer(key, publisher) {
                    let reason = format!("{source}: {}", error.reason());
                    let found = self.located(&namer, vec![Problem { path, line: None, reason }]);
                    findings.extend(found.into_iter().map(|finding| Finding { is_fatal, ..finding }));
                    return None;
                }
                let file = source;
                findings.extend(problems.into_iter().map(|problem| Finding {
                    file: Arc::clone(&file),
                    problem,
                    is_fatal,
                }));
                None
            }
        }
    }

    /// Who names a file, and the path of the field that does.
    fn namer(&self, (kind, file): &FileKey, publisher: &Publisher) -> Option<(Arc<str>, String)> {
        if self.roots.iter().any(|root| root.kind == *kind && root.path == *file) {
            let field = if *kind == Kind::Cluster { "cds_config" } else { "lds_config" };
            return Some((Arc::from(STATIC), format!("dynamic_resources.{field}")));
        }
        publisher.place_of(file.to_str()?)
    }

    /// Problems of a source as findings, with their lines.
    fn located(&self, source: &Arc<str>, mut problems: Vec<Problem>) -> Vec<Finding> {
        if **source == *STATIC {
            return self.texts.findings(problems);
        }
        file::locate(Path::new(&**source), &mut problems);
        let all = problems.into_iter();
        all.map(|problem| Finding { file: Arc::clone(source), problem, is_fatal: false }).collect()
    }

    /// Files that nothing names any more have nothing to say. What another file has under the same names was refused as long as they
    /// were taken, so that one is read again.
    fn let_go(
        &mut self,
        references: &[Reference],
        publisher: &mut Publisher,
        findings: &mut Vec<Finding>,
    ) -> Vec<Update> {
        let named: BTreeSet<(Kind, &Path)> =
            self.roots.iter().chain(references).map(|r| (r.kind, r.path.as_path())).collect();
        let is_named = |(kind, path): &FileKey| named.contains(&(*kind, path.as_path()));
        let gone: Vec<FileKey> = self.files.keys().filter(|key| !is_named(key)).cloned().collect();
        let (mut updates, mut again) = (Vec::new(), BTreeSet::new());
        for key in gone {
            self.first_read.remove(&key);
            let freed = self.files.remove(&key).flatten().unwrap_or_default();
            let has_one = |names: &BTreeSet<String>| names.iter().any(|name| freed.contains(name));
            let rivals =
                self.files.iter().filter(|((kind, _), names)| *kind == key.0 && names.as_ref().is_some_and(has_one));
            again.extend(rivals.map(|(key, _)| key.clone()));
            updates.push(Update { source: Arc::from(key.1.display().to_string()), kind: key.0, resources: Vec::new() });
        }
        updates.extend(again.iter().filter_map(|key| self.read(key, publisher, findings)));
        updates
    }

    /// A file can be right and still not have what is looked for in it.
    fn report_dangling(&mut self, references: &[Reference], publisher: &Publisher) {
        let files = self.files.iter().filter_map(|((kind, path), names)| Some(((*kind, &**path), names.as_ref()?)));
        let files: BTreeMap<(Kind, &Path), &BTreeSet<String>> = files.collect();
        let leads_nowhere =
            |r: &&Reference| files.get(&(r.kind, &*r.path)).is_some_and(|names| !names.contains(&r.name));
        let dangling: BTreeSet<Reference> = references.iter().filter(leads_nowhere).cloned().collect();
        let mut lacking = Vec::new();
        for reference in dangling.difference(&self.dangling) {
            let mut reason =
                format!("has no {} named {:?}, which is looked for in it", reference.kind.word(), reference.name);
            let namer = reference.path.to_str().and_then(|file| publisher.place_of(file));
            if let Some((source, path)) = namer {
                let place = self.located(&source, vec![Problem { path, line: None, reason: "named here".to_owned() }]);
                reason.extend(place.iter().map(|place| format!(" ({place})")));
            }
            tracing::warn!(file = %reference.path.display(), "{reason}");
            lacking.push(Finding {
                file: Arc::from(reference.path.display().to_string()),
                problem: Problem { path: String::new(), line: None, reason },
                is_fatal: false,
            });
        }
        self.dangling = dangling;
        self.lacking = lacking;
    }

    fn rejections(&mut self, report: Report, findings: &mut Vec<Finding>) {
        for rejected in report.rejected {
            findings.extend(self.located(&rejected.source, rejected.problems));
        }
        let mut by_source: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for warning in report.warnings {
            by_source.entry(warning.source).or_default().push(warning.problem);
        }
        for (source, problems) in by_source {
            for finding in self.located(&source, problems) {
                tracing::warn!(target: "config", "{finding}");
                self.warnings.push(Finding { is_fatal: false, ..finding });
            }
        }
    }

    /// Watches what is named now.
    fn follow(&mut self, publisher: &mut Publisher) {
        let Some(watch) = &mut self.watch else { return };
        let data = publisher.files();
        let references = publisher.references();
        let paths = self.files.keys().map(|(_, path)| path.clone()).chain(data.iter().map(|f| f.path.clone()));
        let named = self.roots.iter().chain(&*references).filter_map(|r| r.watched_directory.clone());
        let folders = named.chain(data.iter().filter_map(|f| f.directory.clone()));
        watch.set(paths.collect::<Vec<_>>(), folders.collect::<Vec<_>>(), self.read_at);
    }
}

/// The file of `lds_config` or `cds_config`; what is no file is refused with the bootstrap.
fn root_reference(kind: Kind, config: &pb::core::ConfigSource) -> Option<Reference> {
    use pb::core::config_source::ConfigSourceSpecifier;

    let (path, watched_directory) = match config.config_source_specifier.as_ref()? {
        ConfigSourceSpecifier::PathConfigSource(source) => {
            (source.path.clone(), source.watched_directory.as_ref().map(|d| PathBuf::from(&d.path)))
        }
        #[expect(deprecated, reason = "still read, as Envoy does")]
        ConfigSourceSpecifier::Path(path) => (path.clone(), None),
        _ => return None,
    };
    // An empty path is refused with the bootstrap, too.
    (!path.is_empty()).then(|| Reference { kind, name: String::new(), path: path.into(), watched_directory })
}
