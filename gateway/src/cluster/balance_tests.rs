#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::super::config::ClusterConfig;
use super::super::endpoint::{Assignment, Health, HostSpec};
use super::*;
use crate::telemetry::metrics::{Registry, names};

fn host(port: u16, weight: u32, health: Health, priority: u32) -> HostSpec {
    let address = ([127, 0, 0, 1], port).into();
    HostSpec { address, hostname: "".into(), weight, health, priority, locality: 0 }
}

fn healthy(port: u16, weight: u32) -> HostSpec {
    host(port, weight, Health::Healthy, 0)
}

fn make(config: ClusterConfig, transport: u64, assignment: Assignment, previous: Option<&Cluster>) -> Cluster {
    let metrics = match previous {
        Some(previous) => previous.runtime.metrics().clone(),
        None => Registry::new(1).scope(names::Cluster, &*config.name),
    };
    Cluster::new(config, transport, Some(assignment), metrics, previous)
}

fn cluster(balancer: Balancer, hosts: Vec<HostSpec>) -> Cluster {
    let config = ClusterConfig { balancer, ..ClusterConfig::new("c") };
    make(config, 0, Assignment { hosts, ..Assignment::default() }, None)
}

fn ports(worker: &WorkerClusters, cluster: &Cluster, count: usize) -> Vec<u16> {
    (0..count).map(|_| worker.pick(cluster, &Pick::default()).unwrap().address.port()).collect()
}

fn counts(worker: &WorkerClusters, cluster: &Cluster, count: usize) -> HashMap<u16, usize> {
    let mut counts = HashMap::new();
    ports(worker, cluster, count).into_iter().for_each(|port| *counts.entry(port).or_default() += 1);
    counts
}

fn endpoint(cluster: &Cluster, port: u16) -> Arc<Endpoint> {
    let hosts = cluster.endpoints.hosts().iter();
    Arc::clone(hosts.map(|h| &h.endpoint).find(|e| e.address.port() == port).unwrap())
}

#[test]
fn round_robin_goes_in_configured_order() {
    let cluster = cluster(Balancer::RoundRobin, vec![healthy(3, 1), healthy(1, 1), healthy(2, 1)]);
    let picks = ports(&WorkerClusters::seeded(1, 1), &cluster, 6);
    let start = [3, 1, 2].iter().position(|p| *p == picks[0]).unwrap();
    let expected: Vec<u16> = [3, 1, 2].into_iter().cycle().skip(start).take(6).collect();
    assert_eq!(picks, expected);
}

#[test]
fn round_robin_follows_weights_exactly() {
    let cluster = cluster(Balancer::RoundRobin, vec![healthy(1, 1), healthy(2, 3)]);
    let worker = WorkerClusters::seeded(1, 2);
    ports(&worker, &cluster, 4);
    assert_eq!(counts(&worker, &cluster, 400), HashMap::from([(1, 100), (2, 300)]));
}

#[test]
fn random_is_even_and_ignores_weights() {
    let cluster = cluster(Balancer::Random, vec![healthy(1, 1), healthy(2, 100), healthy(3, 1)]);
    let counts = counts(&WorkerClusters::seeded(1, 3), &cluster, 30_000);
    assert!(counts.values().all(|n| (9_500..10_500).contains(n)), "{counts:?}");
}

#[test]
fn least_request_avoids_the_busy() {
    let options = LeastRequest::default();
    let hosts = || vec![healthy(1, 1), healthy(2, 1), healthy(3, 1)];
    let two = cluster(Balancer::LeastRequest(options), hosts());
    endpoint(&two, 1).stats.rq_active.store(5, Relaxed);
    let counted = counts(&WorkerClusters::seeded(1, 4), &two, 9_000);
    // The busy one is chosen only when both choices fall on it: 1 in 9.
    assert!((900..1_100).contains(&counted[&1]), "{counted:?}");

    let all = cluster(Balancer::LeastRequest(LeastRequest { full_scan: true, ..options }), hosts());
    endpoint(&all, 1).stats.rq_active.store(5, Relaxed);
    endpoint(&all, 2).stats.rq_active.store(1, Relaxed);
    assert_eq!(counts(&WorkerClusters::seeded(1, 5), &all, 100), HashMap::from([(3, 100)]));
    endpoint(&all, 2).stats.rq_active.store(0, Relaxed);
    let counted = counts(&WorkerClusters::seeded(1, 5), &all, 2_000);
    assert!((900..1_100).contains(&counted[&2]) && counted.len() == 2, "equals are equally likely: {counted:?}");
}

