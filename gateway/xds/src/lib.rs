//! Envoy's v3 API: its messages, their YAML and JSON form, and which fields the gateway honours.
//!
//! `pb` has the prost types. Everything else works on the wire form of a resource and on static tables of the schema
//! (`build.rs`), because prost types know neither field names nor `validate.rules`, and drop what they do not know.

pub mod pb;
mod problem;
mod resource;
mod schema;
mod wire;

pub use problem::Problem;
pub use resource::{Kind, Resource, content_hash};
