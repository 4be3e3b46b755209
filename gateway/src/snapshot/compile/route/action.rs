//! `RouteAction`, `RedirectAction`, `DirectResponseAction`.

use std::time::Duration;

use bytes::Bytes;
use weir_xds::pb::core::data_source::Specifier;
use weir_xds::pb::route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use weir_xds::pb::route::route::Action as ProtoAction;
use weir_xds::pb::route::route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier};
use weir_xds::pb::route::weighted_cluster::{RandomValueSpecifier, cluster_weight};
use weir_xds::{ReadError, pb};

use super::matching::substitution;
use super::{Compiler, HostDefaults, header_ops};
use crate::route::action::ClusterChoice;
use crate::route::redirect::RedirectPath;
use crate::route::rewrite::MatchedPart;
use crate::route::{
    Action, DirectResponse, Forward, HostRewrite, PathRewrite, Priority, Redirect, WeightedCluster, WeightedClusters,
};
use crate::snapshot::Problems;
use crate::snapshot::compile::span::{limit, span};

const NOT_WATCHED: &str = "the file is read when the routes are taken, and not watched: leave it out, and change the \
                           routes when the file changes";

/// A route's time-out unless it sets one.
const TIMEOUT: Duration = Duration::from_secs(15);

impl<P> Compiler<'_, P> {
    pub(super) fn action(
        &mut self,
        proto: Option<&ProtoAction>,
        part: MatchedPart,
        defaults: &HostDefaults,
        problems: &mut Problems,
    ) -> Option<Action<P>> {
        let mut inner = Problems::new();
        let (field, action) = match proto {
            Some(ProtoAction::Route(proto)) => {
                let forward = self.forward(proto, part, defaults, &mut inner);
                ("route", forward.map(|forward| Action::Forward(Box::new(forward))))
            }
            Some(ProtoAction::Redirect(proto)) => {
                let redirect = redirect(proto, part, &mut inner);
                ("redirect", redirect.map(|redirect| Action::Redirect(Box::new(redirect))))
            }
            Some(ProtoAction::DirectResponse(proto)) => {
                ("direct_response", self.direct_response(proto, &mut inner).map(Action::DirectResponse))
            }
            Some(ProtoAction::FilterAction(_)) => {
                inner.push("", "not supported: use route, redirect or direct_response");
                ("filter_action", None)
            }
            Some(ProtoAction::NonForwardingAction(_)) => {
                inner.push("", "not supported: the gateway only forwards and answers");
                ("non_forwarding_action", None)
            }
            None => {
                inner.push("", "required: one of route, redirect and direct_response");
                ("", None)
            }
        };
        problems.nest(field, inner);
        action
    }

    fn forward(
        &mut self,
        proto: &pb::route::RouteAction,
        part: MatchedPart,
        defaults: &HostDefaults,
        problems: &mut Problems,
    ) -> Option<Forward<P>> {
        let cluster = self.cluster_choice(proto.cluster_specifier.as_ref(), problems);
        let path_rewrite = path_rewrite(proto, part, problems);
        let host_rewrite = host_rewrite(proto.host_rewrite_specifier.as_ref(), problems);
        let retry = match &proto.retry_policy {
            None => defaults.retry.clone(),
            Some(policy) => {
                let mut inner = Problems::new();
                let retry = self.retry(policy, &mut inner);
                problems.nest("retry_policy", inner);
                retry
            }
        };
        let limits = proto.max_stream_duration.as_ref();
        Some(Forward {
            timeout: match &proto.timeout {
                None => Some(TIMEOUT),
                Some(timeout) => limit(timeout, "timeout", problems),
            },
            idle_timeout: proto.idle_timeout.as_ref().map(|idle| span(idle, "idle_timeout", problems)),
            max_stream_duration: limits
                .and_then(|limits| limits.max_stream_duration.as_ref())
                .map(|limit| span(limit, "max_stream_duration.max_stream_duration", problems)),
            retry,
            path_rewrite,
            host_rewrite,
            append_x_forwarded_host: proto.append_x_forwarded_host,
            cluster_not_found_status: match proto.cluster_not_found_response_code() {
                ClusterNotFoundResponseCode::ServiceUnavailable => 503,
                ClusterNotFoundResponseCode::NotFound => 404,
                ClusterNotFoundResponseCode::InternalServerError => 500,
            },
            priority: match proto.priority() {
                pb::core::RoutingPriority::Default => Priority::Default,
                pb::core::RoutingPriority::High => Priority::High,
            },
            cluster: cluster?,
        })
    }

    fn cluster_choice(
        &mut self,
        proto: Option<&ClusterSpecifier>,
        problems: &mut Problems,
    ) -> Option<ClusterChoice<P>> {
        match proto {
            Some(ClusterSpecifier::Cluster(name)) => {
                Some(ClusterChoice::Named(self.cluster(name, "cluster", problems)))
            }
            Some(ClusterSpecifier::WeightedClusters(clusters)) => {
                let mut inner = Problems::new();
                let clusters = self.weighted(clusters, &mut inner);
                problems.nest("weighted_clusters", inner);
                clusters.map(|clusters| ClusterChoice::Weighted(Box::new(clusters)))
            }
            other => {
                let field = match other {
                    Some(ClusterSpecifier::ClusterHeader(_)) => "cluster_header",
                    Some(ClusterSpecifier::ClusterSpecifierPlugin(_)) => "cluster_specifier_plugin",
                    Some(_) => "inline_cluster_specifier_plugin",
                    None => "",
                };
                problems.push(field, "not supported: one of cluster and weighted_clusters is required");
                None
            }
        }
    }

    fn weighted(&mut self, proto: &pb::route::WeightedCluster, problems: &mut Problems) -> Option<WeightedClusters<P>> {
        match &proto.random_value_specifier {
            None => {}
            Some(RandomValueSpecifier::UseHashPolicy(uses)) if !uses.value => {}
            Some(RandomValueSpecifier::UseHashPolicy(_)) => {
                problems.push("use_hash_policy", "not supported: clusters are chosen at random by weight");
            }
            Some(RandomValueSpecifier::HeaderName(_)) => {
                problems.push("header_name", "not supported: clusters are chosen at random by weight");
            }
        }
        let mut clusters = Vec::with_capacity(proto.clusters.len());
        for (at, cluster) in proto.clusters.iter().enumerate() {
            let mut inner = Problems::new();
            if cluster.name.is_empty() {
                inner.push("name", "required: cluster_header is not supported");
            }
            if cluster.weight.is_none() {
                inner.push("weight", "required: 0 for none of the requests");
            }
            clusters.push(WeightedCluster {
                name: self.cluster(&cluster.name, "name", &mut inner),
                weight: cluster.weight.as_ref().map_or(0, |weight| weight.value),
                request_headers: header_ops::request(
                    &cluster.request_headers_to_add,
                    &cluster.request_headers_to_remove,
                    &mut inner,
                ),
                response_headers: header_ops::response(
                    &cluster.response_headers_to_add,
                    &cluster.response_headers_to_remove,
                    &mut inner,
                ),
                per_filter: self.per_filter(&cluster.typed_per_filter_config, &mut inner),
                host_rewrite: cluster.host_rewrite_specifier.as_ref().and_then(|rewrite| match rewrite {
                    cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host) => non_empty(host),
                }),
            });
            problems.nest_at("clusters", at, inner);
        }
        let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
        if total > u64::from(u32::MAX) {
            problems.push("clusters", format!("the sum of the weights is {total}; at most {} is allowed", u32::MAX));
        }
        match WeightedClusters::new(clusters) {
            Ok(clusters) => Some(clusters),
            Err(error) => {
                problems.push("clusters", error.to_string());
                None
            }
        }
    }

    fn direct_response(
        &self,
        proto: &pb::route::DirectResponseAction,
        problems: &mut Problems,
    ) -> Option<DirectResponse> {
        let status = u16::try_from(proto.status).ok().filter(|status| (200..600).contains(status));
        if status.is_none() {
            problems.push("status", format!("{} is not between 200 and 599", proto.status));
        }
        let limit = self.direct_response_limit;
        if proto.body.as_ref().is_some_and(|body| body.watched_directory.is_some()) {
            problems.push("body.watched_directory", NOT_WATCHED);
        }
        let body = match proto.body.as_ref().and_then(|body| body.specifier.as_ref()) {
            None => Bytes::new(),
            Some(source) => match read(source, limit) {
                Ok(body) if body.len() > limit => {
                    problems.push("body", too_large(body.len(), limit));
                    return None;
                }
                Ok(body) => body,
                Err((field, reason)) => {
                    problems.push(format!("body.{field}"), reason);
                    return None;
                }
            },
        };
        Some(DirectResponse { status: status?, body })
    }
}

