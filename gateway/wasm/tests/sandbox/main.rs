//! The sandbox from outside: guests written as text, most of them hostile, and a host that writes down what it is asked.

#![allow(clippy::unwrap_used, missing_docs)]

mod allocator;
mod buffers;
mod deadlines;
mod headers;
mod hostile;
mod limits;
mod loading;
mod recorder;
mod streams;
mod support;
mod wasi;
