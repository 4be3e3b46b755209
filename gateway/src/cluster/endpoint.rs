//! Endpoints of a cluster, sorted by priority and health.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use smallvec::SmallVec;

use super::priority::{Availability, Loads, spread};
use super::runtime::next_id;

/// A ClusterLoadAssignment, checked.
#[derive(Clone, Debug, Default)]
pub struct Assignment {
    /// Where endpoints are; [`HostSpec::locality`] points here.
    pub localities: Vec<Locality>,
    /// All endpoints, in their order.
    pub hosts: Vec<HostSpec>,
    /// In percent; 0 stands for Envoy's 140.
    pub overprovisioning: u32,
    /// Weigh endpoints by weight, not number, when asking how healthy a priority is.
    pub weighted_priority_health: bool,
    /// Share of requests to shed, out of a million (`policy.drop_overloads`).
    pub drop_per_million: u32,
}

/// One endpoint of an [`Assignment`].
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Where it listens.
    pub address: SocketAddr,
    /// For host rewriting; empty if there is none.
    pub hostname: Box<str>,
    /// At least 1.
    pub weight: u32,
    /// What the control plane knows of its health.
    pub health: Health,
    /// 0 is used first; at most 128.
    pub priority: u32,
    /// Index into [`Assignment::localities`].
    pub locality: u32,
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// HEALTHY, UNKNOWN.
    Healthy,
    /// DEGRADED: after the healthy ones.
    Degraded,
    /// UNHEALTHY, TIMEOUT: only in a panic.
    Unhealthy,
    /// DRAINING: only in a panic, and not counted when asking how healthy a priority is.
    Draining,
}

/// Where endpoints are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Such as a cloud region.
    pub region: Box<str>,
    /// Inside the region.
    pub zone: Box<str>,
    /// Inside the zone.
    pub sub_zone: Box<str>,
}

/// An endpoint with its state; carried from snapshot to snapshot as long as its address stays.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in the process: the key of its pools.
    pub id: u64,
    /// Where it listens.
    pub address: SocketAddr,
    /// For host rewriting; empty if there is none.
    pub hostname: Box<str>,
    /// What has happened with it.
    pub stats: EndpointStats,
    leaving: Leaving,
}

/// Whether an endpoint has left its cluster, and who wants to know.
#[derive(Debug, Default)]
struct Leaving {
    left: AtomicBool,
    tell: Mutex<Vec<Waker>>,
}

impl Endpoint {
    fn new(address: SocketAddr, hostname: Box<str>) -> Self {
        Self { id: next_id(), address, hostname, stats: EndpointStats::default(), leaving: Leaving::default() }
    }

    /// Whether it has left its cluster for good: only requests that began before are still sent to it.
    pub fn has_left(&self) -> bool {
        self.leaving.left.load(Acquire)
    }

    /// Wakes `waker` when it leaves. Who finds [`Self::has_left`] false after this will be told.
    pub fn tell_leaving(&self, waker: &Waker) {
        self.waiting().push(waker.clone());
    }

    /// Does not wake `waker` any more.
    pub fn forget(&self, waker: &Waker) {
        self.waiting().retain(|waiting| !waiting.will_wake(waker));
    }

    /// How many wakers [`Self::tell_leaving`] holds.
    #[cfg(test)]
    pub fn waiting_to_be_told(&self) -> usize {
        self.waiting().len()
    }

    /// No snapshot that is to come has it.
    fn leave(&self) {
        self.leaving.left.store(true, Release);
        std::mem::take(&mut *self.waiting()).into_iter().for_each(Waker::wake);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.leaving.tell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of one endpoint over all workers, as `/clusters` shows them.
#[derive(Debug, Default)]
pub struct EndpointStats {
    /// Open connections.
    pub cx_active: AtomicU32,
    /// Requests on their way.
    pub rq_active: AtomicU32,
    /// Requests that wait for a connection.
    pub rq_pending_active: AtomicU32,
    /// Connections tried.
    pub cx_total: AtomicU64,
    /// Connections that failed.
    pub cx_connect_fail: AtomicU64,
    /// Requests sent.
    pub rq_total: AtomicU64,
    /// Answers without a 5xx.
    pub rq_success: AtomicU64,
    /// Answers with a 5xx, and resets.
    pub rq_error: AtomicU64,
    /// Requests that took too long.
    pub rq_timeout: AtomicU64,
}

/// An endpoint as one assignment has it.
#[derive(Debug)]
pub struct Host {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// At least 1.
    pub weight: u32,
    /// Index into [`EndpointSet::localities`].
    pub locality: u32,
    /// Whether it may be used.
    pub health: Health,
}

/// The endpoints of a cluster and how load is spread over their priorities.
#[derive(Debug)]
pub struct EndpointSet {
    /// Unique in the process: load balancers start anew with another set.
    pub(super) id: u64,
    hosts: Box<[Host]>,
    localities: Box<[Locality]>,
    priorities: SmallVec<[Priority; 1]>,
    drop_per_million: u32,
    overprovisioning: u32,
    weighted_priority_health: bool,
}

/// One priority: `hosts[start..end]`, the healthy ones first, then the degraded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Priority {
    start: u32,
    healthy_end: u32,
    degraded_end: u32,
    end: u32,
    /// Healthy, degraded and total weight or number: what its availability is computed from.
    availability: Availability,
    pub(super) healthy_load: u32,
    pub(super) degraded_load: u32,
    pub(super) panic: bool,
    differing_weights: u8,
}

/// Which endpoints of a priority to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Healthy,
    Degraded,
    All,
}

