//! The table itself, one file per group of messages.

mod bootstrap;
mod cluster;
mod core;
mod filter;
mod listener;
mod route;
mod tls;

use super::Section;

/// No reason but that nobody has built it yet.
const LATER: &str = "";

/// Names of extensions that only people read.
const LABEL: &str = "a label: the type of typed_config says what it is";

/// All sections, in the order of the documentation.
pub(super) fn sections() -> impl Iterator<Item = &'static Section> {
    const GROUPS: &[&[Section]] = &[
        bootstrap::BOOTSTRAP,
        listener::LISTENER,
        listener::CONNECTION_MANAGER,
        listener::ACCESS_LOG,
        filter::FILTERS,
        route::ROUTE,
        cluster::CLUSTER,
        tls::TLS,
        core::CORE,
        core::MATCHERS,
    ];
    GROUPS.iter().copied().flatten()
}
