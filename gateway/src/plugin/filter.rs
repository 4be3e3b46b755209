//! The filter that calls a guest.

use std::rc::Rc;
use std::time::Instant;

use weir_wasm as wasm;
use weir_wasm::{ContextId, Instance, MapType, Trap};

use super::config::FailurePolicy;
use super::context::{Context, Phase};
use super::fields::Fields;
use super::host::{Bridge, ROOT};
use super::worker::{Running, Slot};
use crate::filter::{
    Answer, DataAction, Failure, FilterId, HeadersAction, HttpFilter, Stream, StreamState, TrailersAction, Wants,
};
use crate::http::HeaderMap;

/// A plugin on one stream.
///
/// The guest learns of the stream with the request's headers. After the guest has answered by itself it hears no more of
/// the request, but of the response that it made. After it has trapped the failure policy holds:
/// [`Failure::GuestFailed`], or as if the filter were not there.
pub struct WasmFilter {
    slot: Rc<Slot>,
    running: Option<Rc<Running>>,
    id: FilterId,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The guest does not know of the stream.
    New,
    /// It does, under this id.
    Inside(ContextId),
    /// The guest has failed; the failure policy was followed.
    Failed,
}

/// What the callbacks have in common: how a failure, an answer and "go on" look.
trait Action: Sized {
    fn go_on() -> Self;
    fn respond(answer: Answer) -> Self;
    fn pauses(&self) -> bool;
}

impl WasmFilter {
    pub(super) fn new(slot: Rc<Slot>, running: Option<Rc<Running>>, id: FilterId) -> Self {
        Self { slot, running, id, state: State::New }
    }

    /// Lets the guest know of the stream. `Err` if there is no guest.
    fn enter(&mut self, stream: &Stream) -> Result<ContextId, Option<Trap>> {
        if self.running.as_ref().is_none_or(|running| running.has_failed()) {
            self.running = self.slot.running();
        }
        let running = self.running.as_ref().ok_or(None)?;
        let mut instance = running.instance.try_borrow_mut().map_err(|_| None)?;
        let context = instance.next_context();
        instance.host_mut().contexts.insert(context, Context::new(stream.clone(), self.id));
        // From here on it is left again (`on_destroy`), whatever happens.
        self.state = State::Inside(context);
        instance.on_context_create(context, ROOT).map_err(Some)?;
        Ok(context)
    }

    /// One callback: calls the guest and sees to what it asked for.
    #[inline]
    fn call<A: Action>(
        &mut self,
        phase: Phase,
        call: impl FnOnce(&mut Instance<Bridge>, ContextId) -> Result<A, Trap>,
    ) -> A {
        let State::Inside(id) = self.state else { return A::go_on() };
        let Some(running) = &self.running else { return A::go_on() };
        if running.has_failed() {
            return self.fail(None);
        }
        let Ok(mut instance) = running.instance.try_borrow_mut() else { return A::go_on() };
        if let Some(context) = instance.host_mut().contexts.get_mut(id) {
            context.phase = phase;
        }
        let began = Instant::now();
        let result = call(&mut instance, id);
        running.took(began);
        let mut action = match result {
            Ok(action) => action,
            Err(trap) => {
                drop(instance);
                return self.fail(Some(&trap));
            }
        };
        let contexts = &mut instance.host_mut().contexts;
        contexts.hand_over_others(id);
        if let Some(context) = contexts.get_mut(id) {
            context.phase = Phase::Idle;
            if let Some(answer) = context.answer.take() {
                // Whatever the guest returned.
                action = A::respond(answer);
            }
            context.paused = action.pauses();
            context.hand_over_course();
        }
        action
    }

    /// A callback whose answer does not matter any more.
    fn tell(&mut self, phase: Phase, call: impl FnOnce(&mut Instance<Bridge>, ContextId) -> Result<(), Trap>) {
        let (State::Inside(id), Some(running)) = (self.state, &self.running) else { return };
        if running.has_failed() {
            return;
        }
        let Ok(mut instance) = running.instance.try_borrow_mut() else { return };
        if let Some(context) = instance.host_mut().contexts.get_mut(id) {
            (context.phase, context.paused) = (phase, false);
        }
        let result = call(&mut instance, id);
        instance.host_mut().contexts.hand_over_others(id);
        drop(instance);
        if let Err(trap) = result {
            self.slot.trapped(running, &trap);
        }
    }

