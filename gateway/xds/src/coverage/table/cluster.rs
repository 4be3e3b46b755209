//! Clusters and their endpoints.

use super::super::{NOTHING, Section};
use super::LATER;

/// Envoy routes by zone only where it knows the cluster it belongs to.
const NO_ZONES: &str =
    "as in Envoy without cluster_manager.local_cluster_name, which is refused, zones are not preferred";

pub(super) const CLUSTER: &[Section] = &[
    Section {
        message: "envoy.config.cluster.v3.Cluster",
        honoured: "name alt_stat_name load_assignment eds_cluster_config connect_timeout per_connection_buffer_limit_bytes circuit_breakers transport_socket \
                   typed_extension_protocol_options \
                   common_lb_config least_request_lb_config round_robin_lb_config load_balancing_policy \
                   upstream_connection_options upstream_bind_config common_http_protocol_options \
                   http_protocol_options upstream_http_protocol_options max_requests_per_connection",
        values: &[
            ("type", "STATIC EDS"),
            ("lb_policy", "ROUND_ROBIN LEAST_REQUEST RANDOM LOAD_BALANCING_POLICY_CONFIG"),
            ("protocol_selection", "USE_CONFIGURED_PROTOCOL"),
        ],
        idle: &[
            ("metadata", "nothing matches, balances or logs by it; dumps show it"),
            (
                "dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_lookup_family dns_resolvers \
                 use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config dns_jitter",
                "no DNS clusters: names are not resolved",
            ),
            ("cleanup_interval", "endpoints go when they are no longer listed"),
            ("wait_for_warm_on_init", "nothing waits for health checks"),
            ("close_connections_on_host_health_failure ignore_health_on_host_removal", "there are no health checks"),
        ],
        off: &[
            ("track_timeout_budgets track_cluster_stats", LATER),
            ("connection_pool_per_downstream_connection", LATER),
            ("preconnect_policy", LATER),
        ],
        refused: &[
            ("cluster_type", "use type STATIC or EDS"),
            ("health_checks", "active health checks come later"),
            ("outlier_detection", "outlier detection comes later"),
            ("http2_protocol_options", "HTTP/2 to endpoints comes later"),
            ("lb_subset_config", "subsets of endpoints come later"),
            ("ring_hash_lb_config maglev_lb_config original_dst_lb_config", "the policy comes later"),
            ("filters upstream_config", "no such extension is supported"),
            ("lrs_server lrs_report_endpoint_metrics", LATER),
            ("transport_socket_matches transport_socket_matcher", "use transport_socket"),
            ("per_connection_buffer_high_watermark_timeout", LATER),
            ("stats_matcher", LATER),
            ("queuing_policies", LATER),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.Cluster.EdsClusterConfig",
        honoured: "eds_config service_name",
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.Cluster.CommonLbConfig",
        honoured: "healthy_panic_threshold zone_aware_lb_config",
        idle: &[
            ("update_merge_window", "updates of endpoints are cheap: each takes effect at once"),
            ("ignore_new_hosts_until_first_hc", "there are no health checks"),
            ("override_host_status", "there is no session affinity"),
        ],
        off: &[("close_connections_on_host_set_change", LATER)],
        refused: &[
            ("locality_weighted_lb_config", LATER),
            ("consistent_hashing_lb_config", "hash balancing comes later"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig",
        honoured: "fail_traffic_on_panic",
        idle: &[("routing_enabled min_cluster_size", NO_ZONES)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
        honoured: "choice_count active_request_bias",
        refused: &[("slow_start_config", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig",
        refused: &[("slow_start_config", LATER)],
        ..NOTHING
    },
    Section { message: "envoy.config.cluster.v3.LoadBalancingPolicy", honoured: "policies", ..NOTHING },
    Section {
        message: "envoy.config.cluster.v3.LoadBalancingPolicy.Policy",
        honoured: "typed_extension_config",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
        honoured: "locality_lb_config",
        refused: &[("slow_start_config", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        honoured: "choice_count active_request_bias enable_full_scan locality_lb_config",
        values: &[("selection_method", "N_CHOICES FULL_SCAN")],
        refused: &[("slow_start_config", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.load_balancing_policies.random.v3.Random",
        honoured: "locality_lb_config",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig",
        honoured: "zone_aware_lb_config",
        refused: &[("locality_weighted_lb_config", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig",
        honoured: "fail_traffic_on_panic",
        idle: &[
            ("routing_enabled min_cluster_size force_locality_direct_routing", NO_ZONES),
            ("force_local_zone locality_basis", NO_ZONES),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.CircuitBreakers",
        honoured: "thresholds per_host_thresholds",
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
        honoured: "priority max_connections max_pending_requests max_requests max_retries track_remaining retry_budget",
        idle: &[("max_connection_pools", "a pool nobody uses costs nothing")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget",
        honoured: "budget_percent min_retry_concurrency",
        refused: &[("budget_interval", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.cluster.v3.UpstreamConnectionOptions",
        honoured: "tcp_keepalive",
        idle: &[
            ("set_local_interface_name_on_upstream_connections", "told to Envoy's own filters only"),
            ("happy_eyeballs_config", "an endpoint has one address"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        honoured: "common_http_protocol_options upstream_http_protocol_options explicit_http_config",
        refused: &[
            ("use_downstream_protocol_config", "use explicit_http_config.http_protocol_options"),
            ("auto_config", "use explicit_http_config.http_protocol_options"),
            ("http_filters", LATER),
            ("header_validation_config", "headers are always validated"),
            ("outlier_detection", "outlier detection comes later"),
            ("request_mirror_policies", "mirroring comes later"),
            ("hash_policy", "hash balancing comes later"),
            ("retry_policy", "set it on the route or virtual host"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
        honoured: "http_protocol_options",
        refused: &[
            ("http2_protocol_options", "HTTP/2 to endpoints comes later"),
            ("http3_protocol_options", "HTTP/3 comes later"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment",
        honoured: "cluster_name endpoints policy",
        refused: &[("named_endpoints", "list the endpoints in their localities")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
        honoured: "drop_overloads overprovisioning_factor weighted_priority_health",
        idle: &[("endpoint_stale_after", "endpoints of a file do not expire")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload",
        honoured: "drop_percentage",
        idle: &[("category", "told in reports of load only, and nobody is sent any")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.endpoint.v3.LocalityLbEndpoints",
        honoured: "locality lb_endpoints priority",
        idle: &[
            ("metadata", "nothing matches, balances or logs by it; dumps show it"),
            (
                "load_balancing_weight",
                "as in Envoy, weights of localities count with locality_weighted_lb_config only, which is refused",
            ),
            ("proximity", "Envoy does not use it either"),
        ],
        refused: &[("load_balancer_endpoints", "use lb_endpoints"), ("leds_cluster_locality_config", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.endpoint.v3.LbEndpoint",
        honoured: "endpoint health_status load_balancing_weight",
        refused: &[("endpoint_name", "give the endpoint itself")],
        idle: &[("metadata", "nothing matches, balances or logs by it; dumps show it")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.endpoint.v3.Endpoint",
        honoured: "address hostname",
        idle: &[
            ("health_check_config", "there are no health checks"),
            ("observability_name", "metrics have the address"),
        ],
        refused: &[("additional_addresses", "an endpoint has one address")],
        ..NOTHING
    },
];
