//! `typed_per_filter_config`: what a route, a virtual host or a route configuration says about filters.

use std::collections::HashMap;
use std::sync::Arc;

use weir_xds::pb;

use super::{buffer, header_mutation, unpack};
use crate::filter::header_mutation::HeaderMutations;
use crate::snapshot::Problems;

/// What one level says, by name of the filter.
#[derive(Debug, Default)]
pub struct PerRoute {
    entries: Box<[Entry]>,
}

#[derive(Debug)]
pub(super) struct Entry {
    filter: Box<str>,
    /// `None`: runs as it is configured.
    pub(super) config: Option<RouteConfig>,
    pub(super) disabled: bool,
}

/// What a level changes about a filter.
#[derive(Debug)]
pub(super) enum RouteConfig {
    Buffer(u32),
    BufferOff,
    HeaderMutation(Arc<HeaderMutations>),
}

impl PerRoute {
    /// Whether this level says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The filters it speaks of, and whether it only disables them.
    pub fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.entries.iter().map(|entry| (&*entry.filter, entry.disabled))
    }

    pub(super) fn of(&self, filter: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| *entry.filter == *filter)
    }
}

/// Compiles `typed_per_filter_config` of one level; paths of problems begin with the key, such as
/// `["envoy.filters.http.buffer"].disabled`. Which filters there are is not known here: an entry for a filter that the
/// connection manager does not have is without effect, as in Envoy.
pub fn compile_per_route(protos: &HashMap<String, pb::Any>, problems: &mut Problems) -> Option<PerRoute> {
    let before = problems.len();
    let mut names: Vec<_> = protos.keys().collect();
    names.sort();
    let mut entries = Vec::with_capacity(protos.len());
    for name in names {
        let Some(any) = protos.get(name) else { continue };
        let mut inner = Problems::new();
        entries.extend(compile_entry(name, any, &mut inner));
        problems.nest(&format!("[{name:?}]"), inner);
    }
    (problems.len() == before).then(|| PerRoute { entries: entries.into() })
}

fn compile_entry(name: &str, any: &pb::Any, problems: &mut Problems) -> Option<Entry> {
    let entry = |config, disabled| Entry { filter: name.into(), config, disabled };
    if !pb::is::<pb::route::FilterConfig>(any) {
        return compile_config(any, false, problems).map(|config| entry(config, false));
    }
    let wrapper: pb::route::FilterConfig = unpack(any, problems)?;
    if wrapper.disabled {
        return Some(entry(None, true));
    }
    match &wrapper.config {
        // Enabled as it is configured.
        Some(config) if config.type_url.is_empty() => Some(entry(None, false)),
        Some(config) => {
            let mut inner = Problems::new();
            let compiled = compile_config(config, wrapper.is_optional, &mut inner);
            problems.nest("config", inner);
            compiled.map(|config| entry(config, false))
        }
        None => {
            problems.push("", "says nothing: one of disabled and config is required");
            None
        }
    }
}

/// `Some(None)`: not known, and optional.
fn compile_config(any: &pb::Any, optional: bool, problems: &mut Problems) -> Option<Option<RouteConfig>> {
    match pb::type_name(any) {
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute" => {
            buffer::compile_per_route(&unpack(any, problems)?, problems).map(Some)
        }
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute" => {
            header_mutation::compile_per_route(&unpack(any, problems)?, problems).map(Some)
        }
        "envoy.extensions.filters.http.wasm.v3.Wasm" => {
            problems.push(
                "@type",
                "a Wasm filter cannot be configured by a route, only disabled: use \
                 {\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}",
            );
            None
        }
        _ if optional => Some(None),
        name => {
            problems.push(
                "@type",
                format!(
                    "{name} is not supported; supported are BufferPerRoute, HeaderMutationPerRoute and FilterConfig"
                ),
            );
            None
        }
    }
}
