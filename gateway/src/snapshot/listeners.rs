//! Listeners on their way into force: taken from their sources, held back until they can take over from the version
//! before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use prost::Message;
use weir_xds::{Resource, pb};

use super::compile::listener::{CompiledListener, ListenerCx, compile_listener};
use super::compile::transport_socket::TlsCx;
use super::listener::Listener;
use super::publisher::{Changed, Publisher, decode};
use super::update::{Report, Update};

impl Publisher {
    /// The newest version of each listener that its source has, by name. It is not in force yet if it is
    /// [`Publisher::is_held_back`].
    pub fn newest_listeners(&self) -> Vec<Arc<Listener>> {
        self.listeners.all().map(|(_, good)| Arc::clone(&good.value.listener)).collect()
    }

    /// Whether a former version of the listener is still in force: the newest one waits for something, or listens
    /// elsewhere and is not bound yet.
    pub fn is_held_back(&self, listener: &str) -> bool {
        self.former.contains_key(listener)
    }

    /// Puts the newest versions of these listeners in force: they are bound, or have waited long enough.
    pub fn promote(&mut self, listeners: &[Arc<str>]) {
        let mut changed = Changed::default();
        for name in listeners {
            if let Some(former) = self.former.remove(name) {
                self.retired_listeners.push(former.listener);
                changed.listeners = true;
            }
        }
        let started = Instant::now();
        self.swap(&changed);
        if changed.listeners {
            self.conclude(started, &Report::default(), &changed);
        }
    }

    /// Those that wait for nothing any more and need no new socket.
    pub(super) fn promote_ready(&mut self) -> bool {
        let waits = |name: &Arc<str>, former: &CompiledListener| {
            let newest = self.listeners.good(name).map(|good| &good.value.listener);
            newest.is_some_and(|newest| newest.address != former.listener.address) || !self.awaited(name).is_empty()
        };
        let ready: Vec<Arc<str>> = self
            .former
            .iter()
            .filter(|(name, former)| !waits(name, former))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in &ready {
            self.retired_listeners.extend(self.former.remove(name).map(|former| former.listener));
        }
        !ready.is_empty()
    }

    pub(super) fn listeners_in_force(&self) -> BTreeMap<Arc<str>, Arc<Listener>> {
        let newest = self.listeners.all().map(|(name, good)| (name, &good.value));
        let in_force = newest.map(|(name, newest)| (Arc::clone(name), self.former.get(name).unwrap_or(newest)));
        in_force.map(|(name, compiled)| (name, Arc::clone(&compiled.listener))).collect()
    }

    /// Of a listener that was in force stays what is in force until the new version can take over: clients must not find
    /// nobody listening, or a listener without routes.
    fn supersede(&mut self, name: Arc<str>, before: Option<CompiledListener>) {
        let Some(before) = before else { return };
        match self.former.entry(name) {
            // It never came into force.
            Entry::Occupied(_) => self.retired_listeners.push(before.listener),
            Entry::Vacant(entry) => {
                entry.insert(before);
            }
        }
    }

    pub(super) fn take_listeners(&mut self, mut update: Update, report: &mut Report) -> bool {
        name_by_address(&mut update.resources);
        let gone = self.listeners.unlist(&update);
        let removed = !gone.is_empty();
        for name in gone {
            report.removed += 1;
            self.counters.listener_removed();
            self.retired_listeners.extend(self.former.remove(&name).map(|former| former.listener));
            self.retired_listeners.extend(self.listeners.remove(&name).map(|removed| removed.listener));
        }
        self.compile_listeners(update, report) || removed
    }

    pub(super) fn compile_listeners(&mut self, mut update: Update, report: &mut Report) -> bool {
        self.leave_stopped(&mut update);
        let Self { settings, tls_secrets, tickets, clusters, listeners, .. } = self;
        let cx = ListenerCx {
            registry: &settings.registry,
            plugins: &settings.plugins,
            access_logs: &settings.access_logs,
            tls: TlsCx { secrets: tls_secrets, tickets },
            cluster_exists: &|name| clusters.knows(name),
        };
        let candidates = listeners.candidates(update, report, |resource, _, problems| {
            compile_listener(&decode::<pb::listener::Listener>(resource, problems)?, &cx, problems)
        });
        let candidates = self.without_taken_addresses(candidates, report);
        let candidates = self.without_rival_files(candidates, report);
        let (now, changed) = (SystemTime::now(), !candidates.is_empty());
        for candidate in candidates {
            let (name, address) = (Arc::clone(&candidate.name), candidate.value.listener.address);
            let before = self.listeners.accept(candidate, now, report);
            let has_socket = before.as_ref().is_some_and(|before| before.listener.address == address);
            let has_socket = has_socket && !self.sockets.has_none(&name);
            self.counters.listener(before.is_some(), has_socket);
            self.sockets.wanted |= !has_socket;
            self.supersede(name, before);
        }
        changed
    }
}

/// A listener without a name goes by its address.
fn name_by_address(resources: &mut [Resource]) {
    for resource in resources.iter_mut().filter(|r| r.name.is_empty() && r.problems.is_empty()) {
        use pb::core::{address::Address, socket_address::PortSpecifier::PortValue};
        let proto = pb::listener::Listener::decode(resource.bytes.clone()).unwrap_or_default();
        if let Some(Address::SocketAddress(socket)) = proto.address.and_then(|address| address.address)
            && let (Ok(ip), Some(PortValue(port))) = (socket.address.parse(), socket.port_specifier)
        {
            let port = u16::try_from(port).unwrap_or_default();
            resource.name = std::net::SocketAddr::new(ip, port).to_string();
        }
    }
}
