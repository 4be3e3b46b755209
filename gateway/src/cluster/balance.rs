//! Choosing an endpoint: priorities, health, then the cluster's balancer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::config::{Balancer, LeastRequest};
use super::edf::Schedule;
use super::endpoint::{Endpoint, EndpointSet, Host, Priority, Source};
use super::runtime::{Cluster, ClusterRuntime};
use crate::telemetry::metrics::names::cluster as metric;

/// What an attempt wants beside an endpoint. The default is that of a first attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pick<'a> {
    /// Endpoints that this request has tried, the oldest first.
    pub tried: &'a [Arc<Endpoint>],
    /// Look for one that was not tried (retry host predicate `previous_hosts`).
    pub avoid_tried: bool,
    /// How often to look again for one (`host_selection_retry_max_attempts`, 1 by default); then the last one serves.
    pub reselect: u32,
    /// Leave out the priorities of tried endpoints, looked at after each so many tries (retry priority
    /// `previous_priorities.update_frequency`); 0: do not.
    pub priority_update_frequency: u32,
}

/// Nothing to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// No endpoint is usable, or there is none.
    #[error("no healthy upstream: the cluster has no usable endpoint")]
    Unavailable,
    /// Too few are usable, and the cluster fails requests then (`fail_traffic_on_panic`).
    #[error("no healthy upstream: too few endpoints are usable, and the cluster fails traffic on panic")]
    Panic,
}

/// The positions of one worker in the clusters it has used.
#[derive(Debug)]
pub struct WorkerClusters {
    worker: usize,
    random: Cell<u64>,
    positions: RefCell<HashMap<u64, Positions, RandomState>>,
    /// Positions of removed clusters are looked for when there are so many.
    prune_at: Cell<usize>,
}

/// Where one worker is in one cluster.
#[derive(Debug)]
struct Positions {
    set: u64,
    cluster: Weak<ClusterRuntime>,
    /// By priority and source.
    turns: Vec<Option<Turns>>,
}

#[derive(Debug)]
enum Turns {
    Next(u32),
    Weighted(Schedule),
}

impl WorkerClusters {
    /// A worker that has used no cluster; its metrics go into chunk `worker`.
    pub fn new(worker: usize) -> Self {
        Self::seeded(worker, RandomState::default().hash_one(worker))
    }

    /// The same, with all choices determined by `seed`.
    pub fn seeded(worker: usize, seed: u64) -> Self {
        Self {
            worker,
            random: Cell::new(seed),
            positions: RefCell::new(HashMap::with_hasher(RandomState::default())),
            prune_at: Cell::new(64),
        }
    }

