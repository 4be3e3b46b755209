//! `/stats` in all its forms.

use super::query::Query;
use super::reply::Reply;
use super::{Parts, certs, process};
use crate::control::State;
use crate::telemetry::metrics::StatsQuery;
use crate::telemetry::metrics::names::{ListenerManager, Server, listener, listener_manager, server};

/// `/stats`
pub(super) fn answer(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let registry = &admin.registry;
    let wanted = wanted(query)?;
    match query.value("format") {
        None | Some("" | "text") => {
            refresh(admin);
            Ok(Reply::pieces(registry.text(&wanted)))
        }
        Some("json") => {
            refresh(admin);
            Ok(Reply::json_pieces(registry.json(&wanted)))
        }
        Some("prometheus") => prometheus(admin, query),
        Some(_) => Err(Reply::bad_request("usage: /stats?format=(json|prometheus|text)\n\n")),
    }
}

/// `/stats/prometheus`
pub(super) fn prometheus(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let wanted = wanted(query)?;
    refresh(admin);
    Ok(Reply::pieces(admin.registry.prometheus(&wanted)))
}

/// `/reset_counters`
pub(super) fn reset(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    admin.registry.reset_counters();
    Ok(Reply::done())
}

fn wanted(query: &Query) -> Result<StatsQuery, Reply> {
    for (name, only) in [("type", "All"), ("histogram_buckets", "")] {
        if query.value(name).is_some_and(|value| value != only) {
            return Err(Reply::bad_request(format!("{name} is not supported by Weir\n")));
        }
    }
    if query.has("invert_filter") {
        return Err(Reply::bad_request("invert_filter is not supported by Weir\n"));
    }
    Ok(StatsQuery { filter: query.pattern("filter")?, used_only: query.has("usedonly") })
}

/// Brings gauges up to date that follow from the state of the process and of the clusters.
fn refresh(admin: &Parts) {
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
    let first_expiry = certs::days_until_first_expires(admin).unwrap_or_else(|| u32::MAX.into());
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
}
