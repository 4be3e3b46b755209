//! HTTP filters, and network filters before the connection manager.

use super::super::{NOTHING, Section};
use super::LATER;

pub(super) const FILTERS: &[Section] = &[
    Section {
        message: "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        honoured: "stat_prefix max_connections delay runtime_enabled",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.http.router.v3.Router",
        honoured: "suppress_envoy_headers",
        idle: &[
            ("start_child_span", "there is no tracing"),
            ("suppress_grpc_request_failure_code_stats", "there are no metrics of gRPC"),
            ("reject_connect_request_early_data", "CONNECT is not routed"),
            ("dynamic_stats", "metrics nobody has used cost nothing"),
        ],
        off: &[("respect_expected_rq_timeout", LATER)],
        refused: &[
            ("upstream_log upstream_log_options", "use access_log of the connection manager"),
            ("upstream_http_filters", LATER),
            ("strict_check_headers", LATER),
        ],
        ..NOTHING
    },
    Section { message: "envoy.extensions.filters.http.buffer.v3.Buffer", honoured: "max_request_bytes", ..NOTHING },
    Section {
        message: "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        honoured: "disabled buffer",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        honoured: "mutations most_specific_header_mutations_wins",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
        honoured: "mutations",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.filters.http.header_mutation.v3.Mutations",
        honoured: "request_mutations response_mutations request_trailers_mutations response_trailers_mutations",
        refused: &[("query_parameter_mutations", LATER)],
        ..NOTHING
    },
    Section { message: "envoy.extensions.filters.http.wasm.v3.Wasm", honoured: "config", ..NOTHING },
    Section {
        message: "envoy.extensions.wasm.v3.PluginConfig",
        honoured: "name root_id vm_config fail_open failure_policy reload_config allow_on_headers_stop_iteration",
        opaque: "configuration",
        off: &[("capability_restriction_config", "host functions are not restricted one by one yet")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.wasm.v3.VmConfig",
        honoured: "vm_id code environment_variables",
        opaque: "configuration",
        idle: &[
            ("runtime", "there is one, wasmtime; envoy.wasm.runtime.v8 is as good as any"),
            ("nack_on_code_cache_miss", "modules are compiled before they are put to use"),
        ],
        off: &[
            ("allow_precompiled", "modules are compiled here: precompiled code cannot be trusted"),
            ("capability_restriction_config", "host functions are not restricted one by one yet"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.wasm.v3.EnvironmentVariables",
        honoured: "host_env_keys key_values",
        ..NOTHING
    },
    Section { message: "envoy.extensions.wasm.v3.ReloadConfig", honoured: "backoff", ..NOTHING },
    Section { message: "envoy.config.route.v3.FilterConfig", honoured: "config is_optional disabled", ..NOTHING },
];
