//! Where a resource that another one names comes from, and how long to wait for it.

use std::path::PathBuf;
use std::time::Duration;

use weir_xds::{Kind, pb};

use super::span::limit;
use crate::snapshot::{Problems, Reference};
use pb::core::config_source::ConfigSourceSpecifier;

/// How long is waited for a resource unless `initial_fetch_timeout` says otherwise.
const INITIAL_FETCH: Duration = Duration::from_secs(15);

/// A resource from a source.
#[derive(Debug)]
pub(in crate::snapshot) struct Sourced {
    /// The file it is in.
    pub(in crate::snapshot) reference: Reference,
    /// How long to wait for it; `None`: for ever.
    pub(super) timeout: Option<Duration>,
}

/// The resource of that kind and name, if it is in a file.
pub(super) fn sourced(
    kind: Kind,
    name: &str,
    source: Option<&pb::core::ConfigSource>,
    problems: &mut Problems,
) -> Option<Sourced> {
    let Some(source) = source else {
        problems.push("", "is required: use path_config_source");
        return None;
    };
    #[allow(deprecated, reason = "still read, as Envoy does")]
    let (path, directory) = match &source.config_source_specifier {
        Some(ConfigSourceSpecifier::Path(path)) => (path, None),
        Some(ConfigSourceSpecifier::PathConfigSource(source)) => (&source.path, source.watched_directory.as_ref()),
        _ => {
            problems.push("", "only path_config_source is supported: xDS over gRPC is not");
            return None;
        }
    };
    let timeout = match &source.initial_fetch_timeout {
        None => Some(INITIAL_FETCH),
        Some(timeout) => limit(timeout, "initial_fetch_timeout", problems),
    };
    let watched_directory = directory.map(|directory| PathBuf::from(&directory.path));
    let reference = Reference { kind, name: name.to_owned(), path: path.into(), watched_directory };
    Some(Sourced { reference, timeout })
}
