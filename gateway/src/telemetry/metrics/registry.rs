//! All scopes of a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::scope::{Kind, Scope, ScopeName, ScopeState};

/// All scopes of a process. Made once, by `app`, and shared.
#[derive(Debug)]
pub struct Registry {
    chunks: usize,
    scopes: Mutex<Scopes>,
}

#[derive(Debug, Default)]
struct Scopes {
    by_name: HashMap<(&'static str, Arc<str>), Weak<ScopeState>>,
    /// Scopes that stand for the process as a whole live as long as it does.
    kept: Vec<Arc<ScopeState>>,
    /// Size at which dead entries are looked for next.
    sweep_at: usize,
}

impl Registry {
    /// A registry for that many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { chunks: workers + 1, scopes: Mutex::default() })
    }

    /// The scope of that kind and name: the existing one while anybody holds it, so that counters survive a change of
    /// configuration. Kinds without a name (name `""`) live for ever.
    pub fn scope<K: Kind>(&self, _kind: K, name: impl ScopeName) -> Scope<K> {
        let table = K::TABLE;
        let key: Arc<str> = name.key().into();
        let mut scopes = self.lock();
        if let Some(found) = scopes.by_name.get(&(table.pattern, key.clone())).and_then(Weak::upgrade) {
            return Scope::of(found);
        }
        if scopes.by_name.len() >= scopes.sweep_at {
            scopes.by_name.retain(|_, scope| scope.strong_count() > 0);
            scopes.sweep_at = (scopes.by_name.len() * 2).max(64);
        }
        let state = Arc::new(ScopeState::new(table, key.clone(), self.chunks));
        scopes.by_name.insert((table.pattern, key), Arc::downgrade(&state));
        if !table.pattern.contains('{') {
            scopes.kept.push(state.clone());
        }
        Scope::of(state)
    }

    /// Sets all counters back to zero for the reader.
    pub fn reset_counters(&self) {
        self.living().iter().for_each(|scope| scope.reset_counters());
    }

    /// All scopes in the order of their names.
    pub(super) fn living(&self) -> Vec<Arc<ScopeState>> {
        let mut all: Vec<_> = self.lock().by_name.values().filter_map(Weak::upgrade).collect();
        all.sort_by_cached_key(|scope| scope.prefix());
        all
    }

    fn lock(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
