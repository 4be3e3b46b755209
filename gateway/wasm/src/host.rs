//! What a proxy offers to a guest.

use crate::abi::{BufferType, LogLevel, MapType, MetricType, Status, StreamType};
use crate::pairs::{Pairs, PairsBuffer};

/// Names a context of an instance: 0 is the VM, the instance's root the plugin, every other one a stream.
pub type ContextId = u32;

/// The proxy's side of an instance: the guest's host calls end here, with the context they are about.
///
/// Methods are called in the middle of guest code. Two rules follow:
/// - Note what is asked for (answer, continue, close), and do it when the callback has returned.
/// - Keep no borrow of a stream: results are copied into the buffer that is passed in, and the guest's allocator runs
///   only after the method has returned.
///
/// An error tells the guest the nearest status that its SDK survives (the public Rust SDK traps on others); where there
/// is none, the guest is told `Ok`, nothing happens, and [`Self::refused`] hears of it. Names and values that a guest
/// writes are raw bytes: the host checks them as it checks what a client sends.
///
/// Methods with a body answer for what a proxy does not offer.
pub trait Host: 'static {
    // Contexts.

    /// Whether `context` is alive: one that was created and not deleted yet.
    fn has_context(&self, context: ContextId) -> bool;

    // Headers and trailers. Pseudo-headers (`:path`, `:status`) are ordinary entries.

    /// Writes the first value of `name` (any case) to the end of `value`. `NotFound` without such a field, and when the
    /// map does not exist in this phase.
    fn header(&mut self, context: ContextId, map: MapType, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status>;

    /// Writes all fields, in order. `BadArgument` when the map does not exist in this phase: the guest gets an empty one.
    fn headers(&mut self, context: ContextId, map: MapType, pairs: &mut PairsBuffer) -> Result<(), Status>;

    /// Replaces all fields.
    fn set_headers(&mut self, context: ContextId, map: MapType, pairs: Pairs<'_>) -> Result<(), Status>;

    /// Adds a field behind those that exist.
    fn add_header(&mut self, context: ContextId, map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status>;

    /// Replaces all fields of that name by one.
    fn replace_header(&mut self, context: ContextId, map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status>;

    /// Removes all fields of that name; none is fine.
    fn remove_header(&mut self, context: ContextId, map: MapType, name: &[u8]) -> Result<(), Status>;

    // Bodies and other buffers. `VmConfiguration` and `PluginConfiguration` are answered by this crate.

    /// How many bytes the buffer holds now; `None` if it does not exist in this phase.
    fn buffer_len(&mut self, context: ContextId, buffer: BufferType) -> Option<usize>;

    /// Writes bytes `start..start + len` of the buffer, which lie inside of it, to the end of `out`.
    fn buffer(
        &mut self,
        context: ContextId,
        buffer: BufferType,
        start: usize,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Status>;

    /// Changes the buffer.
    fn set_buffer(
        &mut self,
        context: ContextId,
        buffer: BufferType,
        edit: BufferEdit,
        bytes: &[u8],
    ) -> Result<(), Status>;

    // Properties.

    /// Writes the property's value, encoded as proxy-wasm does (text raw, numbers 8 bytes little-endian, booleans one
    /// byte, times i64 nanoseconds, maps as pairs), to the end of `out`. `NotFound` for what does not exist.
    fn property(&mut self, context: ContextId, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Result<(), Status>;

    /// Sets a property (Envoy: filter state under `wasm.<path>`).
    fn set_property(&mut self, _context: ContextId, _path: PropertyPath<'_>, _value: &[u8]) -> Result<(), Status> {
        Err(Status::Unimplemented)
    }

    // Streams.

    /// Answers the request by itself, after the callback has returned. Called again before that, the first one counts.
    fn send_local_response(&mut self, context: ContextId, response: LocalResponse<'_>) -> Result<(), Status>;

    /// Goes on with a paused direction, after the callback has returned.
    fn continue_stream(&mut self, context: ContextId, stream: StreamType) -> Result<(), Status>;

    /// Resets the stream, after the callback has returned.
    fn close_stream(&mut self, context: ContextId, stream: StreamType) -> Result<(), Status>;

    /// Has the route chosen again (ABI 0.1.0; later versions use the foreign function of this name).
    fn clear_route_cache(&mut self, _context: ContextId) -> Result<(), Status> {
        Err(Status::Unimplemented)
    }

    /// The guest says that a context whose `on_done` it answered with "not yet" is done now.
    fn done(&mut self, _context: ContextId) -> Result<(), Status> {
        Err(Status::NotFound)
    }

    // Log and time.

    /// The guest logs; the message is no longer than [`crate::Limits::log_message_bytes`], because it was `cut` if need be,
    /// and need not be UTF-8.
    fn log(&mut self, context: ContextId, level: LogLevel, message: &[u8], cut: bool);

    /// The lowest level that is written.
    fn log_level(&self) -> LogLevel {
        LogLevel::Info
    }

    /// Nanoseconds since 1970.
    fn now(&self) -> u64 {
        crate::clock::realtime_ns()
    }

    /// Has `on_tick` called on the root context every so many milliseconds; 0 stops it.
    fn set_tick_period(&mut self, _context: ContextId, _milliseconds: u32) -> Result<(), Status> {
        Err(Status::Unimplemented)
    }

    // Calls to other services.

    /// Sends a request to a cluster and returns its id; the answer comes by `on_http_call_response`.
    fn http_call(&mut self, _context: ContextId, _call: HttpCall<'_>) -> Result<u32, Status> {
        Err(Status::Unimplemented)
    }

    /// Code and text of the last finished call; the text goes to the end of `message`.
    fn call_status(&mut self, _context: ContextId, _message: &mut Vec<u8>) -> Result<u32, Status> {
        Err(Status::Unimplemented)
    }

    /// Calls a function that only this proxy has (Envoy: `clear_route_cache`). The result goes to the end of `out`.
    fn call_foreign_function(
        &mut self,
        _context: ContextId,
        _name: &[u8],
        _arguments: &[u8],
        _out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        Err(Status::NotFound)
    }

    // Metrics. Ids are the host's.

    /// Defines a metric and returns its id.
    fn define_metric(&mut self, _context: ContextId, _kind: MetricType, _name: &[u8]) -> Result<u32, Status> {
        Err(Status::Unimplemented)
    }

    /// Adds to a counter or gauge.
    fn increment_metric(&mut self, _context: ContextId, _metric: u32, _by: i64) -> Result<(), Status> {
        Err(Status::Unimplemented)
    }

    /// Sets a gauge, adds to a counter, records into a histogram.
    fn record_metric(&mut self, _context: ContextId, _metric: u32, _value: u64) -> Result<(), Status> {
        Err(Status::Unimplemented)
    }

    /// The value of a counter or gauge.
    fn metric(&mut self, _context: ContextId, _metric: u32) -> Result<u64, Status> {
        Err(Status::NotFound)
    }

    // Data shared between instances.

    /// Writes the value to the end of `value`, and returns its version ("cas").
    fn shared_data(&mut self, _key: &[u8], _value: &mut Vec<u8>) -> Result<u32, Status> {
        Err(Status::NotFound)
    }

    /// Sets a value; `cas` 0 always, another one only if it is the version that stands (else `CasMismatch`).
    fn set_shared_data(&mut self, _key: &[u8], _value: &[u8], _cas: u32) -> Result<(), Status> {
        Err(Status::Unimplemented)
    }

    // What went wrong.

    /// A host call was answered by something else than what it asked for: `call` is its name (`proxy_http_call`,
    /// `fd_read`), `status` what the host meant. For counters; this crate has written a (rate-limited) warning already.
    fn refused(&mut self, _call: &'static str, _status: Status) {}

    /// The guest was denied a larger table ([`crate::Limits::table_elements`]).
    fn table_denied(&mut self) {}
}

/// How [`Host::set_buffer`] changes a buffer. Nothing else exists: guests cannot write into the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferEdit {
    /// Puts the bytes behind the others.
    Append,
    /// Puts the bytes before the others.
    Prepend,
    /// Removes that many bytes from the start (no more than there are), then prepends.
    Replace(usize),
}

/// A request that a guest sends to a cluster.
#[derive(Clone, Copy, Debug)]
pub struct HttpCall<'a> {
    /// The cluster's name.
    pub cluster: &'a [u8],
    /// `:method`, `:path`, `:authority` and the fields.
    pub headers: Pairs<'a>,
    /// May be empty.
    pub body: &'a [u8],
    /// May be empty.
    pub trailers: Pairs<'a>,
    /// 0 for none.
    pub timeout_ms: u32,
}

/// An answer that a guest gives by itself.
#[derive(Clone, Copy, Debug)]
pub struct LocalResponse<'a> {
    /// As the guest gave it: not checked.
    pub status: u32,
    /// Why (`%RESPONSE_CODE_DETAILS%`); often empty.
    pub details: &'a [u8],
    /// May be empty.
    pub body: &'a [u8],
    /// Further fields.
    pub headers: Pairs<'a>,
    /// 0 to 16, if the guest gave one.
    pub grpc_status: Option<u32>,
}

/// A property's name: segments such as `request`, `headers`, `x-user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropertyPath<'a>(pub(crate) &'a [u8]);

impl<'a> PropertyPath<'a> {
    /// A path from its wire form: segments with a NUL between them.
    pub fn new(raw: &'a [u8]) -> Self {
        Self(raw.strip_suffix(b"\0").unwrap_or(raw))
    }

    /// The segments with a NUL between them; handy for a `match` on whole paths.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// The first segment, and the rest.
    pub fn split_first(self) -> (&'a [u8], Self) {
        match self.0.iter().position(|byte| *byte == 0) {
            // `at` is inside of the slice, so `at + 1` is at most its length.
            Some(at) => (&self.0[..at], Self(&self.0[at + 1..])),
            None => (self.0, Self(&[])),
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The segments in order.
    pub fn segments(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == 0).filter(|segment| !segment.is_empty())
    }
}
