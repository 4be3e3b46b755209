//! A sandbox that runs [proxy-wasm](https://github.com/proxy-wasm/spec) filters, as a library for any Rust proxy.
//!
//! The road of a filter: an [`Engine`] (one for each process) compiles bytes into a [`Module`]; a [`Plugin`] is a module
//! linked with its configuration and [`Limits`], shared by all threads; [`Plugin::start`] makes an [`Instance`], which
//! lives on one thread together with the proxy's [`Host`]. The proxy calls the instance (`on_request_headers`, ...), the
//! guest calls the host (`header`, `buffer`, `send_local_response`, ...).
//!
//! Rules that hold everywhere:
//! - A call never blocks: a guest that waits says so by its action, and the proxy goes on when it is told to.
//! - What a guest asks for (answers, continuing, closing) is noted by the host and done after the callback returned.
//! - Time, memory and stack of a guest are bounded by its [`Limits`]. A guest that traps is never called again.
//! - The guest is hostile: whatever it passes is checked, and ends at worst in a [`Trap`].

mod abi;
mod callbacks;
mod clock;
mod engine;
mod host;
mod instance;
mod limits;
mod link;
mod memory;
mod module;
mod os;
mod pairs;
mod plugin;
mod state;
mod trap;

pub use abi::{
    AbiVersion, BufferType, DataAction, HeadersAction, LogLevel, MapType, MetricType, PeerType, Status, StreamType,
    TrailersAction,
};
pub use callbacks::Exports;
pub use engine::{Allocation, Engine, EngineError, EngineSettings};
pub use host::{BufferEdit, ContextId, Host, HttpCall, LocalResponse, PropertyPath};
pub use instance::Instance;
pub use limits::Limits;
pub use module::{LoadError, Module};
pub use pairs::{Pairs, PairsBuffer};
pub use plugin::{Plugin, PluginSettings, StartError};
pub use trap::{Callback, Trap, TrapKind};
