//! TLS contexts and secrets.

use super::super::{NOTHING, Section};
use super::LATER;

pub(super) const TLS: &[Section] = &[
    Section { message: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", ..NOTHING },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        honoured: "common_tls_context require_client_certificate require_sni session_timeout \
                   disable_stateless_session_resumption \
                   full_scan_certs_on_sni_mismatch session_ticket_keys session_ticket_keys_sds_secret_config prefer_client_ciphers",
        idle: &[("disable_stateful_session_resumption", "sessions are resumed by tickets only")],
        values: &[("ocsp_staple_policy", "LENIENT_STAPLING")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        honoured: "common_tls_context sni auto_sni_san_validation max_session_keys",
        off: &[("allow_renegotiation", "renegotiation is not safe")],
        idle: &[("enforce_rsa_key_usage", "key usage is always enforced")],
        refused: &[("auto_host_sni", "set sni, or auto_sni in the HTTP options of the cluster")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
        honoured: "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context \
                   validation_context_sds_secret_config combined_validation_context alpn_protocols",
        refused: &[
            ("custom_handshaker custom_tls_certificate_selector", "no such extension is supported"),
            ("key_log", LATER),
            (
                "tls_certificate_certificate_provider tls_certificate_certificate_provider_instance \
                 tls_certificate_provider_instance validation_context_certificate_provider \
                 validation_context_certificate_provider_instance",
                "give certificates by file or SDS",
            ),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
        honoured: "default_validation_context validation_context_sds_secret_config",
        refused: &[(
            "validation_context_certificate_provider validation_context_certificate_provider_instance",
            "give certificates by file or SDS",
        )],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
        honoured: "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves",
        refused: &[("signature_algorithms", "the library's own list holds"), ("compliance_policies", LATER)],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
        honoured: "certificate_chain private_key watched_directory ocsp_staple",
        refused: &[
            ("password", "give a key that is not encrypted"),
            ("signed_certificate_timestamp", LATER),
            ("private_key_provider", "no such extension is supported"),
            ("pkcs12", "give certificate_chain and private_key in PEM"),
            ("tls_params", "set them on the TLS context"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
        honoured: "trusted_ca verify_certificate_hash verify_certificate_spki crl match_subject_alt_names \
                   match_typed_subject_alt_names trust_chain_verification watched_directory system_root_certs \
                   only_verify_leaf_cert_crl max_verify_depth allow_expired_certificate suppress_client_ca_list",
        off: &[("require_signed_certificate_timestamp", LATER)],
        refused: &[
            ("custom_validator_config", "no such extension is supported"),
            ("ca_certificate_provider_instance", "give certificates by file or SDS"),
        ],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
        honoured: "san_type matcher",
        refused: &[("oid", "names of other types are not matched")],
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig",
        honoured: "name sds_config",
        ..NOTHING
    },
    Section {
        message: "envoy.extensions.transport_sockets.tls.v3.Secret",
        honoured: "name tls_certificate validation_context session_ticket_keys",
        refused: &[("generic_secret", "no filter of Weir's takes one")],
        ..NOTHING
    },
    Section { message: "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", honoured: "keys", ..NOTHING },
];
