//! How a guest's call fails.

use std::fmt;

/// A guest's call that did not return. The instance is never called again.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Trap {
    /// What kind of failure.
    pub kind: TrapKind,
    /// In which call.
    pub callback: Callback,
    /// What happened, in one line.
    pub message: String,
    /// The last thing the guest logged at error level or above in this call: the text of a panic, for the Rust SDK.
    pub guest_message: Option<String>,
    /// The guest's call stack, innermost first, at most 20 frames.
    pub backtrace: Vec<String>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.callback.name(), self.message)?;
        if let Some(guest) = &self.guest_message {
            write!(f, " (the guest said: {guest})")?;
        }
        Ok(())
    }
}

/// What kind of failure a [`Trap`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapKind {
    /// The time limit of the call was used up.
    Deadline,
    /// The guest broke the rules of a host call.
    HostCall,
    /// The guest ended after more memory was denied to it.
    Memory,
    /// Access outside of memory or tables, wrong indirect call, bad arithmetic.
    OutOfBounds,
    /// The instance trapped before, and was called again.
    Poisoned,
    /// The call stack is exhausted.
    Stack,
    /// `unreachable`: panics and aborts of guests end so.
    Unreachable,
    /// Anything else.
    Other,
}

impl TrapKind {
    /// A short name for logs, metrics and response details.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::HostCall => "host_call",
            Self::Memory => "memory",
            Self::OutOfBounds => "out_of_bounds",
            Self::Poisoned => "poisoned",
            Self::Stack => "stack",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
        }
    }
}

macro_rules! callbacks {
    ($($(#[$doc:meta])* $item:ident = $name:literal,)*) => {
        /// A call from the host into a guest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Callback { $($(#[$doc])* $item,)* }

        impl Callback {
            /// The name of the export.
            pub fn name(self) -> &'static str {
                match self { $(Self::$item => $name,)* }
            }
        }
    };
}

callbacks! {
    /// The module's start section, `_initialize`, `_start` or `main`.
    Start = "_initialize",
    /// A context begins.
    ContextCreate = "proxy_on_context_create",
    /// The VM starts.
    VmStart = "proxy_on_vm_start",
    /// The plugin is configured.
    Configure = "proxy_on_configure",
    /// A timer fired.
    Tick = "proxy_on_tick",
    /// Request headers.
    RequestHeaders = "proxy_on_request_headers",
    /// Request body.
    RequestBody = "proxy_on_request_body",
    /// Request trailers.
    RequestTrailers = "proxy_on_request_trailers",
    /// Response headers.
    ResponseHeaders = "proxy_on_response_headers",
    /// Response body.
    ResponseBody = "proxy_on_response_body",
    /// Response trailers.
    ResponseTrailers = "proxy_on_response_trailers",
    /// The answer to a call came.
    HttpCallResponse = "proxy_on_http_call_response",
    /// A context is about to end.
    Done = "proxy_on_done",
    /// Everything of the stream is known.
    Log = "proxy_on_log",
    /// A context ends.
    Delete = "proxy_on_delete",
}

/// An error that a host call or the ticker raises in the middle of guest code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct HostTrap {
    kind: TrapKind,
    message: String,
}

impl HostTrap {
    pub(crate) fn new(kind: TrapKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl Trap {
    /// What ended a call: `error` came out of it, the rest is what the host knows beside it.
    #[cold]
    pub(crate) fn new(
        callback: Callback,
        error: &wasmtime::Error,
        memory_denied: bool,
        guest_message: Option<String>,
    ) -> Self {
        let (kind, message) = if let Some(trap) = error.downcast_ref::<HostTrap>() {
            (trap.kind, trap.message.clone())
        } else if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
            (kind_of(*trap), trap.to_string())
        } else {
            (TrapKind::Other, format!("{:#}", error.root_cause()))
        };
        let (kind, message) = match kind {
            TrapKind::Unreachable | TrapKind::OutOfBounds if memory_denied => {
                (TrapKind::Memory, format!("{message}, after memory beyond its limit was denied"))
            }
            _ => (kind, message),
        };
        let backtrace = error.downcast_ref::<wasmtime::WasmBacktrace>().map_or_else(Vec::new, |backtrace| {
            let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
                Some(name) => name.to_owned(),
                None => format!("function {}", frame.func_index()),
            };
            backtrace.frames().iter().map(name).collect()
        });
        Self { kind, callback, message, guest_message, backtrace }
    }

    #[cold]
    pub(crate) fn poisoned(callback: Callback) -> Self {
        Self {
            kind: TrapKind::Poisoned,
            callback,
            message: "the instance trapped before and cannot be called again".into(),
            guest_message: None,
            backtrace: Vec::new(),
        }
    }
}

fn kind_of(trap: wasmtime::Trap) -> TrapKind {
    match trap {
        wasmtime::Trap::StackOverflow => TrapKind::Stack,
        wasmtime::Trap::Interrupt => TrapKind::Deadline,
        wasmtime::Trap::UnreachableCodeReached => TrapKind::Unreachable,
        wasmtime::Trap::MemoryOutOfBounds
        | wasmtime::Trap::TableOutOfBounds
        | wasmtime::Trap::IndirectCallToNull
        | wasmtime::Trap::BadSignature
        | wasmtime::Trap::IntegerOverflow
        | wasmtime::Trap::IntegerDivisionByZero
        | wasmtime::Trap::BadConversionToInteger => TrapKind::OutOfBounds,
        _ => TrapKind::Other,
    }
}
