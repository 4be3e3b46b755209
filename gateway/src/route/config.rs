//! A route configuration: the table and what holds for all of it, and what a chosen route does to a request.

use std::sync::Arc;

use bytes::Bytes;

use super::action::{Action, ClusterChoice, HostRewrite, Route};
use super::header_ops::HeaderOps;
use super::matcher::MatchInput;
use super::redirect::{Redirect, https_location};
use super::rewrite::{rewrite_authority, rewrite_path};
use super::table::RouteTable;
use super::weighted::WeightedCluster;
use crate::http::head::split_query;
use crate::http::{RequestHead, ResponseHead};
use crate::telemetry::StreamInfo;

/// A compiled RouteConfiguration.
#[derive(Debug)]
pub struct RouteConfig<P> {
    /// Its name; empty if it is inline and has none.
    pub name: Arc<str>,
    /// Virtual hosts and routes.
    pub table: RouteTable<VirtualHost<P>, Route<P>>,
    /// Done to every request that goes to a cluster.
    pub request_headers: HeaderOps,
    /// Done to every response.
    pub response_headers: HeaderOps,
    /// The route's operations come last, so that they win; by default the configuration's do.
    pub most_specific_wins: bool,
    /// Settings of filters.
    pub per_filter: Option<Arc<P>>,
    /// Fields that a request from outside may not have (`internal_only_headers`), in lower case.
    pub internal_only_headers: Box<[Box<str>]>,
}

/// What a virtual host carries.
#[derive(Debug)]
pub struct VirtualHost<P> {
    /// Its name.
    pub name: Arc<str>,
    /// Whether cleartext requests are sent to HTTPS.
    pub require_tls: RequireTls,
    /// Done to the request's fields.
    pub request_headers: HeaderOps,
    /// Done to the response's fields.
    pub response_headers: HeaderOps,
    /// Settings of filters.
    pub per_filter: Option<Arc<P>>,
    /// Endpoints see `x-envoy-attempt-count`.
    pub include_request_attempt_count: bool,
    /// Clients see `x-envoy-attempt-count`.
    pub include_attempt_count_in_response: bool,
}

/// Whether a virtual host serves requests over cleartext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireTls {
    /// It does.
    #[default]
    No,
    /// Only those from inside (`x-envoy-internal: true`).
    External,
    /// It does not.
    All,
}

/// Where a route stands; valid in the configuration that gave it, and free of borrows: a stream keeps it beside its
/// snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRef {
    host: u32,
    route: u32,
    /// Position of the weighted cluster.
    cluster: u32,
}

/// What a configuration has for a request.
#[derive(Debug)]
pub enum Choice<'a, P> {
    /// A route.
    Route(Matched<'a, P>),
    /// 301 to the same URL over HTTPS: [`https_location`].
    HttpsRedirect(&'a VirtualHost<P>),
    /// 404.
    None,
}

/// A route that was chosen, with all that stands around it.
#[derive(Debug)]
pub struct Matched<'a, P> {
    /// To find it again.
    pub at: RouteRef,
    /// The configuration.
    pub config: &'a RouteConfig<P>,
    /// The virtual host.
    pub host: &'a VirtualHost<P>,
    /// The route.
    pub route: &'a Route<P>,
    /// Which of its clusters, if it has several.
    pub cluster: Option<&'a WeightedCluster<P>>,
}

// By hand: derived ones would ask the same of `P`.
impl<P> Clone for Matched<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Matched<'_, P> {}

/// A redirect or a direct response, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Value of its `location`.
    pub location: Option<Vec<u8>>,
    /// Its body.
    pub body: Bytes,
}

impl<P> RouteConfig<P> {
    /// The route of a request. Its head has `x-forwarded-proto` and `x-envoy-internal` as the connection manager set
    /// them.
    pub fn choose(&self, input: &MatchInput<'_>) -> Choice<'_, P> {
        let head = input.head;
        let Some(at) = self.table.find_host(&head.authority) else { return Choice::None };
        let Some(host) = self.table.host(at) else { return Choice::None };
        if host.require_tls.redirects(head) {
            return Choice::HttpsRedirect(host);
        }
        let Some(route) = self.table.find_route(at, input) else { return Choice::None };
        let cluster = match self.table.route(at, route).map(|route| &route.action) {
            Some(Action::Forward(forward)) => match &forward.cluster {
                ClusterChoice::Weighted(clusters) => clusters.pick(input.random),
                ClusterChoice::Named(_) => 0,
            },
            _ => 0,
        };
        self.at(RouteRef { host: at, route, cluster }).map_or(Choice::None, Choice::Route)
    }

    /// The route that was chosen before.
    pub fn at(&self, at: RouteRef) -> Option<Matched<'_, P>> {
        let host = self.table.host(at.host)?;
        let route = self.table.route(at.host, at.route)?;
        let cluster = match &route.action {
            Action::Forward(forward) => match &forward.cluster {
                ClusterChoice::Weighted(clusters) => clusters.at(at.cluster),
                ClusterChoice::Named(_) => None,
            },
            _ => None,
        };
        Some(Matched { at, config: self, host, route, cluster })
    }
}

