//! The bootstrap besides its static resources.

use super::super::{NOTHING, Section};
use super::LATER;

pub(super) const BOOTSTRAP: &[Section] = &[
    Section {
        message: "envoy.config.bootstrap.v3.Bootstrap",
        honoured: "node static_resources dynamic_resources admin default_regex_engine cluster_manager layered_runtime",
        idle: &[
            ("stats_flush_interval stats_flush_on_admin", "metrics are read, not flushed: there are no sinks"),
            ("stats_eviction_interval", "metrics nobody has used cost nothing"),
            ("watchdog watchdogs", "guests have time limits of their own; there is no watchdog thread"),
            ("flags_path perf_tracing_file_path", "of Envoy's own debugging"),
            ("enable_dispatcher_stats", "of Envoy's own event loop"),
            ("stats_server_version_override", "the version is Weir's"),
            ("default_socket_interface", "there is one"),
            ("inline_headers", "of Envoy's own header table"),
            ("memory_allocator_manager", "of Envoy's own allocator"),
            ("deferred_stat_options", "metrics are always created at first use"),
            ("grpc_async_client_manager_config", "there are no gRPC clients"),
            ("node_context_params", "told to a control plane only"),
            ("dns_resolution_config typed_dns_resolver_config", "names are not resolved: no cluster needs DNS"),
            ("use_tcp_for_dns_lookups", "names are not resolved: no cluster needs DNS"),
            ("application_log_config", "use --log-format and --log-level"),
        ],
        off: &[("enable_worker_cpu_affinity", LATER)],
        refused: &[
            ("stats_sinks", "read /stats or /stats/prometheus"),
            ("stats_config", LATER),
            ("tracing", LATER),
            ("hds_config", LATER),
            ("overload_manager", LATER),
            ("header_prefix", "the prefix is x-envoy"),
            ("bootstrap_extensions", "no bootstrap extension is supported"),
            ("config_sources default_config_source", "xDS over gRPC comes later"),
            ("certificate_provider_instances", "give certificates by file or SDS"),
            ("fatal_actions", "no such extension is supported"),
            ("xds_delegate_extension xds_config_tracker_extension", "no such extension is supported"),
            ("listener_manager", "there is one"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.bootstrap.v3.Bootstrap.StaticResources",
        honoured: "listeners clusters secrets",
        ..NOTHING
    },
    Section { message: "envoy.config.bootstrap.v3.LayeredRuntime", honoured: "layers", ..NOTHING },
    Section {
        message: "envoy.config.bootstrap.v3.RuntimeLayer",
        opaque: "static_layer",
        idle: &[
            ("name", "a label: only /runtime of Envoy's admin shows it"),
            ("disk_layer admin_layer rtds_layer", "only static layers are read, and of them limits of connections"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.bootstrap.v3.Bootstrap.DynamicResources",
        honoured: "lds_config cds_config",
        refused: &[
            ("ads_config", "use path_config_source; xDS over gRPC comes later"),
            ("lds_resources_locator cds_resources_locator", LATER),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.bootstrap.v3.Admin",
        honoured: "address",
        idle: &[
            ("access_log access_log_path", "requests to the admin are not logged"),
            ("profile_path", "of Envoy's own profiler"),
            ("ignore_global_conn_limit", "connections of the admin have a limit of their own"),
        ],
        refused: &[("socket_options", LATER), ("allow_paths", "bind the admin to loopback, and keep others off it")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.bootstrap.v3.ClusterManager",
        idle: &[("enable_deferred_cluster_creation", "clusters nobody has used cost little in any case")],
        refused: &[
            ("local_cluster_name", "requests would be kept in their zone, which comes later"),
            ("outlier_detection", LATER),
            ("upstream_bind_config", "set it on each cluster"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.service.discovery.v3.DiscoveryResponse",
        honoured: "version_info resources",
        idle: &[("type_url nonce canary control_plane resource_errors", "of the protocol, not of a file")],
        ..NOTHING
    },
    Section {
        message: "envoy.service.discovery.v3.Resource",
        honoured: "name version resource",
        idle: &[("aliases ttl cache_control resource_name metadata", "of the protocol, not of a file")],
        ..NOTHING
    },
];
