//! Spans of time in configurations.

use std::time::Duration;

use weir_xds::pb;

use crate::snapshot::Problems;

/// A span of time. One below a millisecond counts as a millisecond: only an explicit 0 means none.
pub(super) fn span(proto: &pb::Duration, field: &str, problems: &mut Problems) -> Duration {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(proto.seconds), u32::try_from(proto.nanos)) else {
        problems.push(field, "a span of time cannot be negative");
        return Duration::ZERO;
    };
    let exact = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()));
    if exact.is_zero() { exact } else { exact.max(Duration::from_millis(1)) }
}

/// A span of time; `None` if it is 0, which Envoy takes for "off".
pub(super) fn limit(proto: &pb::Duration, field: &str, problems: &mut Problems) -> Option<Duration> {
    Some(span(proto, field, problems)).filter(|span| !span.is_zero())
}

/// The limit of a field that may be absent.
pub(super) fn limit_or(
    proto: Option<&pb::Duration>,
    default: Option<Duration>,
    field: &str,
    problems: &mut Problems,
) -> Option<Duration> {
    proto.map_or(default, |proto| limit(proto, field, problems))
}