impl RequireTls {
    fn redirects(self, head: &RequestHead) -> bool {
        let wanted = match self {
            Self::No => false,
            Self::All => true,
            Self::External => head.headers.get("x-envoy-internal") != Some(b"true"),
        };
        // The client's scheme as the connection manager (or a trusted proxy) says.
        wanted && head.headers.get("x-forwarded-proto").unwrap_or(&head.scheme) != b"https"
    }
}

impl<'a, P> Matched<'a, P> {
    /// The cluster to send to; none for a redirect or an answer.
    pub fn cluster_name(&self) -> Option<&'a Arc<str>> {
        match (&self.route.action, self.cluster) {
            (Action::Forward(_), Some(cluster)) => Some(&cluster.name),
            (Action::Forward(forward), None) => match &forward.cluster {
                ClusterChoice::Named(name) => Some(name),
                ClusterChoice::Weighted(_) => None,
            },
            _ => None,
        }
    }

    /// Settings of filters, the most specific first: weighted cluster, route, virtual host, configuration.
    pub fn per_filter(&self) -> [Option<&'a P>; 4] {
        [
            self.cluster.and_then(|cluster| cluster.per_filter.as_deref()),
            self.route.per_filter.as_deref(),
            self.host.per_filter.as_deref(),
            self.config.per_filter.as_deref(),
        ]
    }

    /// Header operations and rewrites before a request goes to its cluster. `envoy_headers` is false if the router
    /// suppresses its own (`suppress_envoy_headers`).
    pub fn finalize_request(&self, head: &mut RequestHead, info: &StreamInfo, envoy_headers: bool) {
        if let Some(cluster) = self.cluster {
            cluster.request_headers.apply_to_request(head, info);
            if let Some(host) = &cluster.host_rewrite {
                head.authority = host.clone();
            }
        }
        let levels = [&self.route.request_headers, &self.host.request_headers, &self.config.request_headers];
        self.in_order(levels, |ops| ops.apply_to_request(head, info));
        let Action::Forward(forward) = &self.route.action else { return };
        let authority = match &forward.host_rewrite {
            HostRewrite::Keep | HostRewrite::Endpoint => None,
            HostRewrite::Literal(host) => Some(host.clone()),
            HostRewrite::Header(name) => head.headers.get(&**name).map(Bytes::copy_from_slice),
            HostRewrite::PathRegex(substitution) => {
                Some(Bytes::from(substitution.replace_all(split_query(&head.path).0)))
            }
        };
        if let Some(authority) = authority.filter(|authority| !authority.is_empty()) {
            rewrite_authority(head, authority, forward.append_x_forwarded_host, envoy_headers);
        }
        if let Some(rewrite) = &forward.path_rewrite {
            rewrite_path(head, rewrite, envoy_headers);
        }
    }

    /// Whether [`Self::finalize_request`] may add or remove fields of the request.
    pub fn edits_request(&self) -> bool {
        let levels = [&self.route.request_headers, &self.host.request_headers, &self.config.request_headers];
        levels.iter().any(|ops| !ops.is_empty()) || self.cluster.is_some()
    }

    /// Header operations before a response goes to the client: the upstream's, a redirect or a direct response, and
    /// answers of the router.
    pub fn finalize_response(&self, head: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        if let Some(cluster) = self.cluster {
            cluster.response_headers.apply_to_response(head, request, info);
        }
        let levels = [&self.route.response_headers, &self.host.response_headers, &self.config.response_headers];
        self.in_order(levels, |ops| ops.apply_to_response(head, request, info));
    }

    /// The answer of a redirect or a direct response; none if the request goes to a cluster. A redirect that rewrites
    /// the path does so in `head` too (with `x-envoy-original-path` if `envoy_headers`), as Envoy's log shows it.
    pub fn answer(&self, head: &mut RequestHead, envoy_headers: bool) -> Option<Answer> {
        match &self.route.action {
            Action::Forward(_) => None,
            Action::Redirect(redirect) => {
                let location = redirect.location(head);
                if let Some(path) = redirect.rewritten_path(head) {
                    let original = std::mem::replace(&mut head.path, path);
                    if envoy_headers {
                        head.headers.set("x-envoy-original-path", original);
                    }
                }
                Some(Answer { status: redirect.status, location: Some(location), body: Bytes::new() })
            }
            Action::DirectResponse(response) => {
                let located = response.status == 201 || (300..400).contains(&response.status);
                Some(Answer {
                    status: response.status,
                    location: located.then(|| Redirect::default().location(head)),
                    body: response.body.clone(),
                })
            }
        }
    }

    /// The levels come from the most specific to the least, which is Envoy's order by default: the last wins.
    fn in_order(&self, mut levels: [&HeaderOps; 3], apply: impl FnMut(&HeaderOps)) {
        if self.config.most_specific_wins {
            levels.reverse();
        }
        levels.into_iter().filter(|ops| !ops.is_empty()).for_each(apply);
    }
}

/// The answer to a cleartext request for a virtual host that requires TLS.
pub fn https_redirect(head: &RequestHead) -> Answer {
    Answer { status: 301, location: Some(https_location(head)), body: Bytes::new() }
}
