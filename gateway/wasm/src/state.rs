//! What the host keeps beside each instance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Memory, TypedFunc};

use crate::abi::{AbiVersion, LogLevel, Status};
use crate::clock::Deadline;
use crate::host::{ContextId, Host};
use crate::limits::Limiter;
use crate::pairs::PairsBuffer;
use crate::plugin::PluginSettings;

/// What the host keeps beside each instance; host calls reach it through their `Caller`.
pub(crate) struct State<H> {
    pub(crate) host: H,
    pub(crate) settings: Arc<PluginSettings>,
    pub(crate) abi: AbiVersion,
    /// The context that host calls are about.
    pub(crate) context: ContextId,
    pub(crate) phase: Phase,
    /// `None` only while the module's start section runs.
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) limiter: Limiter,
    pub(crate) deadline: Deadline,
    /// What a host call gives to the guest; kept for its memory.
    pub(crate) scratch: Vec<u8>,
    pub(crate) pairs: PairsBuffer,
    /// What the guest writes to its standard output; kept for its memory.
    pub(crate) line: Vec<u8>,
    /// The last message of this call at error level or above.
    pub(crate) last_error: Option<String>,
    /// Zero of the guest's monotonic clock.
    pub(crate) started: Instant,
    warnings: Vec<Warning>,
}

/// Which host calls are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `_initialize` and the like: log, clocks and WASI only, as in Envoy.
    Starting,
    /// All of them; the VM's configuration is readable.
    Running,
    /// As `Running`; the plugin's configuration is readable as well.
    Configuring,
    /// The guest's allocator runs in the middle of a host call: as `Starting`.
    Allocating,
}

impl Phase {
    pub(crate) fn is_restricted(self) -> bool {
        matches!(self, Self::Starting | Self::Allocating)
    }
}

/// How often a host call was refused since it was last written about.
struct Warning {
    call: &'static str,
    quiet_until: Instant,
    suppressed: u64,
}

/// Each host call is warned about once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes kept of [`State::last_error`].
const LAST_ERROR_BYTES: usize = 1024;

impl<H: Host> State<H> {
    pub(crate) fn new(host: H, settings: Arc<PluginSettings>, abi: AbiVersion, deadline: Deadline) -> Self {
        Self {
            host,
            abi,
            context: 0,
            phase: Phase::Starting,
            memory: None,
            allocate: None,
            limiter: Limiter::new(&settings.limits),
            deadline,
            scratch: Vec::new(),
            pairs: PairsBuffer::new(),
            line: Vec::new(),
            last_error: None,
            started: Instant::now(),
            warnings: Vec::new(),
            settings,
        }
    }

    /// The guest logs.
    pub(crate) fn log(&mut self, level: LogLevel, message: &[u8]) {
        let (whole, limit) = (message.len(), self.settings.limits.log_message_bytes);
        let message = message.get(..limit).unwrap_or(message);
        if level >= LogLevel::Error {
            let start = message.get(..LAST_ERROR_BYTES).unwrap_or(message);
            self.last_error = Some(String::from_utf8_lossy(start).trim_end().to_owned());
        }
        self.host.log(self.context, level, message, message.len() < whole);
    }

    /// A host call is answered by something else than what it asked for.
    #[cold]
    pub(crate) fn refused(&mut self, call: &'static str, status: Status) {
        self.host.refused(call, status);
        let now = Instant::now();
        let warning = match self.warnings.iter_mut().find(|warning| warning.call == call) {
            Some(warning) if now < warning.quiet_until => {
                warning.suppressed += 1;
                return;
            }
            Some(warning) => warning,
            None => self.warnings.push_mut(Warning { call, quiet_until: now, suppressed: 0 }),
        };
        tracing::warn!(
            plugin = self.settings.name,
            call,
            status = ?status,
            suppressed = warning.suppressed,
            context = self.context,
            "a plugin's host call was refused; the plugin was told what its SDK survives"
        );
        warning.quiet_until = now + WARNING_INTERVAL;
        warning.suppressed = 0;
    }
}
