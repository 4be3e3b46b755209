//! The table of clusters by name.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::runtime::Cluster;

/// The clusters of a snapshot. Copies share what is equal: a copy with one cluster changed costs a few microseconds,
/// whatever the number of clusters.
#[derive(Clone, Debug)]
pub struct ClusterTable {
    /// By the upper bits of the name's hash; each sorted by the whole hash.
    shards: Box<[Arc<Vec<Slot>>]>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    hash: u64,
    cluster: Arc<Cluster>,
}

const SHARD_BITS: u32 = 8;

impl Default for ClusterTable {
    fn default() -> Self {
        let empty = Arc::new(Vec::new());
        Self { shards: vec![empty; 1 << SHARD_BITS].into(), len: 0 }
    }
}

impl ClusterTable {
    /// A table without clusters.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<Cluster>> {
        let hash = hash_of(name);
        let slots = self.shards.get(shard_of(hash))?;
        let start = slots.partition_point(|slot| slot.hash < hash);
        let equal = slots.get(start..)?.iter().take_while(|slot| slot.hash == hash);
        equal.map(|slot| &slot.cluster).find(|cluster| &**cluster.name() == name)
    }

    /// Adds a cluster, or puts it in the place of the one with its name, which is returned.
    pub fn insert(&mut self, cluster: Arc<Cluster>) -> Option<Arc<Cluster>> {
        let hash = hash_of(cluster.name());
        // There is a shard for each value of the hash's upper bits.
        let slots = Arc::make_mut(self.shards.get_mut(shard_of(hash))?);
        let start = slots.partition_point(|slot| slot.hash < hash);
        let equal = slots.iter_mut().skip(start).take_while(|slot| slot.hash == hash);
        for slot in equal {
            if slot.cluster.name() == cluster.name() {
                return Some(std::mem::replace(&mut slot.cluster, cluster));
            }
        }
        slots.insert(start, Slot { hash, cluster });
        self.len += 1;
        None
    }

    /// Takes a cluster out.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Cluster>> {
        let hash = hash_of(name);
        let shard = self.shards.get_mut(shard_of(hash))?;
        let at = shard.iter().position(|slot| slot.hash == hash && &**slot.cluster.name() == name)?;
        self.len -= 1;
        Some(Arc::make_mut(shard).remove(at).cluster)
    }

    /// All clusters, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.shards.iter().flat_map(|slots| slots.iter()).map(|slot| &slot.cluster)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl FromIterator<Arc<Cluster>> for ClusterTable {
    fn from_iter<I: IntoIterator<Item = Arc<Cluster>>>(clusters: I) -> Self {
        let mut table = Self::new();
        for cluster in clusters {
            table.insert(cluster);
        }
        table
    }
}

/// A fixed seed will do: names come from the control plane; a client can at most look one up.
fn hash_of(name: &str) -> u64 {
    let mut hasher = FixedState::with_seed(0x5765_6972).build_hasher();
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn shard_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARD_BITS)) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::config::ClusterConfig;
    use super::*;
    use crate::telemetry::metrics::Registry;
    use crate::telemetry::metrics::names;

    fn cluster(name: &str) -> Arc<Cluster> {
        let metrics = Registry::new(1).scope(names::Cluster, name);
        Arc::new(Cluster::new(ClusterConfig::new(name), 0, None, metrics, None))
    }

    #[test]
    fn finds_each_of_many() {
        let table: ClusterTable = (0..10_000).map(|n| cluster(&format!("outbound|80||svc-{n}"))).collect();
        assert_eq!(table.len(), 10_000);
        for n in 0..10_000 {
            let name = format!("outbound|80||svc-{n}");
            assert_eq!(&**table.find(&name).unwrap().name(), name);
        }
        assert!(table.find("outbound|80||svc-10000").is_none());
        assert_eq!(table.iter().count(), 10_000);
    }

    #[test]
    fn a_copy_shares_what_did_not_change() {
        let old: ClusterTable = (0..1000).map(|n| cluster(&n.to_string())).collect();
        let mut new = old.clone();
        let replaced = new.insert(cluster("7")).unwrap();
        assert!(Arc::ptr_eq(&replaced, old.find("7").unwrap()));
        assert!(!Arc::ptr_eq(new.find("7").unwrap(), old.find("7").unwrap()));
        assert!(Arc::ptr_eq(new.find("8").unwrap(), old.find("8").unwrap()));
        let shared = new.shards.iter().zip(&old.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, 255);
        assert!(new.remove("8").is_some() && new.remove("8").is_none());
        assert_eq!((new.len(), old.len()), (999, 1000));
        assert!(new.find("8").is_none() && old.find("8").is_some());
    }
}
