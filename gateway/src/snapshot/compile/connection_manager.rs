//! `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager` into a [`ConnectionManager`].

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use weir_xds::{Kind, pb};

use super::access_log::compile_access_log;
use super::config_source::{Sourced, sourced};
use super::filter::{PerRoute, compile_http_filters, compile_per_route};
use super::key_format;
use super::listener::ListenerCx;
use super::local_reply::compile_local_replies;
use super::route::{RouteCx, compile_route_config};
use super::span::limit_or;
use crate::http::h1::HeadLimits;
use crate::http::path::{EscapedSlashes, PathRules};
use crate::snapshot::connection_manager::{
    ClientCert, ClientCertMode, Codec, ConnectionManager, HostRules, Http1, Http2, IpRange, RequestId, RouteSource,
    ServerHeader, ServerHeaderWhen, Timeouts, Trust, Underscores,
};
use crate::snapshot::{Problems, RouteConfig};
use crate::telemetry::metrics::names;
use pb::core::http_protocol_options::HeadersWithUnderscoresAction;
use pb::hcm::HttpConnectionManager;
use pb::hcm::http_connection_manager::{
    CodecType, ForwardClientCertDetails, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation,
    StripPortMode,
};

/// A compiled connection manager with where its routes come from.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) manager: Arc<ConnectionManager>,
    /// Its route configuration, if that is in a file, and the metrics of that source.
    pub(super) rds: Option<(Sourced, crate::telemetry::metrics::Scope<names::Rds>)>,
}

/// Compiles a connection manager. `buffer_limit` is the listener's.
pub(super) fn compile(
    proto: &HttpConnectionManager,
    buffer_limit: usize,
    cx: &ListenerCx<'_>,
    problems: &mut Problems,
) -> Option<Compiled> {
    let before = problems.len();
    unsupported(proto, problems);
    let routes = routes(proto, cx, problems);
    let filters = compile_http_filters(&proto.http_filters, cx.plugins, problems);
    let mut access_logs = Vec::with_capacity(proto.access_log.len());
    for (at, log) in proto.access_log.iter().enumerate() {
        let mut inner = Problems::new();
        access_logs.extend(compile_access_log(log, cx.access_logs, &mut inner));
        problems.nest(&format!("access_log[{at}]"), inner);
    }
    let local_replies = proto.local_reply_config.as_ref().and_then(|config| {
        let mut inner = Problems::new();
        let compiled = compile_local_replies(config, &mut inner);
        problems.nest("local_reply_config", inner);
        compiled.map(Box::new)
    });
    let common = proto.common_http_protocol_options.unwrap_or_default();
    let timeouts = timeouts(proto, &common, problems);
    let trust = trust(proto, problems);
    let host = host_rules(proto, problems);
    let http1 = http1(proto, problems);
    let http2 = proto.http2_protocol_options.clone().unwrap_or_default();
    if problems.len() > before {
        return None;
    }
    let (routes, rds) = routes?;
    let manager = ConnectionManager {
        scope: cx.registry.scope(names::Http, proto.stat_prefix.as_str()),
        stat_prefix: proto.stat_prefix.as_str().into(),
        codec: match proto.codec_type() {
            CodecType::Http1 => Codec::Http1,
            CodecType::Http2 => Codec::Http2,
            CodecType::Auto | CodecType::Http3 => Codec::Auto,
        },
        routes,
        filters: filters?,
        access_logs: access_logs.into(),
        local_replies,
        server: server(proto),
        via: Bytes::copy_from_slice(proto.via.as_bytes()),
        trust,
        client_cert: client_cert(proto),
        request_id: RequestId {
            generate: proto.generate_request_id.is_none_or(|b| b.value),
            preserve_external: proto.preserve_external_request_id,
            in_response: proto.always_set_request_id_in_response,
        },
        path: path_rules(proto),
        host,
        http1,
        http2: http2_settings(&http2),
        limits: head_limits(proto, &common),
        underscores: match common.headers_with_underscores_action() {
            HeadersWithUnderscoresAction::Allow => Underscores::Allow,
            HeadersWithUnderscoresAction::RejectRequest => Underscores::Reject,
            HeadersWithUnderscoresAction::DropHeader => Underscores::Drop,
        },
        codecs: (cx.registry.scope(names::Http1, ""), cx.registry.scope(names::Http2, "")),
        timeouts,
        max_requests: common.max_requests_per_connection.map_or(0, |n| n.value),
        proxy_100_continue: proto.proxy_100_continue,
        suppress_envoy_headers: suppresses_envoy_headers(proto),
        buffer_limit,
    };
    Some(Compiled { manager: Arc::new(manager), rds })
}

