//! The closed enum of filters, and their chain for one stream.

use smallvec::SmallVec;

use super::per_route::{Entry, PerRoute, RouteConfig};
use super::{FilterConfig, HttpFilters, NamedFilter};
use crate::filter::buffer::BufferFilter;
use crate::filter::header_mutation::HeaderMutationFilter;
use crate::filter::{CallId, Chain, DataAction, FilterId, HeadersAction, HttpFilter, Stream, TrailersAction, Wants};
use crate::http::ResponseHead;
use crate::plugin::{WasmFilter, WorkerPlugins};
use crate::upstream::CallResult;

/// Any filter on one stream.
#[allow(missing_docs, reason = "named as what they hold")]
pub enum FilterInstance {
    Buffer(BufferFilter),
    HeaderMutation(HeaderMutationFilter),
    Wasm(WasmFilter),
    #[cfg(test)]
    Scripted(Box<dyn HttpFilter>),
}

/// What the filters of one worker share.
pub struct WorkerFilters {
    /// The worker's number in metrics: 1 for the first one.
    pub index: usize,
    /// Instances of Wasm plugins.
    pub plugins: WorkerPlugins,
    /// What tests put behind all other filters.
    #[cfg(test)]
    pub(crate) scripts: crate::filter::testing::Scripts,
}

impl WorkerFilters {
    /// For the worker of that number.
    pub fn new(index: usize) -> Self {
        Self {
            index,
            plugins: WorkerPlugins::new(index),
            #[cfg(test)]
            scripts: Default::default(),
        }
    }

    /// Drops what no snapshot has any more. To be called when a new one has come.
    pub fn sweep(&self) {
        self.plugins.sweep();
    }
}

impl HttpFilters {
    /// The chain for a new stream. `said` is what its route says about filters, the most specific level first: weighted
    /// cluster, route, virtual host, route configuration.
    pub fn instantiate(
        &self,
        worker: &WorkerFilters,
        stream: &Stream,
        said: [Option<&PerRoute>; 4],
    ) -> Chain<FilterInstance> {
        let levels: SmallVec<[&PerRoute; 4]> = said.into_iter().flatten().filter(|level| !level.is_empty()).collect();
        let mut instances: SmallVec<[FilterInstance; 2]> = SmallVec::new();
        for filter in &self.filters {
            let entries: SmallVec<[&Entry; 4]> = levels.iter().filter_map(|level| level.of(&filter.name)).collect();
            // The most specific level that says anything decides.
            if entries.first().map_or(filter.disabled, |entry| entry.disabled) {
                continue;
            }
            let id = FilterId(instances.len());
            instances.extend(filter.instance(id, worker, &entries));
        }
        #[cfg(test)]
        for filter in worker.scripts.http(instances.len()) {
            instances.push(FilterInstance::Scripted(filter));
        }
        Chain::new(stream.clone(), instances)
    }
}

impl NamedFilter {
    fn instance(&self, id: FilterId, worker: &WorkerFilters, entries: &[&Entry]) -> Option<FilterInstance> {
        let mut configs = entries.iter().filter_map(|entry| entry.config.as_ref());
        let instance = match &self.config {
            FilterConfig::Buffer(max) => match configs.next() {
                Some(RouteConfig::BufferOff) => return None,
                Some(RouteConfig::Buffer(max)) => FilterInstance::Buffer(BufferFilter::new(*max)),
                _ => FilterInstance::Buffer(BufferFilter::new(*max)),
            },
            FilterConfig::HeaderMutation { mutations, most_specific_last } => {
                let mut levels: SmallVec<[_; 4]> = configs
                    .filter_map(|config| match config {
                        RouteConfig::HeaderMutation(mutations) => Some(mutations.clone()),
                        _ => None,
                    })
                    .collect();
                if *most_specific_last {
                    levels.reverse();
                }
                let all = std::iter::once(mutations.clone()).chain(levels);
                FilterInstance::HeaderMutation(HeaderMutationFilter::new(all))
            }
            FilterConfig::Wasm(plugin) => FilterInstance::Wasm(worker.plugins.filter(plugin, id)),
        };
        Some(instance)
    }
}

macro_rules! each {
    ($self:expr, $filter:ident => $call:expr) => {
        match $self {
            FilterInstance::Buffer($filter) => $call,
            FilterInstance::HeaderMutation($filter) => $call,
            FilterInstance::Wasm($filter) => $call,
            #[cfg(test)]
            FilterInstance::Scripted($filter) => $call,
        }
    };
}

impl HttpFilter for FilterInstance {
    fn wants(&self) -> Wants {
        each!(self, filter => filter.wants())
    }

    fn on_request_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction {
        each!(self, filter => filter.on_request_headers(stream, end))
    }

    fn on_request_body(&mut self, stream: &Stream, end: bool) -> DataAction {
        each!(self, filter => filter.on_request_body(stream, end))
    }

    fn on_request_trailers(&mut self, stream: &Stream) -> TrailersAction {
        each!(self, filter => filter.on_request_trailers(stream))
    }

    fn on_informational(&mut self, stream: &Stream, head: &mut ResponseHead) {
        each!(self, filter => filter.on_informational(stream, head));
    }

    fn on_response_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction {
        each!(self, filter => filter.on_response_headers(stream, end))
    }

    fn on_response_body(&mut self, stream: &Stream, end: bool) -> DataAction {
        each!(self, filter => filter.on_response_body(stream, end))
    }

    fn on_response_trailers(&mut self, stream: &Stream) -> TrailersAction {
        each!(self, filter => filter.on_response_trailers(stream))
    }

    fn on_call_done(&mut self, stream: &Stream, call: CallId, result: CallResult) {
        each!(self, filter => filter.on_call_done(stream, call, result));
    }

    fn on_timer(&mut self, stream: &Stream) {
        each!(self, filter => filter.on_timer(stream));
    }

    fn on_log(&mut self, stream: &Stream) {
        each!(self, filter => filter.on_log(stream));
    }

    fn on_destroy(&mut self, stream: &Stream) {
        each!(self, filter => filter.on_destroy(stream));
    }
}
