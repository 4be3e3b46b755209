//! Every metric of the gateway, by kind of scope.
//!
//! Names are Envoy's; what Envoy has no name for stands under `weir.` and `wasm.`. An id is used with a scope of its
//! kind: `scope.chunk(worker).inc(http::DOWNSTREAM_RQ_TOTAL)`. `on_use` hides a metric until it is used, `per_worker`
//! shows it for each worker as well.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $module:ident $pattern:literal {
        $(counters { $($counter:ident $counter_name:literal $(: $counter_flag:ident)?;)* })?
        $(gauges { $($gauge:ident $gauge_name:literal $(: $gauge_flag:ident)?;)* })?
        $(histograms { $($histogram:ident $histogram_name:literal $(: $histogram_flag:ident)?;)* })?
        $(statuses { $($statuses:ident $statuses_name:literal;)* })?
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $kind;

        impl Kind for $kind {
            const TABLE: &'static Table = &Table {
                pattern: $pattern,
                counters: &[$($(metric!($counter_name $($counter_flag)?),)*)?],
                gauges: &[$($(metric!($gauge_name $($gauge_flag)?),)*)?],
                histograms: &[$($(metric!($histogram_name $($histogram_flag)?),)*)?],
                statuses: &[$($($statuses_name,)*)?],
            };
        }

        #[doc = concat!("Ids of `", $pattern, ".*`.")]
        #[allow(unused_imports, reason = "not every kind has every sort of metric")]
        pub mod $module {
            use super::{Counter, Gauge, Histogram, Statuses, $kind};

            $(ids!(Counter CounterPosition $kind $($counter $counter_name)*);)?
            $(ids!(Gauge GaugePosition $kind $($gauge $gauge_name)*);)?
            $(ids!(Histogram HistogramPosition $kind $($histogram $histogram_name)*);)?
            $(ids!(Statuses StatusesPosition $kind $($statuses $statuses_name)*);)?
        }
    )*};
}

macro_rules! metric {
    ($name:literal) => {
        Metric { name: $name, on_use: false, per_worker: false }
    };
    ($name:literal on_use) => {
        Metric { name: $name, on_use: true, per_worker: false }
    };
    ($name:literal per_worker) => {
        Metric { name: $name, on_use: false, per_worker: true }
    };
}

/// Numbers the names of one sort in their order, which is the order of the table.
macro_rules! ids {
    ($sort:ident $position:ident $kind:ident $($id:ident $name:literal)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named as the ids they number")]
        enum $position { $($id),* }

        $(
            #[doc = concat!("`", $name, "`")]
            pub const $id: $sort<$kind> = $sort::at($position::$id as u16);
        )*
    };
}

mod downstream;
mod own;
mod process;
mod upstream;

pub use downstream::*;
pub use own::*;
pub use process::*;
pub use upstream::*;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;
    use std::path::Path;

    /// A name that nothing counts would show 0 for ever, and somebody would trust it.
    #[test]
    fn every_name_is_counted_somewhere() {
        let tables = [
            include_str!("process.rs"),
            include_str!("downstream.rs"),
            include_str!("upstream.rs"),
            include_str!("own.rs"),
        ]
        .concat();
        let mut sources = String::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.extend(Some(entry).filter(|folder| !folder.ends_with("metrics/names")));
                } else {
                    sources.push_str(&std::fs::read_to_string(entry).unwrap());
                }
            }
        }
        let used: HashSet<&str> = sources.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        let declared = tables.lines().filter_map(|line| line.strip_prefix("            ")?.split_once(" \""));
        let declared =
            declared.filter(|(id, _)| id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
        // These are found by the name of what was negotiated.
        let negotiated = ["ciphers.", "versions.", "curves.", "sigalgs."];
        let declared = declared.filter(|(_, name)| !negotiated.iter().any(|group| name.starts_with(group)));
        let unused: Vec<_> = declared.map(|(id, _)| id).filter(|id| !used.contains(id)).collect();
        assert!(unused.is_empty(), "nothing counts {unused:?}");
    }
}
