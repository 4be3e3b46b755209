//! The vocabulary of proxy-wasm: numbers that cross the border between guest and host.

pub(crate) mod proxy_wasm;
pub(crate) mod wasi;

/// The version a module declares by exporting `proxy_abi_version_<version>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbiVersion {
    /// `proxy_abi_version_0_1_0`
    V0_1_0,
    /// `proxy_abi_version_0_2_0`
    V0_2_0,
    /// `proxy_abi_version_0_2_1`
    V0_2_1,
}

/// The answer to a host call. In host traits: the error; `Ok(())` stands for 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such field, property, key, ...
    NotFound = 1,
    /// Against the rules of the call, or not in this phase.
    BadArgument = 2,
    /// A value cannot be written in the form of the ABI.
    SerializationFailure = 3,
    /// What the guest passed cannot be read.
    ParseFailure = 4,
    /// Pointer and length are not inside of the guest's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The version of a shared value is another one by now.
    CasMismatch = 8,
    /// The host is at fault.
    InternalFailure = 10,
    /// The host does not offer this.
    Unimplemented = 12,
}

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name { $($(#[$item_doc])* $item = $value,)* }

        impl $name {
            /// The item of that number, if there is one.
            pub fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($value => Some(Self::$item),)*
                    _ => None,
                }
            }
        }
    };
}

numbers! {
    /// Header and trailer maps.
    MapType {
        /// Request headers.
        RequestHeaders = 0,
        /// Request trailers.
        RequestTrailers = 1,
        /// Response headers.
        ResponseHeaders = 2,
        /// Response trailers.
        ResponseTrailers = 3,
        /// Initial metadata of a gRPC answer.
        GrpcInitialMetadata = 4,
        /// Trailing metadata of a gRPC answer.
        GrpcTrailingMetadata = 5,
        /// Headers of the answer to a call.
        CallResponseHeaders = 6,
        /// Trailers of the answer to a call.
        CallResponseTrailers = 7,
    }
}

numbers! {
    /// Buffers.
    BufferType {
        /// Body of the request: all that is held and the new piece.
        RequestBody = 0,
        /// Body of the response.
        ResponseBody = 1,
        /// Bytes from the client (TCP).
        DownstreamData = 2,
        /// Bytes from the server (TCP).
        UpstreamData = 3,
        /// Body of the answer to a call.
        CallResponseBody = 4,
        /// A message of a gRPC answer.
        GrpcMessage = 5,
        /// Configuration of the VM.
        VmConfiguration = 6,
        /// Configuration of the plugin; readable in `proxy_on_configure` only.
        PluginConfiguration = 7,
        /// Arguments of a foreign function.
        ForeignArguments = 8,
    }
}

numbers! {
    /// Directions of a stream.
    StreamType {
        /// Request.
        Request = 0,
        /// Response.
        Response = 1,
        /// From the client (TCP).
        Downstream = 2,
        /// From the server (TCP).
        Upstream = 3,
    }
}

numbers! {
    /// Levels of log messages.
    LogLevel {
        /// Finest.
        Trace = 0,
        /// For developers.
        Debug = 1,
        /// Normal.
        Info = 2,
        /// Something odd.
        Warn = 3,
        /// Something failed.
        Error = 4,
        /// The guest is about to end (the Rust SDK logs panics so).
        Critical = 5,
    }
}

numbers! {
    /// Kinds of metrics.
    MetricType {
        /// Only grows.
        Counter = 0,
        /// Goes up and down.
        Gauge = 1,
        /// Distribution.
        Histogram = 2,
    }
}

numbers! {
    /// Who closed a connection.
    PeerType {
        /// Not known.
        Unknown = 0,
        /// This proxy.
        Local = 1,
        /// The other end.
        Remote = 2,
    }
}

/// What a guest answers to headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersAction {
    /// Go on.
    Continue,
    /// "Pause". Envoy widens it to [`Self::StopAllAndWatermark`] unless `allow_on_headers_stop_iteration` is set.
    StopIteration,
    /// Go on, and end the stream here; Envoy treats it as [`Self::Continue`].
    ContinueAndEndStream,
    /// Hold everything, buffer up to the limit.
    StopAllAndBuffer,
    /// Hold everything, stop reading at the limit.
    StopAllAndWatermark,
}

impl HeadersAction {
    /// Out of range is [`Self::StopAllAndWatermark`], as in Envoy.
    pub(crate) fn from_guest(number: u32) -> Self {
        match number {
            0 => Self::Continue,
            1 => Self::StopIteration,
            2 => Self::ContinueAndEndStream,
            3 => Self::StopAllAndBuffer,
            _ => Self::StopAllAndWatermark,
        }
    }
}

/// What a guest answers to a piece of body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataAction {
    /// Go on.
    Continue,
    /// "Pause": hold the body, buffer up to the limit.
    StopAndBuffer,
    /// Hold the body, stop reading at the limit.
    StopAndWatermark,
    /// Drop it.
    StopNoBuffer,
}

impl DataAction {
    /// Out of range is [`Self::StopNoBuffer`], as in Envoy.
    pub(crate) fn from_guest(number: u32) -> Self {
        match number {
            0 => Self::Continue,
            1 => Self::StopAndBuffer,
            2 => Self::StopAndWatermark,
            _ => Self::StopNoBuffer,
        }
    }
}

/// What a guest answers to trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailersAction {
    /// Go on.
    Continue,
    /// Hold them.
    Stop,
}

impl TrailersAction {
    /// Everything but 0 is [`Self::Stop`], as in Envoy.
    pub(crate) fn from_guest(number: u32) -> Self {
        if number == 0 { Self::Continue } else { Self::Stop }
    }
}
