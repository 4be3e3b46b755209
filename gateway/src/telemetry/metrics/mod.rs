//! Counters, gauges and histograms under Envoy's names.
//!
//! Every name is declared in [`names`], with a fixed place in the memory of its scope. A [`Scope`] (a cluster, a
//! listener, a connection manager, …) has one [`Chunk`] for each worker that ever used it: the worker is its only
//! writer, the admin interface sums the chunks. A scope that nobody used owns no chunk.

mod families;
mod histogram;
pub mod names;
mod number;
mod prometheus;
mod query;
mod registry;
mod render;
mod scope;
mod shapes;

pub use histogram::{Bins, Quantiles};
pub use query::{Shape, Sort, StatsQuery};
pub use registry::Registry;
pub use render::Pieces;
pub use scope::{Chunk, Counter, Gauge, Histogram, Kind, Scope, ScopeName, Statuses, Table};
