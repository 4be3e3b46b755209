//! Metrics as Envoy's admin interface prints them: text and JSON.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;

use super::histogram::Bins;
use super::query::{Shape, Sort, StatsQuery};
use super::registry::Registry;
use super::scope::ScopeState;
use super::shapes;

/// A rendered part of a long answer.
pub type Pieces = Box<dyn Iterator<Item = String>>;

impl Registry {
    /// One line for each metric: `name: value`, counters and gauges by name, then histograms. Rendered piece by piece:
    /// ten thousand clusters have a million metrics.
    pub fn text(&self, query: &StatsQuery) -> Pieces {
        let groups = groups(self.living());
        let (of_histograms, for_histograms) = (groups.clone(), query.clone());
        let query = query.clone();
        let numbers = groups.into_iter().map(move |group| {
            let mut out = String::new();
            for (name, value) in numbers(&group, &query) {
                // Writing to a String cannot fail, here and below.
                let _ = writeln!(out, "{name}: {value}");
            }
            out
        });
        let histograms = of_histograms.into_iter().map(move |group| {
            let mut out = String::new();
            let shape = for_histograms.shape.unwrap_or(Shape::Summary);
            for (name, bins) in histograms(&group, &for_histograms) {
                out.push_str(&shapes::text(&name, &bins, shape));
            }
            out
        });
        Box::new(numbers.chain(histograms).filter(|piece| !piece.is_empty()))
    }

