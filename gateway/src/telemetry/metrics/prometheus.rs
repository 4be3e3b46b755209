//! Metrics in the text form of Prometheus, named and labelled as Envoy does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use super::histogram::{BOUNDS, QUANTILES};
use super::number::general;
use super::query::{Shape, StatsQuery};
use super::registry::Registry;
use super::render::{Pieces, by_parts};
use super::scope::{Metric, Reading, ScopeState, Table};

impl Registry {
    /// All metrics: counters, then gauges, then histograms, each by name. Rendered piece by piece.
    pub fn prometheus(&self, query: &StatsQuery) -> Pieces {
        let mut kinds: BTreeMap<&'static str, Vec<Arc<ScopeState>>> = BTreeMap::new();
        for scope in self.living() {
            if !query.used_only || scope.read().is_used() {
                kinds.entry(scope.table.pattern).or_default().push(scope);
            }
        }
        let mut families = Vec::new();
        for mut scopes in kinds.into_values() {
            scopes.sort_by(|one, other| by_parts(one, other));
            add_families(&scopes.into(), &mut families);
        }
        families.sort_by(|one, other| (one.sort, &one.name).cmp(&(other.sort, &other.name)));
        let query = query.clone();
        Box::new(families.into_iter().map(move |family| family.render(&query)).filter(|piece| !piece.is_empty()))
    }
}

/// In Prometheus's sense: the series of one name.
struct Family {
    sort: Sort,
    /// Dotted, without the parts that became labels.
    name: String,
    /// Of one kind.
    scopes: Rc<[Arc<ScopeState>]>,
    members: Vec<Member>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Counter,
    Gauge,
    Histogram,
}

/// A metric of each scope.
struct Member {
    of: Of,
    /// Name within the scope; of a family of status codes without the code.
    metric: &'static str,
    on_use: bool,
    label: Option<(&'static str, String)>,
}

#[derive(Clone, Copy)]
enum Of {
    Counter(usize),
    Gauge(usize),
    Histogram(usize),
    Statuses(usize),
    /// Each worker's value in that slot.
    Workers(usize),
}

/// Adds the families of the scopes of one kind.
fn add_families(scopes: &Rc<[Arc<ScopeState>]>, families: &mut Vec<Family>) {
    let Some(table) = scopes.first().map(|scope| scope.table) else { return };
    let base: Vec<_> = table.pattern.split('.').filter(|part| !part.starts_with('{')).collect();
    let mut by_name: BTreeMap<(Sort, String), Vec<Member>> = BTreeMap::new();
    for (sort, name, member) in members(table) {
        by_name.entry((sort, format!("{}.{name}", base.join(".")))).or_default().push(member);
    }
    let family = |((sort, name), members)| Family { sort, name, scopes: Rc::clone(scopes), members };
    families.extend(by_name.into_iter().map(family));
}

fn members(table: &'static Table) -> Vec<(Sort, Cow<'static, str>, Member)> {
    let mut all = Vec::new();
    let mut add = |sort, metric: &'static Metric, of, slot| {
        let (name, label) = extract(metric.name);
        all.push((sort, name, Member { of, metric: metric.name, on_use: metric.on_use, label }));
        if metric.per_worker {
            let member = Member { of: Of::Workers(slot), metric: metric.name, on_use: true, label: None };
            all.push((sort, format!("worker.{}", metric.name).into(), member));
        }
    };
    for (index, metric) in table.counters.iter().enumerate() {
        add(Sort::Counter, metric, Of::Counter(index), index);
    }
    for (index, metric) in table.gauges.iter().enumerate() {
        add(Sort::Gauge, metric, Of::Gauge(index), table.counters.len() + index);
    }
    for (index, metric) in table.histograms.iter().enumerate() {
        add(Sort::Histogram, metric, Of::Histogram(index), 0);
    }
    for (index, name) in table.statuses.iter().enumerate() {
        let member = Member { of: Of::Statuses(index), metric: name, on_use: true, label: None };
        all.push((Sort::Counter, (*name).into(), member));
    }
    all
}

