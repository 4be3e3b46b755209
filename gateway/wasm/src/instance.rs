//! One running guest.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use wasmtime::{Store, TypedFunc, WasmParams, WasmResults};

use crate::abi::{DataAction, HeadersAction, TrailersAction};
use crate::callbacks::{Callbacks, Exports, HeadersCall, export};
use crate::clock::Runner;
use crate::host::{ContextId, Host};
use crate::plugin::StartError;
use crate::state::{Phase, State};
use crate::trap::{Callback, Trap};

/// One running guest with its host. It stays on its thread.
///
/// Each `on_…` calls the guest, and returns when the guest does; a callback that the guest does not have answers
/// "continue" at no cost. After an error the instance is poisoned: drop it.
pub struct Instance<H: Host> {
    instance: wasmtime::Instance,
    callbacks: Callbacks,
    exports: Exports,
    next_context: ContextId,
    guest: Guest<H>,
}

/// What a call needs beside its function, which is only borrowed: a copy would move a count that all threads share.
struct Guest<H: Host> {
    store: Store<State<H>>,
    /// Not `Send`, as the instance must not be either: it belongs to the thread.
    runner: Rc<Runner>,
    callback_cpu: Duration,
    start_cpu: Duration,
    poisoned: bool,
}

impl<H: Host> Instance<H> {
    /// The plugin's own ("root") context.
    pub const ROOT: ContextId = 1;

    pub(crate) fn new(
        store: Store<State<H>>,
        instance: wasmtime::Instance,
        callbacks: Callbacks,
        runner: Rc<Runner>,
    ) -> Self {
        let limits = &store.data().settings.limits;
        let (callback_cpu, start_cpu) = (limits.callback_cpu, limits.start_cpu);
        let exports = callbacks.exports();
        let guest = Guest { store, runner, callback_cpu, start_cpu, poisoned: false };
        Self { instance, callbacks, exports, next_context: Self::ROOT + 1, guest }
    }

    /// The proxy's side.
    pub fn host(&self) -> &H {
        &self.guest.store.data().host
    }