    /// Follows the failure policy, by this callback's answer.
    #[cold]
    fn fail<A: Action>(&mut self, trap: Option<&Trap>) -> A {
        let told = self.leave().is_some_and(|context| context.failure_told);
        if let (Some(trap), Some(running)) = (trap, &self.running) {
            self.slot.trapped(running, trap);
        }
        self.running = None;
        self.state = State::Failed;
        if told {
            // The driver was asked for the answer when the instance failed; this is that answer passing by.
            return A::go_on();
        }
        self.slot.count_failed_stream();
        match self.slot.policy() {
            FailurePolicy::Closed => A::respond(Answer::Failure(Failure::GuestFailed)),
            FailurePolicy::Open => A::go_on(),
        }
    }

    /// The stream is no longer inside the instance.
    fn leave(&mut self) -> Option<Context> {
        let (State::Inside(id), Some(running)) = (self.state, &self.running) else { return None };
        self.state = State::New;
        running.instance.try_borrow_mut().ok()?.host_mut().contexts.remove(id)
    }

    fn stop_iteration(&self) -> bool {
        self.slot.plugin().config.stop_iteration_on_headers
    }

    /// Whether the guest changed the body in the callback that just ended.
    fn take_body_changed(&self) -> bool {
        let (State::Inside(id), Some(running)) = (self.state, &self.running) else { return false };
        let Ok(mut instance) = running.instance.try_borrow_mut() else { return false };
        instance.host_mut().contexts.get_mut(id).is_some_and(|context| std::mem::take(&mut context.body_changed))
    }
}

impl HttpFilter for WasmFilter {
    fn wants(&self) -> Wants {
        let exports = self.slot.exports();
        Wants {
            request_body: exports.request_body,
            request_trailers: exports.request_trailers,
            informational: false,
            response_headers: exports.response_headers,
            response_body: exports.response_body,
            response_trailers: exports.response_trailers,
            log: exports.log,
        }
    }

    fn on_request_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction {
        match self.enter(stream) {
            Ok(_) => {}
            Err(trap) => return self.fail(trap.as_ref()),
        }
        let count = count(&mut stream.edit(), MapType::RequestHeaders);
        let stop_iteration = self.stop_iteration();
        self.call(Phase::RequestHeaders, |instance, id| {
            Ok(headers_action(instance.on_request_headers(id, count, end)?, stop_iteration))
        })
    }

    fn on_request_body(&mut self, stream: &Stream, end: bool) -> DataAction {
        let size = size(stream.get().request_body.len());
        let action: DataAction = self
            .call(Phase::RequestBody { end }, |instance, id| instance.on_request_body(id, size, end).map(data_action));
        if self.take_body_changed() || matches!(action, DataAction::StopNoBuffer) {
            let mut state = stream.edit();
            let StreamState { request, request_body, request_left, .. } = &mut *state;
            if !*request_left {
                correct_length(&mut request.headers, known_length(&action, end).then(|| request_body.len()));
            }
        }
        action
    }

    fn on_request_trailers(&mut self, stream: &Stream) -> TrailersAction {
        let count = count(&mut stream.edit(), MapType::RequestTrailers);
        let action = self
            .call(Phase::RequestTrailers, |instance, id| instance.on_request_trailers(id, count).map(trailers_action));
        if self.take_body_changed() {
            let mut state = stream.edit();
            if !state.request_left {
                correct_length(&mut state.request.headers, None);
            }
        }
        action
    }

    fn on_response_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction {
        let count = count(&mut stream.edit(), MapType::ResponseHeaders);
        let stop_iteration = self.stop_iteration();
        self.call(Phase::ResponseHeaders, |instance, id| {
            Ok(headers_action(instance.on_response_headers(id, count, end)?, stop_iteration))
        })
    }

