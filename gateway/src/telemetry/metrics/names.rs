//! Every metric of the gateway, by kind of scope.
//!
//! Names are Envoy's; what Envoy has no name for stands under `weir.` and `wasm.`. An id is used with a scope of its
//! kind: `scope.chunk(worker).inc(http::DOWNSTREAM_RQ_TOTAL)`. `on_use` hides a metric until it is used, `per_worker`
//! shows it for each worker as well.

use super::scope::{Counter, Gauge, Histogram, Kind, Metric, Statuses, Table};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $module:ident $pattern:literal {
        $(counters { $($counter:ident $counter_name:literal $(: $counter_flag:ident)?;)* })?
        $(gauges { $($gauge:ident $gauge_name:literal $(: $gauge_flag:ident)?;)* })?
        $(histograms { $($histogram:ident $histogram_name:literal $(: $histogram_flag:ident)?;)* })?
        $(statuses { $($statuses:ident $statuses_name:literal;)* })?
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $kind;

        impl Kind for $kind {
            const TABLE: &'static Table = &Table {
                pattern: $pattern,
                counters: &[$($(metric!($counter_name $($counter_flag)?),)*)?],
                gauges: &[$($(metric!($gauge_name $($gauge_flag)?),)*)?],
                histograms: &[$($(metric!($histogram_name $($histogram_flag)?),)*)?],
                statuses: &[$($($statuses_name,)*)?],
            };
        }

        #[doc = concat!("Ids of `", $pattern, ".*`.")]
        #[allow(unused_imports, reason = "not every kind has every sort of metric")]
        pub mod $module {
            use super::{Counter, Gauge, Histogram, Statuses, $kind};

            $(ids!(Counter CounterPosition $kind $($counter $counter_name)*);)?
            $(ids!(Gauge GaugePosition $kind $($gauge $gauge_name)*);)?
            $(ids!(Histogram HistogramPosition $kind $($histogram $histogram_name)*);)?
            $(ids!(Statuses StatusesPosition $kind $($statuses $statuses_name)*);)?
        }
    )*};
}

macro_rules! metric {
    ($name:literal) => {
        Metric { name: $name, on_use: false, per_worker: false }
    };
    ($name:literal on_use) => {
        Metric { name: $name, on_use: true, per_worker: false }
    };
    ($name:literal per_worker) => {
        Metric { name: $name, on_use: false, per_worker: true }
    };
}

/// Numbers the names of one sort in their order, which is the order of the table.
macro_rules! ids {
    ($sort:ident $position:ident $kind:ident $($id:ident $name:literal)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named as the ids they number")]
        enum $position { $($id),* }

        $(
            #[doc = concat!("`", $name, "`")]
            pub const $id: $sort<$kind> = $sort::at($position::$id as u16);
        )*
    };
}

