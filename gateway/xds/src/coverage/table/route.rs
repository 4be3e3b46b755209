//! Route configurations.

use super::super::{NOTHING, Section};
use super::{LABEL, LATER};

pub(super) const ROUTE: &[Section] = &[
    Section {
        message: "envoy.config.route.v3.RouteConfiguration",
        honoured: "name virtual_hosts internal_only_headers response_headers_to_add response_headers_to_remove \
                   request_headers_to_add request_headers_to_remove most_specific_header_mutations_wins \
                   validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching \
                   typed_per_filter_config ignore_path_parameters_in_path_matching",
        refused: &[
            ("vhds", LATER),
            ("cluster_specifier_plugins", "no such extension is supported"),
            ("request_mirror_policies", "mirroring comes later"),
            ("vhost_header", LATER),
            ("route_specifiers", "no such extension is supported"),
        ],
        idle: &[("metadata", "nothing matches, balances or logs by it; dumps show it")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.VirtualHost",
        honoured: "name domains routes require_tls response_headers_to_add response_headers_to_remove \
                   request_headers_to_add request_headers_to_remove include_request_attempt_count \
                   include_attempt_count_in_response typed_per_filter_config retry_policy \
                   per_request_buffer_limit_bytes request_body_buffer_limit",
        off: &[("include_is_timeout_retry_header", LATER)],
        refused: &[
            ("virtual_clusters", LATER),
            ("rate_limits", "rate limits come later"),
            ("cors", "CORS comes later"),
            ("hedge_policy", LATER),
            ("retry_policy_typed_config", "use retry_policy"),
            ("matcher", "use routes"),
            ("request_mirror_policies", "mirroring comes later"),
            ("route_specifiers", "no such extension is supported"),
        ],
        idle: &[("metadata", "nothing matches, balances or logs by it; dumps show it")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.Route",
        honoured: "name match route redirect direct_response response_headers_to_add response_headers_to_remove \
                   request_headers_to_add request_headers_to_remove typed_per_filter_config \
                   per_request_buffer_limit_bytes request_body_buffer_limit",
        idle: &[
            ("metadata", "nothing matches, balances or logs by it; dumps show it"),
            ("decorator", "names spans; there is no tracing"),
            ("tracing", "there is no tracing"),
        ],
        refused: &[
            ("filter_action non_forwarding_action", "not of a gateway"),
            ("stat_prefix", "there are no metrics per route"),
            ("route_specifiers", "no such extension is supported"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RouteMatch",
        honoured: "prefix path path_separated_prefix safe_regex case_sensitive headers query_parameters grpc \
                   runtime_fraction tls_context",
        refused: &[
            ("connect_matcher", "CONNECT comes later"),
            ("dynamic_metadata filter_state", LATER),
            ("path_match_policy", "no such extension is supported"),
            ("cookies", "match the cookie header"),
        ],
        ..NOTHING
    },
    Section { message: "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions", ..NOTHING },
    Section {
        message: "envoy.config.route.v3.RouteMatch.TlsContextMatchOptions",
        honoured: "presented validated",
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.HeaderMatcher",
        honoured: "name exact_match range_match present_match invert_match prefix_match suffix_match \
                   safe_regex_match contains_match string_match treat_missing_header_as_empty",
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.QueryParameterMatcher",
        honoured: "name string_match present_match",
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RouteAction",
        honoured: "cluster weighted_clusters cluster_not_found_response_code timeout idle_timeout \
                   prefix_rewrite regex_rewrite host_rewrite_literal auto_host_rewrite host_rewrite_header \
                   host_rewrite_path_regex append_x_forwarded_host retry_policy priority max_stream_duration",
        off: &[("include_vh_rate_limits", "rate limits come later")],
        idle: &[("early_data_policy", "there is no early data")],
        values: &[("internal_redirect_action", "PASS_THROUGH_INTERNAL_REDIRECT")],
        refused: &[
            ("metadata_match", "subsets of endpoints come later"),
            ("rate_limits", "rate limits come later"),
            ("cluster_header", LATER),
            ("max_grpc_timeout grpc_timeout_offset", "grpc-timeout is not read"),
            ("hash_policy", "hash balancing comes later"),
            ("cors", "CORS comes later"),
            ("upgrade_configs", "upgrades and CONNECT come later"),
            ("hedge_policy", LATER),
            ("request_mirror_policies", "mirroring comes later"),
            ("max_internal_redirects internal_redirect_policy", "internal redirects come later"),
            ("retry_policy_typed_config", "use retry_policy"),
            ("cluster_specifier_plugin inline_cluster_specifier_plugin", "no such extension is supported"),
            ("path_rewrite_policy", "use prefix_rewrite or regex_rewrite"),
            ("flush_timeout", "it is as long as idle_timeout"),
            ("host_rewrite", LATER),
            ("path_rewrite", LATER),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RouteAction.MaxStreamDuration",
        honoured: "max_stream_duration",
        refused: &[("grpc_timeout_header_max grpc_timeout_header_offset", "grpc-timeout is not read")],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.WeightedCluster",
        honoured: "clusters",
        idle: &[
            ("runtime_key_prefix", "there is no runtime: the weights hold"),
            ("total_weight", "as in Envoy, the sum of the weights holds"),
        ],
        off: &[("use_hash_policy", "hash balancing comes later")],
        refused: &[("header_name", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.WeightedCluster.ClusterWeight",
        honoured: "name weight response_headers_to_add response_headers_to_remove request_headers_to_add \
                   request_headers_to_remove typed_per_filter_config host_rewrite_literal",
        refused: &[("metadata_match", "subsets of endpoints come later"), ("cluster_header", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RetryPolicy",
        honoured: "retry_on num_retries per_try_timeout per_try_idle_timeout retriable_status_codes retry_back_off \
                   retriable_headers retriable_request_headers retry_host_predicate retry_priority \
                   host_selection_retry_max_attempts",
        off: &[("refresh_cluster_on_retry", LATER)],
        refused: &[
            ("rate_limited_retry_back_off", LATER),
            ("retry_options_predicates", "no such extension is supported"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RetryPolicy.RetryBackOff",
        honoured: "base_interval max_interval",
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
        honoured: "name typed_config",
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RetryPolicy.RetryPriority",
        honoured: "typed_config",
        idle: &[("name", LABEL)],
        ..NOTHING
    },
    Section { message: "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", ..NOTHING },
    Section {
        message: "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        honoured: "update_frequency",
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.RedirectAction",
        honoured: "host_redirect path_redirect response_code https_redirect prefix_rewrite strip_query \
                   scheme_redirect port_redirect regex_rewrite",
        refused: &[("path_rewrite", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.config.route.v3.DirectResponseAction",
        honoured: "status body",
        refused: &[("body_format", LATER)],
        ..NOTHING
    },
];
