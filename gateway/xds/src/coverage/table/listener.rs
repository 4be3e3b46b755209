//! Listeners, filter chains and the HTTP connection manager.

use super::super::{NOTHING, Section};
use super::{LABEL, LATER};

pub(super) const LISTENER: &[Section] = &[
    Section {
        message: "envoy.config.listener.v3.Listener",
        honoured: "name address filter_chains default_filter_chain listener_filters listener_filters_timeout \
                   continue_on_listener_filters_timeout per_connection_buffer_limit_bytes access_log tcp_backlog_size \
                   stat_prefix traffic_direction deprecated_v1 ignore_global_conn_limit",
        idle: &[
            ("metadata", "nothing matches, balances or logs by it; dumps show it"),
            ("drain_type", "a changed listener drains no connection"),
            ("connection_balance_config", "the kernel spreads connections over the workers (SO_REUSEPORT)"),
            ("reuse_port", "SO_REUSEPORT is always used"),
            ("max_connections_to_accept_per_socket_event", "workers take turns on their own"),
            ("bypass_overload_manager", "there is no overload manager"),
        ],
        off: &[
            ("use_original_dst", LATER),
            ("transparent freebind", LATER),
            ("enable_mptcp", LATER),
            ("tcp_fast_open_queue_length", LATER),
        ],
        on: &[("enable_reuse_port", "SO_REUSEPORT is always used"), ("bind_to_port", "every listener binds its port")],
        refused: &[
            ("socket_options", LATER),
            ("udp_listener_config", "UDP and HTTP/3 come later"),
            ("api_listener internal_listener", LATER),
            ("filter_chain_matcher", "use filter_chain_match"),
            ("additional_addresses", "add a listener for each address"),
            ("fcds_config", LATER),
            ("tcp_keepalive", LATER),
            ("stats_matcher", LATER),
            ("per_connection_buffer_high_watermark_timeout", LATER),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.listener.v3.Listener.DeprecatedV1",
        on: &[("bind_to_port", "every listener binds its port")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.listener.v3.ListenerFilter",
        honoured: "typed_config",
        idle: &[("name", LABEL)],
        refused: &[("filter_disabled", LATER), ("config_discovery", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        off: &[("enable_ja3_fingerprinting enable_ja4_fingerprinting", LATER)],
        honoured: "close_connection_on_client_hello_parsing_errors max_client_hello_size",
        idle: &[("initial_read_buffer_size", "the buffer grows as needed")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.listener.v3.FilterChain",
        honoured: "name filter_chain_match filters transport_socket transport_socket_connect_timeout",
        off: &[("use_proxy_proto", LATER)],
        idle: &[("metadata", "nothing matches, balances or logs by it; dumps show it")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.listener.v3.FilterChainMatch",
        honoured: "server_names application_protocols transport_protocol",
        refused: &[
            (
                "destination_port prefix_ranges source_prefix_ranges source_ports direct_source_prefix_ranges source_type",
                "chains are told apart by server_names, transport_protocol and application_protocols",
            ),
            ("address_suffix suffix_len", "Envoy does not match by them either"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.listener.v3.Filter",
        honoured: "typed_config",
        idle: &[("name", LABEL)],
        refused: &[("config_discovery", LATER)],
        ..NOTHING
    },
];

pub(super) const CONNECTION_MANAGER: &[Section] = &[
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        honoured: "stat_prefix rds route_config http_filters access_log http_protocol_options http2_protocol_options \
                   common_http_protocol_options server_name server_header_transformation via use_remote_address \
                   xff_num_trusted_hops skip_xff_append append_x_forwarded_port internal_address_config \
                   forward_client_cert_details \
                   set_current_client_cert_details generate_request_id preserve_external_request_id \
                   always_set_request_id_in_response request_id_extension normalize_path merge_slashes \
                   path_with_escaped_slashes_action strip_matching_host_port strip_any_host_port \
                   strip_trailing_host_dot max_request_headers_kb stream_idle_timeout request_timeout \
                   request_headers_timeout delayed_close_timeout drain_timeout proxy_100_continue \
                   local_reply_config",
        values: &[("codec_type", "AUTO HTTP1 HTTP2")],
        off: &[
            ("add_user_agent", LATER),
            ("append_local_overload", "there is no overload manager"),
            ("flush_access_log_on_new_request", LATER),
            (
                "stream_error_on_invalid_http_message",
                "a malformed HTTP/1 message ends its connection; for HTTP/2 see its options",
            ),
        ],
        idle: &[
            ("represent_ipv4_remote_address_as_ipv4_mapped_ipv6", "Envoy 1.40 writes IPv4 addresses plain as well"),
            ("add_proxy_protocol_connection_state", "there is no PROXY protocol"),
            ("http1_safe_max_connection_duration", "a request under way is never cut by max_connection_duration"),
        ],
        refused: &[
            ("tracing", LATER),
            ("upgrade_configs", "upgrades and CONNECT come later"),
            ("scoped_routes", "use rds or route_config"),
            ("path_normalization_options", "use normalize_path and merge_slashes"),
            ("http3_protocol_options", "HTTP/3 comes later"),
            ("original_ip_detection_extensions", "use use_remote_address and xff_num_trusted_hops"),
            ("scheme_header_transformation", LATER),
            ("proxy_status_config", LATER),
            ("typed_header_validation_config", "headers are always validated"),
            ("early_header_mutation_extensions", "use envoy.filters.http.header_mutation"),
            ("access_log_flush_interval", LATER),
            ("access_log_options", LATER),
            ("stream_flush_timeout", "it is as long as stream_idle_timeout"),
            ("forward_client_cert_matcher", LATER),
            ("forward_proto_config", LATER),
            ("drain_timeout_jitter", LATER),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
        honoured: "config_source route_config_name",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig",
        honoured: "mappers body_format",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper",
        honoured: "filter status_code body body_format_override headers_to_add",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        honoured: "name typed_config is_optional disabled",
        refused: &[("config_discovery", "filters over ECDS come later")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig",
        honoured: "cidr_ranges",
        idle: &[("unix_sockets", "there are no listeners on Unix sockets")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails",
        honoured: "subject cert dns uri",
        off: &[("chain issuer", LATER)],
        values: &[("format", "TEXT")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
        honoured: "typed_config",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        idle: &[("pack_trace_reason use_request_id_for_trace_sampling", "there is no tracing")],
        ..NOTHING
    },
];

pub(super) const ACCESS_LOG: &[Section] = &[
    Section {
        message: "envoy.config.accesslog.v3.AccessLog",
        honoured: "filter typed_config",
        idle: &[("name", LABEL)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.accesslog.v3.AccessLogFilter",
        honoured: "status_code_filter duration_filter not_health_check_filter runtime_filter \
                   and_filter or_filter header_filter response_flag_filter grpc_status_filter log_type_filter",
        refused: &[
            ("traceable_filter", "there is no tracing"),
            ("metadata_filter", LATER),
            ("extension_filter", "no such extension is supported"),
        ],
        ..NOTHING
    },
    Section { message: "envoy.config.accesslog.v3.AndFilter", honoured: "filters", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.OrFilter", honoured: "filters", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.ComparisonFilter", honoured: "op value", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.DurationFilter", honoured: "comparison", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.StatusCodeFilter", honoured: "comparison", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.HeaderFilter", honoured: "header", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.NotHealthCheckFilter", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.GrpcStatusFilter", honoured: "statuses exclude", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.LogTypeFilter", honoured: "types exclude", ..NOTHING },
    Section { message: "envoy.config.accesslog.v3.ResponseFlagFilter", honoured: "flags", ..NOTHING },
    Section {
        message: "envoy.config.accesslog.v3.RuntimeFilter",
        honoured: "percent_sampled use_independent_randomness",
        idle: &[("runtime_key", "there is no runtime: percent_sampled holds")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        honoured: "path format json_format typed_json_format log_format",
        ..NOTHING
    },
    Section { message: "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", honoured: "log_format", ..NOTHING },
    Section { message: "envoy.extensions.access_loggers.stream.v3.StderrAccessLog", honoured: "log_format", ..NOTHING },
];