impl EndpointSet {
    /// Sorts an assignment. Endpoints that `previous` knows by address, host name and locality keep their state; as in
    /// Envoy, one that has moved is another.
    pub fn new(assignment: Assignment, panic_threshold: u32, previous: Option<&Self>) -> Self {
        let mut known: HashMap<SocketAddr, (&Arc<Endpoint>, Option<&Locality>), foldhash::fast::RandomState> = previous
            .map(|p| p.hosts.iter().map(|h| (h.endpoint.address, (&h.endpoint, p.locality(h.locality)))).collect())
            .unwrap_or_default();
        let localities = assignment.localities;
        let mut specs = assignment.hosts;
        // Stable: within a priority and health the configured order stays, as round robin should follow it.
        specs.sort_by_key(|spec| (spec.priority, spec.health));
        let priorities = priorities_of(&specs, assignment.weighted_priority_health);
        let hosts = specs
            .into_iter()
            .map(|spec| Host {
                endpoint: match known.remove(&spec.address) {
                    Some((endpoint, at))
                        if endpoint.hostname == spec.hostname && at == localities.get(spec.locality as usize) =>
                    {
                        Arc::clone(endpoint)
                    }
                    _ => Arc::new(Endpoint::new(spec.address, spec.hostname)),
                },
                weight: spec.weight.max(1),
                locality: spec.locality,
                health: spec.health,
            })
            .collect();
        let overprovisioning = if assignment.overprovisioning == 0 { 140 } else { assignment.overprovisioning };
        let mut set = Self {
            id: next_id(),
            hosts,
            localities: localities.into(),
            priorities,
            drop_per_million: assignment.drop_per_million,
            overprovisioning,
            weighted_priority_health: assignment.weighted_priority_health,
        };
        let loads = set.loads(|_| false, panic_threshold);
        for ((priority, load), panic) in set.priorities.iter_mut().zip(loads.spread).zip(loads.panic) {
            (priority.healthy_load, priority.degraded_load) = load;
            priority.panic = panic;
        }
        set
    }

    /// The assignment that this set was made of, sorted.
    pub fn assignment(&self) -> Assignment {
        let hosts = self.by_priority().flat_map(|(priority, hosts)| {
            hosts.iter().map(move |host| HostSpec {
                address: host.endpoint.address,
                hostname: host.endpoint.hostname.clone(),
                weight: host.weight,
                health: host.health,
                priority: priority as u32,
                locality: host.locality,
            })
        });
        Assignment {
            hosts: hosts.collect(),
            localities: self.localities.to_vec(),
            overprovisioning: self.overprovisioning,
            weighted_priority_health: self.weighted_priority_health,
            drop_per_million: self.drop_per_million,
        }
    }

    /// All endpoints: by priority, the healthy ones first.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Where endpoints are.
    pub fn localities(&self) -> &[Locality] {
        &self.localities
    }

    fn locality(&self, index: u32) -> Option<&Locality> {
        self.localities.get(index as usize)
    }

    /// All endpoints with their priorities.
    pub fn by_priority(&self) -> impl Iterator<Item = (usize, &[Host])> {
        self.priorities.iter().enumerate().map(|(index, priority)| (index, self.slice(priority.start..priority.end)))
    }

    /// Endpoints that `next` does not have, or all, leave: whoever keeps connections to them is told. To be called when
    /// `next` is in force.
    pub fn leave(&self, next: Option<&Self>) {
        let stay: HashSet<u64> = next.into_iter().flat_map(Self::hosts).map(|host| host.endpoint.id).collect();
        let leaving = self.hosts.iter().filter(|host| !stay.contains(&host.endpoint.id));
        leaving.for_each(|host| host.endpoint.leave());
    }

