//! Which of a set of files have changed, whichever way they are written.
//!
//! An editor renames a new file over the old one, `cp` truncates and writes, Kubernetes swaps a symlink (`..data`) two
//! steps away. So folders are watched, not files: the folder of each file, and of every symlink on the way to it. What
//! an event says is not believed: it only wakes a look at every file's identity. A slow look without an event covers
//! file systems that announce nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{self, Instant},
};

/// A file is looked at once nothing has happened for so long: a save is several events.
const QUIET: Duration = Duration::from_millis(40);
/// But not later than this after the first event.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often files are looked at without an event.
const SLOW_LOOK: Duration = Duration::from_secs(10);
/// A file changed so short before it was looked at may change again without its times showing it.
const CLOCK_GRAIN: Duration = Duration::from_millis(50);
/// Symlinks followed on the way to a file, as Linux has it.
const MAX_SYMLINKS: usize = 40;

/// Watches a set of files.
#[derive(Debug)]
pub struct FileWatch {
    /// None if the system refuses: then only the slow look is left.
    watcher: Option<RecommendedWatcher>,
    shared: Arc<Shared>,
    /// Folders being watched.
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Look>,
    /// Folders named by `watched_directory`, watched beside the files' own.
    extra_folders: BTreeSet<PathBuf>,
    /// An event has come.
    quiet: Option<Quiet>,
    slow_look_at: Instant,
}

/// When files are looked at after an event.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    /// Then, if no more events come.
    at: Instant,
    /// Then in any case.
    latest: Instant,
}

#[derive(Debug)]
struct Shared {
    relevant: Mutex<Relevant>,
    wake: Notify,
}

/// What an event must be about to matter: other files of the same folder may be written all the time.
#[derive(Debug, Default)]
struct Relevant {
    /// These paths.
    paths: HashSet<PathBuf>,
    /// Anything in these folders.
    folders: HashSet<PathBuf>,
}

/// What identifies a state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    identity: Option<Identity>,
    /// It changed just before this look.
    is_fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Default for FileWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl FileWatch {
    /// Watches nothing yet. If the system refuses to watch, changes are seen later, by the slow look.
    pub fn new() -> Self {
        let shared = Arc::new(Shared { relevant: Mutex::default(), wake: Notify::new() });
        let handler = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| handler.event(event))
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    "files cannot be watched: looking every {} s; raise fs.inotify.max_user_instances or `ulimit -n`",
                    SLOW_LOOK.as_secs()
                );
            });
        Self {
            watcher: watcher.ok(),
            shared,
            folders: BTreeSet::new(),
            files: BTreeMap::new(),
            extra_folders: BTreeSet::new(),
            quiet: None,
            slow_look_at: Instant::now() + SLOW_LOOK,
        }
    }

    /// Watches exactly these files, and folders whose changes announce changes of files. A file that is new here and was
    /// changed after `read_at` counts as changed: whoever read it may have read what it was before.
    pub fn set(
        &mut self,
        files: impl IntoIterator<Item = PathBuf>,
        folders: impl IntoIterator<Item = PathBuf>,
        read_at: SystemTime,
    ) {
        let wanted: BTreeSet<PathBuf> = files.into_iter().collect();
        self.files.retain(|path, _| wanted.contains(path));
        let mut is_late = false;
        for path in wanted {
            self.files.entry(path).or_insert_with_key(|path| {
                let look = look(path, read_at);
                is_late |= look.is_fresh;
                look
            });
        }
        self.extra_folders = folders.into_iter().collect();
        self.follow();
        if is_late {
            self.shared.wake.notify_one();
        }
    }

    /// Waits until files have changed, and says which. A file that is gone has changed, too. May be dropped and called
    /// again: nothing is lost.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            let woken = self.wait_for_quiet().await;
            // First the folders, then the files: what changes in between is announced by the new folders.
            self.follow();
            let changed = self.look_at_all(woken);
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// Until it is time to look; whether that is because of an event.
    async fn wait_for_quiet(&mut self) -> bool {
        loop {
            let notified = self.shared.wake.notified();
            match self.quiet {
                None => {
                    if time::timeout_at(self.slow_look_at, notified).await.is_err() {
                        self.slow_look_at = Instant::now() + SLOW_LOOK;
                        return false;
                    }
                    let now = Instant::now();
                    self.quiet = Some(Quiet { at: now + QUIET, latest: now + PATIENCE });
                }
                Some(quiet) => {
                    if time::timeout_at(quiet.at.min(quiet.latest), notified).await.is_err() {
                        self.quiet = None;
                        return true;
                    }
                    self.quiet = Some(Quiet { at: Instant::now() + QUIET, ..quiet });
                }
            }
        }
    }

    fn look_at_all(&mut self, woken: bool) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, seen) in &mut self.files {
            let now = look(path, SystemTime::now());
            if now.identity != seen.identity || woken && seen.is_fresh {
                changed.push(path.clone());
            }
            *seen = now;
        }
        changed
    }

    /// Brings the watched folders in line with where the files are now: a symlink may point elsewhere.
    fn follow(&mut self) {
        let mut relevant = Relevant::default();
        for path in self.files.keys() {
            trace(path, &mut relevant.paths);
        }
        let parents = |paths: &mut dyn Iterator<Item = &PathBuf>| -> BTreeSet<PathBuf> {
            paths.filter_map(|path| path.parent()).map(Path::to_path_buf).collect()
        };
        let mut folders = parents(&mut relevant.paths.iter());
        folders.extend(self.extra_folders.iter().cloned());
        // A folder may itself be replaced, which only the folder above tells.
        relevant.paths.extend(folders.iter().cloned());
        let above = parents(&mut folders.iter());
        folders.extend(above);
        relevant.folders = self.extra_folders.iter().cloned().collect();
        *self.shared.relevant.lock().unwrap_or_else(PoisonError::into_inner) = relevant;
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.folders.difference(&folders) {
            // A folder that no longer exists is not watched any more: that is what is wanted.
            drop(watcher.unwatch(gone));
        }
        // Watching a folder again costs one call, and heals a watch that was lost because the folder was replaced.
        folders.retain(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok());
        self.folders = folders;
    }
}

