//! Differential tests: the same bootstrap and the same raw bytes to Envoy and to Weir, with a recording upstream behind each.
//!
//! Compared are the answers (status, headers, body, trailers), what the upstream saw, whether the connection was kept, and the access
//! log with its response flags and details. Every allowed difference stands at its case with the reason.
//!
//! `make envoy` installs Envoy. `WEIR_COMPARE=envoy` compares Envoy with itself, which shows that a difference is none of the harness.
//! Without Envoy each test fails; scripts/test.sh leaves all of them out on a machine that cannot have it, and says so.
#![allow(clippy::unwrap_used)]

mod case;
mod cases;
mod known;
mod normal;
mod run;
mod setup;
