//! Histograms as Envoy's admin interface prints them, in each of its shapes. Weir keeps no intervals: where Envoy shows
//! what happened between the last two flushes, it is what Envoy shows when nothing did.

use serde_json::{Value, json};

use super::histogram::{BOUNDS, Bins, QUANTILES};
use super::number::general;
use super::query::Shape;

/// The lines of one histogram.
pub(super) fn text(name: &str, bins: &Bins, shape: Shape) -> String {
    let Some(summary) = summary(bins) else { return format!("{name}: No recorded values\n") };
    match shape {
        Shape::Summary => format!("{name}: {summary}\n"),
        Shape::Cumulative => format!("{name}: {}\n", buckets(&bins.cumulative())),
        Shape::Disjoint => format!("{name}: {}\n", buckets(&bins.disjoint())),
        Shape::Detailed => {
            let totals =
                bins.filled().map(|(left, width, n)| format!("{},{}:{n}", general(left, 6), general(width, 6)));
            let totals = totals.collect::<Vec<_>>().join(", ");
            format!("{name}:\n  totals={totals}\n  intervals=\n  summary={summary}\n")
        }
    }
}

/// The element of a JSON document that holds all histograms; there is none without them.
pub(super) fn json(histograms: Vec<(String, Bins)>, shape: Shape) -> Option<Value> {
    if histograms.is_empty() {
        return None;
    }
    let supported = QUANTILES.map(whole_if_it_can_be);
    let each = histograms.into_iter().map(|(name, bins)| one(&name, &bins, shape)).collect::<Vec<_>>();
    let all = match shape {
        Shape::Summary => json!({"supported_quantiles": supported, "computed_quantiles": each}),
        Shape::Detailed => json!({"supported_percentiles": supported, "details": each}),
        Shape::Cumulative | Shape::Disjoint => json!(each),
    };
    Some(json!({"histograms": all}))
}

fn one(name: &str, bins: &Bins, shape: Shape) -> Value {
    let bucket = |(bound, count): (&f64, u64)| json!({"upper_bound": whole_if_it_can_be(*bound), "interval": 0, "cumulative": count});
    let buckets = |counts: &[u64]| BOUNDS.iter().zip(counts.iter().copied()).map(bucket).collect::<Vec<_>>();
    match shape {
        Shape::Summary => json!({"name": name, "values": quantiles(bins)}),
        Shape::Cumulative => json!({"name": name, "buckets": buckets(&bins.cumulative())}),
        Shape::Disjoint => json!({"name": name, "buckets": buckets(&bins.disjoint())}),
        Shape::Detailed => {
            let bin = |(left, width, count)| json!({"lower_bound": whole_if_it_can_be(left), "width": whole_if_it_can_be(width), "count": count});
            let totals = bins.filled().map(bin).collect::<Vec<_>>();
            json!({"name": name, "totals": totals, "intervals": [], "percentiles": quantiles(bins)})
        }
    }
}

fn quantiles(bins: &Bins) -> Vec<Value> {
    match bins.quantiles() {
        Some(values) => {
            values.iter().map(|v| json!({"interval": null, "cumulative": whole_if_it_can_be(*v)})).collect()
        }
        None => vec![json!({"interval": null, "cumulative": null}); QUANTILES.len()],
    }
}

fn summary(bins: &Bins) -> Option<String> {
    let shown = QUANTILES.iter().zip(bins.quantiles()?);
    let shown = shown.map(|(q, v)| format!("P{}(nan,{v})", general(*q, 6)));
    Some(shown.collect::<Vec<_>>().join(" "))
}

fn buckets(counts: &[u64]) -> String {
    let shown = BOUNDS.iter().zip(counts).map(|(bound, count)| format!("B{}(0,{count})", general(*bound, 6)));
    shown.collect::<Vec<_>>().join(" ")
}

fn whole_if_it_can_be(value: f64) -> Value {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}
