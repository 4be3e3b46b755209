//! Clusters at run time: endpoints, priorities, load balancing, circuit breakers, and the table of clusters by name.
//!
//! A [`Cluster`] is immutable and part of a snapshot; what changes while requests run (active requests, breaker counts)
//! is in its [`ClusterRuntime`] and in its [`Endpoint`]s, which are carried from snapshot to snapshot. The position of
//! a load balancer belongs to the worker ([`WorkerClusters`]), so that no two workers share it.

mod balance;
mod breaker;
mod config;
mod edf;
mod endpoint;
mod priority;
mod runtime;
mod table;

pub use balance::{NoEndpoint, Pick, WorkerClusters};
pub use breaker::{BreakerKind, Permit, RetryBudget, RoutingPriority, Thresholds};
pub use config::{Balancer, ClusterConfig, Http1Options, HttpOptions, LeastRequest, SocketOptions, TcpKeepalive};
pub use endpoint::{Assignment, Endpoint, EndpointSet, EndpointStats, Health, Host, HostSpec, Locality};
pub use runtime::{Cluster, ClusterRuntime};
pub use table::ClusterTable;
