//! The calls into a guest, looked up once.

use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use crate::host::Host;
use crate::plugin::StartError;
use crate::state::State;

/// Which callbacks about streams a guest has; the others need not be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// `proxy_on_request_headers`
    pub request_headers: bool,
    /// `proxy_on_request_body`
    pub request_body: bool,
    /// `proxy_on_request_trailers`
    pub request_trailers: bool,
    /// `proxy_on_response_headers`
    pub response_headers: bool,
    /// `proxy_on_response_body`
    pub response_body: bool,
    /// `proxy_on_response_trailers`
    pub response_trailers: bool,
    /// `proxy_on_log`
    pub log: bool,
    /// `proxy_on_done`
    pub done: bool,
    /// `proxy_on_tick`
    pub tick: bool,
    /// `proxy_on_http_call_response`
    pub http_call_response: bool,
}

type Call1 = Option<TypedFunc<u32, ()>>;
type Call1To1 = Option<TypedFunc<u32, u32>>;
type Call2 = Option<TypedFunc<(u32, u32), ()>>;
type Call2To1 = Option<TypedFunc<(u32, u32), u32>>;
type Call3To1 = Option<TypedFunc<(u32, u32, u32), u32>>;
type Call5 = Option<TypedFunc<(u32, u32, u32, u32, u32), ()>>;

pub(crate) struct Callbacks {
    pub(crate) context_create: Call2,
    pub(crate) vm_start: Call2To1,
    pub(crate) configure: Call2To1,
    pub(crate) tick: Call1,
    pub(crate) request_headers: HeadersCall,
    pub(crate) request_body: Call3To1,
    pub(crate) request_trailers: Call2To1,
    pub(crate) response_headers: HeadersCall,
    pub(crate) response_body: Call3To1,
    pub(crate) response_trailers: Call2To1,
    pub(crate) http_call_response: Call5,
    pub(crate) done: Call1To1,
    pub(crate) log: Call1,
    pub(crate) delete: Call1,
}

/// Headers callbacks got `end_of_stream` with ABI 0.2.0; some modules have the form of another version than they declare.
pub(crate) enum HeadersCall {
    Missing,
    WithoutEnd(TypedFunc<(u32, u32), u32>),
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
}

impl Callbacks {
    pub(crate) fn resolve<H: Host>(store: &mut Store<State<H>>, instance: &Instance) -> Result<Self, StartError> {
        Ok(Self {
            context_create: export(store, instance, "proxy_on_context_create")?,
            vm_start: export(store, instance, "proxy_on_vm_start")?,
            configure: export(store, instance, "proxy_on_configure")?,
            tick: export(store, instance, "proxy_on_tick")?,
            request_headers: headers(store, instance, "proxy_on_request_headers")?,
            request_body: export(store, instance, "proxy_on_request_body")?,
            request_trailers: export(store, instance, "proxy_on_request_trailers")?,
            response_headers: headers(store, instance, "proxy_on_response_headers")?,
            response_body: export(store, instance, "proxy_on_response_body")?,
            response_trailers: export(store, instance, "proxy_on_response_trailers")?,
            http_call_response: export(store, instance, "proxy_on_http_call_response")?,
            done: export(store, instance, "proxy_on_done")?,
            log: export(store, instance, "proxy_on_log")?,
            delete: export(store, instance, "proxy_on_delete")?,
        })
    }

    pub(crate) fn exports(&self) -> Exports {
        Exports {
            request_headers: self.request_headers.exists(),
            request_body: self.request_body.is_some(),
            request_trailers: self.request_trailers.is_some(),
            response_headers: self.response_headers.exists(),
            response_body: self.response_body.is_some(),
            response_trailers: self.response_trailers.is_some(),
            log: self.log.is_some(),
            done: self.done.is_some(),
            tick: self.tick.is_some(),
            http_call_response: self.http_call_response.is_some(),
        }
    }
}

impl HeadersCall {
    fn exists(&self) -> bool {
        !matches!(self, Self::Missing)
    }
}

/// A function that the module exports; an error if it has another type than the ABI says.
pub(crate) fn export<H: Host, P: WasmParams, R: WasmResults>(
    store: &mut Store<State<H>>,
    instance: &Instance,
    name: &'static str,
) -> Result<Option<TypedFunc<P, R>>, StartError> {
    match instance.get_func(&mut *store, name) {
        None => Ok(None),
        Some(function) => match function.typed(&*store) {
            Ok(typed) => Ok(Some(typed)),
            Err(error) => Err(StartError::Export { name, reason: format!("{error:#}") }),
        },
    }
}

fn headers<H: Host>(
    store: &mut Store<State<H>>,
    instance: &Instance,
    name: &'static str,
) -> Result<HeadersCall, StartError> {
    match export(store, instance, name) {
        Ok(None) => Ok(HeadersCall::Missing),
        Ok(Some(call)) => Ok(HeadersCall::WithEnd(call)),
        Err(error) => match export(store, instance, name) {
            Ok(Some(call)) => Ok(HeadersCall::WithoutEnd(call)),
            _ => Err(error),
        },
    }
}
