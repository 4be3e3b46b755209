//! `envoy.config.route.v3.RouteConfiguration` into a [`RouteConfig`].

mod action;
pub mod header_ops;
pub mod matching;
mod retry;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use weir_xds::pb;

use super::filter::PerRoute;
use crate::route::table::{MatchOptions, RouteTableBuilder};
use crate::route::{self, HeaderOps, HostSpec, RequireTls, RetryPolicy, RouteSpec, VirtualHost};
use crate::snapshot::Problems;

/// Bytes of a direct response's body unless `max_direct_response_body_size_bytes` says otherwise.
const DIRECT_RESPONSE_LIMIT: u32 = 4096;

/// What a route configuration is compiled against.
pub struct RouteCx<'a, P> {
    /// Whether there is a cluster of that name.
    pub cluster_exists: &'a dyn Fn(&str) -> bool,
    /// What holds unless `validate_clusters` says otherwise: true for routes inside a listener, false for RDS.
    pub validate_clusters: bool,
    /// Compiles a `typed_per_filter_config`, with paths such as `["envoy.filters.http.buffer"].disabled`.
    pub per_filter: &'a CompilePerFilter<'a, P>,
}

/// Compiles a `typed_per_filter_config`.
pub type CompilePerFilter<'a, P> = dyn Fn(&HashMap<String, pb::Any>, &mut Problems) -> Option<Arc<P>> + 'a;

/// A route configuration with the settings of this gateway's filters.
pub type RouteConfig = route::RouteConfig<PerRoute>;

/// Compiles a route configuration; `None` and all problems if there is any.
pub fn compile_route_config<P>(
    proto: &pb::route::RouteConfiguration,
    cx: &RouteCx<'_, P>,
    problems: &mut Problems,
) -> Option<route::RouteConfig<P>> {
    let before = problems.len();
    let limit = proto.max_direct_response_body_size_bytes.as_ref().map_or(DIRECT_RESPONSE_LIMIT, |limit| limit.value);
    let mut compiler = Compiler {
        cx,
        validate_clusters: proto.validate_clusters.as_ref().map_or(cx.validate_clusters, |validate| validate.value),
        direct_response_limit: limit as usize,
        names: HashSet::new(),
        last_retry: None,
    };
    let mut table = RouteTableBuilder::default();
    let mut hosts = Vec::with_capacity(proto.virtual_hosts.len());
    for (at, host) in proto.virtual_hosts.iter().enumerate() {
        let mut inner = Problems::new();
        for (domain_at, domain) in host.domains.iter().enumerate() {
            if let Err(error) = table.add_domain(domain, at) {
                inner.push(format!("domains[{domain_at}]"), format!("'{domain}': {error}"));
            }
        }
        hosts.push(compiler.virtual_host(host, &mut inner));
        problems.nest_at("virtual_hosts", at, inner);
    }
    let config = route::RouteConfig {
        name: proto.name.as_str().into(),
        request_headers: header_ops::request(&proto.request_headers_to_add, &proto.request_headers_to_remove, problems),
        response_headers: header_ops::response(
            &proto.response_headers_to_add,
            &proto.response_headers_to_remove,
            problems,
        ),
        most_specific_wins: proto.most_specific_header_mutations_wins,
        per_filter: compiler.per_filter(&proto.typed_per_filter_config, problems),
        internal_only_headers: proto
            .internal_only_headers
            .iter()
            .map(|name| name.to_ascii_lowercase().into_boxed_str())
            .collect(),
        table: table.build(
            hosts,
            MatchOptions {
                ignore_port: proto.ignore_port_in_host_matching,
                ignore_path_parameters: proto.ignore_path_parameters_in_path_matching,
            },
        ),
    };
    (problems.len() == before).then_some(config)
}

/// What is shared by the routes of one configuration.
struct Compiler<'a, P> {
    cx: &'a RouteCx<'a, P>,
    validate_clusters: bool,
    direct_response_limit: usize,
    /// Names of clusters, each kept once.
    names: HashSet<Arc<str>>,
    /// Control planes repeat one retry policy in every route: it is kept once.
    last_retry: Option<(pb::route::RetryPolicy, Arc<RetryPolicy>)>,
}

/// What routes take from their virtual host.
struct HostDefaults {
    retry: Option<Arc<RetryPolicy>>,
    retry_buffer_limit: Option<u64>,
}