impl Family {
    fn render(&self, query: &StatsQuery) -> String {
        let name = metric_name(&self.name);
        let summaries = query.shape == Some(Shape::Summary);
        let mut out = String::new();
        for scope in self.scopes.iter() {
            let prefix = if query.filter.is_some() { scope.prefix() } else { String::new() };
            let reading = scope.read();
            for member in &self.members {
                let wanted = |suffix: &str| query.wants(&format!("{prefix}{}{suffix}", member.metric));
                let hidden = member.on_use || query.used_only;
                let line = |value: Option<u64>, label: Option<(&'static str, &str)>, out: &mut String| {
                    if value.is_some() || !hidden {
                        // Writing to a String cannot fail, here and below.
                        let _ = writeln!(out, "{name}{{{}}} {}", labels(scope, label), value.unwrap_or(0));
                    }
                };
                let label = member.label.as_ref().map(|(tag, value)| (*tag, value.as_str()));
                match member.of {
                    Of::Statuses(family) => write_statuses(&reading, family, &wanted, &line, &mut out),
                    _ if !wanted("") => {}
                    Of::Counter(index) => line(reading.counted(index, !query.used_only), label, &mut out),
                    Of::Gauge(index) => line(reading.gauge(index), label, &mut out),
                    Of::Workers(slot) if reading.is_used() => {
                        for (worker, value) in scope.by_worker(slot) {
                            line(Some(value), Some(("envoy_worker_id", &worker.to_string())), &mut out);
                        }
                    }
                    Of::Workers(_) => {}
                    Of::Histogram(index) => {
                        write_histogram(scope, index, &name, hidden, summaries, &mut out);
                    }
                }
            }
        }
        if out.is_empty() {
            return out;
        }
        let sort = match self.sort {
            Sort::Counter => "counter",
            Sort::Gauge => "gauge",
            Sort::Histogram if summaries => "summary",
            Sort::Histogram => "histogram",
        };
        out.insert_str(0, &format!("# TYPE {name} {sort}\n"));
        out
    }
}

fn write_statuses(
    reading: &Reading<'_>,
    family: usize,
    wanted: &impl Fn(&str) -> bool,
    line: &impl Fn(Option<u64>, Option<(&'static str, &str)>, &mut String),
    out: &mut String,
) {
    if !reading.has_chunks() {
        return;
    }
    for status in 100..600 {
        let value = Some(reading.status(family, status)).filter(|value| *value > 0);
        if value.is_some() && wanted(&format!("_{status}")) {
            line(value, Some(("envoy_response_code", &status.to_string())), out);
        }
    }
}

fn write_histogram(scope: &ScopeState, index: usize, name: &str, hidden: bool, summary: bool, out: &mut String) {
    let bins = scope.bins(index);
    let count = bins.count();
    if count == 0 && hidden {
        return;
    }
    let labels = labels(scope, None);
    let comma = if labels.is_empty() { "" } else { "," };
    if summary {
        let values = bins.quantiles().unwrap_or([f64::NAN; QUANTILES.len()]);
        for (percent, value) in QUANTILES.iter().zip(values) {
            let (quantile, value) = (general(percent / 100.0, 6), general(value, 32));
            let _ = writeln!(out, "{name}{{{labels}{comma}quantile=\"{quantile}\"}} {value}");
        }
    } else {
        for (bound, count) in BOUNDS.iter().zip(bins.cumulative()) {
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {count}", general(*bound, 32));
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
    }
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", general(bins.sum(), 32));
    let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
}

/// Takes the part of a metric's name that is a label by Envoy's tag rules out of it.
fn extract(name: &'static str) -> (Cow<'static, str>, Option<(&'static str, String)>) {
    if let Some(cipher) = name.strip_prefix("ciphers.") {
        return ("ciphers".into(), Some(("envoy_ssl_cipher", cipher.to_owned())));
    }
    if let Some(version) = name.strip_prefix("versions.") {
        return ("versions".into(), Some(("envoy_ssl_version", version.to_owned())));
    }
    if let Some(curve) = name.strip_prefix("curves.") {
        return ("curves".into(), Some(("envoy_ssl_curve", curve.to_owned())));
    }
    if let Some(algorithm) = name.strip_prefix("sigalgs.") {
        return ("sigalgs".into(), Some(("envoy_ssl_sigalg", algorithm.to_owned())));
    }
    match name.strip_suffix("xx").and_then(|rest| rest.split_at_checked(rest.len().saturating_sub(1))) {
        Some((rest, class @ ("1" | "2" | "3" | "4" | "5"))) => {
            (format!("{rest}xx").into(), Some(("envoy_response_code_class", class.to_owned())))
        }
        _ => (name.into(), None),
    }
}

fn metric_name(dotted: &str) -> String {
    let clean = dotted.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    // Envoy leaves names of its extensions' own namespaces alone; Weir's own begin with `weir`.
    let prefix = if dotted.starts_with("weir.") { "" } else { "envoy_" };
    prefix.chars().chain(clean).collect()
}

/// The metric's own label, then those of the scope: Envoy lists the tag found last in the name first.
fn labels(scope: &ScopeState, own: Option<(&'static str, &str)>) -> String {
    let tags = scope.table.pattern.split('.').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut of_scope: Vec<_> = tags.zip(scope.parts()).collect();
    of_scope.reverse();
    let all = own.into_iter().chain(of_scope).map(|(tag, value)| format!("{tag}=\"{}\"", escape(value)));
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
        let text = registry.prometheus(&StatsQuery { used_only: true, ..StatsQuery::default() }).collect::<String>();
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
        let all = registry.prometheus(&StatsQuery::default()).collect::<String>();
        let classes: Vec<_> = all.lines().filter(|l| l.starts_with("envoy_listener_http_downstream_rq_xx{")).collect();
        assert_eq!(classes.len(), 5);
        assert_eq!(all.matches("# TYPE envoy_listener_http_downstream_rq_xx ").count(), 1);
    }
}