fn too_large(length: usize, limit: usize) -> String {
    format!("the body has {length} bytes or more; at most {limit} are allowed (max_direct_response_body_size_bytes)")
}

/// The bytes of a source; a file is read as far as `limit` only.
fn read(source: &Specifier, limit: usize) -> Result<Bytes, (&'static str, String)> {
    match source {
        Specifier::InlineBytes(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        Specifier::InlineString(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Specifier::EnvironmentVariable(name) => match std::env::var(name) {
            Ok(value) => Ok(Bytes::from(value)),
            Err(error) => Err(("environment_variable", format!("'{name}': {error}"))),
        },
        Specifier::Filename(path) => match weir_xds::read_file(path.as_ref(), limit as u64) {
            Ok(body) => Ok(Bytes::from(body)),
            Err(ReadError::TooLarge(_)) => Err(("filename", format!("'{path}': {}", too_large(limit + 1, limit)))),
            Err(error) => Err(("filename", format!("cannot read '{path}': {error}"))),
        },
    }
}

fn path_rewrite(proto: &pb::route::RouteAction, part: MatchedPart, problems: &mut Problems) -> Option<PathRewrite> {
    match (&proto.regex_rewrite, non_empty(&proto.prefix_rewrite)) {
        (Some(_), Some(_)) => {
            problems.push("regex_rewrite", "prefix_rewrite and regex_rewrite are both set; give one");
            None
        }
        (Some(regex), None) => substitution(regex, "regex_rewrite", problems).map(PathRewrite::Regex),
        (None, Some(with)) => Some(PathRewrite::Prefix { matched: part, with }),
        (None, None) => None,
    }
}

fn host_rewrite(proto: Option<&HostRewriteSpecifier>, problems: &mut Problems) -> HostRewrite {
    match proto {
        None => HostRewrite::Keep,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            non_empty(host).map_or(HostRewrite::Keep, HostRewrite::Literal)
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) if auto.value => HostRewrite::Endpoint,
        Some(HostRewriteSpecifier::AutoHostRewrite(_)) => HostRewrite::Keep,
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) if name.is_empty() => HostRewrite::Keep,
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            HostRewrite::Header(name.to_ascii_lowercase().into_boxed_str())
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(regex)) => {
            substitution(regex, "host_rewrite_path_regex", problems).map_or(HostRewrite::Keep, HostRewrite::PathRegex)
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => {
            problems.push("host_rewrite", "not supported: use host_rewrite_literal");
            HostRewrite::Keep
        }
    }
}

