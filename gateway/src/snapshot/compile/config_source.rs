//! Where a resource that another one names comes from, and how long to wait for it.

use std::path::PathBuf;
use std::time::Duration;

use weir_xds::{Kind, pb};

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
        Some(timeout) => duration(timeout, "initial_fetch_timeout", problems),
    };
    let watched_directory = directory.map(|directory| PathBuf::from(&directory.path));
    let reference = Reference { kind, name: name.to_owned(), path: path.into(), watched_directory };
    Some(Sourced { reference, timeout })
}

/// A span of time; `None` if it is 0, which Envoy takes for "off". One below a millisecond counts as a millisecond.
pub(super) fn duration(proto: &pb::Duration, field: &str, problems: &mut Problems) -> Option<Duration> {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(proto.seconds), u32::try_from(proto.nanos)) else {
        problems.push(field, "a span of time cannot be negative");
        return None;
    };
    let exact = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()));
    (!exact.is_zero()).then(|| exact.max(Duration::from_millis(1)))
}

/// The span of time of a field that may be absent.
pub(super) fn duration_or(
    proto: Option<&pb::Duration>,
    default: Option<Duration>,
    field: &str,
    problems: &mut Problems,
) -> Option<Duration> {
    proto.map_or(default, |proto| duration(proto, field, problems))
}
