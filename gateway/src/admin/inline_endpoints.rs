//! Endpoints that stand inside of clusters, for `/config_dump?include_eds`.

use prost::Message;
use weir_xds::{Kind, pb};

use crate::snapshot::DumpEntry;

/// Those of the clusters among `entries`, in their order; as Envoy shows them, of the bootstrap's clusters as static ones.
pub(super) fn inline_endpoints(entries: &[DumpEntry]) -> Vec<DumpEntry> {
    entries.iter().filter(|entry| entry.kind == Kind::Cluster).filter_map(in_cluster).collect()
}

fn in_cluster(entry: &DumpEntry) -> Option<DumpEntry> {
    let cluster = pb::cluster::Cluster::decode(entry.bytes.clone()?).ok()?;
    let assignment = cluster.load_assignment?;
    Some(DumpEntry {
        kind: Kind::Endpoint,
        bytes: Some(assignment.encode_to_vec().into()),
        rejection: None,
        ..entry.clone()
    })
}
