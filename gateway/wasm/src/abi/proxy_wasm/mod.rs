//! The host calls of proxy-wasm, all versions in one: a file for each group.
//!
//! Every call answers with a status. Which statuses an SDK survives is written at each call, from the public Rust SDK
//! 0.2: where it panics on anything but `Ok`, so do the guest and all streams in it.

mod buffers;
mod calls;
mod headers;
mod log;
mod metrics;
mod properties;
mod shared;
mod streams;

use crate::host::Host;
use crate::link::Imports;

/// The import module of all these calls.
pub(crate) const ENV: &str = "env";

/// Offers all host calls.
pub(crate) fn define<H: Host>(imports: &mut Imports<'_, H>) -> wasmtime::Result<()> {
    buffers::define(imports)?;
    calls::define(imports)?;
    headers::define(imports)?;
    log::define(imports)?;
    metrics::define(imports)?;
    properties::define(imports)?;
    shared::define(imports)?;
    streams::define(imports)
}