/// Fields that are refused here whatever the table of fields says: to serve without them would be wrong.
fn unsupported(proto: &HttpConnectionManager, problems: &mut Problems) {
    let set = [
        ("upgrade_configs", !proto.upgrade_configs.is_empty()),
        ("original_ip_detection_extensions", !proto.original_ip_detection_extensions.is_empty()),
        ("early_header_mutation_extensions", !proto.early_header_mutation_extensions.is_empty()),
        ("scheme_header_transformation", proto.scheme_header_transformation.is_some()),
        ("path_normalization_options", proto.path_normalization_options.is_some()),
        ("forward_client_cert_matcher", proto.forward_client_cert_matcher.is_some()),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set) {
        problems.push(field, "not supported");
    }
    if proto.codec_type() == CodecType::Http3 {
        problems.push("codec_type", "HTTP3 is not supported; use AUTO, HTTP1 or HTTP2");
    }
    let id = proto.request_id_extension.as_ref().and_then(|extension| extension.typed_config.as_ref());
    if let Some(any) = id.filter(|any| pb::type_name(any) != UUID_REQUEST_ID) {
        let found = pb::type_name(any);
        problems.push("request_id_extension.typed_config", format!("{found} is not supported; use {UUID_REQUEST_ID}"));
    }
}

const UUID_REQUEST_ID: &str = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";

type Routes = (RouteSource, Option<(Sourced, crate::telemetry::metrics::Scope<names::Rds>)>);

