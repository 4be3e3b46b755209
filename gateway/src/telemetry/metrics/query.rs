//! What is asked of the metrics: the query parameters of `/stats`.

use regex::Regex;

/// Which metrics are wanted, and in which shape.
#[derive(Clone, Debug, Default)]
pub struct StatsQuery {
    /// Names in which it is found (`filter`).
    pub filter: Option<Regex>,
    /// Names in which it is not found instead (`invert_filter`).
    pub inverted: bool,
    /// Only metrics that have been touched (`usedonly`).
    pub used_only: bool,
    /// Only metrics of this sort (`type`).
    pub only: Option<Sort>,
    /// How histograms are shown (`histogram_buckets`); by quantiles, and to Prometheus by cumulative buckets, unless it
    /// is set.
    pub shape: Option<Shape>,
}

/// A sort of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Counters.
    Counters,
    /// Gauges.
    Gauges,
    /// Histograms.
    Histograms,
    /// Texts, of which Weir has none.
    TextReadouts,
}

/// A way to show a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Quantiles.
    Summary,
    /// How many values are not above each of Envoy's bounds.
    Cumulative,
    /// How many values lie between one bound and the next.
    Disjoint,
    /// Every bin that holds a value, and quantiles.
    Detailed,
}

impl StatsQuery {
    pub(super) fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.is_match(name) != self.inverted)
    }

    pub(super) fn wants_sort(&self, sort: Sort) -> bool {
        self.only.is_none_or(|only| only == sort)
    }
}
