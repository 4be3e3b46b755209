//! The configuration as it came, for `/config_dump`.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use weir_xds::{Kind, Problem};

use super::collection::Collection;
use super::publisher::Publisher;
use super::update::STATIC;

/// A resource as its source has it.
#[derive(Clone, Debug)]
pub struct DumpEntry {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// Who has it: [`STATIC`], or the path of a file.
    pub source: Arc<str>,
    /// The version in force, in its wire form; `None` if none ever was right. Secrets are in it: show it by
    /// [`weir_xds::to_json`], which hides them.
    pub bytes: Option<Bytes>,
    /// The version as the source states it; empty if it states none.
    pub version: String,
    /// When the version in force came.
    pub last_updated: Option<SystemTime>,
    /// What was refused since.
    pub rejection: Option<Rejection>,
    /// What a listener waits for, as text; empty if it is not warming.
    pub warming: Vec<String>,
}

/// A version that was refused (Envoy's `UpdateFailureState`).
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Its wire form; incomplete if it could not be read.
    pub bytes: Bytes,
    /// The version as the source states it.
    pub version: String,
    /// When.
    pub at: SystemTime,
    /// Why.
    pub problems: Vec<Problem>,
}

impl DumpEntry {
    /// Whether it stands in the bootstrap.
    pub fn is_static(&self) -> bool {
        *self.source == *STATIC
    }
}

pub(super) fn dump(publisher: &Publisher) -> Vec<DumpEntry> {
    let mut all = Vec::new();
    of_kind(&mut all, Kind::Listener, &publisher.listeners);
    of_kind(&mut all, Kind::Cluster, &publisher.clusters);
    of_kind(&mut all, Kind::Route, &publisher.routes);
    of_kind(&mut all, Kind::Endpoint, &publisher.endpoints);
    of_kind(&mut all, Kind::Secret, &publisher.secrets);
    for listener in all.iter_mut().take_while(|entry| entry.kind == Kind::Listener) {
        listener.warming = publisher.awaited(&listener.name).iter().map(ToString::to_string).collect();
    }
    publisher.show_unbound(&mut all);
    publisher.asides.show(&mut all);
    all
}

fn of_kind<T>(all: &mut Vec<DumpEntry>, kind: Kind, collection: &Collection<T>) {
    all.extend(collection.entries().map(|(name, entry)| DumpEntry {
        kind,
        name: Arc::clone(name),
        source: Arc::clone(&entry.source),
        bytes: entry.good.as_ref().map(|good| good.bytes.clone()),
        version: entry.good.as_ref().map(|good| good.version.clone()).unwrap_or_default(),
        last_updated: entry.good.as_ref().map(|good| good.since),
        rejection: entry.refused.as_ref().map(|refused| Rejection {
            bytes: refused.resource.bytes.clone(),
            version: refused.resource.version.clone(),
            at: refused.at,
            problems: refused.problems.clone(),
        }),
        warming: Vec::new(),
    }));
}
