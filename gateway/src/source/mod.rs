//! Where resources come from: the bootstrap's static part and watched files.

pub mod file;
pub mod finding;
mod sources;
pub mod watch;

use std::{collections::BTreeSet, future::Future, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify},
    task, time,
};

pub use finding::{Finding, Summary, Texts};
pub use sources::Sources;

use crate::{control::Control, snapshot::Publisher};

/// How often it is looked whether old snapshots can be freed.
const FREE_LOOK: Duration = Duration::from_secs(1);

/// Publishes what changes, for as long as it is polled, and notifies `changed` of what was taken or is gone. Files that were wrong at the
/// start keep /ready from saying yes until they are right.
///
/// Compiling takes long and is done on a thread of its own, one publication after the other: the caller's thread stays free.
pub fn watch(
    mut sources: Sources,
    publisher: Arc<Mutex<Publisher>>,
    control: Control,
    changed: Rc<Notify>,
) -> impl Future<Output = ()> {
    let mut blocked = BTreeSet::new();
    follow_readiness(&sources, &control, &mut blocked);
    async move {
        let mut free = time::interval(FREE_LOOK);
        loop {
            let files = tokio::select! {
                files = sources.changed(&publisher) => files,
                _ = free.tick() => {
                    if let Ok(mut publisher) = publisher.try_lock() {
                        publisher.free_retired();
                    }
                    continue;
                }
            };
            let shared = Arc::clone(&publisher);
            let published = task::spawn_blocking(move || {
                let mut publisher = shared.blocking_lock();
                let before = publisher.changes();
                sources.refresh(&files, &mut publisher);
                (sources, publisher.changes() != before)
            });
            let came;
            (sources, came) = match published.await {
                Ok(published) => published,
                // A defect of the gateway. What serves goes on serving, and who watches learns of it.
                Err(error) => {
                    tracing::error!(target: "config", "the publisher has failed, no change is taken any more: {error}");
                    control.block("publisher", "it has failed, no change is taken any more; restart the gateway");
                    return;
                }
            };
            follow_readiness(&sources, &control, &mut blocked);
            if came {
                changed.notify_one();
            }
        }
    }
}

/// Says on /ready which files are wrong, and takes it back.
fn follow_readiness(sources: &Sources, control: &Control, blocked: &mut BTreeSet<Arc<str>>) {
    let wrong: BTreeSet<Arc<str>> = sources.unready().iter().map(|f| Arc::clone(&f.file)).collect();
    for file in &wrong {
        let of_file = sources.unready().iter().filter(|finding| finding.file == *file);
        let all: Vec<_> = of_file.map(ToString::to_string).collect();
        control.block(&**file, all.join("; "));
    }
    for right in blocked.difference(&wrong) {
        control.unblock(right);
    }
    *blocked = wrong;
}

#[cfg(test)]
mod tests;
