//! The questions, one file per subject.

mod actions;
mod clusters;
mod connection;
mod counters;
mod ends;
mod forwarded;
mod framing;
mod http2;
mod limits;
mod local_replies;
mod malformed;
mod matching;
mod options;
mod paths;
mod responses;
mod retries;
mod timeouts;
mod wasm;
