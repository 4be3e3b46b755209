//! What a resource wants from files, also one that cannot be used: files that are wrong are told of all the same, and one
//! that appears later may be what it waits for.

use std::sync::Arc;

use prost::Message;
use weir_xds::{Kind, Resource, pb};

use super::collection::Collection;
use super::compile::cluster::eds_reference;
use super::compile::listener::{named_routes, secrets};
use super::{Problems, Publisher, Reference, WatchedFile};

/// What a refused resource wants.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Resources in files.
    pub(super) references: Vec<Reference>,
    /// Files with content: certificates, keys, modules.
    pub(super) files: Vec<WatchedFile>,
}

impl Publisher {
    /// Who names this file as a source of resources, and the path of the field that does, in that source.
    pub fn place_of(&self, file: &str) -> Option<(Arc<str>, String)> {
        place(&self.listeners, Kind::Listener, file).or_else(|| place(&self.clusters, Kind::Cluster, file))
    }
}

fn place<T>(collection: &Collection<T>, kind: Kind, file: &str) -> Option<(Arc<str>, String)> {
    collection.entries().find_map(|(_, entry)| {
        let good = entry.good.iter().map(|good| (&good.bytes, &good.path));
        let refused = entry.refused.iter().map(|refused| (&refused.resource.bytes, &refused.resource.path));
        good.chain(refused).find_map(|(bytes, path)| {
            let field = weir_xds::place_of_source(kind.message(), bytes, file)?;
            Some((Arc::clone(&entry.source), format!("{path}.{field}")))
        })
    })
}

impl Wanted {
    pub(super) fn of(resource: &Resource) -> Self {
        let files = weir_xds::named_files(resource.kind.message(), &resource.bytes).into_iter();
        let files = files.map(|file| WatchedFile { path: file.path, directory: file.directory }).collect();
        Self { references: references(resource).unwrap_or_default(), files }
    }
}

fn references(resource: &Resource) -> Option<Vec<Reference>> {
    // They are told when the resource is compiled.
    let mut problems = Problems::new();
    let bytes = resource.bytes.clone();
    Some(match resource.kind {
        Kind::Listener => {
            let proto = pb::listener::Listener::decode(bytes).ok()?;
            let chains = proto.filter_chains.iter().chain(&proto.default_filter_chain);
            let sources = chains.flat_map(|chain| {
                let mut sources = secrets(chain.transport_socket.as_ref(), &mut problems);
                sources.extend(named_routes(&chain.filters, &mut problems));
                sources
            });
            sources.map(|source| source.reference).collect()
        }
        Kind::Cluster => {
            let proto = pb::cluster::Cluster::decode(bytes).ok()?;
            let sources = secrets(proto.transport_socket.as_ref(), &mut problems);
            sources.into_iter().map(|source| source.reference).chain(eds_reference(&proto)).collect()
        }
        _ => Vec::new(),
    })
}
