//! Which route a request takes: pure, no I/O, generic over what a route carries.
//!
//! [`table::RouteTable`] finds the virtual host and the route; [`action`] is what a route carries; [`rewrite`],
//! [`redirect`] and [`header_ops`] are what it does to a message; [`config::RouteConfig`] joins them.

pub mod action;
pub mod config;
pub mod header_ops;
pub mod hosts;
pub mod matcher;
mod path_index;
pub mod paths;
pub mod pattern;
pub mod radix;
mod re2;
pub mod redirect;
pub mod retry;
pub mod rewrite;
pub mod string_matcher;
pub mod table;
pub mod weighted;

pub use action::{Action, DirectResponse, Forward, HostRewrite, Priority, Route};
pub use config::{Answer, Choice, Matched, RequireTls, RouteConfig, RouteRef, VirtualHost, https_redirect};
pub use header_ops::HeaderOps;
pub use matcher::{Conditions, HeaderMatcher, MatchInput};
pub use pattern::{Pattern, PatternError, Substitution};
pub use redirect::Redirect;
pub use retry::{RetryOn, RetryPolicy};
pub use rewrite::PathRewrite;
pub use string_matcher::StringMatcher;
pub use table::{HostSpec, PathMatch, RouteSpec, RouteTable};
pub use weighted::{WeightedCluster, WeightedClusters};