fn redirect(proto: &pb::route::RedirectAction, part: MatchedPart, problems: &mut Problems) -> Option<Redirect> {
    let scheme = match &proto.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https"),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) if !scheme.is_empty() => Some(scheme.as_str()),
        _ => None,
    };
    let path = match &proto.path_rewrite_specifier {
        Some(PathRewriteSpecifier::PathRedirect(path)) if !path.is_empty() => {
            RedirectPath::Replace(path.as_bytes().into())
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) if !prefix.is_empty() => {
            RedirectPath::Rewrite(PathRewrite::Prefix {
                matched: part,
                with: Bytes::copy_from_slice(prefix.as_bytes()),
            })
        }
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            RedirectPath::Rewrite(PathRewrite::Regex(substitution(regex, "regex_rewrite", problems)?))
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            problems.push("path_rewrite", "not supported: use path_redirect, prefix_rewrite or regex_rewrite");
            return None;
        }
        _ => RedirectPath::Keep,
    };
    Some(Redirect {
        status: match proto.response_code() {
            RedirectResponseCode::MovedPermanently => 301,
            RedirectResponseCode::Found => 302,
            RedirectResponseCode::SeeOther => 303,
            RedirectResponseCode::TemporaryRedirect => 307,
            RedirectResponseCode::PermanentRedirect => 308,
        },
        scheme: scheme.map(|scheme| scheme.as_bytes().into()),
        host: (!proto.host_redirect.is_empty()).then(|| proto.host_redirect.as_bytes().into()),
        port: (proto.port_redirect != 0).then_some(proto.port_redirect),
        path,
        strip_query: proto.strip_query,
    })
}

fn non_empty(text: &str) -> Option<Bytes> {
    (!text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()))
}
