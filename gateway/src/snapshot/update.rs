//! What sources hand to the Publisher, and what it answers.

use std::path::PathBuf;
use std::sync::Arc;

use weir_xds::{Kind, Problem, Resource};

use super::asides::Aside;

/// The source of what stands in the bootstrap itself.
pub const STATIC: &str = "static";

/// All that one source has of one kind. What it had before and does not list now is gone:
/// listeners and clusters at once; routes, assignments and secrets (which control planes leave out when they mean no
/// change, so Envoy keeps them) when nothing names them any more.
#[derive(Clone, Debug)]
pub struct Update {
    /// Who says so: [`STATIC`], or the path of a file. Two sources never have the same resource; the first keeps it.
    pub source: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// All of it.
    pub resources: Vec<Resource>,
}

/// A resource that was refused; its last good version, if there was one, stays.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Who sent it.
    pub source: Arc<str>,
    /// What is wrong, with paths from the top of the source's document.
    pub problems: Vec<Problem>,
    /// An older version of it is still in force.
    pub kept: bool,
}

/// What a publication did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Resources that are new or changed.
    pub accepted: usize,
    /// The names of resources that are as they were.
    pub unchanged: Vec<Arc<str>>,
    /// Resources that are gone.
    pub removed: usize,
    /// Resources that were refused.
    pub rejected: Vec<Rejected>,
    /// What was taken, and is most likely not meant.
    pub warnings: Vec<Warning>,
    /// What of the rejected has no entry of its own.
    pub(super) asides: Vec<Aside>,
}

/// Something that was taken, and is most likely not what its author means.
#[derive(Clone, Debug)]
pub struct Warning {
    /// Who sent it.
    pub source: Arc<str>,
    /// What, with its path from the top of the source's document.
    pub problem: Problem,
}

/// A resource that another one names and that comes from a file (`path_config_source`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The file it is in.
    pub path: PathBuf,
    /// The folder whose moves announce a change (`watched_directory`); by default the file's own folder.
    pub watched_directory: Option<PathBuf>,
}