    fn on_response_body(&mut self, stream: &Stream, end: bool) -> DataAction {
        let size = size(stream.get().response_body.len());
        let action: DataAction = self.call(Phase::ResponseBody { end }, |instance, id| {
            instance.on_response_body(id, size, end).map(data_action)
        });
        if self.take_body_changed() || matches!(action, DataAction::StopNoBuffer) {
            let mut state = stream.edit();
            let StreamState { response, response_body, response_left, .. } = &mut *state;
            if let Some(response) = response
                && !*response_left
            {
                correct_length(&mut response.headers, known_length(&action, end).then(|| response_body.len()));
            }
        }
        action
    }

    fn on_response_trailers(&mut self, stream: &Stream) -> TrailersAction {
        let count = count(&mut stream.edit(), MapType::ResponseTrailers);
        let action = self.call(Phase::ResponseTrailers, |instance, id| {
            instance.on_response_trailers(id, count).map(trailers_action)
        });
        if self.take_body_changed() {
            let mut state = stream.edit();
            if !state.response_left
                && let Some(response) = &mut state.response
            {
                correct_length(&mut response.headers, None);
            }
        }
        action
    }

    fn on_log(&mut self, _stream: &Stream) {
        self.tell(Phase::Log, |instance, id| instance.on_log(id));
    }

    fn on_destroy(&mut self, _stream: &Stream) {
        // As in Envoy, a stream that is "not done yet" goes nevertheless.
        self.tell(Phase::Log, |instance, id| {
            instance.on_done(id)?;
            instance.on_delete(id)
        });
        self.leave();
    }
}

impl Action for HeadersAction {
    fn go_on() -> Self {
        Self::Continue
    }
    fn respond(answer: Answer) -> Self {
        Self::Respond(answer)
    }
    fn pauses(&self) -> bool {
        !matches!(self, Self::Continue | Self::Respond(_))
    }
}

impl Action for DataAction {
    fn go_on() -> Self {
        Self::Continue
    }
    fn respond(answer: Answer) -> Self {
        Self::Respond(answer)
    }
    fn pauses(&self) -> bool {
        !matches!(self, Self::Continue | Self::Respond(_))
    }
}

impl Action for TrailersAction {
    fn go_on() -> Self {
        Self::Continue
    }
    fn respond(answer: Answer) -> Self {
        Self::Respond(answer)
    }
    fn pauses(&self) -> bool {
        matches!(self, Self::Stop)
    }
}

/// "Pause" holds everything unless the plugin asks for the newer meaning (`allow_on_headers_stop_iteration`).
fn headers_action(action: wasm::HeadersAction, stop_iteration: bool) -> HeadersAction {
    match action {
        wasm::HeadersAction::Continue | wasm::HeadersAction::ContinueAndEndStream => HeadersAction::Continue,
        wasm::HeadersAction::StopIteration if stop_iteration => HeadersAction::StopIteration,
        wasm::HeadersAction::StopIteration | wasm::HeadersAction::StopAllAndWatermark => {
            HeadersAction::StopAllAndWatermark
        }
        wasm::HeadersAction::StopAllAndBuffer => HeadersAction::StopAllAndBuffer,
    }
}

fn data_action(action: wasm::DataAction) -> DataAction {
    match action {
        wasm::DataAction::Continue => DataAction::Continue,
        wasm::DataAction::StopAndBuffer => DataAction::StopAndBuffer,
        wasm::DataAction::StopAndWatermark => DataAction::StopAndWatermark,
        wasm::DataAction::StopNoBuffer => DataAction::StopNoBuffer,
    }
}

fn trailers_action(action: wasm::TrailersAction) -> TrailersAction {
    match action {
        wasm::TrailersAction::Continue => TrailersAction::Continue,
        wasm::TrailersAction::Stop => TrailersAction::Stop,
    }
}

fn count(state: &mut StreamState, map: MapType) -> u32 {
    Fields::of(state, map).map_or(0, |fields| size(fields.count()))
}

fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Whether what is in the buffer is all that the body will be.
fn known_length(action: &DataAction, end: bool) -> bool {
    end && !matches!(action, DataAction::StopNoBuffer)
}

/// A length that was announced for another body must not go out: the rest would be read as the next message.
fn correct_length(headers: &mut HeaderMap, length: Option<usize>) {
    if headers.contains("content-length") {
        match length {
            Some(length) => headers.set("content-length", itoa::Buffer::new().format(length)),
            None => {
                headers.remove("content-length");
            }
        }
    }
}
