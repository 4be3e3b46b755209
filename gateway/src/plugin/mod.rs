//! From a plugin's configuration to running Wasm filters: the bridge to weir-wasm.
//!
//! [`Plugins`] loads (compiles, and rehearses the start) off the workers; a loaded [`Plugin`] stands in the snapshot; each
//! worker has a [`WorkerPlugins`] with one instance of each plugin, from which it makes a [`WasmFilter`] for each stream.
//! Everything that a guest asks for is done after its callback has returned.

mod breaker;
mod config;
mod context;
mod encode;
mod fields;
mod filter;
mod host;
mod load;
mod properties;
#[cfg(test)]
mod tests;
mod worker;

pub use config::{FailurePolicy, HostLimits, PluginConfig, RestartBackoff};
pub use filter::WasmFilter;
pub use load::{LoadError, Plugin, Plugins};
pub use properties::{Locality, Node};
pub use weir_wasm::{Allocation, EngineSettings, Limits};
pub use worker::WorkerPlugins;