    /// The same as a JSON document of Envoy's shape.
    pub fn json(&self, query: &StatsQuery) -> Pieces {
        let groups = groups(self.living());
        let (of_histograms, for_histograms) = (groups.clone(), query.clone());
        let query = query.clone();
        // Nothing before the first element, a comma before every other.
        let separator = Rc::new(Cell::new(""));
        let last_separator = Rc::clone(&separator);
        let numbers = groups.into_iter().map(move |group| {
            let mut out = String::new();
            for (name, value) in numbers(&group, &query) {
                let _ = write!(out, "{}{}", separator.replace(","), json!({"name": name, "value": value}));
            }
            out
        });
        // Envoy puts the histograms last, as one element of the list.
        let histograms = std::iter::once_with(move || {
            let all = of_histograms.iter().flat_map(|group| histograms(group, &for_histograms)).collect();
            let element = shapes::json(all, for_histograms.shape.unwrap_or(Shape::Summary));
            element.map_or_else(|| "]}".to_owned(), |element| format!("{}{element}]}}", last_separator.get()))
        });
        let start = std::iter::once(r#"{"stats":["#.to_owned());
        Box::new(start.chain(numbers).chain(histograms).filter(|piece| !piece.is_empty()))
    }
}

/// Scopes in such groups that the metrics of one all sort before those of the next: a scope whose prefix begins with
/// another's is in its group.
fn groups(scopes: Vec<Arc<ScopeState>>) -> Vec<Vec<Arc<ScopeState>>> {
    let mut groups: Vec<Vec<Arc<ScopeState>>> = Vec::new();
    let mut head = String::new();
    for scope in scopes {
        let prefix = scope.prefix();
        match groups.last_mut() {
            Some(group) if prefix.starts_with(&head) => group.push(scope),
            _ => {
                head = prefix;
                groups.push(vec![scope]);
            }
        }
    }
    groups
}

/// Names and values of a group's counters and gauges, by name.
fn numbers(group: &[Arc<ScopeState>], query: &StatsQuery) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for scope in group {
        let prefix = scope.prefix();
        let reading = scope.read();
        let used = reading.is_used();
        if query.used_only && !used {
            continue;
        }
        let (counters, gauges) = (query.wants_sort(Sort::Counters), query.wants_sort(Sort::Gauges));
        let mut show = |name: String, value: Option<u64>, on_use: bool| {
            if !(value.is_none() && (on_use || query.used_only)) && query.wants(&name) {
                all.push((name, value.unwrap_or(0)));
            }
        };
        for (index, metric) in scope.table.counters.iter().enumerate().filter(|_| counters) {
            let value = if used { reading.counted(index, !query.used_only) } else { None };
            show(format!("{prefix}{}", metric.name), value, metric.on_use);
            if metric.per_worker {
                for (worker, value) in scope.by_worker(index) {
                    show(format!("{prefix}worker_{worker}.{}", metric.name), Some(value).filter(|v| *v > 0), false);
                }
            }
        }
        for (index, metric) in scope.table.gauges.iter().enumerate().filter(|_| gauges) {
            let value = if used { reading.gauge(index) } else { None };
            show(format!("{prefix}{}", metric.name), value, metric.on_use);
            if metric.per_worker {
                for (worker, value) in scope.by_worker(scope.table.counters.len() + index) {
                    show(format!("{prefix}worker_{worker}.{}", metric.name), Some(value), false);
                }
            }
        }
        if counters && reading.has_chunks() {
            for (family, name) in scope.table.statuses.iter().enumerate() {
                for status in 100..600 {
                    let value = Some(reading.status(family, status)).filter(|v| *v > 0);
                    if value.is_some() {
                        show(format!("{prefix}{name}_{status}"), value, true);
                    }
                }
            }
        }
    }
    all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn histograms(group: &[Arc<ScopeState>], query: &StatsQuery) -> Vec<(String, Bins)> {
    if !query.wants_sort(Sort::Histograms) {
        return Vec::new();
    }
    let mut all: Vec<_> = group
        .iter()
        .flat_map(|scope| {
            let prefix = scope.prefix();
            scope.table.histograms.iter().enumerate().filter_map(move |(index, metric)| {
                let bins = scope.bins(index);
                let shown = bins.count() > 0 || !(metric.on_use || query.used_only);
                shown.then(|| (format!("{prefix}{}", metric.name), bins))
            })
        })
        .filter(|(name, _)| query.wants(name))
        .collect();
    all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    all
}

/// Orders scopes of one kind by their names' parts.
pub(super) fn by_parts(one: &ScopeState, other: &ScopeState) -> Ordering {
    one.parts().cmp(other.parts())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use regex::Regex;

    use super::super::names::{Cluster, Http, Listener, ListenerHttp, Server, cluster, http, listener, server};
    use super::*;

    #[test]
    fn quantiles_are_as_exact_as_they_are() {
        let registry = Registry::new(1);
        let http = registry.scope(Http, "ingress");
        (0..5).for_each(|_| http.chunk(1).record(http::DOWNSTREAM_RQ_TIME, 300));
        let query = StatsQuery { used_only: true, ..StatsQuery::default() };
        let text = registry.text(&query).collect::<String>();
        let shown = text.lines().find(|line| line.contains("rq_time")).unwrap();
        assert!(shown.contains("P0(nan,301.6666666666667)"), "{shown}");
    }

    #[test]
    fn text_is_sorted_and_sums_workers() {
        let registry = Registry::new(2);
        let http = registry.scope(Http, "ingress");
        http.chunk(1).inc(http::DOWNSTREAM_RQ_TOTAL);
        http.chunk(2).add(http::DOWNSTREAM_RQ_TOTAL, 2);
        http.chunk(1).up(http::DOWNSTREAM_CX_ACTIVE);
        http.chunk(2).down(http::DOWNSTREAM_CX_ACTIVE);
        http.chunk(2).record(http::DOWNSTREAM_RQ_TIME, 42);
        let cluster = registry.scope(Cluster, "a.b");
        cluster.chunk(1).response(503, false);
        cluster.set(cluster::MEMBERSHIP_TOTAL, 3);
        let listener = registry.scope(Listener, "127.0.0.1_80");
        let _both = registry.scope(ListenerHttp, ("127.0.0.1_80", "ingress"));
        listener.chunk(2).inc(listener::DOWNSTREAM_CX_TOTAL);
        let text = registry.text(&StatsQuery { used_only: true, ..StatsQuery::default() }).collect::<String>();
        let expected = "cluster.a.b.external.upstream_rq_503: 1
cluster.a.b.external.upstream_rq_5xx: 1
cluster.a.b.external.upstream_rq_completed: 1
cluster.a.b.membership_total: 3
cluster.a.b.upstream_rq_503: 1
cluster.a.b.upstream_rq_5xx: 1
cluster.a.b.upstream_rq_completed: 1
http.ingress.downstream_cx_active: 0
http.ingress.downstream_rq_total: 3
listener.127.0.0.1_80.downstream_cx_total: 1
listener.127.0.0.1_80.worker_1.downstream_cx_total: 1
http.ingress.downstream_rq_time: P0(nan,42.5) P25(nan,42.5) P50(nan,42.5) P75(nan,42.5) P90(nan,42.5) P95(nan,42.5) P99(nan,42.5) P99.5(nan,42.5) P99.9(nan,42.5) P100(nan,42.5)
";
        let shown: Vec<_> = text.lines().filter(|l| !l.contains("worker_") || l.contains("total")).collect();
        assert_eq!(shown.join("\n") + "\n", expected);
        let all = registry.text(&StatsQuery::default()).collect::<String>();
        let names: Vec<_> = all.lines().filter(|l| !l.contains("No recorded") && !l.contains("P0")).collect();
        assert!(names.is_sorted_by_key(|l| l.split(": ").next()));
        assert!(all.contains("listener.127.0.0.1_80.http.ingress.downstream_rq_2xx: 0\n"));
        let filter = Some(Regex::new("rq_total$").unwrap());
        let found: String = registry.text(&StatsQuery { filter, used_only: true, ..StatsQuery::default() }).collect();
        assert_eq!(found, "http.ingress.downstream_rq_total: 3\n");
    }

    #[test]
    fn a_name_finds_its_scope_while_it_is_held() {
        let registry = Registry::new(1);
        let first = registry.scope(Cluster, "c");
        first.inc(cluster::UPSTREAM_CX_TOTAL);
        assert!(registry.scope(Cluster, "c").same(&first));
        drop(first);
        assert_eq!(registry.scope(Cluster, "c").counter(cluster::UPSTREAM_CX_TOTAL), 0);
        registry.scope(Server, "").set(server::LIVE, 1);
        assert_eq!(registry.scope(Server, "").gauge(server::LIVE), 1);
    }

    #[test]
    fn reset_leaves_gauges() {
        let registry = Registry::new(1);
        let scope = registry.scope(Cluster, "c");
        scope.chunk(1).response(200, true);
        scope.chunk(1).up(cluster::UPSTREAM_CX_ACTIVE);
        registry.reset_counters();
        assert_eq!(scope.counter(cluster::UPSTREAM_RQ_COMPLETED), 0);
        assert_eq!(scope.status(cluster::UPSTREAM_RQ, 200), 0);
        assert_eq!(scope.gauge(cluster::UPSTREAM_CX_ACTIVE), 1);
        scope.chunk(1).response(200, true);
        assert_eq!(scope.status(cluster::UPSTREAM_RQ, 200), 1);
    }

    #[test]
    fn json_has_envoys_shape() {
        let registry = Registry::new(1);
        let http = registry.scope(Http, "i");
        http.chunk(1).record(http::DOWNSTREAM_RQ_TIME, 0);
        let filter = Some(Regex::new("downstream_rq_t(otal|ime)$").unwrap());
        let json: String = registry.json(&StatsQuery { filter, ..StatsQuery::default() }).collect();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["stats"][0], json!({"name": "http.i.downstream_rq_total", "value": 0}));
        let histograms = &value["stats"][1]["histograms"];
        assert_eq!(histograms["supported_quantiles"], json!([0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]));
        assert_eq!(histograms["computed_quantiles"][0]["name"], "http.i.downstream_rq_time");
        assert_eq!(histograms["computed_quantiles"][0]["values"][0], json!({"interval": null, "cumulative": 0}));
    }
}
