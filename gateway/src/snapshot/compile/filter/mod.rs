//! Compiles HTTP filters, and what routes say about them.

mod buffer;
mod header_mutation;
mod instance;
mod per_route;
#[cfg(test)]
mod tests;
mod wasm;

use std::sync::Arc;

use weir_xds::pb;
use weir_xds::pb::hcm::http_filter::ConfigType;

use crate::filter::header_mutation::HeaderMutations;
use crate::plugin::{Plugin, Plugins};
use crate::snapshot::Problems;

pub use instance::{FilterInstance, WorkerFilters};
pub use per_route::{PerRoute, compile_per_route};

/// The filters of a connection manager in configuration order, without the router.
#[derive(Debug)]
pub struct HttpFilters {
    filters: Box<[NamedFilter]>,
    /// The name of the router.
    router: Box<str>,
    left_out: Box<[LeftOut]>,
}

/// A filter that is not supported, and may be missing: `is_optional`, or `disabled`.
#[derive(Debug)]
pub struct LeftOut {
    /// Its place in `http_filters`.
    pub at: usize,
    /// `name`
    pub name: Box<str>,
    /// What it is.
    pub type_name: Box<str>,
    /// It would only run where a route says so.
    pub disabled: bool,
}

/// A filter under the name by which routes speak of it.
#[derive(Debug)]
pub struct NamedFilter {
    /// `name`
    pub name: Arc<str>,
    /// What it does.
    pub config: FilterConfig,
    /// It only runs where a route says so.
    pub disabled: bool,
}

/// All filters there are.
#[derive(Debug)]
pub enum FilterConfig {
    /// `envoy.filters.http.buffer`: most bytes of a request's body.
    Buffer(u32),
    /// `envoy.filters.http.header_mutation`
    HeaderMutation {
        /// What it does for every request.
        mutations: Arc<HeaderMutations>,
        /// Levels of routes apply from the least specific on (`most_specific_header_mutations_wins`).
        most_specific_last: bool,
    },
    /// `envoy.filters.http.wasm`
    Wasm(Arc<Plugin>),
}

impl HttpFilters {
    /// The filters.
    pub fn iter(&self) -> impl Iterator<Item = &NamedFilter> {
        self.filters.iter()
    }

    /// Whether there is a filter of that name, or at least none to miss if a route `disables` it.
    pub fn knows(&self, name: &str, disables: bool) -> bool {
        *self.router == *name
            || self.filters.iter().any(|filter| *filter.name == *name)
            || self.left_out.iter().any(|left_out| *left_out.name == *name && (disables || !left_out.disabled))
    }

    /// Those that would run and do not.
    pub fn missing(&self) -> impl Iterator<Item = &LeftOut> {
        self.left_out.iter().filter(|left_out| !left_out.disabled)
    }

    /// The plugins among them.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.filters.iter().filter_map(|filter| match &filter.config {
            FilterConfig::Wasm(plugin) => Some(plugin),
            _ => None,
        })
    }
}

/// Compiles `http_filters` of a connection manager; paths of problems begin with `http_filters`. Loading of plugins
/// takes long: never call it on a worker.
pub fn compile_http_filters(
    protos: &[pb::hcm::HttpFilter],
    plugins: &Plugins,
    problems: &mut Problems,
) -> Option<HttpFilters> {
    let before = problems.len();
    let mut filters: Vec<NamedFilter> = Vec::with_capacity(protos.len());
    let mut names: Vec<&str> = Vec::with_capacity(protos.len());
    let mut left_out = Vec::new();
    let mut router = None;
    for (at, proto) in protos.iter().enumerate() {
        let path = format!("http_filters[{at}]");
        if names.contains(&proto.name.as_str()) {
            problems.push(format!("{path}.name"), format!("a filter named {:?} stands before it already", proto.name));
        }
        names.push(&proto.name);
        let mut inner = Problems::new();
        match compile_one(proto, plugins, &mut inner) {
            Compiled::Filter(config) => {
                let (name, disabled) = (Arc::from(proto.name.as_str()), proto.disabled);
                filters.push(NamedFilter { name, config, disabled });
            }
            Compiled::Router => {
                if proto.disabled {
                    inner.push("disabled", "the router cannot be disabled: it ends every chain");
                }
                // Routes may speak of it, though there is nothing to say.
                router = Some(proto.name.as_str().into());
                if at + 1 != protos.len() {
                    inner.push("", "the router must be the last filter");
                }
            }
            Compiled::LeftOut(type_name) => {
                let name = proto.name.as_str().into();
                left_out.push(LeftOut { at, name, type_name, disabled: proto.disabled });
            }
            Compiled::Nothing => {}
        }
        problems.nest(&path, inner);
    }
    if router.is_none() && problems.len() == before {
        problems.push("http_filters", "the last filter must be envoy.filters.http.router");
    }
    let router = router?;
    (problems.len() == before).then(|| HttpFilters { filters: filters.into(), router, left_out: left_out.into() })
}

enum Compiled {
    Filter(FilterConfig),
    Router,
    /// Not supported, and `is_optional` or `disabled`; its type.
    LeftOut(Box<str>),
    /// A problem was pushed.
    Nothing,
}

fn compile_one(proto: &pb::hcm::HttpFilter, plugins: &Plugins, problems: &mut Problems) -> Compiled {
    let any = match &proto.config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => {
            problems.push("config_discovery", "filters from a discovery service are not supported: use typed_config");
            return Compiled::Nothing;
        }
        None => {
            problems.push("typed_config", "is missing: it says which filter this is");
            return Compiled::Nothing;
        }
    };
    let mut inner = Problems::new();
    let type_name = pb::type_name(any);
    let compiled = match type_name {
        ROUTER => Some(Compiled::Router),
        BUFFER => unpack(any, &mut inner).and_then(|p| buffer::compile(&p, &mut inner)).map(Compiled::Filter),
        HEADER_MUTATION => {
            unpack(any, &mut inner).and_then(|p| header_mutation::compile(&p, &mut inner)).map(Compiled::Filter)
        }
        WASM => unpack(any, &mut inner).and_then(|p| wasm::compile(&p, plugins, &mut inner)).map(Compiled::Filter),
        _ if proto.is_optional || proto.disabled => Some(Compiled::LeftOut(type_name.into())),
        _ => {
            inner.push("@type", format!("the filter {type_name} is not supported; supported are {SUPPORTED}"));
            None
        }
    };
    problems.nest("typed_config", inner);
    compiled.unwrap_or(Compiled::Nothing)
}

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const BUFFER: &str = "envoy.extensions.filters.http.buffer.v3.Buffer";
const HEADER_MUTATION: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const SUPPORTED: &str = "buffer, header_mutation, router and wasm";

fn unpack<T: prost::Message + prost::Name + Default>(any: &pb::Any, problems: &mut Problems) -> Option<T> {
    pb::unpack(any).map_err(|error| problems.push("", error.to_string())).ok()
}
