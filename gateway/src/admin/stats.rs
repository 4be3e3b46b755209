//! `/stats` in all its forms.

use super::expirations::{Expirations, expirations};
use super::query::Query;
use super::reply::Reply;
use super::{Parts, certs, process};
use crate::control::State;
use crate::telemetry::metrics::names::{ListenerManager, Server, listener, listener_manager, server};
use crate::telemetry::metrics::{Shape, Sort, StatsQuery};

/// `/stats`
pub(super) fn answer(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let registry = &admin.registry;
    let wanted = wanted(query)?;
    match query.value("format") {
        None | Some("" | "text") => {
            let _shown = refresh(admin);
            Ok(Reply::pieces(registry.text(&wanted)))
        }
        Some("json") => {
            let _shown = refresh(admin);
            Ok(Reply::json_pieces(registry.json(&wanted)))
        }
        Some("prometheus") => prometheus(admin, query),
        Some("html" | "active-html") => {
            Err(Reply::bad_request("Weir has no HTML of its metrics\nusage: /stats?format=(json|prometheus|text)\n\n"))
        }
        Some(_) => Err(Reply::bad_request("usage: /stats?format=(json|prometheus|text)\n\n")),
    }
}

/// `/stats/prometheus`
pub(super) fn prometheus(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let wanted = wanted(query)?;
    if matches!(wanted.shape, Some(Shape::Disjoint | Shape::Detailed)) {
        return Err(Reply::bad_request("unsupported prometheus histogram bucket mode"));
    }
    let _shown = refresh(admin);
    Ok(Reply::pieces(admin.registry.prometheus(&wanted)))
}

/// `/reset_counters`
pub(super) fn reset(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    admin.registry.reset_counters();
    Ok(Reply::done())
}

fn wanted(query: &Query) -> Result<StatsQuery, Reply> {
    let only = match query.value("type") {
        None | Some("" | "All") => None,
        Some("Counters") => Some(Sort::Counters),
        Some("Gauges") => Some(Sort::Gauges),
        Some("Histograms") => Some(Sort::Histograms),
        Some("TextReadouts") => Some(Sort::TextReadouts),
        Some(_) => return Err(Reply::bad_request("invalid &type= param")),
    };
    let shape = match query.value("histogram_buckets") {
        None | Some("") => None,
        Some("none" | "summary") => Some(Shape::Summary),
        Some("cumulative") => Some(Shape::Cumulative),
        Some("disjoint") => Some(Shape::Disjoint),
        Some("detailed") => Some(Shape::Detailed),
        Some(_) => {
            let usage = "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n";
            return Err(Reply::bad_request(usage));
        }
    };
    if !matches!(query.value("hidden"), None | Some("" | "include" | "exclude")) {
        return Err(Reply::bad_request("Weir hides no metrics\nusage: /stats?hidden=(include|exclude)\n\n"));
    }
    let (filter, inverted) = (query.pattern("filter")?, query.has("invert_filter"));
    Ok(StatsQuery { filter, inverted, used_only: query.has("usedonly"), only, shape })
}

/// Brings gauges up to date that follow from the state of the process and of the clusters. Those of certificates are there
/// while what it gives is held.
fn refresh(admin: &Parts) -> Expirations {
    let control = &admin.control;
    let scope = admin.registry.scope(Server, "");
    let state = control.state();
    // Envoy's numbers of `ServerInfo.State`.
    let number = match state {
        State::Live => 0,
        State::Draining => 1,
        State::Initializing if control.is_starting() => 2,
        State::Initializing => 3,
    };
    let memory = process::Memory::now();
    let (started, _) = control.started();
    let expirations = expirations(admin);
    let first_expiry = expirations.first.map_or_else(|| u32::MAX.into(), certs::days_left);
    let snapshot = admin.store.load();
    let connections = snapshot.listeners().map(|one| one.scope.gauge(listener::DOWNSTREAM_CX_ACTIVE)).sum();
    for (gauge, level) in [
        (server::LIVE, u64::from(state == State::Live)),
        (server::STATE, number),
        (server::UPTIME, started.elapsed().as_secs()),
        (server::CONCURRENCY, control.concurrency() as u64),
        (server::MEMORY_ALLOCATED, memory.private),
        (server::MEMORY_HEAP_SIZE, memory.private),
        (server::MEMORY_PHYSICAL_SIZE, memory.resident),
        (server::TOTAL_CONNECTIONS, connections),
        (server::DAYS_UNTIL_FIRST_CERT_EXPIRING, first_expiry),
    ] {
        scope.set(gauge, level);
    }
    let listeners = admin.registry.scope(ListenerManager, "");
    listeners.set(listener_manager::TOTAL_LISTENERS_ACTIVE, control.listening().len() as u64);
    listeners.set(listener_manager::TOTAL_LISTENERS_WARMING, control.waiting_listeners() as u64);
    listeners.set(listener_manager::WORKERS_STARTED, u64::from(!control.is_starting()));
    snapshot.clusters.iter().for_each(|cluster| cluster.publish_gauges());
    expirations
}
