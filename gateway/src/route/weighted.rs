//! Clusters chosen by weight.

use std::sync::Arc;

use bytes::Bytes;

use super::header_ops::HeaderOps;

/// Clusters of which each request takes one, by weight (Envoy's `WeightedCluster`).
#[derive(Debug)]
pub struct WeightedClusters<P> {
    clusters: Box<[WeightedCluster<P>]>,
    /// For each cluster the sum of the weights up to and with it; growing, the last is the total and above 0.
    ends: Box<[u64]>,
}

/// One of several clusters, and what is done only for requests that go there.
#[derive(Debug)]
pub struct WeightedCluster<P> {
    /// Its name.
    pub name: Arc<str>,
    /// Its share.
    pub weight: u32,
    /// Applied before those of the route.
    pub request_headers: HeaderOps,
    /// Applied before those of the route.
    pub response_headers: HeaderOps,
    /// Settings of filters.
    pub per_filter: Option<Arc<P>>,
    /// The authority that the endpoint sees, unless the route sets one.
    pub host_rewrite: Option<Bytes>,
}

/// All weights are 0, or there is no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sum of the weights has to be greater than 0")]
pub struct NoWeight;

impl<P> WeightedClusters<P> {
    /// Clusters in the order of the configuration.
    pub fn new(clusters: Vec<WeightedCluster<P>>) -> Result<Self, NoWeight> {
        let ends: Box<[u64]> = clusters
            .iter()
            .scan(0, |sum, cluster| {
                *sum += u64::from(cluster.weight);
                Some(*sum)
            })
            .collect();
        match ends.last() {
            None | Some(0) => Err(NoWeight),
            Some(_) => Ok(Self { clusters: clusters.into_boxed_slice(), ends }),
        }
    }

    /// The position of the cluster for a request with this random number.
    pub fn pick(&self, random: u64) -> u32 {
        let total = self.ends.last().copied().unwrap_or(1).max(1);
        let number = random % total;
        self.ends.partition_point(|&end| end <= number) as u32
    }

    /// The cluster at a position.
    pub fn at(&self, position: u32) -> Option<&WeightedCluster<P>> {
        self.clusters.get(position as usize)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &WeightedCluster<P>> {
        self.clusters.iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn clusters(weights: &[u32]) -> Result<WeightedClusters<()>, NoWeight> {
        let cluster = |&weight: &u32| WeightedCluster {
            name: weight.to_string().into(),
            weight,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            per_filter: None,
            host_rewrite: None,
        };
        WeightedClusters::new(weights.iter().map(cluster).collect())
    }

    #[test]
    fn shares_follow_the_weights() {
        let clusters = clusters(&[0, 1, 0, 3]).unwrap();
        let picks: Vec<&str> = (0..5).map(|n| &*clusters.at(clusters.pick(n)).unwrap().name).collect();
        assert_eq!(picks, ["1", "3", "3", "3", "1"]);
    }

    #[test]
    fn without_weight_there_is_nothing_to_pick() {
        assert!(clusters(&[]).is_err() && clusters(&[0, 0]).is_err());
    }
}
