//! The streams inside an instance, by context id, and what their guest has asked for.

use foldhash::HashMap;
use weir_wasm::ContextId;

use crate::filter::{Answer, Effect, FilterId, Stream};

/// One stream inside an instance.
pub(super) struct Context {
    pub(super) stream: Stream,
    pub(super) filter: FilterId,
    pub(super) phase: Phase,
    /// The first answer that the guest gave by itself.
    pub(super) answer: Option<Answer>,
    pub(super) resume_request: bool,
    pub(super) resume_response: bool,
    pub(super) reset: bool,
    /// The guest wrote to a body in this callback.
    pub(super) body_changed: bool,
    /// The guest holds this stream: if it fails, nobody else will let it go.
    pub(super) paused: bool,
    /// The instance failed while the guest held this stream: its driver was asked to follow the failure policy.
    pub(super) failure_told: bool,
}

impl Context {
    pub(super) fn new(stream: Stream, filter: FilterId) -> Self {
        Self {
            stream,
            filter,
            phase: Phase::Idle,
            answer: None,
            resume_request: false,
            resume_response: false,
            reset: false,
            body_changed: false,
            paused: false,
            failure_told: false,
        }
    }

    /// Asks the stream's driver for what was noted outside of its own callbacks.
    pub(super) fn hand_over(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.stream.request_effect(self.filter, Effect::Respond(answer));
        }
        self.hand_over_course();
    }

    /// As [`Self::hand_over`] without the answer.
    pub(super) fn hand_over_course(&mut self) {
        if std::mem::take(&mut self.reset) {
            self.stream.request_effect(self.filter, Effect::Reset);
        }
        if std::mem::take(&mut self.resume_request) {
            self.stream.request_effect(self.filter, Effect::ResumeRequest);
        }
        if std::mem::take(&mut self.resume_response) {
            self.stream.request_effect(self.filter, Effect::ResumeResponse);
        }
    }
}

/// Which callback runs: it decides which buffers and maps exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    RequestHeaders,
    RequestBody { end: bool },
    RequestTrailers,
    ResponseHeaders,
    ResponseBody { end: bool },
    ResponseTrailers,
    Log,
}

/// All streams inside an instance.
#[derive(Default)]
pub(super) struct Contexts {
    by_id: HashMap<ContextId, Context>,
    /// Those whose notes were written to in the running call.
    touched: Vec<ContextId>,
}

impl Contexts {
    pub(super) fn contains(&self, id: ContextId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn get_mut(&mut self, id: ContextId) -> Option<&mut Context> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: ContextId, context: Context) {
        self.by_id.insert(id, context);
    }

    pub(super) fn remove(&mut self, id: ContextId) -> Option<Context> {
        self.by_id.remove(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Context> {
        self.by_id.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn touch(&mut self, id: ContextId) {
        if !self.touched.contains(&id) {
            self.touched.push(id);
        }
    }

    /// A guest may act on other streams than the one that it was called for (`proxy_set_effective_context`): their
    /// drivers are told, the caller sees to `own` by itself.
    pub(super) fn hand_over_others(&mut self, own: ContextId) {
        while let Some(id) = self.touched.pop() {
            if id != own
                && let Some(context) = self.by_id.get_mut(&id)
            {
                context.hand_over();
            }
        }
    }
}