    /// A random number; not for secrets (wyrand).
    pub fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0xa076_1d64_78bd_642f);
        self.random.set(state);
        let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    /// Chooses an endpoint for one attempt.
    pub fn pick(&self, cluster: &Cluster, pick: &Pick<'_>) -> Result<Arc<Endpoint>, NoEndpoint> {
        let mut host = self.pick_once(cluster, pick)?;
        if pick.avoid_tried && !pick.tried.is_empty() {
            for _ in 0..pick.reselect {
                if !pick.tried.iter().any(|tried| Arc::ptr_eq(tried, &host.endpoint)) {
                    break;
                }
                host = self.pick_once(cluster, pick)?;
            }
        }
        Ok(Arc::clone(&host.endpoint))
    }

    fn pick_once<'c>(&self, cluster: &'c Cluster, pick: &Pick<'_>) -> Result<&'c Host, NoEndpoint> {
        let set = &*cluster.endpoints;
        let (at, source) = match set.priorities() {
            [only] if only.healthy_load == 100 && !only.panic => (0, Source::Healthy),
            priorities => {
                let (at, source) = self.choose_priority(cluster, priorities, pick).ok_or(NoEndpoint::Unavailable)?;
                if priorities.get(at).is_some_and(|priority| priority.panic) {
                    cluster.runtime.metrics().chunk(self.worker).inc(metric::LB_HEALTHY_PANIC);
                    if cluster.config.fail_traffic_on_panic {
                        return Err(NoEndpoint::Panic);
                    }
                    (at, Source::All)
                } else {
                    (at, source)
                }
            }
        };
        let priority = set.priorities().get(at).ok_or(NoEndpoint::Unavailable)?;
        self.choose_host(cluster, set, at, priority, source).ok_or(NoEndpoint::Unavailable)
    }

    fn choose_priority(&self, cluster: &Cluster, priorities: &[Priority], pick: &Pick<'_>) -> Option<(usize, Source)> {
        let adjusted = excluded_priorities(&cluster.endpoints, pick).and_then(|excluded| {
            let loads = cluster.endpoints.loads(|at| excluded.contains(&at), cluster.config.panic_threshold);
            loads.any.then_some(loads.spread)
        });
        let loads: SmallVec<[(u32, u32); 4]> =
            adjusted.unwrap_or_else(|| priorities.iter().map(|p| (p.healthy_load, p.degraded_load)).collect());
        let mut left = self.below(100) as u32;
        let healthy = loads.iter().enumerate().map(|(at, load)| (at, load.0, Source::Healthy));
        let degraded = loads.iter().enumerate().map(|(at, load)| (at, load.1, Source::Degraded));
        for (at, load, source) in healthy.chain(degraded) {
            if left < load {
                return Some((at, source));
            }
            left -= load;
        }
        None
    }

    fn choose_host<'c>(
        &self,
        cluster: &Cluster,
        set: &'c EndpointSet,
        at: usize,
        priority: &Priority,
        source: Source,
    ) -> Option<&'c Host> {
        let hosts = set.candidates(priority, source);
        if hosts.len() <= 1 {
            return hosts.first();
        }
        match cluster.config.balancer {
            Balancer::Random => hosts.get(self.below(hosts.len())),
            Balancer::LeastRequest(options) if !priority.differing_weights(source) => self.least_busy(hosts, options),
            Balancer::LeastRequest(options) => {
                self.take_turn(cluster, at, source, hosts, Some(&|host| weight_by_load(host, options.bias)))
            }
            Balancer::RoundRobin if !priority.differing_weights(source) => {
                self.take_turn(cluster, at, source, hosts, None)
            }
            Balancer::RoundRobin => self.take_turn(cluster, at, source, hosts, Some(&|host| f64::from(host.weight))),
        }
    }

    fn least_busy<'c>(&self, hosts: &'c [Host], options: LeastRequest) -> Option<&'c Host> {
        let busy = |host: &Host| host.endpoint.stats.rq_active.load(Relaxed);
        if options.full_scan {
            let least = hosts.iter().map(busy).min()?;
            // Each of the equals is as likely; the last one serves if counts move meanwhile.
            let mut equals = 0;
            let mut best = hosts.last()?;
            for host in hosts.iter().filter(|host| busy(host) <= least) {
                equals += 1;
                if self.below(equals) == 0 {
                    best = host;
                }
            }
            return Some(best);
        }
        let mut best = hosts.get(self.below(hosts.len()))?;
        for _ in 1..options.choices {
            let other = hosts.get(self.below(hosts.len()))?;
            if busy(other) < busy(best) {
                best = other;
            }
        }
        Some(best)
    }

    fn take_turn<'c>(
        &self,
        cluster: &Cluster,
        priority: usize,
        source: Source,
        hosts: &'c [Host],
        weight: Option<&dyn Fn(&Host) -> f64>,
    ) -> Option<&'c Host> {
        let mut table = self.positions.borrow_mut();
        if !table.contains_key(&cluster.runtime.id) {
            self.prune(&mut table);
        }
        let positions = table.entry(cluster.runtime.id).or_insert_with(|| Positions {
            set: cluster.endpoints.id,
            cluster: Arc::downgrade(&cluster.runtime),
            turns: Vec::new(),
        });
        if positions.set != cluster.endpoints.id {
            positions.set = cluster.endpoints.id;
            positions.turns.clear();
        }
        let slot = priority * 3 + source as usize;
        if positions.turns.len() <= slot {
            positions.turns.resize_with(slot + 1, || None);
        }
        let turns = positions.turns.get_mut(slot)?;
        match (turns, weight) {
            (Some(Turns::Next(next)), None) => {
                let host = hosts.get(*next as usize)?;
                *next = if *next as usize + 1 == hosts.len() { 0 } else { *next + 1 };
                Some(host)
            }
            (Some(Turns::Weighted(schedule)), Some(weight)) => {
                let weigh = |at: u32| hosts.get(at as usize).map_or(1.0, weight);
                hosts.get(schedule.next(weigh)? as usize)
            }
            // Workers start at different places, so that together they do not favour the first endpoint.
            (turns, None) => {
                let start = self.below(hosts.len());
                *turns = Some(Turns::Next(((start + 1) % hosts.len()) as u32));
                hosts.get(start)
            }
            (turns, Some(weight)) => {
                let mut schedule = Schedule::new(hosts.iter().map(weight));
                let weigh = |at: u32| hosts.get(at as usize).map_or(1.0, weight);
                for _ in 0..self.below(hosts.len()) {
                    schedule.next(weigh);
                }
                let picked = schedule.next(weigh);
                *turns = Some(Turns::Weighted(schedule));
                hosts.get(picked? as usize)
            }
        }
    }

    /// A random number below `limit`, which is not 0.
    fn below(&self, limit: usize) -> usize {
        // The upper half of the product: even to one part in 2^64 / limit, and cheaper than a division.
        ((u128::from(self.random()) * limit as u128) >> 64) as usize
    }

    /// Drops what is kept for clusters that no snapshot has any more; rarely, so that it costs nothing per request.
    fn prune(&self, table: &mut HashMap<u64, Positions, RandomState>) {
        if table.len() >= self.prune_at.get() {
            table.retain(|_, positions| positions.cluster.strong_count() > 0);
            self.prune_at.set((table.len() * 2).max(64));
        }
    }
}

/// Envoy's weight of a busy endpoint: it gets less of the turns.
fn weight_by_load(host: &Host, bias: f64) -> f64 {
    let active = f64::from(host.endpoint.stats.rq_active.load(Relaxed)) + 1.0;
    let weight = f64::from(host.weight);
    if bias == 1.0 { weight / active } else { weight / active.powf(bias) }
}

/// The priorities to leave out of a retry: those of the endpoints tried, noted after each `update_frequency` tries;
/// all are forgotten when nothing else is available.
fn excluded_priorities(set: &EndpointSet, pick: &Pick<'_>) -> Option<SmallVec<[usize; 4]>> {
    let frequency = pick.priority_update_frequency as usize;
    if frequency == 0 || pick.tried.len() < frequency {
        return None;
    }
    let mut excluded: SmallVec<[usize; 4]> = SmallVec::new();
    let mut since_reset = 0;
    let mut adjusted = false;
    for (count, _) in pick.tried.iter().enumerate() {
        let seen = count + 1 - since_reset;
        if seen < frequency || !seen.is_multiple_of(frequency) {
            continue;
        }
        let tried = pick.tried.get(since_reset..=count).unwrap_or_default();
        excluded.extend(tried.iter().filter_map(|endpoint| set.priority_of(endpoint)));
        adjusted = set.loads(|at| excluded.contains(&at), 0).any;
        if !adjusted {
            excluded.clear();
            since_reset = count + 1;
        }
    }
    adjusted.then_some(excluded)
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
