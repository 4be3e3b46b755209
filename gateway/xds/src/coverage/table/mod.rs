//! The table itself, one file per group of messages.

use super::{NOTHING, Section};

/// All sections, in the order of the documentation.
pub(super) fn sections() -> impl Iterator<Item = &'static Section> {
    const GROUPS: &[&[Section]] = &[&[Section { message: "google.protobuf.Empty", ..NOTHING }]];
    GROUPS.iter().copied().flatten()
}
