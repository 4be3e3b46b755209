//! What a guest may use. Every limit is finite by default.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Limits of one plugin; each holds for each of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance in bytes. More is denied to `memory.grow`. Default 128 MiB.
    pub memory_bytes: usize,
    /// Elements of a table (function pointers, mostly). Default 20,000, which is also the largest that can be had.
    pub table_elements: usize,
    /// CPU time of one callback. Default 50 ms.
    ///
    /// Time is looked at every 5 ms ([`crate::Engine`]'s tick), so a call is cut between this and 5 ms later, and values
    /// under 5 ms act as 5 ms. On a busy machine the thread may wait meanwhile: in any case the call is cut after 20 times
    /// this value of wall time.
    pub callback_cpu: Duration,
    /// CPU time of each step of starting up: `_initialize`, `proxy_on_vm_start`, `proxy_on_configure`. Default 1 s.
    pub start_cpu: Duration,
    /// Longest log message in bytes; the rest is cut off. Default 16 KiB.
    pub log_message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 128 << 20,
            table_elements: Self::MOST_TABLE_ELEMENTS,
            callback_cpu: Duration::from_millis(50),
            start_cpu: Duration::from_secs(1),
            log_message_bytes: 16 << 10,
        }
    }
}

impl Limits {
    /// The largest linear memory that an engine of the default settings has room for, in bytes.
    pub const MOST_MEMORY_BYTES: usize = 1 << 30;

    /// The largest table that an engine has room for.
    pub const MOST_TABLE_ELEMENTS: usize = 20_000;
}

/// Most tables of a module.
pub(crate) const MAX_TABLES: usize = 4;

/// Holds an instance to its limits of space.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    /// Memory was denied since the last look: a trap that follows is due to that.
    pub(crate) memory_denied: bool,
    /// A larger table was denied since the last look.
    pub(crate) table_denied: bool,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements.min(Limits::MOST_TABLE_ELEMENTS),
            memory_denied: false,
            table_denied: false,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes;
        self.memory_denied |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.table_elements;
        self.table_denied |= !granted;
        Ok(granted)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        1
    }
}
