//! `/clusters`: clusters and their endpoints.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::Parts;
use super::listeners::socket_address;
use super::query::Query;
use super::reply::Reply;
use crate::cluster::{Cluster, Health, Host, Locality, RoutingPriority};

pub(super) fn answer(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let filter = query.pattern("filter")?;
    let snapshot = admin.store.load();
    let mut clusters: Vec<_> = snapshot.clusters.iter().collect();
    clusters.retain(|cluster| filter.as_ref().is_none_or(|filter| filter.is_match(cluster.name())));
    clusters.sort_by(|a, b| a.name().cmp(b.name()));
    if query.value("format") == Some("json") {
        let statuses: Vec<_> = clusters.iter().map(|cluster| as_json(cluster)).collect();
        return Ok(Reply::json(&json!({"cluster_statuses": statuses})));
    }
    let mut text = String::new();
    for cluster in clusters {
        // Writing to a String cannot fail.
        let _ = write_text(cluster, !snapshot.is_static_cluster(cluster.name()), &mut text);
    }
    Ok(Reply::text(text))
}

fn write_text(cluster: &Cluster, added: bool, out: &mut String) -> std::fmt::Result {
    let name = cluster.name();
    writeln!(out, "{name}::observability_name::{}", cluster.config.stat_name)?;
    for (priority, label) in [(RoutingPriority::Default, "default"), (RoutingPriority::High, "high")] {
        for (limit, value) in limits(cluster, priority) {
            writeln!(out, "{name}::{label}_priority::{limit}::{value}")?;
        }
    }
    writeln!(out, "{name}::added_via_api::{added}")?;
    for (priority, host) in hosts(cluster) {
        let endpoint = &host.endpoint;
        let at = format!("{name}::{}", endpoint.address);
        for (stat, value, _) in stats(host) {
            writeln!(out, "{at}::{stat}::{value}")?;
        }
        let nowhere = Locality::default();
        let locality = cluster.endpoints.localities().get(host.locality as usize).unwrap_or(&nowhere);
        writeln!(out, "{at}::hostname::{}", endpoint.hostname)?;
        writeln!(out, "{at}::health_flags::{}", health_flags(host.health))?;
        writeln!(out, "{at}::weight::{}", host.weight)?;
        writeln!(out, "{at}::region::{}", locality.region)?;
        writeln!(out, "{at}::zone::{}", locality.zone)?;
        writeln!(out, "{at}::sub_zone::{}", locality.sub_zone)?;
        writeln!(out, "{at}::canary::false")?;
        writeln!(out, "{at}::priority::{priority}")?;
        writeln!(out, "{at}::success_rate::-1")?;
        writeln!(out, "{at}::local_origin_success_rate::-1")?;
    }
    Ok(())
}

fn as_json(cluster: &Cluster) -> Value {
    let hosts: Vec<_> = hosts(cluster).map(|(priority, host)| host_json(cluster, priority, host)).collect();
    let thresholds: Vec<_> = RoutingPriority::ALL
        .into_iter()
        .map(|priority| {
            let mut object: serde_json::Map<_, _> =
                limits(cluster, priority).into_iter().map(|(limit, value)| (limit.to_owned(), value.into())).collect();
            if priority == RoutingPriority::High {
                object.insert("priority".to_owned(), "HIGH".into());
            }
            Value::Object(object)
        })
        .collect();
    json!({
        "name": **cluster.name(),
        "observability_name": *cluster.config.stat_name,
        "host_statuses": hosts,
        "circuit_breakers": {"thresholds": thresholds},
    })
}

fn host_json(cluster: &Cluster, priority: usize, host: &Host) -> Value {
    let stats: Vec<_> = stats(host)
        .into_iter()
        .map(|(name, value, gauge)| {
            // As protobuf's JSON form: 64-bit numbers are strings, and what has its default is left out.
            let mut stat = serde_json::Map::from_iter([("name".to_owned(), Value::from(name))]);
            if value > 0 {
                stat.insert("value".to_owned(), value.to_string().into());
            }
            if gauge {
                stat.insert("type".to_owned(), "GAUGE".into());
            }
            Value::Object(stat)
        })
        .collect();
    let health = match host.health {
        Health::Healthy => "HEALTHY",
        Health::Degraded => "DEGRADED",
        Health::Unhealthy => "UNHEALTHY",
        Health::Draining => "DRAINING",
    };
    let nowhere = Locality::default();
    let locality = cluster.endpoints.localities().get(host.locality as usize).unwrap_or(&nowhere);
    let place = [("region", &locality.region), ("zone", &locality.zone), ("sub_zone", &locality.sub_zone)];
    let place = place.into_iter().filter(|(_, value)| !value.is_empty());
    let place: serde_json::Map<_, _> = place.map(|(key, value)| (key.to_owned(), Value::from(&**value))).collect();
    let mut object = json!({
        "address": socket_address(host.endpoint.address),
        "stats": stats,
        "health_status": {"eds_health_status": health},
        "weight": host.weight,
        "locality": place,
    });
    if let Some(object) = object.as_object_mut() {
        if priority > 0 {
            object.insert("priority".to_owned(), priority.into());
        }
        if !host.endpoint.hostname.is_empty() {
            object.insert("hostname".to_owned(), (*host.endpoint.hostname).into());
        }
    }
    object
}

fn limits(cluster: &Cluster, priority: RoutingPriority) -> [(&'static str, u32); 4] {
    let thresholds = cluster.config.thresholds(priority);
    [
        ("max_connections", thresholds.max_connections),
        ("max_pending_requests", thresholds.max_pending),
        ("max_requests", thresholds.max_requests),
        ("max_retries", thresholds.max_retries),
    ]
}

/// Name, value, and whether it is a gauge.
fn stats(host: &Host) -> [(&'static str, u64, bool); 9] {
    let stats = &host.endpoint.stats;
    [
        ("cx_active", stats.cx_active.load(Relaxed).into(), true),
        ("cx_connect_fail", stats.cx_connect_fail.load(Relaxed), false),
        ("cx_total", stats.cx_total.load(Relaxed), false),
        ("rq_active", stats.rq_active.load(Relaxed).into(), true),
        ("rq_error", stats.rq_error.load(Relaxed), false),
        ("rq_pending_active", stats.rq_pending_active.load(Relaxed).into(), true),
        ("rq_success", stats.rq_success.load(Relaxed), false),
        ("rq_timeout", stats.rq_timeout.load(Relaxed), false),
        ("rq_total", stats.rq_total.load(Relaxed), false),
    ]
}

fn health_flags(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "/degraded_eds_health",
        Health::Unhealthy => "/failed_eds_health",
        Health::Draining => "/eds_status_draining",
    }
}

/// All endpoints with their priorities.
fn hosts(cluster: &Cluster) -> impl Iterator<Item = (usize, &Host)> {
    cluster.endpoints.by_priority().flat_map(|(priority, hosts)| hosts.iter().map(move |host| (priority, host)))
}
