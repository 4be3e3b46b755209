//! The process, and where its configuration comes from.

use crate::telemetry::metrics::scope::{Counter, Gauge, Histogram, Kind, Metric, Statuses, Table};

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
            UPDATE_FAILURE "update_failure";
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
            UPDATE_FAILURE "update_failure";
            UPDATE_REJECTED "update_rejected";
            UPDATE_SUCCESS "update_success";
            CONFIG_RELOAD "config_reload";
        }
        gauges {
            UPDATE_TIME "update_time";
            CONFIG_RELOAD_TIME_MS "config_reload_time_ms";
            VERSION "version";
        }
    }

    /// A route configuration from a source; its name is (stat_prefix, route configuration).
    Rds rds "http.{envoy_http_conn_manager_prefix}.rds.{envoy_rds_route_config}" {
        counters {
            UPDATE_ATTEMPT "update_attempt";
            UPDATE_EMPTY "update_empty";
            UPDATE_FAILURE "update_failure";
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
            UPDATE_FAILURE "update_failure";
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
}
