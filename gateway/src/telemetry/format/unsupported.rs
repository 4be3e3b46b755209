//! Operators that Envoy has and Weir has not, told from those that do not exist. docs/config.md lists them.

use super::FormatError;

/// Their names, by the reason.
const UNSUPPORTED: [(&str, &[&str]); 9] = [
    ("expressions are not supported", &["CEL", "TYPED_CEL"]),
    ("list the alternatives with REQ(NAME?ALTERNATIVE)", &["COALESCE"]),
    ("times are in UTC; use START_TIME or EMIT_TIME", &["START_TIME_LOCAL", "EMIT_TIME_LOCAL"]),
    ("this metadata is not kept", &["UPSTREAM_METADATA", "CLUSTER_METADATA"]),
    ("there is no filter state of upstream connections", &["UPSTREAM_FILTER_STATE"]),
    ("fingerprints of clients are not taken", &["TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT"]),
    ("name the parameter with QUERY_PARAM(NAME)", &["QUERY_PARAMS"]),
    (
        "it is of QUIC and of internal listeners, which there are not",
        &[
            "BYTES_RETRANSMITTED",
            "PACKETS_RETRANSMITTED",
            "ROUNDTRIP_DURATION",
            "DOWNSTREAM_CX_RTT",
            "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
            "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
        ],
    ),
    (
        "nothing keeps this value",
        &[
            "DOWNSTREAM_DETECTED_CLOSE_TYPE",
            "DOWNSTREAM_LOCAL_CLOSE_REASON",
            "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
            "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
            "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
            "DOWNSTREAM_PEER_CHAIN_SERIALS",
            "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
            "DOWNSTREAM_PEER_ISSUER_SERIAL",
            "DOWNSTREAM_PEER_OTHERNAME_SAN",
            "DOWNSTREAM_TLS_SESSION_ID",
            "ROUTE_RESOLUTION_COUNT",
            "ROUTE_RESOLUTION_TIME_US",
            "STREAM_INFO_REQ",
            "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
            "UPSTREAM_CONNECTION_POOL_READY_DURATION",
            "UPSTREAM_DETECTED_CLOSE_TYPE",
            "UPSTREAM_HOST_NAMES_ATTEMPTED",
            "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
            "UPSTREAM_LOCAL_CLOSE_REASON",
            "UPSTREAM_SERVER_NAME",
            "UPSTREAM_TLS_SESSION_ID",
        ],
    ),
];

/// Why there is no such operator.
pub(super) fn unsupported(name: &str) -> FormatError {
    match UNSUPPORTED.iter().find(|(_, names)| names.contains(&name)) {
        Some((reason, _)) => FormatError::Unsupported(name.to_owned(), reason),
        None => FormatError::Unknown(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::telemetry::format::Format;

    #[test]
    fn each_is_refused_with_its_reason_and_documented() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let list =
            docs.split("\n\n").find(|part| part.starts_with("Operators of Envoy's formats that are refused")).unwrap();
        let mut documented: Vec<_> = list.split('`').skip(1).step_by(2).collect();
        let mut names: Vec<_> = UNSUPPORTED.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for name in &names {
            let refused = Format::parse(&format!("%{name}%")).unwrap_err();
            assert!(matches!(refused, FormatError::Unsupported(..)), "{name}: {refused}");
        }
        documented.sort_unstable();
        names.sort_unstable();
        assert_eq!(documented, names, "documented, in the table");
    }
}