    /// The proxy's side, between calls.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.guest.store.data_mut().host
    }

    /// Which callbacks the guest has.
    pub fn exports(&self) -> Exports {
        self.exports
    }

    /// Whether it trapped.
    pub fn is_poisoned(&self) -> bool {
        self.guest.poisoned
    }

    /// Bytes of linear memory that it has now.
    pub fn memory_bytes(&self) -> usize {
        self.guest.store.data().memory.map_or(0, |memory| memory.data_size(&self.guest.store))
    }

    /// An id for a new stream context: one that no living context has.
    pub fn next_context(&mut self) -> ContextId {
        loop {
            let id = self.next_context;
            self.next_context = id.checked_add(1).unwrap_or(Self::ROOT + 1);
            if !self.host().has_context(id) {
                return id;
            }
        }
    }

    /// A context begins; streams have [`Self::ROOT`] as their parent.
    pub fn on_context_create(&mut self, context: ContextId, parent: ContextId) -> Result<(), Trap> {
        let call = self.callbacks.context_create.as_ref();
        self.guest.call(Callback::ContextCreate, context, call, (context, parent)).map(Option::unwrap_or_default)
    }

    /// Request headers came: `count` of them.
    pub fn on_request_headers(&mut self, context: ContextId, count: u32, end: bool) -> Result<HeadersAction, Trap> {
        let callback = Callback::RequestHeaders;
        match &self.callbacks.request_headers {
            HeadersCall::Missing => Ok(HeadersAction::Continue),
            HeadersCall::WithEnd(call) => self.guest.headers(callback, context, call, (context, count, u32::from(end))),
            HeadersCall::WithoutEnd(call) => self.guest.headers(callback, context, call, (context, count)),
        }
    }

    /// Request body came: `size` bytes are in the buffer.
    pub fn on_request_body(&mut self, context: ContextId, size: u32, end: bool) -> Result<DataAction, Trap> {
        let call = self.callbacks.request_body.as_ref();
        let action = self.guest.call(Callback::RequestBody, context, call, (context, size, u32::from(end)))?;
        Ok(action.map_or(DataAction::Continue, DataAction::from_guest))
    }

    /// Request trailers came: `count` of them.
    pub fn on_request_trailers(&mut self, context: ContextId, count: u32) -> Result<TrailersAction, Trap> {
        let call = self.callbacks.request_trailers.as_ref();
        let action = self.guest.call(Callback::RequestTrailers, context, call, (context, count))?;
        Ok(action.map_or(TrailersAction::Continue, TrailersAction::from_guest))
    }

    /// Response headers came: `count` of them.
    pub fn on_response_headers(&mut self, context: ContextId, count: u32, end: bool) -> Result<HeadersAction, Trap> {
        let callback = Callback::ResponseHeaders;
        match &self.callbacks.response_headers {
            HeadersCall::Missing => Ok(HeadersAction::Continue),
            HeadersCall::WithEnd(call) => self.guest.headers(callback, context, call, (context, count, u32::from(end))),
            HeadersCall::WithoutEnd(call) => self.guest.headers(callback, context, call, (context, count)),
        }
    }

    /// Response body came: `size` bytes are in the buffer.
    pub fn on_response_body(&mut self, context: ContextId, size: u32, end: bool) -> Result<DataAction, Trap> {
        let call = self.callbacks.response_body.as_ref();
        let action = self.guest.call(Callback::ResponseBody, context, call, (context, size, u32::from(end)))?;
        Ok(action.map_or(DataAction::Continue, DataAction::from_guest))
    }

    /// Response trailers came: `count` of them.
    pub fn on_response_trailers(&mut self, context: ContextId, count: u32) -> Result<TrailersAction, Trap> {
        let call = self.callbacks.response_trailers.as_ref();
        let action = self.guest.call(Callback::ResponseTrailers, context, call, (context, count))?;
        Ok(action.map_or(TrailersAction::Continue, TrailersAction::from_guest))
    }

    /// The answer to a call came, on the root context; no headers means that the call failed.
    pub fn on_http_call_response(
        &mut self,
        call_id: u32,
        headers: u32,
        body_size: u32,
        trailers: u32,
    ) -> Result<(), Trap> {
        let call = self.callbacks.http_call_response.as_ref();
        let arguments = (Self::ROOT, call_id, headers, body_size, trailers);
        self.guest.call(Callback::HttpCallResponse, Self::ROOT, call, arguments).map(Option::unwrap_or_default)
    }

    /// The timer of the root context fired.
    pub fn on_tick(&mut self) -> Result<(), Trap> {
        let call = self.callbacks.tick.as_ref();
        self.guest.call(Callback::Tick, Self::ROOT, call, Self::ROOT).map(Option::unwrap_or_default)
    }

    /// Everything of the stream is known.
    pub fn on_log(&mut self, context: ContextId) -> Result<(), Trap> {
        let call = self.callbacks.log.as_ref();
        self.guest.call(Callback::Log, context, call, context).map(Option::unwrap_or_default)
    }

    /// The context is about to end. False asks to wait for [`Host::done`]; for streams Envoy does not.
    pub fn on_done(&mut self, context: ContextId) -> Result<bool, Trap> {
        let call = self.callbacks.done.as_ref();
        let done = self.guest.call(Callback::Done, context, call, context)?;
        Ok(done.is_none_or(|done| done != 0))
    }

    /// The context ends; its id may not be used again.
    pub fn on_delete(&mut self, context: ContextId) -> Result<(), Trap> {
        let call = self.callbacks.delete.as_ref();
        self.guest.call(Callback::Delete, context, call, context).map(Option::unwrap_or_default)
    }

    /// Runs what the toolchain put before everything else: `_initialize` and `main`, or `_start`.
    pub(crate) fn initialize(&mut self) -> Result<(), StartError> {
        let initialize = self.export::<(), ()>("_initialize")?;
        if initialize.is_some() {
            self.guest.start_call(Callback::Start, 0, initialize.as_ref(), ())?;
            if let Some(main) = self.export::<(u32, u32), u32>("main")? {
                self.guest.start_call(Callback::Start, 0, Some(&main), (0, 0))?;
            } else {
                let main = self.export::<(), u32>("__main_void")?;
                self.guest.start_call(Callback::Start, 0, main.as_ref(), ())?;
            }
        } else {
            let start = self.export::<(), ()>("_start")?;
            self.guest.start_call(Callback::Start, 0, start.as_ref(), ())?;
        }
        self.guest.store.data_mut().phase = Phase::Running;
        Ok(())
    }

    pub(crate) fn on_vm_start(&mut self) -> Result<(), StartError> {
        let size = size(&self.guest.store.data().settings.vm_configuration);
        let call = self.callbacks.vm_start.as_ref();
        let accepted = self.guest.start_call(Callback::VmStart, Self::ROOT, call, (Self::ROOT, size))?;
        self.accepted(Callback::VmStart, accepted)
    }

    pub(crate) fn on_configure(&mut self) -> Result<(), StartError> {
        let size = size(&self.guest.store.data().settings.configuration);
        let call = self.callbacks.configure.as_ref();
        self.guest.store.data_mut().phase = Phase::Configuring;
        let accepted = self.guest.start_call(Callback::Configure, Self::ROOT, call, (Self::ROOT, size))?;
        self.guest.store.data_mut().phase = Phase::Running;
        self.accepted(Callback::Configure, accepted)
    }

    fn accepted(&mut self, callback: Callback, answer: Option<u32>) -> Result<(), StartError> {
        match answer {
            Some(0) => {
                let guest_message = self.guest.store.data_mut().last_error.take();
                Err(StartError::Refused { callback, guest_message })
            }
            _ => Ok(()),
        }
    }

    fn export<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<TypedFunc<P, R>>, StartError> {
        export(&mut self.guest.store, &self.instance, name)
    }
}

