//! HTTP towards a cluster: `HttpProtocolOptions`, and the older fields of the cluster itself.

use weir_xds::pb;
use weir_xds::pb::core::{Http1ProtocolOptions, UpstreamHttpProtocolOptions};
use weir_xds::pb::upstream_http::HttpProtocolOptions;
use weir_xds::pb::upstream_http::http_protocol_options::UpstreamProtocolOptions;
use weir_xds::pb::upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;

use crate::cluster::HttpOptions;
use crate::snapshot::Problems;
use crate::snapshot::compile::key_format;
use crate::snapshot::compile::span::limit;

/// Where a cluster has them.
const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) fn compile(proto: &pb::cluster::Cluster, options: &mut HttpOptions, problems: &mut Problems) {
    if let Some(limit) = &proto.max_requests_per_connection {
        options.max_requests_per_connection = limit.value;
    }
    for name in proto.typed_extension_protocol_options.keys().filter(|name| *name != KEY) {
        problems.push(format!("typed_extension_protocol_options[{name:?}]"), format!("not supported; only {KEY} is"));
    }
    let path = || format!("typed_extension_protocol_options[{KEY:?}]");
    match typed(proto) {
        Some(Ok(typed)) => {
            let mut inner = Problems::new();
            compile_typed(&typed, options, &mut inner);
            problems.nest(&path(), inner);
        }
        Some(Err(reason)) => problems.push(path(), reason),
        None => {
            if let Some(common) = &proto.common_http_protocol_options {
                compile_common(common, options, "common_http_protocol_options", problems);
            }
            if let Some(http1) = &proto.http_protocol_options {
                compile_http1(http1, options, "http_protocol_options", problems);
            }
            if let Some(upstream) = &proto.upstream_http_protocol_options {
                compile_upstream(upstream, options, "upstream_http_protocol_options", problems);
            }
        }
    }
}

/// `auto_sni` and `auto_san_validation`: they decide how endpoints are talked to.
pub(super) fn auto_names(proto: &pb::cluster::Cluster) -> (bool, bool) {
    let upstream = match typed(proto) {
        Some(typed) => typed.ok().and_then(|typed| typed.upstream_http_protocol_options),
        None => proto.upstream_http_protocol_options.clone(),
    };
    upstream.map_or((false, false), |options| (options.auto_sni, options.auto_san_validation))
}

fn typed(proto: &pb::cluster::Cluster) -> Option<Result<HttpProtocolOptions, String>> {
    let any = proto.typed_extension_protocol_options.get(KEY)?;
    Some(pb::unpack::<HttpProtocolOptions>(any).map_err(|error| error.to_string()))
}

fn compile_typed(proto: &HttpProtocolOptions, options: &mut HttpOptions, problems: &mut Problems) {
    if let Some(common) = &proto.common_http_protocol_options {
        compile_common(common, options, "common_http_protocol_options", problems);
    }
    if let Some(upstream) = &proto.upstream_http_protocol_options {
        compile_upstream(upstream, options, "upstream_http_protocol_options", problems);
    }
    let others = [
        ("http_filters", !proto.http_filters.is_empty()),
        ("header_validation_config", proto.header_validation_config.is_some()),
        ("outlier_detection", proto.outlier_detection.is_some()),
        ("request_mirror_policies", !proto.request_mirror_policies.is_empty()),
        ("hash_policy", !proto.hash_policy.is_empty()),
        ("retry_policy", proto.retry_policy.is_some()),
    ];
    for (field, _) in others.into_iter().filter(|(_, set)| *set) {
        problems.push(field, "not supported");
    }
    const ONLY_HTTP1: &str =
        "only HTTP/1.1 towards endpoints is supported: set explicit_http_config.http_protocol_options";
    match &proto.upstream_protocol_options {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => match &explicit.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(http1)) => {
                compile_http1(http1, options, "explicit_http_config.http_protocol_options", problems);
            }
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => {
                problems.push("explicit_http_config.http2_protocol_options", ONLY_HTTP1);
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                problems.push("explicit_http_config.http3_protocol_options", ONLY_HTTP1);
            }
            None => {}
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => {
            problems.push("use_downstream_protocol_config", ONLY_HTTP1);
        }
        Some(UpstreamProtocolOptions::AutoConfig(_)) => problems.push("auto_config", ONLY_HTTP1),
        None => {}
    }
}

fn compile_common(
    proto: &pb::core::HttpProtocolOptions,
    options: &mut HttpOptions,
    path: &str,
    problems: &mut Problems,
) {
    // An explicit 0 turns a time-out off.
    let fields = [
        ("idle_timeout", &proto.idle_timeout, &mut options.idle_timeout),
        ("max_connection_duration", &proto.max_connection_duration, &mut options.max_connection_duration),
        ("max_stream_duration", &proto.max_stream_duration, &mut options.max_stream_duration),
    ];
    for (field, set, option) in fields {
        let Some(set) = set else { continue };
        *option = limit(set, &format!("{path}.{field}"), problems);
    }
    if proto.max_connection_duration_jitter.is_some() {
        problems.push(format!("{path}.max_connection_duration_jitter"), "not supported");
    }
    if let Some(count) = &proto.max_headers_count {
        options.max_headers_count = count.value;
    }
    if let Some(size) = &proto.max_response_headers_kb {
        options.max_response_headers_kb = size.value;
    }
    if let Some(limit) = &proto.max_requests_per_connection {
        options.max_requests_per_connection = limit.value;
    }
}

fn compile_http1(proto: &Http1ProtocolOptions, options: &mut HttpOptions, path: &str, problems: &mut Problems) {
    options.http1.trailers = proto.enable_trailers;
    let mut inner = Problems::new();
    options.http1.key_format = key_format::compile(proto, &mut inner);
    problems.nest(path, inner);
    let others = [
        ("send_fully_qualified_url", proto.send_fully_qualified_url),
        ("allow_chunked_length", proto.allow_chunked_length),
    ];
    for (field, _) in others.into_iter().filter(|(_, set)| *set) {
        problems.push(format!("{path}.{field}"), "not supported");
    }
}

fn compile_upstream(
    proto: &UpstreamHttpProtocolOptions,
    options: &mut HttpOptions,
    path: &str,
    problems: &mut Problems,
) {
    options.auto_sni = proto.auto_sni;
    options.auto_san_validation = proto.auto_san_validation;
    if !proto.override_auto_sni_header.is_empty() {
        problems.push(format!("{path}.override_auto_sni_header"), "not supported");
    }
}
