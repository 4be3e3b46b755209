//! What clients do: listeners and connection managers.

use crate::telemetry::metrics::scope::{Counter, Gauge, Histogram, Kind, Metric, Statuses, Table};

kinds! {
    /// A connection limit, by its stat_prefix.
    ConnectionLimit connection_limit "connection_limit.{envoy_connection_limit_prefix}" {
        counters {
            LIMITED_CONNECTIONS "limited_connections";
        }
        gauges {
            ACTIVE_CONNECTIONS "active_connections";
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
            DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL "downstream_flow_control_paused_reading_total";
            DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL "downstream_flow_control_resumed_reading_total";
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
            DOWNSTREAM_RQ_NON_RELATIVE_PATH "downstream_rq_non_relative_path";
            DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH "downstream_rq_redirected_with_normalized_path";
            DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE "downstream_rq_response_before_rq_complete";
            DOWNSTREAM_RQ_RX_RESET "downstream_rq_rx_reset";
            DOWNSTREAM_RQ_TIMEOUT "downstream_rq_timeout";
            DOWNSTREAM_RQ_TOO_LARGE "downstream_rq_too_large";
            DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS "downstream_rq_too_many_premature_resets";
            DOWNSTREAM_RQ_TOTAL "downstream_rq_total";
            DOWNSTREAM_RQ_TX_RESET "downstream_rq_tx_reset";
            DOWNSTREAM_RQ_WS_ON_NON_WS_ROUTE "downstream_rq_ws_on_non_ws_route";
            NO_CLUSTER "no_cluster";
            NO_ROUTE "no_route";
            RQ_DIRECT_RESPONSE "rq_direct_response";
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

    /// What clients' HTTP/1 is refused or loses, whatever the listener.
    Http1 http1 "http1" {
        counters {
            DROPPED_HEADERS_WITH_UNDERSCORES "dropped_headers_with_underscores";
            REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS "requests_rejected_with_underscores_in_headers";
        }
    }

    /// The same of HTTP/2.
    Http2 http2 "http2" {
        counters {
            DROPPED_HEADERS_WITH_UNDERSCORES "dropped_headers_with_underscores";
            REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS "requests_rejected_with_underscores_in_headers";
            TX_FLUSH_TIMEOUT "tx_flush_timeout";
        }
    }

    /// A listener, by its address with `_` for `:` (or its stat_prefix).
    Listener listener "listener.{envoy_listener_address}" {
        counters {
            DOWNSTREAM_CX_DESTROY "downstream_cx_destroy";
            DOWNSTREAM_CX_OVERFLOW "downstream_cx_overflow";
            DOWNSTREAM_CX_TOTAL "downstream_cx_total": per_worker;
            DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT "downstream_cx_transport_socket_connect_timeout";
            DOWNSTREAM_GLOBAL_CX_OVERFLOW "downstream_global_cx_overflow";
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
            FAIL_VERIFY_CERT_HASH "fail_verify_cert_hash";
            FAIL_VERIFY_ERROR "fail_verify_error";
            FAIL_VERIFY_NO_CERT "fail_verify_no_cert";
            FAIL_VERIFY_SAN "fail_verify_san";
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

    /// A certificate of a listener, or an authority; its name is (listener's address, secret).
    ListenerCertificate listener_certificate "listener.{envoy_listener_address}.ssl.certificate.{envoy_tls_certificate}" {
        gauges {
            EXPIRATION_UNIX_TIME_SECONDS "expiration_unix_time_seconds";
        }
    }

    /// The listener filter of that name.
    TlsInspector tls_inspector "tls_inspector" {
        counters {
            ALPN_FOUND "alpn_found";
            ALPN_NOT_FOUND "alpn_not_found";
            CLIENT_HELLO_TOO_LARGE "client_hello_too_large";
            CONNECTION_CLOSED "connection_closed";
            SNI_FOUND "sni_found";
            SNI_NOT_FOUND "sni_not_found";
            TLS_FOUND "tls_found";
            TLS_NOT_FOUND "tls_not_found";
        }
        histograms {
            BYTES_PROCESSED "bytes_processed";
        }
    }
}