#[test]
fn weights_of_who_is_not_chosen_from_do_not_matter() {
    let hosts = vec![healthy(1, 1), healthy(2, 1), healthy(3, 1), host(4, 5, Health::Unhealthy, 0)];
    let cluster = cluster(Balancer::LeastRequest(LeastRequest::default()), hosts);
    endpoint(&cluster, 1).stats.rq_active.store(5, Relaxed);
    let counted = counts(&WorkerClusters::seeded(1, 4), &cluster, 9_000);
    assert!((900..1_100).contains(&counted[&1]), "the better of two: {counted:?}");
}

#[test]
fn least_request_with_differing_weights_goes_by_weight_over_load() {
    let cluster = cluster(Balancer::LeastRequest(LeastRequest::default()), vec![healthy(1, 1), healthy(2, 3)]);
    let worker = WorkerClusters::seeded(1, 6);
    ports(&worker, &cluster, 4);
    assert_eq!(counts(&worker, &cluster, 400)[&2], 300);
    endpoint(&cluster, 2).stats.rq_active.store(2, Relaxed);
    ports(&worker, &cluster, 8);
    let counted = counts(&worker, &cluster, 400);
    assert!((198..=202).contains(&counted[&2]), "3 / (2 + 1) is 1: {counted:?}");
}

#[test]
fn unhealthy_endpoints_are_left_out_until_panic() {
    let hosts = |unhealthy: u16| {
        (0..10).map(|n| host(n, 1, if n < unhealthy { Health::Unhealthy } else { Health::Healthy }, 0)).collect()
    };
    let worker = WorkerClusters::seeded(1, 7);
    let picked = |cluster: &Cluster| counts(&worker, cluster, 1_000).len();
    assert_eq!(picked(&cluster(Balancer::RoundRobin, hosts(5))), 5);
    assert_eq!(picked(&cluster(Balancer::RoundRobin, hosts(6))), 10, "below half: panic");
    let mut config = ClusterConfig { fail_traffic_on_panic: true, ..ClusterConfig::new("c") };
    let assignment = Assignment { hosts: hosts(6), ..Assignment::default() };
    let failing = make(config, 0, assignment, None);
    assert_eq!(worker.pick(&failing, &Pick::default()).unwrap_err(), NoEndpoint::Panic);
    config = ClusterConfig { panic_threshold: 0, ..ClusterConfig::new("c") };
    let assignment = Assignment { hosts: hosts(10), ..Assignment::default() };
    let none = make(config, 0, assignment, None);
    assert_eq!(worker.pick(&none, &Pick::default()).unwrap_err(), NoEndpoint::Unavailable);
    let empty = cluster(Balancer::Random, vec![]);
    assert_eq!(worker.pick(&empty, &Pick::default()).unwrap_err(), NoEndpoint::Unavailable);
}

/// What Envoy 1.40 did with the same endpoints.
#[test]
fn draining_endpoints_do_not_count_but_serve_in_a_panic() {
    use Health::{Degraded as Z, Draining as D, Healthy as H, Unhealthy as U};
    // Health of the endpoints by priority -> who is used, numbered through, and how often in 1,000.
    type Row<'a> = (&'a [&'a [Health]], &'a [(u16, usize)]);
    let rows: &[Row<'_>] = &[
        (&[&[U, D, H]], &[(2, 1000)]),
        (&[&[U, U, D, H]], &[(0, 250), (1, 250), (2, 250), (3, 250)]),
        (&[&[D]], &[(0, 1000)]),
        (&[&[D, D], &[H]], &[(2, 1000)]),
        (&[&[D, U]], &[(0, 500), (1, 500)]),
        (&[&[U, U, D, Z]], &[(0, 250), (1, 250), (2, 250), (3, 250)]),
        (&[&[U, U, U, H], &[D]], &[(0, 200), (1, 200), (2, 200), (3, 200), (4, 200)]),
        (&[&[D, U, U, U], &[U]], &[(0, 200), (1, 200), (2, 200), (3, 200), (4, 200)]),
    ];
    for (priorities, expected) in rows {
        let levels = priorities.iter().enumerate().flat_map(|(at, level)| level.iter().map(move |h| (at as u32, *h)));
        let hosts = levels.enumerate().map(|(n, (priority, health))| host(n as u16, 1, health, priority)).collect();
        let counted = counts(&WorkerClusters::seeded(1, 20), &cluster(Balancer::RoundRobin, hosts), 1_000);
        assert_eq!(counted.len(), expected.len(), "{priorities:?}: {counted:?}");
        for (port, share) in *expected {
            assert!(counted[port].abs_diff(*share) <= 50, "{priorities:?}: {counted:?}");
        }
    }
}

#[test]
fn degraded_endpoints_take_what_healthy_ones_cannot() {
    let cluster = cluster(
        Balancer::RoundRobin,
        vec![healthy(1, 1), host(2, 1, Health::Degraded, 0), host(3, 1, Health::Degraded, 0), healthy(4, 1)],
    );
    let counted = counts(&WorkerClusters::seeded(1, 8), &cluster, 10_000);
    let on_healthy = counted[&1] + counted[&4];
    assert!((6_800..7_200).contains(&on_healthy), "half healthy at 1.4: 70 %, {counted:?}");
}

