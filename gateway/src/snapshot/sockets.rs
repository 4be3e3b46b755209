//! What binding sockets does to listeners that were taken: only then it is known whether an update of them succeeds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use weir_xds::{Kind, Problem};

use super::dump::{DumpEntry, Rejection};
use super::publisher::Publisher;
use super::update::STATIC;

/// A listener that could not be bound, and is tried again.
#[derive(Clone, Debug)]
pub struct Unbound {
    /// Where, and the system's reason.
    pub reason: String,
    /// When that was first so.
    pub since: SystemTime,
}

/// What of the listeners waits for its sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Those that could not be bound.
    unbound: HashMap<Arc<str>, Unbound>,
    /// Something was taken that has no socket yet.
    pub(super) wanted: bool,
    /// The version of an update that is right so far, and counts when its sockets are bound.
    unsettled: Option<String>,
}

impl Sockets {
    pub(super) fn has_none(&self, listener: &str) -> bool {
        self.unbound.contains_key(listener)
    }
}

impl Publisher {
    /// Counts what became of an update of a source, or has it counted when its sockets are bound.
    pub(super) fn settle_listeners(&mut self, is_right: bool, version: String) {
        // Of two updates before sockets follow, the second decides for both.
        if let Some(before) = self.sockets.unsettled.take() {
            self.counters.listeners_updated(true, &before);
        }
        let waits = std::mem::take(&mut self.sockets.wanted) || self.sockets.unbound.keys().any(|n| self.is_dynamic(n));
        if is_right && waits {
            self.sockets.unsettled = Some(version);
        } else {
            self.counters.listeners_updated(is_right, &version);
        }
    }

    /// Takes note of the sockets: which listeners have none, of which that is new, and how many got theirs. Trying again
    /// is not counted, as in Envoy, which does not.
    pub fn follow_sockets(&mut self, unbound: HashMap<Arc<str>, Unbound>, news: &[Arc<str>], opened: usize) {
        (self.sockets.unbound, self.sockets.wanted) = (unbound, false);
        self.counters.sockets(opened, news.len());
        match self.sockets.unsettled.take() {
            Some(version) => {
                let is_refused = self.sockets.unbound.keys().any(|name| self.is_dynamic(name));
                self.counters.listeners_updated(!is_refused, &version);
            }
            // One that had waited for something else.
            None if news.iter().any(|name| self.is_dynamic(name)) => self.counters.listeners_updated(false, ""),
            None => {}
        }
    }

    fn is_dynamic(&self, listener: &str) -> bool {
        *self.listeners.resource(listener, Kind::Listener).0 != *STATIC
    }

    /// What cannot be bound is not active, and says why. What is in force of it meanwhile, if anything, is not kept in its
    /// wire form: the new version waits.
    pub(super) fn show_unbound(&self, all: &mut [DumpEntry]) {
        for entry in all.iter_mut().take_while(|entry| entry.kind == Kind::Listener) {
            let Some(Unbound { reason, since }) = self.sockets.unbound.get(&entry.name) else { continue };
            let path = self.listeners.good(&entry.name).map(|good| format!("{}.address", good.path));
            let problem = Problem { path: path.unwrap_or_default(), line: None, reason: reason.clone() };
            entry.rejection = Some(Rejection {
                bytes: entry.bytes.clone().unwrap_or_default(),
                version: entry.version.clone(),
                at: *since,
                problems: vec![problem],
            });
            match self.is_held_back(&entry.name) {
                true => entry.warming.push(reason.clone()),
                false if !entry.is_static() => entry.bytes = None,
                false => {}
            }
        }
    }
}