fn routes(proto: &HttpConnectionManager, cx: &ListenerCx<'_>, problems: &mut Problems) -> Option<Routes> {
    let mut inner = Problems::new();
    match &proto.route_specifier {
        Some(RouteSpecifier::RouteConfig(config)) => {
            let compiled = compile_routes(config, true, cx.cluster_exists, &mut inner);
            problems.nest("route_config", inner);
            compiled.map(|routes| (RouteSource::Inline(Arc::new(routes)), None))
        }
        Some(RouteSpecifier::Rds(rds)) => {
            let name = rds.route_config_name.as_str();
            if name.is_empty() {
                problems.push("rds.route_config_name", "is required");
            }
            let source = sourced(Kind::Route, name, rds.config_source.as_ref(), &mut inner);
            problems.nest("rds.config_source", inner);
            let scope = cx.registry.scope(names::Rds, (proto.stat_prefix.as_str(), name));
            source.map(|source| (RouteSource::Named(name.into()), Some((source, scope))))
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => {
            problems.push("scoped_routes", "not supported; use rds or route_config");
            None
        }
        None => {
            problems.push("", "no routes: give rds or route_config");
            None
        }
    }
}

/// Compiles routes with what they say about filters.
pub(crate) fn compile_routes(
    proto: &pb::route::RouteConfiguration,
    validate_clusters: bool,
    cluster_exists: &dyn Fn(&str) -> bool,
    problems: &mut Problems,
) -> Option<RouteConfig> {
    compile_route_config(proto, &RouteCx { cluster_exists, validate_clusters, per_filter: &per_filter }, problems)
}

/// Both sides put the field's name before their paths.
fn per_filter(protos: &HashMap<String, pb::Any>, problems: &mut Problems) -> Option<Arc<PerRoute>> {
    let mut inner = Problems::new();
    let compiled = compile_per_route(protos, &mut inner);
    for problem in inner.into_vec() {
        problems.push(problem.path.strip_prefix("typed_per_filter_config").unwrap_or(&problem.path), problem.reason);
    }
    compiled.map(Arc::new)
}

fn timeouts(
    proto: &HttpConnectionManager,
    common: &pb::core::HttpProtocolOptions,
    problems: &mut Problems,
) -> Timeouts {
    let default = Timeouts::default();
    let mut of =
        |field: &str, proto: &Option<pb::Duration>, default| limit_or(proto.as_ref(), default, field, problems);
    Timeouts {
        request_headers: of("request_headers_timeout", &proto.request_headers_timeout, default.request_headers),
        request: of("request_timeout", &proto.request_timeout, default.request),
        stream_idle: of("stream_idle_timeout", &proto.stream_idle_timeout, default.stream_idle),
        idle: of("common_http_protocol_options.idle_timeout", &common.idle_timeout, default.idle),
        connection: of(
            "common_http_protocol_options.max_connection_duration",
            &common.max_connection_duration,
            default.connection,
        ),
        stream: of("common_http_protocol_options.max_stream_duration", &common.max_stream_duration, default.stream),
        delayed_close: of("delayed_close_timeout", &proto.delayed_close_timeout, default.delayed_close),
        drain: of("drain_timeout", &proto.drain_timeout, default.drain),
    }
}

fn trust(proto: &HttpConnectionManager, problems: &mut Problems) -> Trust {
    let ranges = proto.internal_address_config.as_ref().map(|config| config.cidr_ranges.as_slice()).unwrap_or_default();
    let mut internal = Vec::with_capacity(ranges.len());
    for (at, range) in ranges.iter().enumerate() {
        let path = format!("internal_address_config.cidr_ranges[{at}]");
        let prefix = range.prefix_len.map_or(0, |length| length.value);
        match range.address_prefix.parse() {
            Ok(address) => {
                let bits = if matches!(address, std::net::IpAddr::V4(_)) { 32 } else { 128 };
                match u8::try_from(prefix) {
                    Ok(prefix) if prefix <= bits => internal.push(IpRange { address, prefix }),
                    _ => problems.push(format!("{path}.prefix_len"), format!("{address} has {bits} bits at most")),
                }
            }
            Err(_) => problems
                .push(format!("{path}.address_prefix"), format!("{:?} is not an IP address", range.address_prefix)),
        }
    }
    Trust {
        use_remote_address: proto.use_remote_address.is_some_and(|b| b.value),
        trusted_hops: proto.xff_num_trusted_hops,
        skip_append: proto.skip_xff_append,
        append_port: proto.append_x_forwarded_port,
        internal: internal.into(),
    }
}

fn server(proto: &HttpConnectionManager) -> ServerHeader {
    let name = if proto.server_name.is_empty() { "envoy" } else { &proto.server_name };
    let when = match proto.server_header_transformation() {
        ServerHeaderTransformation::Overwrite => ServerHeaderWhen::Overwrite,
        ServerHeaderTransformation::AppendIfAbsent => ServerHeaderWhen::AppendIfAbsent,
        ServerHeaderTransformation::PassThrough => ServerHeaderWhen::PassThrough,
    };
    ServerHeader { name: Bytes::copy_from_slice(name.as_bytes()), when }
}

fn client_cert(proto: &HttpConnectionManager) -> ClientCert {
    let details = proto.set_current_client_cert_details.unwrap_or_default();
    ClientCert {
        mode: match proto.forward_client_cert_details() {
            ForwardClientCertDetails::Sanitize => ClientCertMode::Sanitize,
            ForwardClientCertDetails::ForwardOnly => ClientCertMode::ForwardOnly,
            ForwardClientCertDetails::AppendForward => ClientCertMode::AppendForward,
            ForwardClientCertDetails::SanitizeSet => ClientCertMode::SanitizeSet,
            ForwardClientCertDetails::AlwaysForwardOnly => ClientCertMode::AlwaysForwardOnly,
        },
        subject: details.subject.is_some_and(|b| b.value),
        cert: details.cert,
        dns: details.dns,
        uri: details.uri,
    }
}

fn path_rules(proto: &HttpConnectionManager) -> PathRules {
    PathRules {
        normalize: proto.normalize_path.is_some_and(|b| b.value),
        merge_slashes: proto.merge_slashes,
        escaped_slashes: match proto.path_with_escaped_slashes_action() {
            PathWithEscapedSlashesAction::ImplementationSpecificDefault
            | PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
            PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
            PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
            PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
        },
    }
}

fn host_rules(proto: &HttpConnectionManager, problems: &mut Problems) -> HostRules {
    let strip_any_port = matches!(proto.strip_port_mode, Some(StripPortMode::StripAnyHostPort(true)));
    if strip_any_port && proto.strip_matching_host_port {
        problems.push("strip_any_host_port", "cannot be set beside strip_matching_host_port");
    }
    HostRules {
        strip_matching_port: proto.strip_matching_host_port,
        strip_any_port,
        strip_trailing_dot: proto.strip_trailing_host_dot,
    }
}

fn http1(proto: &HttpConnectionManager, problems: &mut Problems) -> Http1 {
    let Some(options) = &proto.http_protocol_options else { return Http1::default() };
    let mut inner = Problems::new();
    let key_format = key_format::compile(options, &mut inner);
    problems.nest("http_protocol_options", inner);
    Http1 {
        key_format,
        accept_http_10: options.accept_http_10,
        default_host: Bytes::copy_from_slice(options.default_host_for_http_10.as_bytes()),
        trailers: options.enable_trailers,
    }
}

fn http2_settings(options: &pb::core::Http2ProtocolOptions) -> Http2 {
    let default = Http2::default();
    let of = |set: &Option<pb::UInt32Value>, default| set.map_or(default, |n| n.value);
    Http2 {
        max_streams: of(&options.max_concurrent_streams, default.max_streams),
        stream_window: of(&options.initial_stream_window_size, default.stream_window),
        connection_window: of(&options.initial_connection_window_size, default.connection_window),
        header_table: of(&options.hpack_table_size, default.header_table),
    }
}

fn head_limits(proto: &HttpConnectionManager, common: &pb::core::HttpProtocolOptions) -> HeadLimits {
    let default = HeadLimits::default();
    HeadLimits {
        bytes: proto.max_request_headers_kb.map_or(default.bytes, |kb| (kb.value as usize).saturating_mul(1024)),
        fields: common.max_headers_count.map_or(default.fields, |n| n.value as usize),
    }
}

/// What the router at the end of the filters says; whether it stands there is checked with the filters.
fn suppresses_envoy_headers(proto: &HttpConnectionManager) -> bool {
    let router = proto.http_filters.last().and_then(|filter| match &filter.config_type {
        Some(pb::hcm::http_filter::ConfigType::TypedConfig(any)) => pb::unpack::<pb::router::Router>(any).ok(),
        _ => None,
    });
    router.is_some_and(|router| router.suppress_envoy_headers)
}
