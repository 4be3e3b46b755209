//! Envoy's v3 API: its messages, their YAML and JSON form, and which fields the gateway honours.
//!
//! `pb` has the prost types. Everything else works on the wire form of a resource and on static tables of the schema
//! (`build.rs`), because prost types know neither field names nor `validate.rules`, and drop what they do not know.
//!
//! One way through: `read_bootstrap` or `read_discovery` turns a text into resources in their wire form, each with
//! what is wrong with it; `pb` decodes those that are right; `to_json` shows them again.

mod check;
mod coverage;
mod decode;
mod document;
mod files;
mod idle;
mod json;
mod lines;
mod mask;
pub mod pb;
pub mod places;
mod problem;
mod read;
pub mod resource;
mod schema;
mod tape;
mod time;
mod typed_struct;
mod wire;

pub use check::{Checked, check};
pub use coverage::{HonouredField, coverage_markdown, honoured_fields, self_check};
pub use decode::{Decoded, decode};
pub use document::{
    BOOTSTRAP, Bootstrap, Discovery, read_bootstrap, read_bootstrap_file, read_discovery, read_resource,
};
pub use files::{NamedFile, named_files};
pub use idle::Idle;
pub use json::{to_json, to_json_any};
pub use lines::Lines;
pub use mask::{MaskError, mask};
pub use places::place_of_source;
pub use problem::Problem;
pub use read::{MAX_FILE_BYTES, ReadError, read_file, read_stream};
pub use resource::{Kind, Resource, content_hash};
