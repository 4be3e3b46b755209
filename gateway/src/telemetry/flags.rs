//! Response flags: what went wrong with a stream, as `%RESPONSE_FLAGS%` shows it.

/// A set of response flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseFlags(u32);

macro_rules! flags {
    ($($bit:literal $name:ident $short:literal $long:literal $doc:literal;)*) => {
        impl ResponseFlags {
            $(#[doc = $doc] pub const $name: Self = Self(1 << $bit);)*

            /// (flag, short name, long name) of every flag, in the order Envoy prints them: it knows first that
            /// there is no further try, then why the last one failed.
            pub const ALL: &[(Self, &str, &str)] = &[$((Self::$name, $short, $long)),*];
        }
    };
}

flags! {
    0 NO_HEALTHY_UPSTREAM "UH" "NoHealthyUpstream" "The cluster has no endpoint that may be used.";
    2 UPSTREAM_OVERFLOW "UO" "UpstreamOverflow" "A circuit breaker is open.";
    4 UPSTREAM_RETRY_LIMIT_EXCEEDED "URX" "UpstreamRetryLimitExceeded" "The request failed on its last attempt.";
    1 UPSTREAM_CONNECTION_FAILURE "UF" "UpstreamConnectionFailure" "No connection to the endpoint could be made.";
    3 NO_ROUTE_FOUND "NR" "NoRouteFound" "No route, or no filter chain, matched.";
    5 NO_CLUSTER_FOUND "NC" "NoClusterFound" "The route names a cluster that does not exist.";
    6 DURATION_TIMEOUT "DT" "DurationTimeout" "The stream lived for longer than allowed.";
    7 DOWNSTREAM_CONNECTION_TERMINATION "DC" "DownstreamConnectionTermination" "The client went away.";
    8 UPSTREAM_CONNECTION_TERMINATION "UC" "UpstreamConnectionTermination" "The endpoint closed the connection in mid-request.";
    9 UPSTREAM_REQUEST_TIMEOUT "UT" "UpstreamRequestTimeout" "The endpoint did not answer in time.";
    10 STREAM_IDLE_TIMEOUT "SI" "StreamIdleTimeout" "Nothing moved on the stream for too long.";
    11 LOCAL_RESET "LR" "LocalReset" "Weir reset the connection to the endpoint.";
    12 UPSTREAM_REMOTE_RESET "UR" "UpstreamRemoteReset" "The endpoint reset the stream.";
    13 DOWNSTREAM_PROTOCOL_ERROR "DPE" "DownstreamProtocolError" "The client broke the protocol.";
    14 UPSTREAM_PROTOCOL_ERROR "UPE" "UpstreamProtocolError" "The endpoint broke the protocol.";
    15 UPSTREAM_MAX_STREAM_DURATION "UMSDR" "UpstreamMaxStreamDurationReached" "The upstream stream lived for longer than allowed.";
    16 OVERLOAD_MANAGER "OM" "OverloadManagerTerminated" "Shed under overload.";
    17 DOWNSTREAM_REMOTE_RESET "DR" "DownstreamRemoteReset" "The client reset the stream.";
    18 DROP_OVERLOAD "DO" "DropOverload" "Shed because the cluster's endpoints ask for less.";
    19 UNCONDITIONAL_DROP_OVERLOAD "UDO" "UnconditionalDropOverload" "Shed because the cluster's endpoints ask for nothing.";
}

impl ResponseFlags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Adds the flags of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags that are set, with short and long name.
    pub fn iter(self) -> impl Iterator<Item = &'static (Self, &'static str, &'static str)> {
        Self::ALL.iter().filter(move |(flag, _, _)| self.contains(*flag))
    }
}
