//! Listeners that were stopped for good (`/drain_listeners`). As in Envoy they are told of as long as their source has
//! them, and no other version of them is taken.

use prost::Message;
use weir_xds::{Resource, pb};

use super::listener::Listener;
use super::publisher::Publisher;
use super::update::Update;

/// Which listeners were stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All, those that are yet to come included.
    All,
    /// Those whose `traffic_direction` is INBOUND.
    Inbound,
}

impl Stopped {
    /// Whether the listener is among them.
    pub fn concerns(self, listener: &Listener) -> bool {
        self == Self::All || listener.inbound
    }

    fn concerns_resource(self, resource: &Resource) -> bool {
        let inbound = pb::core::TrafficDirection::Inbound;
        let listener = |bytes| pb::listener::Listener::decode(bytes).ok();
        self == Self::All || listener(resource.bytes.clone()).is_some_and(|l| l.traffic_direction() == inbound)
    }
}

impl Publisher {
    /// From now on these are left as they are; `count` of them listened until now.
    pub fn stop_listeners(&mut self, which: Stopped, count: usize) {
        if self.stopped != Some(Stopped::All) {
            self.stopped = Some(which);
        }
        self.counters.listeners_stopped(count);
    }

    /// Takes new and changed versions of stopped listeners out of an update, and says so.
    pub(super) fn leave_stopped(&self, update: &mut Update) {
        let Some(which) = self.stopped else { return };
        let mut left = Vec::new();
        update.resources.retain(|resource| {
            let same = self.listeners.good(&resource.name).is_some_and(|good| good.bytes == resource.bytes);
            let taken = same || !resource.problems.is_empty() || !which.concerns_resource(resource);
            if !taken {
                left.push(resource.name.clone());
            }
            taken
        });
        if !left.is_empty() {
            let source = &*update.source;
            let names = left.join(", ");
            tracing::warn!(target: "config", source, "not taken, for listeners were drained: {names}; only a new process takes them");
        }
    }
}
