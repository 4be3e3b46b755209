//! The engine: what all modules of a process share.

use std::sync::Arc;

use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::clock::Ticker;
use crate::limits::{Limits, MAX_TABLES};

/// How an [`Engine`] is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Where instances live. Default: the pool.
    pub allocation: Allocation,
    /// Most instances at one time in the pool. Default 1000: each reserves (not: uses) 4 GiB of addresses.
    pub instances: u32,
    /// Largest linear memory that [`crate::Limits::memory_bytes`] can grant, in bytes. Default 1 GiB.
    pub max_memory_bytes: usize,
    /// Largest module in bytes. Default 64 MiB.
    pub max_module_bytes: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            allocation: Allocation::Pooling,
            instances: 1000,
            max_memory_bytes: Limits::MOST_MEMORY_BYTES,
            max_module_bytes: 64 << 20,
        }
    }
}

impl EngineSettings {
    /// The defaults, with what the environment asks for: `WEIR_WASM_INSTANCES` is the size of the pool (1 to 100,000), and
    /// `WEIR_WASM_ALLOCATION=on-demand` is for tools such as valgrind, which cannot stand the addresses that a pool reserves.
    pub fn from_environment() -> Self {
        let defaults = Self::default();
        let allocation = match std::env::var("WEIR_WASM_ALLOCATION").as_deref() {
            Ok("on-demand") => Allocation::OnDemand,
            Ok("pooling") | Err(_) => Allocation::Pooling,
            Ok(other) => {
                tracing::warn!(
                    value = other,
                    "WEIR_WASM_ALLOCATION is neither `pooling` nor `on-demand`: using the pool"
                );
                Allocation::Pooling
            }
        };
        let instances = match std::env::var("WEIR_WASM_INSTANCES") {
            Err(_) => defaults.instances,
            Ok(value) => value.parse().ok().filter(|count| (1..=100_000).contains(count)).unwrap_or_else(|| {
                tracing::warn!(
                    value,
                    "WEIR_WASM_INSTANCES is no number from 1 to 100000: using {}",
                    defaults.instances
                );
                defaults.instances
            }),
        };
        Self { allocation, instances, ..defaults }
    }
}

/// Where instances live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Mapped for each instance.
    OnDemand,
    /// In a pool that is reserved at the start: an instance costs microseconds, also with several threads.
    Pooling,
}

/// What all modules of a process share: the compiler, the pool of instances, the ticker behind time limits.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wasmtime: wasmtime::Engine,
    ticker: Ticker,
    max_module_bytes: usize,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine cannot run it.
    #[error("the sandbox cannot start on this machine: {0:#}")]
    Create(wasmtime::Error),
    /// No thread to be had.
    #[error("the thread behind the time limits of plugins cannot start: {0}")]
    Ticker(std::io::Error),
}

impl Engine {
    /// Makes an engine. If the pool cannot be reserved (a limit on addresses), instances are mapped on demand.
    pub fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        let wasmtime = match settings.allocation {
            Allocation::OnDemand => wasmtime::Engine::new(&config()).map_err(EngineError::Create)?,
            Allocation::Pooling => match wasmtime::Engine::new(&pooling_config(settings)) {
                Ok(engine) => engine,
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the system refused the addresses of the pool of Wasm instances: making each on demand, which is slower; raise `ulimit -v` \
                         (of a service: LimitAS=), make the pool smaller by WEIR_WASM_INSTANCES, or ask for this by WEIR_WASM_ALLOCATION=on-demand"
                    );
                    wasmtime::Engine::new(&config()).map_err(EngineError::Create)?
                }
            },
        };
        let ticker = Ticker::start(wasmtime.clone()).map_err(EngineError::Ticker)?;
        Ok(Self(Arc::new(Inner { wasmtime, ticker, max_module_bytes: settings.max_module_bytes })))
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }

    pub(crate) fn max_module_bytes(&self) -> usize {
        self.0.max_module_bytes
    }
}

/// Settings of every engine.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // Compiling happens beside traffic: one thread of it at a time.
        .parallel_compilation(false)
        .max_wasm_stack(512 << 10)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
        // Names of functions are enough in a backtrace; the maps of addresses would double the size of the code.
        .generate_address_map(false)
        .native_unwind_info(false);
    // What no toolchain emits for this ABI is one thing less to attack.
    config
        .gc_support(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_custom_page_sizes(false)
        .wasm_relaxed_simd(false)
        .wasm_wide_arithmetic(false);
    config
}

fn pooling_config(settings: &EngineSettings) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(settings.instances)
        .total_memories(settings.instances)
        .total_tables(settings.instances.saturating_mul(2))
        .max_memories_per_module(1)
        .max_tables_per_module(MAX_TABLES as u32)
        .table_elements(Limits::MOST_TABLE_ELEMENTS)
        .max_memory_size(settings.max_memory_bytes)
        .total_gc_heaps(0);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