#[test]
fn priorities_fail_over_gradually() {
    let hosts = (0..4)
        .map(|n| host(n, 1, if n < 2 { Health::Unhealthy } else { Health::Healthy }, 0))
        .chain([host(10, 1, Health::Healthy, 2)])
        .collect();
    let cluster = cluster(Balancer::RoundRobin, hosts);
    assert_eq!(cluster.endpoints.by_priority().count(), 3, "the empty one counts");
    let counted = counts(&WorkerClusters::seeded(1, 9), &cluster, 10_000);
    assert!((2_800..3_200).contains(&counted[&10]), "{counted:?}");
}

#[test]
fn a_retry_looks_for_an_endpoint_not_tried() {
    let cluster = cluster(Balancer::RoundRobin, vec![healthy(1, 1), healthy(2, 1)]);
    let worker = WorkerClusters::seeded(1, 10);
    let tried = [endpoint(&cluster, 1)];
    for _ in 0..10 {
        let pick = Pick { tried: &tried, avoid_tried: true, reselect: 3, ..Pick::default() };
        assert_eq!(worker.pick(&cluster, &pick).unwrap().address.port(), 2);
    }
    let all = [endpoint(&cluster, 1), endpoint(&cluster, 2)];
    let pick = Pick { tried: &all, avoid_tried: true, reselect: 3, ..Pick::default() };
    assert!(worker.pick(&cluster, &pick).is_ok(), "the last one serves");
}

#[test]
fn a_retry_leaves_tried_priorities_out() {
    let hosts = vec![healthy(1, 1), host(2, 1, Health::Healthy, 1), host(3, 1, Health::Healthy, 2)];
    let cluster = cluster(Balancer::RoundRobin, hosts);
    let worker = WorkerClusters::seeded(1, 11);
    let next = |tried: &[u16], frequency: u32| {
        let tried: Vec<_> = tried.iter().map(|port| endpoint(&cluster, *port)).collect();
        let pick = Pick { tried: &tried, priority_update_frequency: frequency, ..Pick::default() };
        worker.pick(&cluster, &pick).unwrap().address.port()
    };
    assert_eq!(next(&[], 1), 1);
    assert_eq!(next(&[1], 1), 2);
    assert_eq!(next(&[1, 2], 1), 3);
    assert_eq!(next(&[1, 2, 3], 1), 1, "all tried: from the start");
    assert_eq!(next(&[1], 2), 1);
    assert_eq!(next(&[1, 1], 2), 2);
}

#[test]
fn endpoints_keep_their_state_over_updates() {
    let old = cluster(Balancer::RoundRobin, vec![healthy(1, 1), healthy(2, 1)]);
    let new = old.with_assignment(Assignment { hosts: vec![healthy(2, 5), healthy(3, 1)], ..Assignment::default() });
    assert!(Arc::ptr_eq(&endpoint(&old, 2), &endpoint(&new, 2)));
    assert!(Arc::ptr_eq(&old.runtime, &new.runtime));
    let again = make(
        ClusterConfig::new("c"),
        0,
        Assignment { hosts: vec![healthy(2, 1)], ..Assignment::default() },
        Some(&new),
    );
    assert!(Arc::ptr_eq(&endpoint(&again, 2), &endpoint(&new, 2)));
    let other = make(
        ClusterConfig::new("c"),
        1,
        Assignment { hosts: vec![healthy(2, 1)], ..Assignment::default() },
        Some(&new),
    );
    assert!(!Arc::ptr_eq(&endpoint(&other, 2), &endpoint(&new, 2)), "another transport: nothing is kept");
    assert!(!Arc::ptr_eq(&other.runtime, &new.runtime));
    // A worker starts anew with the new set, and forgets clusters that are gone.
    let worker = WorkerClusters::seeded(1, 12);
    assert_eq!(counts(&worker, &old, 10).len(), 2);
    assert_eq!(counts(&worker, &new, 60)[&2], 50);
    for n in 0..200 {
        ports(&worker, &cluster(Balancer::RoundRobin, vec![healthy(n, 1), healthy(n + 1, 1)]), 1);
    }
    assert!(worker.positions.borrow().len() <= 65);
}

#[test]
fn overload_is_shed_by_share() {
    let assignment = Assignment { hosts: vec![healthy(1, 1)], drop_per_million: 250_000, ..Assignment::default() };
    let cluster = make(ClusterConfig::new("c"), 0, assignment, None);
    let worker = WorkerClusters::seeded(1, 13);
    let shed = (0..10_000).filter(|_| cluster.endpoints.sheds(|| worker.random())).count();
    assert!((2_300..2_700).contains(&shed), "{shed}");
}