kinds! {
    /// The process.
    Server server "server" {
        gauges {
            CONCURRENCY "concurrency";
            DAYS_UNTIL_FIRST_CERT_EXPIRING "days_until_first_cert_expiring";
            LIVE "live";
            MEMORY_ALLOCATED "memory_allocated";
            MEMORY_HEAP_SIZE "memory_heap_size";
            MEMORY_PHYSICAL_SIZE "memory_physical_size";
            STATE "state";
            TOTAL_CONNECTIONS "total_connections";
            UPTIME "uptime";
            VERSION "version";
        }
        histograms {
            INITIALIZATION_TIME_MS "initialization_time_ms";
        }
    }

    /// All listeners.
    ListenerManager listener_manager "listener_manager" {
        counters {
            LISTENER_ADDED "listener_added";
            LISTENER_CREATE_FAILURE "listener_create_failure";
            LISTENER_CREATE_SUCCESS "listener_create_success";
            LISTENER_MODIFIED "listener_modified";
            LISTENER_REMOVED "listener_removed";
            LISTENER_STOPPED "listener_stopped";
        }
        gauges {
            TOTAL_LISTENERS_ACTIVE "total_listeners_active";
            TOTAL_LISTENERS_WARMING "total_listeners_warming";
            WORKERS_STARTED "workers_started";
        }
    }

    /// The source of listeners.
    Lds lds "listener_manager.lds" {
        counters {
            UPDATE_ATTEMPT "update_attempt";
            UPDATE_REJECTED "update_rejected";
            UPDATE_SUCCESS "update_success";
        }
        gauges {
            UPDATE_TIME "update_time";
            VERSION "version";
        }
    }

    /// All clusters.
    ClusterManager cluster_manager "cluster_manager" {
        counters {
            CLUSTER_ADDED "cluster_added";
            CLUSTER_MODIFIED "cluster_modified";
            CLUSTER_REMOVED "cluster_removed";
        }
        gauges {
            ACTIVE_CLUSTERS "active_clusters";
        }
    }

    /// The source of clusters.
    Cds cds "cluster_manager.cds" {
        counters {
            UPDATE_ATTEMPT "update_attempt";
            UPDATE_REJECTED "update_rejected";
            UPDATE_SUCCESS "update_success";
        }
        gauges {
            UPDATE_TIME "update_time";
            VERSION "version";
        }
    }

    /// A route configuration from a source; its name is (stat_prefix, route configuration).
    Rds rds "http.{envoy_http_conn_manager_prefix}.rds.{envoy_rds_route_config}" {
        counters {
            UPDATE_ATTEMPT "update_attempt";
            UPDATE_REJECTED "update_rejected";
            UPDATE_SUCCESS "update_success";
            CONFIG_RELOAD "config_reload";
        }
        gauges {
            UPDATE_TIME "update_time";
            VERSION "version";
            CONFIG_RELOAD_TIME_MS "config_reload_time_ms";
        }
    }

    /// A secret from a source.
    Sds sds "sds.{envoy_sds_secret}" {
        counters {
            UPDATE_ATTEMPT "update_attempt";
            UPDATE_REJECTED "update_rejected";
            UPDATE_SUCCESS "update_success";
            KEY_ROTATION_FAILED "key_rotation_failed";
        }
        gauges {
            UPDATE_TIME "update_time";
            VERSION "version";
        }
    }

    /// Access log files.
    Filesystem filesystem "filesystem" {
        counters {
            FLUSHED_BY_TIMER "flushed_by_timer";
            REOPEN_FAILED "reopen_failed";
            WRITE_BUFFERED "write_buffered";
            WRITE_COMPLETED "write_completed";
            WRITE_FAILED "write_failed";
        }
        gauges {
            WRITE_TOTAL_BUFFERED "write_total_buffered";
        }
    }

    /// A connection manager, by its stat_prefix.
    Http http "http.{envoy_http_conn_manager_prefix}" {
        counters {
            DOWNSTREAM_CX_DELAYED_CLOSE_TIMEOUT "downstream_cx_delayed_close_timeout";
            DOWNSTREAM_CX_DESTROY "downstream_cx_destroy";
            DOWNSTREAM_CX_DESTROY_ACTIVE_RQ "downstream_cx_destroy_active_rq";
            DOWNSTREAM_CX_DESTROY_LOCAL "downstream_cx_destroy_local";
            DOWNSTREAM_CX_DESTROY_LOCAL_ACTIVE_RQ "downstream_cx_destroy_local_active_rq";
            DOWNSTREAM_CX_DESTROY_REMOTE "downstream_cx_destroy_remote";
            DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ "downstream_cx_destroy_remote_active_rq";
            DOWNSTREAM_CX_DRAIN_CLOSE "downstream_cx_drain_close";
            DOWNSTREAM_CX_HTTP1_TOTAL "downstream_cx_http1_total";
            DOWNSTREAM_CX_HTTP2_TOTAL "downstream_cx_http2_total";
            DOWNSTREAM_CX_IDLE_TIMEOUT "downstream_cx_idle_timeout";
            DOWNSTREAM_CX_MAX_DURATION_REACHED "downstream_cx_max_duration_reached";
            DOWNSTREAM_CX_MAX_REQUESTS_REACHED "downstream_cx_max_requests_reached";
            DOWNSTREAM_CX_PROTOCOL_ERROR "downstream_cx_protocol_error";
            DOWNSTREAM_CX_RX_BYTES_TOTAL "downstream_cx_rx_bytes_total";
            DOWNSTREAM_CX_SSL_TOTAL "downstream_cx_ssl_total";
            DOWNSTREAM_CX_TOTAL "downstream_cx_total";
            DOWNSTREAM_CX_TX_BYTES_TOTAL "downstream_cx_tx_bytes_total";
            DOWNSTREAM_RQ_1XX "downstream_rq_1xx";
            DOWNSTREAM_RQ_2XX "downstream_rq_2xx";
            DOWNSTREAM_RQ_3XX "downstream_rq_3xx";
            DOWNSTREAM_RQ_4XX "downstream_rq_4xx";
            DOWNSTREAM_RQ_5XX "downstream_rq_5xx";
            DOWNSTREAM_RQ_COMPLETED "downstream_rq_completed";
            DOWNSTREAM_RQ_FAILED_PATH_NORMALIZATION "downstream_rq_failed_path_normalization";
            DOWNSTREAM_RQ_HEADER_TIMEOUT "downstream_rq_header_timeout";
            DOWNSTREAM_RQ_HTTP1_TOTAL "downstream_rq_http1_total";
            DOWNSTREAM_RQ_HTTP2_TOTAL "downstream_rq_http2_total";
            DOWNSTREAM_RQ_IDLE_TIMEOUT "downstream_rq_idle_timeout";
            DOWNSTREAM_RQ_MAX_DURATION_REACHED "downstream_rq_max_duration_reached";
            DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH "downstream_rq_redirected_with_normalized_path";
            DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE "downstream_rq_response_before_rq_complete";
            DOWNSTREAM_RQ_RX_RESET "downstream_rq_rx_reset";
            DOWNSTREAM_RQ_TIMEOUT "downstream_rq_timeout";
            DOWNSTREAM_RQ_TOO_LARGE "downstream_rq_too_large";
            DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS "downstream_rq_too_many_premature_resets";
            DOWNSTREAM_RQ_TOTAL "downstream_rq_total";
            DOWNSTREAM_RQ_TX_RESET "downstream_rq_tx_reset";
            NO_CLUSTER "no_cluster";
            NO_ROUTE "no_route";
            RQ_DIRECT_RESPONSE "rq_direct_response";
            RQ_REDIRECT "rq_redirect";
            RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED "rq_reset_after_downstream_response_started";
            RQ_TOTAL "rq_total";
            RS_TOO_LARGE "rs_too_large";
        }
        gauges {
            DOWNSTREAM_CX_ACTIVE "downstream_cx_active";
            DOWNSTREAM_CX_HTTP1_ACTIVE "downstream_cx_http1_active";
            DOWNSTREAM_CX_HTTP2_ACTIVE "downstream_cx_http2_active";
            DOWNSTREAM_CX_SSL_ACTIVE "downstream_cx_ssl_active";
            DOWNSTREAM_RQ_ACTIVE "downstream_rq_active";
        }
        histograms {
            DOWNSTREAM_CX_LENGTH_MS "downstream_cx_length_ms";
            DOWNSTREAM_RQ_TIME "downstream_rq_time";
        }
    }

    /// A listener, by its address with `_` for `:` (or its stat_prefix).
    Listener listener "listener.{envoy_listener_address}" {
        counters {
            DOWNSTREAM_CX_DESTROY "downstream_cx_destroy";
            DOWNSTREAM_CX_TOTAL "downstream_cx_total": per_worker;
            DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT "downstream_cx_transport_socket_connect_timeout";
            DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE "downstream_listener_filter_remote_close";
            DOWNSTREAM_PRE_CX_TIMEOUT "downstream_pre_cx_timeout";
            NO_FILTER_CHAIN_MATCH "no_filter_chain_match";
        }
        gauges {
            DOWNSTREAM_CX_ACTIVE "downstream_cx_active": per_worker;
            DOWNSTREAM_PRE_CX_ACTIVE "downstream_pre_cx_active";
        }
        histograms {
            DOWNSTREAM_CX_LENGTH_MS "downstream_cx_length_ms";
        }
    }

    /// A connection manager on one listener; its name is (listener address, stat_prefix).
    ListenerHttp listener_http "listener.{envoy_listener_address}.http.{envoy_http_conn_manager_prefix}" {
        counters {
            DOWNSTREAM_RQ_1XX "downstream_rq_1xx";
            DOWNSTREAM_RQ_2XX "downstream_rq_2xx";
            DOWNSTREAM_RQ_3XX "downstream_rq_3xx";
            DOWNSTREAM_RQ_4XX "downstream_rq_4xx";
            DOWNSTREAM_RQ_5XX "downstream_rq_5xx";
            DOWNSTREAM_RQ_COMPLETED "downstream_rq_completed";
        }
    }

    /// TLS of a listener, by the listener's address.
    ListenerSsl listener_ssl "listener.{envoy_listener_address}.ssl" {
        counters {
            CONNECTION_ERROR "connection_error";
            FAIL_VERIFY_ERROR "fail_verify_error";
            FAIL_VERIFY_NO_CERT "fail_verify_no_cert";
            HANDSHAKE "handshake";
            NO_CERTIFICATE "no_certificate";
            SESSION_REUSED "session_reused";
            CIPHERS_TLS_AES_128_GCM_SHA256 "ciphers.TLS_AES_128_GCM_SHA256": on_use;
            CIPHERS_TLS_AES_256_GCM_SHA384 "ciphers.TLS_AES_256_GCM_SHA384": on_use;
            CIPHERS_TLS_CHACHA20_POLY1305_SHA256 "ciphers.TLS_CHACHA20_POLY1305_SHA256": on_use;
            CIPHERS_ECDHE_ECDSA_AES128_GCM_SHA256 "ciphers.ECDHE-ECDSA-AES128-GCM-SHA256": on_use;
            CIPHERS_ECDHE_ECDSA_AES256_GCM_SHA384 "ciphers.ECDHE-ECDSA-AES256-GCM-SHA384": on_use;
            CIPHERS_ECDHE_ECDSA_CHACHA20_POLY1305 "ciphers.ECDHE-ECDSA-CHACHA20-POLY1305": on_use;
            CIPHERS_ECDHE_RSA_AES128_GCM_SHA256 "ciphers.ECDHE-RSA-AES128-GCM-SHA256": on_use;
            CIPHERS_ECDHE_RSA_AES256_GCM_SHA384 "ciphers.ECDHE-RSA-AES256-GCM-SHA384": on_use;
            CIPHERS_ECDHE_RSA_CHACHA20_POLY1305 "ciphers.ECDHE-RSA-CHACHA20-POLY1305": on_use;
            VERSIONS_TLSV1_2 "versions.TLSv1.2": on_use;
            VERSIONS_TLSV1_3 "versions.TLSv1.3": on_use;
        }
    }

    /// The listener filter of that name.
    TlsInspector tls_inspector "tls_inspector" {
        counters {
            ALPN_FOUND "alpn_found";
            ALPN_NOT_FOUND "alpn_not_found";
            CONNECTION_CLOSED "connection_closed";
            SNI_FOUND "sni_found";
            SNI_NOT_FOUND "sni_not_found";
            TLS_FOUND "tls_found";
            TLS_NOT_FOUND "tls_not_found";
        }
    }

    /// A cluster, by its alt_stat_name or name.
    Cluster cluster "cluster.{envoy_cluster_name}" {
        counters {
            LB_HEALTHY_PANIC "lb_healthy_panic";
            MEMBERSHIP_CHANGE "membership_change";
            UPDATE_ATTEMPT "update_attempt";
            UPDATE_REJECTED "update_rejected": on_use;
            UPDATE_SUCCESS "update_success";
            UPSTREAM_CX_CLOSE_NOTIFY "upstream_cx_close_notify";
            UPSTREAM_CX_CONNECT_FAIL "upstream_cx_connect_fail";
            UPSTREAM_CX_CONNECT_TIMEOUT "upstream_cx_connect_timeout";
            UPSTREAM_CX_DESTROY "upstream_cx_destroy";
            UPSTREAM_CX_DESTROY_LOCAL "upstream_cx_destroy_local";
            UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ "upstream_cx_destroy_local_with_active_rq";
            UPSTREAM_CX_DESTROY_REMOTE "upstream_cx_destroy_remote";
            UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ "upstream_cx_destroy_remote_with_active_rq";
            UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ "upstream_cx_destroy_with_active_rq";
            UPSTREAM_CX_HTTP1_TOTAL "upstream_cx_http1_total";
            UPSTREAM_CX_IDLE_TIMEOUT "upstream_cx_idle_timeout";
            UPSTREAM_CX_MAX_DURATION_REACHED "upstream_cx_max_duration_reached";
            UPSTREAM_CX_MAX_REQUESTS "upstream_cx_max_requests";
            UPSTREAM_CX_NONE_HEALTHY "upstream_cx_none_healthy";
            UPSTREAM_CX_OVERFLOW "upstream_cx_overflow";
            UPSTREAM_CX_PROTOCOL_ERROR "upstream_cx_protocol_error";
            UPSTREAM_CX_RX_BYTES_TOTAL "upstream_cx_rx_bytes_total";
            UPSTREAM_CX_TOTAL "upstream_cx_total";
            UPSTREAM_CX_TX_BYTES_TOTAL "upstream_cx_tx_bytes_total";
            UPSTREAM_RQ_1XX "upstream_rq_1xx": on_use;
            UPSTREAM_RQ_2XX "upstream_rq_2xx": on_use;
            UPSTREAM_RQ_3XX "upstream_rq_3xx": on_use;
            UPSTREAM_RQ_4XX "upstream_rq_4xx": on_use;
            UPSTREAM_RQ_5XX "upstream_rq_5xx": on_use;
            EXTERNAL_UPSTREAM_RQ_1XX "external.upstream_rq_1xx": on_use;
            EXTERNAL_UPSTREAM_RQ_2XX "external.upstream_rq_2xx": on_use;
            EXTERNAL_UPSTREAM_RQ_3XX "external.upstream_rq_3xx": on_use;
            EXTERNAL_UPSTREAM_RQ_4XX "external.upstream_rq_4xx": on_use;
            EXTERNAL_UPSTREAM_RQ_5XX "external.upstream_rq_5xx": on_use;
            EXTERNAL_UPSTREAM_RQ_COMPLETED "external.upstream_rq_completed": on_use;
            INTERNAL_UPSTREAM_RQ_1XX "internal.upstream_rq_1xx": on_use;
            INTERNAL_UPSTREAM_RQ_2XX "internal.upstream_rq_2xx": on_use;
            INTERNAL_UPSTREAM_RQ_3XX "internal.upstream_rq_3xx": on_use;
            INTERNAL_UPSTREAM_RQ_4XX "internal.upstream_rq_4xx": on_use;
            INTERNAL_UPSTREAM_RQ_5XX "internal.upstream_rq_5xx": on_use;
            INTERNAL_UPSTREAM_RQ_COMPLETED "internal.upstream_rq_completed": on_use;
            RETRY_UPSTREAM_RQ_1XX "retry.upstream_rq_1xx": on_use;
            RETRY_UPSTREAM_RQ_2XX "retry.upstream_rq_2xx": on_use;
            RETRY_UPSTREAM_RQ_3XX "retry.upstream_rq_3xx": on_use;
            RETRY_UPSTREAM_RQ_4XX "retry.upstream_rq_4xx": on_use;
            RETRY_UPSTREAM_RQ_5XX "retry.upstream_rq_5xx": on_use;
            RETRY_UPSTREAM_RQ_COMPLETED "retry.upstream_rq_completed": on_use;
            RETRY_OR_SHADOW_ABANDONED "retry_or_shadow_abandoned";
            UPSTREAM_RQ_ACTIVE_OVERFLOW "upstream_rq_active_overflow";
            UPSTREAM_RQ_CANCELLED "upstream_rq_cancelled";
            UPSTREAM_RQ_COMPLETED "upstream_rq_completed";
            UPSTREAM_RQ_MAX_DURATION_REACHED "upstream_rq_max_duration_reached";
            UPSTREAM_RQ_PENDING_FAILURE_EJECT "upstream_rq_pending_failure_eject";
            UPSTREAM_RQ_PENDING_OVERFLOW "upstream_rq_pending_overflow";
            UPSTREAM_RQ_PENDING_TOTAL "upstream_rq_pending_total";
            UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT "upstream_rq_per_try_idle_timeout";
            UPSTREAM_RQ_PER_TRY_TIMEOUT "upstream_rq_per_try_timeout";
            UPSTREAM_RQ_RETRY "upstream_rq_retry";
            UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL "upstream_rq_retry_backoff_exponential";
            UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED "upstream_rq_retry_limit_exceeded";
            UPSTREAM_RQ_RETRY_OVERFLOW "upstream_rq_retry_overflow";
            UPSTREAM_RQ_RETRY_SUCCESS "upstream_rq_retry_success";
            UPSTREAM_RQ_TIMEOUT "upstream_rq_timeout";
            UPSTREAM_RQ_TOTAL "upstream_rq_total";
        }
        gauges {
            CIRCUIT_BREAKERS_DEFAULT_CX_OPEN "circuit_breakers.default.cx_open";
            CIRCUIT_BREAKERS_DEFAULT_RQ_OPEN "circuit_breakers.default.rq_open";
            CIRCUIT_BREAKERS_DEFAULT_RQ_PENDING_OPEN "circuit_breakers.default.rq_pending_open";
            CIRCUIT_BREAKERS_DEFAULT_RQ_RETRY_OPEN "circuit_breakers.default.rq_retry_open";
            CIRCUIT_BREAKERS_HIGH_CX_OPEN "circuit_breakers.high.cx_open";
            CIRCUIT_BREAKERS_HIGH_RQ_OPEN "circuit_breakers.high.rq_open";
            CIRCUIT_BREAKERS_HIGH_RQ_PENDING_OPEN "circuit_breakers.high.rq_pending_open";
            CIRCUIT_BREAKERS_HIGH_RQ_RETRY_OPEN "circuit_breakers.high.rq_retry_open";
            CIRCUIT_BREAKERS_DEFAULT_REMAINING_CX "circuit_breakers.default.remaining_cx": on_use;
            CIRCUIT_BREAKERS_DEFAULT_REMAINING_PENDING "circuit_breakers.default.remaining_pending": on_use;
            CIRCUIT_BREAKERS_DEFAULT_REMAINING_RQ "circuit_breakers.default.remaining_rq": on_use;
            CIRCUIT_BREAKERS_DEFAULT_REMAINING_RETRIES "circuit_breakers.default.remaining_retries": on_use;
            CIRCUIT_BREAKERS_HIGH_REMAINING_CX "circuit_breakers.high.remaining_cx": on_use;
            CIRCUIT_BREAKERS_HIGH_REMAINING_PENDING "circuit_breakers.high.remaining_pending": on_use;
            CIRCUIT_BREAKERS_HIGH_REMAINING_RQ "circuit_breakers.high.remaining_rq": on_use;
            CIRCUIT_BREAKERS_HIGH_REMAINING_RETRIES "circuit_breakers.high.remaining_retries": on_use;
            MAX_HOST_WEIGHT "max_host_weight";
            MEMBERSHIP_DEGRADED "membership_degraded";
            MEMBERSHIP_EXCLUDED "membership_excluded";
            MEMBERSHIP_HEALTHY "membership_healthy";
            MEMBERSHIP_TOTAL "membership_total";
            UPSTREAM_CX_ACTIVE "upstream_cx_active";
            UPSTREAM_RQ_ACTIVE "upstream_rq_active";
            UPSTREAM_RQ_PENDING_ACTIVE "upstream_rq_pending_active";
            VERSION "version";
        }
        histograms {
            UPSTREAM_CX_CONNECT_MS "upstream_cx_connect_ms";
            UPSTREAM_CX_LENGTH_MS "upstream_cx_length_ms";
            UPSTREAM_RQ_TIME "upstream_rq_time": on_use;
            EXTERNAL_UPSTREAM_RQ_TIME "external.upstream_rq_time": on_use;
            INTERNAL_UPSTREAM_RQ_TIME "internal.upstream_rq_time": on_use;
        }
        statuses {
            UPSTREAM_RQ "upstream_rq";
            EXTERNAL_UPSTREAM_RQ "external.upstream_rq";
            INTERNAL_UPSTREAM_RQ "internal.upstream_rq";
            RETRY_UPSTREAM_RQ "retry.upstream_rq";
        }
    }

    /// TLS towards the endpoints of a cluster.
    ClusterSsl cluster_ssl "cluster.{envoy_cluster_name}.ssl" {
        counters {
            CONNECTION_ERROR "connection_error";
            FAIL_VERIFY_CERT_HASH "fail_verify_cert_hash";
            FAIL_VERIFY_ERROR "fail_verify_error";
            FAIL_VERIFY_SAN "fail_verify_san";
            HANDSHAKE "handshake";
            SESSION_REUSED "session_reused";
            CIPHERS_TLS_AES_128_GCM_SHA256 "ciphers.TLS_AES_128_GCM_SHA256": on_use;
            CIPHERS_TLS_AES_256_GCM_SHA384 "ciphers.TLS_AES_256_GCM_SHA384": on_use;
            CIPHERS_TLS_CHACHA20_POLY1305_SHA256 "ciphers.TLS_CHACHA20_POLY1305_SHA256": on_use;
            CIPHERS_ECDHE_ECDSA_AES128_GCM_SHA256 "ciphers.ECDHE-ECDSA-AES128-GCM-SHA256": on_use;
            CIPHERS_ECDHE_ECDSA_AES256_GCM_SHA384 "ciphers.ECDHE-ECDSA-AES256-GCM-SHA384": on_use;
            CIPHERS_ECDHE_ECDSA_CHACHA20_POLY1305 "ciphers.ECDHE-ECDSA-CHACHA20-POLY1305": on_use;
            CIPHERS_ECDHE_RSA_AES128_GCM_SHA256 "ciphers.ECDHE-RSA-AES128-GCM-SHA256": on_use;
            CIPHERS_ECDHE_RSA_AES256_GCM_SHA384 "ciphers.ECDHE-RSA-AES256-GCM-SHA384": on_use;
            CIPHERS_ECDHE_RSA_CHACHA20_POLY1305 "ciphers.ECDHE-RSA-CHACHA20-POLY1305": on_use;
            VERSIONS_TLSV1_2 "versions.TLSv1.2": on_use;
            VERSIONS_TLSV1_3 "versions.TLSv1.3": on_use;
        }
    }

    /// A Wasm plugin, by its name.
    Wasm wasm "wasm.{weir_plugin}" {
        counters {
            INSTANCES_CREATED "instances_created";
            INSTANCES_FAILED "instances_failed";
            TRAPS "traps";
            DEADLINE_EXCEEDED "deadline_exceeded";
            MEMORY_LIMIT_REACHED "memory_limit_reached";
            CALLS_REFUSED "calls_refused";
            BREAKER_OPENED "breaker_opened";
            STREAMS_FAILED "streams_failed";
            STREAMS_PASSED "streams_passed";
            LOG_LINES_DROPPED "log_lines_dropped";
            BODY_LIMIT_EXCEEDED "body_limit_exceeded";
            FILTER_STATE_LIMIT_EXCEEDED "filter_state_limit_exceeded";
            LOCAL_REPLY_LIMIT_EXCEEDED "local_reply_limit_exceeded";
        }
        gauges {
            ACTIVE "active";
            BREAKER_OPEN "breaker_open";
        }
        histograms {
            CALLBACK_US "callback_us": on_use;
            START_US "start_us": on_use;
        }
    }

    /// What Envoy has no name for: limits of the gateway, each counted when it is reached.
    Weir weir "weir" {
        counters {
            ACCEPT_BACKOFF "accept_backoff";
            ACCEPT_ERRORS "accept_errors";
            ACCESS_LOG_DROPPED_BYTES "access_log_dropped_bytes";
            ACCESS_LOG_DROPPED_LINES "access_log_dropped_lines";
            ADMIN_CONNECTION_OVERFLOW "admin_connection_overflow";
            ADMIN_WRITE_TIMEOUT "admin_write_timeout";
            H2_RESET_BUDGET_EXCEEDED "h2_reset_budget_exceeded";
            HEADER_LIMIT_EXCEEDED "header_limit_exceeded";
            BODY_LIMIT_EXCEEDED "body_limit_exceeded";
            LOG_LINES_DROPPED "log_lines_dropped";
            SNAPSHOT_PUBLISHED "snapshot_published";
            RESOURCE_REJECTED "resource_rejected";
        }
        gauges {
            SNAPSHOT_VERSION "snapshot_version";
        }
        histograms {
            SNAPSHOT_COMPILE_MS "snapshot_compile_ms";
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;
    use std::path::Path;

    /// A name that nothing counts would show 0 for ever, and somebody would trust it.
    #[test]
    fn every_name_is_counted_somewhere() {
        let own = include_str!("names.rs");
        let (tables, _) = own.split_once("\n#[cfg(test)]").unwrap();
        let mut sources = String::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if !entry.ends_with("metrics/names.rs") {
                    sources.push_str(&std::fs::read_to_string(entry).unwrap());
                }
            }
        }
        let used: HashSet<&str> = sources.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        let declared = tables.lines().filter_map(|line| line.strip_prefix("            ")?.split_once(" \""));
        let declared =
            declared.filter(|(id, _)| id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
        // These are found by the name that rustls gives them.
        let declared = declared.filter(|(_, name)| !name.starts_with("ciphers.") && !name.starts_with("versions."));
        let unused: Vec<_> = declared.map(|(id, _)| id).filter(|id| !used.contains(id)).collect();
        assert!(unused.is_empty(), "nothing counts {unused:?}");
    }
}
