//! What a route carries: names and settings that cannot be wrong any more.
//!
//! `P` is what filters compiled from `typed_per_filter_config`; this module only hands it on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::header_ops::HeaderOps;
use super::redirect::Redirect;
use super::retry::RetryPolicy;
use super::rewrite::PathRewrite;
use super::weighted::WeightedClusters;

/// A route.
#[derive(Debug)]
pub struct Route<P> {
    /// Its name, if it has one (`%ROUTE_NAME%`).
    pub name: Option<Arc<str>>,
    /// What becomes of the request.
    pub action: Action<P>,
    /// Done to the request's fields.
    pub request_headers: HeaderOps,
    /// Done to the response's fields.
    pub response_headers: HeaderOps,
    /// Settings of filters.
    pub per_filter: Option<Arc<P>>,
    /// Bytes of a request's body that are kept for retries (`request_body_buffer_limit`, the virtual host's if the
    /// route has none); `None`: the listener's limit.
    pub retry_buffer_limit: Option<u64>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Action<P> {
    /// It goes to a cluster.
    Forward(Box<Forward<P>>),
    /// It is sent elsewhere.
    Redirect(Box<Redirect>),
    /// It is answered.
    DirectResponse(DirectResponse),
}

/// An answer from the configuration. With status 201 or 3xx it gets a `location` too, as in Envoy: the request's URL.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// Its body, within `max_direct_response_body_size_bytes`.
    pub body: Bytes,
}

/// To a cluster, and how.
#[derive(Debug)]
pub struct Forward<P> {
    /// Which one.
    pub cluster: ClusterChoice<P>,
    /// Limit from the end of the request to the end of the response; 15 s by default, `None` if off.
    pub timeout: Option<Duration>,
    /// Limit of silence: `None` as the connection manager says (5 min by default), zero if off.
    pub idle_timeout: Option<Duration>,
    /// Limit of the stream's life; `None` as the connection manager says, zero if off.
    pub max_stream_duration: Option<Duration>,
    /// The route's, else the virtual host's.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Of the path.
    pub path_rewrite: Option<PathRewrite>,
    /// Of the authority.
    pub host_rewrite: HostRewrite,
    /// A rewritten authority is kept in `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// Answer if the cluster does not exist: 503 by default, 404 or 500.
    pub cluster_not_found_status: u16,
    /// Whose circuit breakers count.
    pub priority: Priority,
}

/// Which cluster.
#[derive(Debug)]
pub enum ClusterChoice<P> {
    /// This.
    Named(Arc<str>),
    /// One of these.
    Weighted(Box<WeightedClusters<P>>),
}

/// What the endpoint sees as authority.
#[derive(Clone, Debug, Default)]
pub enum HostRewrite {
    /// The client's.
    #[default]
    Keep,
    /// This.
    Literal(Bytes),
    /// The value of this request field, if it has one.
    Header(Box<str>),
    /// The host name of the endpoint, if it has one: the router does it, when it knows the endpoint.
    Endpoint,
    /// The path without query, every match of the pattern replaced.
    PathRegex(super::pattern::Substitution),
}

/// Envoy's `RoutingPriority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// For most requests.
    #[default]
    Default,
    /// For those with circuit breakers of their own.
    High,
}
