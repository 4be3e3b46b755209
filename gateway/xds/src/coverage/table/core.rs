//! Messages that many resources share: addresses, sources, headers, matchers, numbers.

use super::super::{NOTHING, Section};
use super::{LABEL, LATER};

pub(super) const CORE: &[Section] = &[
    Section {
        message: "envoy.config.core.v3.Address",
        honoured: "socket_address",
        refused: &[("pipe", "use socket_address"), ("envoy_internal_address", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.SocketAddress",
        honoured: "address port_value",
        values: &[("protocol", "TCP")],
        off: &[("ipv4_compat", "an IPv6 listener takes IPv6 only; add a listener for IPv4")],
        refused: &[
            ("named_port", "use port_value"),
            ("resolver_name", "addresses are not resolved by name"),
            ("network_namespace_filepath", "start Weir in that namespace"),
        ],
        ..NOTHING
    },
    Section { message: "envoy.config.core.v3.CidrRange", honoured: "address_prefix prefix_len", ..NOTHING },
    Section {
        message: "envoy.config.core.v3.ConfigSource",
        honoured: "path_config_source path initial_fetch_timeout",
        values: &[("resource_api_version", "AUTO V3")],
        refused: &[
            ("ads", "use path_config_source; xDS over gRPC comes later"),
            ("api_config_source", "use path_config_source; xDS over gRPC comes later"),
            ("self", "use path_config_source; xDS over gRPC comes later"),
            ("authorities", LATER),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.PathConfigSource",
        honoured: "path watched_directory",
        idle: &[("poll_interval", "files are watched, not polled")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.WatchedDirectory",
        honoured: "path",
        idle: &[("watch_modify", "writes into the files are noticed in any case")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.DataSource",
        honoured: "filename inline_bytes inline_string environment_variable watched_directory",
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.Node",
        honoured: "id cluster metadata locality",
        idle: &[(
            "user_agent_name user_agent_version user_agent_build_version extensions client_features \
                 listening_addresses dynamic_parameters",
            "told to a control plane only",
        )],
        ..NOTHING
    },
    Section { message: "envoy.config.core.v3.Locality", honoured: "region zone sub_zone", ..NOTHING },
    Section {
        message: "envoy.config.core.v3.TypedExtensionConfig",
        honoured: "typed_config",
        idle: &[("name", LABEL)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.TransportSocket",
        honoured: "typed_config",
        idle: &[("name", LABEL)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.HeaderValueOption",
        honoured: "header append append_action keep_empty_value",
        ..NOTHING
    },
    Section { message: "envoy.config.core.v3.HeaderValue", honoured: "key value raw_value", ..NOTHING },
    Section {
        message: "envoy.config.core.v3.SubstitutionFormatString",
        honoured: "text_format json_format omit_empty_values content_type text_format_source",
        idle: &[("json_format_options", "JSON logs have their keys sorted in any case")],
        refused: &[("formatters", "the operators of Weir need no extension")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.TcpKeepalive",
        honoured: "keepalive_probes keepalive_time keepalive_interval",
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.RuntimeFractionalPercent",
        honoured: "default_value",
        idle: &[("runtime_key", "there is no runtime: the default value holds")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.RuntimeFeatureFlag",
        honoured: "default_value",
        idle: &[("runtime_key", "there is no runtime: the default value holds")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.RuntimeUInt32",
        honoured: "default_value",
        idle: &[("runtime_key", "there is no runtime: the default value holds")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.RuntimeDouble",
        honoured: "default_value",
        idle: &[("runtime_key", "there is no runtime: the default value holds")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.HttpProtocolOptions",
        honoured: "idle_timeout max_headers_count max_connection_duration max_stream_duration \
                   headers_with_underscores_action max_requests_per_connection max_response_headers_kb",
        refused: &[("max_connection_duration_jitter", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.Http1ProtocolOptions",
        honoured: "accept_http_10 default_host_for_http_10 enable_trailers header_key_format",
        off: &[
            ("allow_chunked_length", "Content-Length beside Transfer-Encoding is refused: request smuggling"),
            ("send_fully_qualified_url", LATER),
            ("allow_custom_methods", "unknown methods are answered 400"),
            ("override_stream_error_on_invalid_http_message", "a malformed HTTP/1 message ends its connection"),
        ],
        idle: &[("allow_absolute_url", "absolute URLs are always taken"), ("use_balsa_parser", "there is one parser")],
        refused: &[("ignore_http_11_upgrade", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat",
        honoured: "proper_case_words stateful_formatter",
        ..NOTHING
    },
    Section { message: "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords", ..NOTHING },
    Section {
        message: "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        honoured: "forward_reason_phrase formatter_type_on_envoy_headers",
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.Http2ProtocolOptions",
        honoured: "hpack_table_size max_concurrent_streams initial_stream_window_size initial_connection_window_size",
        off: &[("allow_connect allow_metadata", LATER)],
        idle: &[
            (
                "max_outbound_frames max_outbound_control_frames max_consecutive_inbound_frames_with_empty_payload \
                 max_inbound_priority_frames_per_stream max_inbound_window_update_frames_per_data_frame_sent \
                 stream_reset_burst stream_reset_rate",
                "floods are bounded by limits of the gateway and of its HTTP/2 library (limits.md)",
            ),
            (
                "override_stream_error_on_invalid_http_message stream_error_on_invalid_http_messaging",
                "a malformed HTTP/2 request ends its stream, and only what breaks the framing its connection",
            ),
            ("use_oghttp2_codec enable_huffman_encoding max_metadata_size", "there is one codec"),
        ],
        refused: &[
            ("connection_keepalive", LATER),
            ("custom_settings_parameters", LATER),
            ("disallow_obs_text", LATER),
            ("max_header_field_size_kb", "use max_request_headers_kb"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.BindConfig",
        honoured: "source_address",
        off: &[("freebind", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.UpstreamHttpProtocolOptions",
        honoured: "auto_sni auto_san_validation",
        off: &[("override_auto_sni_header", "auto_sni takes the host")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.core.v3.AsyncDataSource",
        honoured: "local",
        refused: &[("remote", "fetch the file yourself and give local.filename")],
        ..NOTHING
    },
    Section { message: "envoy.config.core.v3.BackoffStrategy", honoured: "base_interval max_interval", ..NOTHING },
    Section {
        message: "envoy.config.common.mutation_rules.v3.HeaderMutation",
        honoured: "remove append remove_on_match",
        ..NOTHING
    },
    Section {
        message: "envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch",
        honoured: "key_matcher",
        ..NOTHING
    },
    Section { message: "google.protobuf.Empty", ..NOTHING },
];

pub(super) const MATCHERS: &[Section] = &[
    Section {
        message: "envoy.type.matcher.v3.StringMatcher",
        honoured: "exact prefix suffix safe_regex contains ignore_case",
        ..NOTHING
    },
    Section {
        message: "envoy.type.matcher.v3.RegexMatcher",
        honoured: "regex",
        idle: &[("google_re2", "there is one engine, of linear time as RE2")],
        ..NOTHING
    },
    Section { message: "envoy.type.matcher.v3.RegexMatchAndSubstitute", honoured: "pattern substitution", ..NOTHING },
    Section { message: "envoy.type.v3.FractionalPercent", honoured: "numerator denominator", ..NOTHING },
    Section { message: "envoy.type.v3.Percent", honoured: "value", ..NOTHING },
    Section { message: "envoy.type.v3.Int64Range", honoured: "start end", ..NOTHING },
    Section { message: "envoy.extensions.regex_engines.v3.GoogleRE2", ..NOTHING },
];
