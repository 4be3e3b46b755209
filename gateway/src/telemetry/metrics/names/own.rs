//! What Envoy has no name for.

use crate::telemetry::metrics::scope::{Counter, Gauge, Histogram, Kind, Metric, Statuses, Table};

kinds! {
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
            LOG_MESSAGES_CUT "log_messages_cut";
            TABLE_LIMIT_REACHED "table_limit_reached";
            FIELDS_LIMIT_EXCEEDED "fields_limit_exceeded";
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
            ADMIN_HEAD_TIMEOUT "admin_head_timeout";
            ADMIN_WRITE_TIMEOUT "admin_write_timeout";
            H2_KEPT_STREAMS_EXCEEDED "h2_kept_streams_exceeded";
            H2_CONTROL_FRAMES_EXCEEDED "h2_control_frames_exceeded";
            H2_RESET_BUDGET_EXCEEDED "h2_reset_budget_exceeded";
            HEADER_LIMIT_EXCEEDED "header_limit_exceeded";
            BODY_LIMIT_EXCEEDED "body_limit_exceeded";
            INTERIM_RESPONSES_DROPPED "interim_responses_dropped";
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