    /// In how many priorities endpoints have come or gone since `before`.
    pub fn changed_priorities(&self, before: Option<&Self>) -> usize {
        let members = |set: &Self, priority: usize| -> BTreeSet<u64> {
            let found = set.priorities.get(priority).map(|p| set.slice(p.start..p.end)).unwrap_or_default();
            found.iter().map(|host| host.endpoint.id).collect()
        };
        let most = self.priorities.len().max(before.map_or(0, |before| before.priorities.len()));
        let were = |priority| before.map(|before| members(before, priority)).unwrap_or_default();
        (0..most).filter(|&priority| members(self, priority) != were(priority)).count()
    }

    /// How many are of that health.
    pub fn count(&self, health: Health) -> usize {
        self.hosts.iter().filter(|host| host.health == health).count()
    }

    /// Whether this request is to be shed by `policy.drop_overloads`; `random` gives any random number. Asked once per
    /// request, before an endpoint is picked.
    pub fn sheds(&self, random: impl FnOnce() -> u64) -> bool {
        self.drop_per_million > 0 && random() % 1_000_000 < u64::from(self.drop_per_million)
    }

    /// Whether every request is to be shed.
    pub fn sheds_all(&self) -> bool {
        self.drop_per_million >= 1_000_000
    }

    /// The priority an endpoint is in.
    pub(super) fn priority_of(&self, endpoint: &Arc<Endpoint>) -> Option<usize> {
        self.by_priority().find(|(_, hosts)| hosts.iter().any(|h| Arc::ptr_eq(&h.endpoint, endpoint))).map(|(at, _)| at)
    }

    pub(super) fn priorities(&self) -> &[Priority] {
        &self.priorities
    }

    /// The endpoints to choose from.
    pub(super) fn candidates(&self, priority: &Priority, source: Source) -> &[Host] {
        self.slice(match source {
            Source::Healthy => priority.start..priority.healthy_end,
            Source::Degraded => priority.healthy_end..priority.degraded_end,
            Source::All => priority.start..priority.end,
        })
    }

    /// How load would be spread if some priorities were not there.
    pub(super) fn loads(&self, excluded: impl Fn(usize) -> bool, panic_threshold: u32) -> Loads {
        let availabilities: SmallVec<[Availability; 4]> = self
            .priorities
            .iter()
            .enumerate()
            .map(|(at, p)| if excluded(at) { Availability::default() } else { p.availability })
            .collect();
        spread(&availabilities, self.overprovisioning, panic_threshold)
    }

    fn slice(&self, range: Range<u32>) -> &[Host] {
        self.hosts.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

impl Priority {
    /// Whether the weights of these differ, so that they must be looked at.
    pub(super) fn differing_weights(&self, source: Source) -> bool {
        self.differing_weights & 1 << source as u8 != 0
    }
}

/// Priorities of sorted specs; those without endpoints are there, too, as in Envoy.
fn priorities_of(specs: &[HostSpec], by_weight: bool) -> SmallVec<[Priority; 1]> {
    let mut priorities = SmallVec::new();
    let mut rest = specs;
    let mut start = 0;
    loop {
        let number = priorities.len() as u32;
        let (here, behind) = rest.split_at(rest.iter().take_while(|s| s.priority <= number).count());
        let measure = |health: Option<Health>| -> (u32, u64) {
            let matching = here.iter().filter(|s| health.is_none_or(|h| s.health == h));
            matching.fold((0, 0), |(count, weight), s| (count + 1, weight + u64::from(s.weight.max(1))))
        };
        let of = |health| measure(Some(health));
        let differ = |health: Option<Health>| {
            let mut weights = here.iter().filter(|s| health.is_none_or(|h| s.health == h)).map(|s| s.weight);
            weights.next().is_some_and(|first| weights.any(|weight| weight != first))
        };
        let (healthy, degraded, draining, all) =
            (of(Health::Healthy), of(Health::Degraded), of(Health::Draining), measure(None));
        let amount = |(count, weight): (u32, u64)| if by_weight { weight } else { u64::from(count) };
        priorities.push(Priority {
            start,
            healthy_end: start + healthy.0,
            degraded_end: start + healthy.0 + degraded.0,
            end: start + all.0,
            availability: Availability {
                healthy: amount(healthy),
                degraded: amount(degraded),
                total: amount(all) - amount(draining),
                hosts: all.0,
                counted_hosts: all.0 - draining.0,
                usable_hosts: healthy.0 + degraded.0,
            },
            healthy_load: 0,
            degraded_load: 0,
            panic: false,
            differing_weights: u8::from(differ(Some(Health::Healthy))) << Source::Healthy as u8
                | u8::from(differ(Some(Health::Degraded))) << Source::Degraded as u8
                | u8::from(differ(None)) << Source::All as u8,
        });
        start += all.0;
        rest = behind;
        if rest.is_empty() {
            return priorities;
        }
    }
}
