//! What endpoints do: clusters.

use crate::telemetry::metrics::scope::{Counter, Gauge, Histogram, Kind, Metric, Statuses, Table};

kinds! {
    /// A cluster, by its alt_stat_name or name.
    Cluster cluster "cluster.{envoy_cluster_name}" {
        counters {
            BIND_ERRORS "bind_errors";
            LB_HEALTHY_PANIC "lb_healthy_panic";
            MEMBERSHIP_CHANGE "membership_change";
            UPDATE_ATTEMPT "update_attempt";
            UPDATE_EMPTY "update_empty";
            UPDATE_FAILURE "update_failure";
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
            UPSTREAM_FLOW_CONTROL_BACKED_UP_TOTAL "upstream_flow_control_backed_up_total";
            UPSTREAM_FLOW_CONTROL_DRAINED_TOTAL "upstream_flow_control_drained_total";
            UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL "upstream_flow_control_paused_reading_total";
            UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL "upstream_flow_control_resumed_reading_total";
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
            UPSTREAM_RQ_PER_CX "upstream_rq_per_cx";
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
            CURVES_P_256 "curves.P-256": on_use;
            CURVES_P_384 "curves.P-384": on_use;
            CURVES_X25519 "curves.X25519": on_use;
            CURVES_X25519MLKEM768 "curves.X25519MLKEM768": on_use;
            SIGALGS_ECDSA_SECP256R1_SHA256 "sigalgs.ecdsa_secp256r1_sha256": on_use;
            SIGALGS_ECDSA_SECP384R1_SHA384 "sigalgs.ecdsa_secp384r1_sha384": on_use;
            SIGALGS_ECDSA_SECP521R1_SHA512 "sigalgs.ecdsa_secp521r1_sha512": on_use;
            SIGALGS_ED25519 "sigalgs.ed25519": on_use;
            SIGALGS_RSA_PKCS1_SHA256 "sigalgs.rsa_pkcs1_sha256": on_use;
            SIGALGS_RSA_PKCS1_SHA384 "sigalgs.rsa_pkcs1_sha384": on_use;
            SIGALGS_RSA_PKCS1_SHA512 "sigalgs.rsa_pkcs1_sha512": on_use;
            SIGALGS_RSA_PSS_RSAE_SHA256 "sigalgs.rsa_pss_rsae_sha256": on_use;
            SIGALGS_RSA_PSS_RSAE_SHA384 "sigalgs.rsa_pss_rsae_sha384": on_use;
            SIGALGS_RSA_PSS_RSAE_SHA512 "sigalgs.rsa_pss_rsae_sha512": on_use;
        }
    }
    /// A certificate of a cluster, or an authority; its name is (cluster, secret).
    ClusterCertificate cluster_certificate "cluster.{envoy_cluster_name}.ssl.certificate.{envoy_tls_certificate}" {
        gauges {
            EXPIRATION_UNIX_TIME_SECONDS "expiration_unix_time_seconds";
        }
    }
}