impl Shared {
    fn event(&self, event: notify::Result<notify::Event>) {
        let matters = match event {
            // Events were lost: look.
            Err(_) => true,
            Ok(event) if event.need_rescan() => true,
            Ok(event) => match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.concerns(&event.paths),
                EventKind::Access(_) => false,
                _ => self.concerns(&event.paths),
            },
        };
        if matters {
            self.wake.notify_one();
        }
    }

    fn concerns(&self, paths: &[PathBuf]) -> bool {
        let relevant = self.relevant.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in = |path: &Path| path.parent().is_some_and(|folder| relevant.folders.contains(folder));
        paths.iter().any(|path| relevant.paths.contains(path) || is_in(path))
    }
}

/// Looks at a file. It is fresh if it was changed after `since`, or so short before that its times may not tell.
fn look(path: &Path, since: SystemTime) -> Look {
    let identity = fs::metadata(path).ok().map(|m| Identity {
        device: m.dev(),
        inode: m.ino(),
        size: m.size(),
        modified: (m.mtime(), m.mtime_nsec()),
        changed: (m.ctime(), m.ctime_nsec()),
    });
    let changed_at = identity.and_then(|i| {
        let (seconds, nanos) = (u64::try_from(i.changed.0).ok()?, u64::try_from(i.changed.1).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
    });
    let is_old = |at| since.duration_since(at).is_ok_and(|age| age > CLOCK_GRAIN);
    Look { identity, is_fresh: changed_at.is_some_and(|at| !is_old(at)) }
}

/// Collects the file and every symlink on the way to it, in folders as well as at the end.
fn trace(path: &Path, out: &mut HashSet<PathBuf>) {
    let mut open = vec![absolute(path)];
    let mut links = 0;
    while let Some(path) = open.pop() {
        if !out.insert(path.clone()) {
            continue;
        }
        let mut walked = PathBuf::new();
        for component in path.components() {
            walked.push(component);
            let target = match fs::read_link(&walked) {
                Ok(target) => target,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    // What is not there yet shows up in the folder that is.
                    out.insert(walked);
                    break;
                }
                // No symlink.
                Err(_) => continue,
            };
            links += 1;
            if links > MAX_SYMLINKS {
                return;
            }
            out.insert(walked.clone());
            let rest = path.strip_prefix(&walked).unwrap_or_else(|_| Path::new(""));
            let folder = walked.parent().unwrap_or_else(|| Path::new("/"));
            let target = normal(&folder.join(target));
            open.push(if rest.as_os_str().is_empty() { target } else { target.join(rest) });
            break;
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    normal(&std::path::absolute(path).unwrap_or_else(|_: io::Error| path.to_owned()))
}

/// Without `.` and `..`: events name paths in this form.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => (),
            Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    async fn next(watch: &mut FileWatch) -> Vec<PathBuf> {
        time::timeout(Duration::from_secs(8), watch.changed()).await.expect("no change was seen")
    }

    #[tokio::test]
    async fn sees_writes_renames_and_removals() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rds.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new();
        watch.set([file.clone()], [], SystemTime::now());
        fs::write(&file, "bb").unwrap();
        assert_eq!(next(&mut watch).await, std::slice::from_ref(&file));
        let other = dir.path().join("rds.yaml.swp");
        fs::write(&other, "ccc").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(next(&mut watch).await, std::slice::from_ref(&file));
        fs::remove_file(&file).unwrap();
        assert_eq!(next(&mut watch).await, std::slice::from_ref(&file));
        fs::write(&file, "back").unwrap();
        assert_eq!(next(&mut watch).await, [file]);
    }

    #[tokio::test]
    async fn nothing_is_lost_when_a_wait_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rds.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new();
        watch.set([file.clone()], [], SystemTime::now());
        fs::write(&file, "bb").unwrap();
        let mut seen = Vec::new();
        let give_up = Instant::now() + Duration::from_secs(8);
        while seen.is_empty() && Instant::now() < give_up {
            let wait = time::timeout(Duration::from_millis(5), watch.changed());
            seen = wait.await.unwrap_or_default();
        }
        assert_eq!(seen, [file]);
    }

    #[tokio::test]
    async fn sees_a_config_map_swap() {
        let dir = tempfile::tempdir().unwrap();
        let version = |name: &str, text: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("rds.yaml"), text).unwrap();
        };
        version("..v1", "one");
        symlink("..v1", dir.path().join("..data")).unwrap();
        symlink("..data/rds.yaml", dir.path().join("rds.yaml")).unwrap();
        let file = dir.path().join("rds.yaml");
        let mut watch = FileWatch::new();
        watch.set([file.clone()], [], SystemTime::now());
        for (name, text) in [("..v2", "two"), ("..v3", "six")] {
            version(name, text);
            symlink(name, dir.path().join("..data_tmp")).unwrap();
            fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
            assert_eq!(next(&mut watch).await, std::slice::from_ref(&file));
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_made_later_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("later").join("rds.yaml");
        let mut watch = FileWatch::new();
        watch.set([file.clone()], [], SystemTime::now());
        fs::create_dir(dir.path().join("later")).unwrap();
        fs::write(&file, "a").unwrap();
        assert_eq!(next(&mut watch).await, [file]);
    }

    #[tokio::test]
    async fn a_folder_that_is_replaced_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        let file = folder.join("rds.yaml");
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new();
        watch.set([file.clone()], [], SystemTime::now());
        for text in ["bb", "ccc"] {
            let started = Instant::now();
            fs::rename(&folder, dir.path().join(text)).unwrap();
            assert_eq!(next(&mut watch).await, std::slice::from_ref(&file));
            fs::create_dir(&folder).unwrap();
            fs::write(&file, text).unwrap();
            assert_eq!(next(&mut watch).await, std::slice::from_ref(&file));
            assert!(started.elapsed() < SLOW_LOOK / 2, "seen by an event, not by the slow look");
        }
    }

    #[test]
    fn a_symlink_loop_ends() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let mut out = HashSet::new();
        trace(&dir.path().join("a"), &mut out);
        assert!(out.len() <= 4);
    }
}