impl<H: Host> Guest<H> {
    #[inline]
    fn headers<P: WasmParams>(
        &mut self,
        callback: Callback,
        context: ContextId,
        call: &TypedFunc<P, u32>,
        arguments: P,
    ) -> Result<HeadersAction, Trap> {
        let action = self.call(callback, context, Some(call), arguments)?;
        Ok(action.map_or(HeadersAction::Continue, HeadersAction::from_guest))
    }

    #[inline]
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        callback: Callback,
        context: ContextId,
        function: Option<&TypedFunc<P, R>>,
        arguments: P,
    ) -> Result<Option<R>, Trap> {
        self.call_within(self.callback_cpu, callback, context, function, arguments)
    }

    fn start_call<P: WasmParams, R: WasmResults>(
        &mut self,
        callback: Callback,
        context: ContextId,
        function: Option<&TypedFunc<P, R>>,
        arguments: P,
    ) -> Result<Option<R>, Trap> {
        self.call_within(self.start_cpu, callback, context, function, arguments)
    }

    #[inline]
    fn call_within<P: WasmParams, R: WasmResults>(
        &mut self,
        budget: Duration,
        callback: Callback,
        context: ContextId,
        function: Option<&TypedFunc<P, R>>,
        arguments: P,
    ) -> Result<Option<R>, Trap> {
        let Some(function) = function else { return Ok(None) };
        if self.poisoned {
            return Err(Trap::poisoned(callback));
        }
        let state = self.store.data_mut();
        state.context = context;
        state.deadline.restart(budget);
        state.limiter.memory_denied = false;
        state.last_error = None;
        self.store.set_epoch_deadline(1);
        let running = self.runner.enter();
        // Set back below: a host that panics leaves an instance that nobody knows the state of.
        self.poisoned = true;
        let result = function.call(&mut self.store, arguments);
        drop(running);
        let state = self.store.data_mut();
        if std::mem::take(&mut state.limiter.table_denied) {
            state.host.table_denied();
        }
        match result {
            Ok(value) => {
                self.poisoned = false;
                Ok(Some(value))
            }
            Err(error) => Err(self.trapped(callback, &error)),
        }
    }

    #[cold]
    fn trapped(&mut self, callback: Callback, error: &wasmtime::Error) -> Trap {
        let state = self.store.data_mut();
        Trap::new(callback, error, state.limiter.memory_denied, state.last_error.take())
    }
}

impl<H: Host> fmt::Debug for Instance<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("plugin", &self.guest.store.data().settings.name)
            .field("poisoned", &self.guest.poisoned)
            .finish_non_exhaustive()
    }
}

fn size(configuration: &[u8]) -> u32 {
    u32::try_from(configuration.len()).unwrap_or(u32::MAX)
}