impl<P> Compiler<'_, P> {
    fn virtual_host(
        &mut self,
        proto: &pb::route::VirtualHost,
        problems: &mut Problems,
    ) -> HostSpec<VirtualHost<P>, route::Route<P>> {
        let mut inner = Problems::new();
        let defaults = HostDefaults {
            retry: proto.retry_policy.as_ref().and_then(|policy| self.retry(policy, &mut inner)),
            retry_buffer_limit: buffer_limit(proto),
        };
        problems.nest("retry_policy", inner);
        let mut routes = Vec::with_capacity(proto.routes.len());
        for (at, route) in proto.routes.iter().enumerate() {
            let mut inner = Problems::new();
            routes.extend(self.route(route, &defaults, &mut inner));
            problems.nest_at("routes", at, inner);
        }
        let value = VirtualHost {
            name: proto.name.as_str().into(),
            require_tls: match proto.require_tls() {
                pb::route::virtual_host::TlsRequirementType::None => RequireTls::No,
                pb::route::virtual_host::TlsRequirementType::ExternalOnly => RequireTls::External,
                pb::route::virtual_host::TlsRequirementType::All => RequireTls::All,
            },
            request_headers: header_ops::request(
                &proto.request_headers_to_add,
                &proto.request_headers_to_remove,
                problems,
            ),
            response_headers: header_ops::response(
                &proto.response_headers_to_add,
                &proto.response_headers_to_remove,
                problems,
            ),
            per_filter: self.per_filter(&proto.typed_per_filter_config, problems),
            include_request_attempt_count: proto.include_request_attempt_count,
            include_attempt_count_in_response: proto.include_attempt_count_in_response,
        };
        HostSpec { value, routes }
    }

    fn route(
        &mut self,
        proto: &pb::route::Route,
        defaults: &HostDefaults,
        problems: &mut Problems,
    ) -> Option<RouteSpec<route::Route<P>>> {
        let mut inner = Problems::new();
        let matched = proto.r#match.as_ref();
        if matched.is_none() {
            inner.push("", "required: which requests the route takes");
        }
        let matched = matched.and_then(|matched| matching::route_match(matched, &mut inner));
        problems.nest("match", inner);
        let request_headers =
            header_ops::request(&proto.request_headers_to_add, &proto.request_headers_to_remove, problems);
        let response_headers =
            header_ops::response(&proto.response_headers_to_add, &proto.response_headers_to_remove, problems);
        let per_filter = self.per_filter(&proto.typed_per_filter_config, problems);
        // Without a usable match the action is still looked at: all problems are told at once.
        let part = matched.as_ref().map_or(route::rewrite::MatchedPart::Whole, |matched| matched.part.clone());
        let action = self.action(proto.action.as_ref(), part, defaults, problems)?;
        let matched = matched?;
        #[allow(deprecated)] // What newer control planes send is the other one.
        let limit = proto
            .request_body_buffer_limit
            .as_ref()
            .map(|limit| limit.value)
            .or_else(|| proto.per_request_buffer_limit_bytes.as_ref().map(|limit| u64::from(limit.value)));
        let value = route::Route {
            name: (!proto.name.is_empty()).then(|| proto.name.as_str().into()),
            action,
            request_headers,
            response_headers,
            per_filter,
            retry_buffer_limit: limit.or(defaults.retry_buffer_limit),
        };
        Some(RouteSpec {
            path: matched.path,
            case_sensitive: matched.case_sensitive,
            conditions: matched.conditions,
            value,
        })
    }

    fn retry(&mut self, proto: &pb::route::RetryPolicy, problems: &mut Problems) -> Option<Arc<RetryPolicy>> {
        if let Some((last, policy)) = &self.last_retry
            && last == proto
        {
            return Some(Arc::clone(policy));
        }
        let policy = Arc::new(retry::compile(proto, problems)?);
        self.last_retry = Some((proto.clone(), Arc::clone(&policy)));
        Some(policy)
    }

    fn per_filter(&self, proto: &HashMap<String, pb::Any>, problems: &mut Problems) -> Option<Arc<P>> {
        if proto.is_empty() {
            return None;
        }
        let mut inner = Problems::new();
        let compiled = (self.cx.per_filter)(proto, &mut inner);
        problems.nest("typed_per_filter_config", inner);
        compiled
    }

    /// The name of a cluster, checked if that is asked for.
    fn cluster(&mut self, name: &str, field: &str, problems: &mut Problems) -> Arc<str> {
        if self.validate_clusters && !(self.cx.cluster_exists)(name) {
            problems.push(field, format!("unknown cluster '{name}'"));
        }
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

fn buffer_limit(proto: &pb::route::VirtualHost) -> Option<u64> {
    #[allow(deprecated)] // Both are in use.
    proto
        .request_body_buffer_limit
        .as_ref()
        .map(|limit| limit.value)
        .or_else(|| proto.per_request_buffer_limit_bytes.as_ref().map(|limit| u64::from(limit.value)))
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
