//! Metrics in the text form of Prometheus, named and labelled as Envoy does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::histogram::BOUNDS;
use super::number::general;
use super::registry::Registry;
use super::render::{StatsQuery, by_parts};
use super::scope::{Metric, ScopeState};

impl Registry {
    /// All metrics: counters, then gauges, then histograms, each by name.
    pub fn prometheus(&self, query: &StatsQuery) -> String {
        let mut families = Families::default();
        for scope in self.living() {
            families.add(scope, query);
        }
        let mut out = String::new();
        families.counters.iter().for_each(|(name, series)| write_numbers(&mut out, name, "counter", series));
        families.gauges.iter().for_each(|(name, series)| write_numbers(&mut out, name, "gauge", series));
        families.histograms.iter().for_each(|(name, series)| write_histograms(&mut out, name, series));
        out
    }
}

/// Series by dotted name without the parts that became labels.
#[derive(Default)]
struct Families {
    counters: BTreeMap<String, Vec<Series<u64>>>,
    gauges: BTreeMap<String, Vec<Series<u64>>>,
    histograms: BTreeMap<String, Vec<Series<usize>>>,
}

struct Series<T> {
    scope: Arc<ScopeState>,
    /// Label of the metric itself, before those of the scope.
    label: Option<(&'static str, String)>,
    value: T,
}

impl Families {
    fn add(&mut self, scope: Arc<ScopeState>, query: &StatsQuery) {
        let used = scope.is_used();
        if query.used_only && !used {
            return;
        }
        let table = scope.table;
        let base = table.pattern.split('.').filter(|p| !p.starts_with('{')).collect::<Vec<_>>().join(".");
        let prefix = if query.filter.is_some() { scope.prefix() } else { String::new() };
        let shown = |metric: &Metric, value: Option<u64>| {
            !(value.is_none() && (metric.on_use || query.used_only)) && query.wants(&format!("{prefix}{}", metric.name))
        };
        for (index, metric) in table.counters.iter().enumerate() {
            let value = if used { Some(scope.sum_counter(index)).filter(|v| *v > 0) } else { None };
            if shown(metric, value) {
                push(&mut self.counters, &base, metric, &scope, value.unwrap_or(0));
                if metric.per_worker {
                    push_workers(&mut self.counters, &base, metric, &scope, index);
                }
            }
        }
        for (index, metric) in table.gauges.iter().enumerate() {
            let value = if used { scope.sum_gauge(index) } else { None };
            if shown(metric, value) {
                push(&mut self.gauges, &base, metric, &scope, value.unwrap_or(0));
                if metric.per_worker {
                    push_workers(&mut self.gauges, &base, metric, &scope, table.counters.len() + index);
                }
            }
        }
        for (family, name) in table.statuses.iter().enumerate().filter(|_| used) {
            for status in 100..600 {
                let value = scope.sum_status(family, status);
                if value > 0 && query.wants(&format!("{prefix}{name}_{status}")) {
                    let label = Some(("envoy_response_code", status.to_string()));
                    let series = Series { scope: scope.clone(), label, value };
                    self.counters.entry(format!("{base}.{name}")).or_default().push(series);
                }
            }
        }
        for (index, metric) in table.histograms.iter().enumerate() {
            let count = used.then(|| scope.bins(index).count()).filter(|count| *count > 0);
            if shown(metric, count) {
                let series = Series { scope: scope.clone(), label: None, value: index };
                self.histograms.entry(format!("{base}.{}", metric.name)).or_default().push(series);
            }
        }
    }
}

fn push(
    families: &mut BTreeMap<String, Vec<Series<u64>>>,
    base: &str,
    metric: &Metric,
    scope: &Arc<ScopeState>,
    value: u64,
) {
    let (name, label) = extract(metric.name);
    families.entry(format!("{base}.{name}")).or_default().push(Series { scope: scope.clone(), label, value });
}

fn push_workers(
    families: &mut BTreeMap<String, Vec<Series<u64>>>,
    base: &str,
    metric: &Metric,
    scope: &Arc<ScopeState>,
    slot: usize,
) {
    let series = families.entry(format!("{base}.worker.{}", metric.name)).or_default();
    for (worker, value) in scope.by_worker(slot) {
        series.push(Series { scope: scope.clone(), label: Some(("envoy_worker_id", worker.to_string())), value });
    }
}

/// Takes the part of a metric's name that is a label by Envoy's tag rules out of it.
fn extract(name: &'static str) -> (Cow<'static, str>, Option<(&'static str, String)>) {
    if let Some(cipher) = name.strip_prefix("ciphers.") {
        return ("ciphers".into(), Some(("envoy_ssl_cipher", cipher.to_owned())));
    }
    if let Some(version) = name.strip_prefix("versions.") {
        return ("versions".into(), Some(("envoy_ssl_version", version.to_owned())));
    }
    match name.strip_suffix("xx").and_then(|rest| rest.split_at_checked(rest.len().saturating_sub(1))) {
        Some((rest, class @ ("1" | "2" | "3" | "4" | "5"))) => {
            (format!("{rest}xx").into(), Some(("envoy_response_code_class", class.to_owned())))
        }
        _ => (name.into(), None),
    }
}

fn write_numbers(out: &mut String, name: &str, sort: &str, series: &[Series<u64>]) {
    let name = metric_name(name);
    let mut series: Vec<_> = series.iter().collect();
    series.sort_by(|a, b| by_parts(&a.scope, &b.scope));
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# TYPE {name} {sort}");
    for one in series {
        let _ = writeln!(out, "{name}{{{}}} {}", labels(one), one.value);
    }
}

fn write_histograms(out: &mut String, name: &str, series: &[Series<usize>]) {
    let name = metric_name(name);
    let mut series: Vec<_> = series.iter().collect();
    series.sort_by(|a, b| by_parts(&a.scope, &b.scope));
    let _ = writeln!(out, "# TYPE {name} histogram");
    for one in series {
        let bins = one.scope.bins(one.value);
        let labels = labels(one);
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in BOUNDS.iter().zip(bins.cumulative()) {
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {count}", general(*bound, 32));
        }
        let count = bins.count();
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", general(bins.sum(), 32));
        let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
    }
}

fn metric_name(dotted: &str) -> String {
    let clean = dotted.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    // Envoy leaves names of its extensions' own namespaces alone; Weir's own begin with `weir`.
    let prefix = if dotted.starts_with("weir.") { "" } else { "envoy_" };
    prefix.chars().chain(clean).collect()
}

fn labels<T>(series: &Series<T>) -> String {
    let tags = series.scope.table.pattern.split('.').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}'));
    let mut of_scope: Vec<_> = tags.zip(series.scope.parts()).collect();
    // Envoy lists the tag found last in the name first.
    of_scope.reverse();
    let own = series.label.iter().map(|(tag, value)| (*tag, value.as_str()));
    let all = own.chain(of_scope).map(|(tag, value)| format!("{tag}=\"{}\"", escape(value)));
    all.collect::<Vec<_>>().join(",")
}

fn escape(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::names::{Cluster, Http, Listener, ListenerHttp, Server, http, listener, listener_http, server};
    use super::*;

    #[test]
    fn names_and_labels_are_envoys() {
        let registry = Registry::new(1);
        let cluster = registry.scope(Cluster, "up");
        cluster.chunk(1).response(503, false);
        let http = registry.scope(Http, "in\"gress");
        http.chunk(1).record(http::DOWNSTREAM_RQ_TIME, 1);
        let both = registry.scope(ListenerHttp, ("127.0.0.1_0", "ingress"));
        both.chunk(1).inc(listener_http::DOWNSTREAM_RQ_5XX);
        let listener = registry.scope(Listener, "127.0.0.1_0");
        listener.chunk(1).up(listener::DOWNSTREAM_CX_ACTIVE);
        registry.scope(Server, "").set(server::LIVE, 1);
        let text = registry.prometheus(&StatsQuery { used_only: true, filter: None });
        for line in [
            "# TYPE envoy_cluster_external_upstream_rq counter",
            "envoy_cluster_external_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"up\"} 1",
            "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_cluster_name=\"up\"} 1",
            "envoy_listener_http_downstream_rq_xx{envoy_response_code_class=\"5\",envoy_http_conn_manager_prefix=\"ingress\",envoy_listener_address=\"127.0.0.1_0\"} 1",
            "envoy_listener_worker_downstream_cx_active{envoy_worker_id=\"0\",envoy_listener_address=\"127.0.0.1_0\"} 1",
            "# TYPE envoy_http_downstream_rq_time histogram",
            "envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"in\\\"gress\",le=\"0.5\"} 0",
            "envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"in\\\"gress\",le=\"3600000\"} 1",
            "envoy_http_downstream_rq_time_sum{envoy_http_conn_manager_prefix=\"in\\\"gress\"} 1.0476190476190476719153821250075",
            "envoy_server_live{} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        let all = registry.prometheus(&StatsQuery::default());
        let classes: Vec<_> = all.lines().filter(|l| l.starts_with("envoy_listener_http_downstream_rq_xx{")).collect();
        assert_eq!(classes.len(), 5);
        assert_eq!(all.matches("# TYPE envoy_listener_http_downstream_rq_xx ").count(), 1);
    }
}
