//! The questions, one file per subject.

mod actions;
mod client_certs;
mod clusters;
mod connection;
mod connection_log;
mod counters;
mod drained;
mod ends;
mod fields;
mod formats;
mod forwarded;
mod framing;
mod header_case;
mod http2;
mod key_exchange;
mod limits;
mod local_replies;
mod malformed;
mod matching;
mod names;
mod odd_requests;
mod options;
mod paths;
mod responses;
mod retries;
mod stats;
mod timeouts;
mod too_large;
mod wasm;

/// Whether questions that bring their own gateways are left out (`WEIR_COMPARE=skip`).
///
/// # Panics
/// When Envoy is missing.
fn skipped() -> bool {
    if std::env::var("WEIR_COMPARE").is_ok_and(|mode| mode == "skip") {
        return true;
    }
    let missing = "Envoy is missing: run `make envoy`; WEIR_COMPARE=skip leaves these tests out";
    assert!(weir_tests::envoy_binary().is_some(), "{missing}");
    false
}
