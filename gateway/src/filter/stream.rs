//! The state of one request and its response, as filters see it.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use super::Answer;
use crate::http::{BodyBuf, HeaderMap, RequestHead, ResponseHead};
use crate::telemetry::StreamInfo;
use crate::upstream::CallOut;

/// A stream, shared by the request's driver, its filters and (by context id) the guests of the worker.
///
/// Borrow it for short: a guest's allocator runs in the middle of host calls, so nothing may stay borrowed while guest
/// code can run.
#[derive(Clone, Debug)]
pub struct Stream(Rc<RefCell<StreamState>>);

impl Stream {
    /// A stream at its start.
    pub fn new(request: RequestHead, info: StreamInfo) -> Self {
        Self(Rc::new(RefCell::new(StreamState {
            request,
            request_body: BodyBuf::new(),
            request_trailers: None,
            response: None,
            response_body: BodyBuf::new(),
            response_trailers: None,
            request_left: false,
            response_left: false,
            info,
            effects: Vec::new(),
            buffer_limit: StreamState::DEFAULT_BUFFER_LIMIT,
            clear_route_cache: false,
            waker: None,
        })))
    }

    /// Reads the state. Panics only if it is written further up the same call stack, which the rule above excludes.
    pub fn get(&self) -> Ref<'_, StreamState> {
        self.0.borrow()
    }

    /// Writes the state; as for [`Self::get`].
    pub fn edit(&self) -> RefMut<'_, StreamState> {
        self.0.borrow_mut()
    }

    /// Asks the driver for something, in a callback or outside of one (another stream's callback), and wakes it.
    pub fn request_effect(&self, filter: FilterId, effect: Effect) {
        let waker = {
            let mut state = self.edit();
            state.effects.push((filter, effect));
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Which filter of the chain, in configuration order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilterId(pub usize);

/// What is inside a [`Stream`].
#[derive(Debug)]
pub struct StreamState {
    /// The request's head as it stands now.
    pub request: RequestHead,
    /// While a body callback runs: what is held at this filter, with the new piece at its end. A filter may edit it.
    pub request_body: BodyBuf,
    /// Trailers of the request once they came (or a filter made some at the end of the body).
    pub request_trailers: Option<HeaderMap>,
    /// The response's head once there is one.
    pub response: Option<ResponseHead>,
    /// As `request_body`.
    pub response_body: BodyBuf,
    /// Trailers of the response.
    pub response_trailers: Option<HeaderMap>,
    /// The request's head has left the chain: changes of it come too late. Set by the chain.
    pub request_left: bool,
    /// As `request_left`.
    pub response_left: bool,
    /// What is known of the stream.
    pub info: StreamInfo,
    /// What filters asked for outside of their callbacks; the driver takes and applies them.
    pub effects: Vec<(FilterId, Effect)>,
    /// How many bytes of body filters may hold in each direction. The driver sets it
    /// (`per_connection_buffer_limit_bytes`), a filter may change it (`envoy.filters.http.buffer`).
    pub buffer_limit: usize,
    /// A filter changed what the route depends on: choose the route again before the router runs.
    pub clear_route_cache: bool,
    /// Wakes the driver.
    pub waker: Option<Waker>,
}

impl StreamState {
    /// Envoy's default of `per_connection_buffer_limit_bytes`, in bytes.
    pub const DEFAULT_BUFFER_LIMIT: usize = 1024 * 1024;
}

/// A number by which a filter knows its call-outs apart; the filter chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u32);

/// What a filter asks for, to be done when no callback is running.
#[derive(Debug)]
pub enum Effect {
    /// Go on with the request behind this filter.
    ResumeRequest,
    /// Go on with the response behind this filter.
    ResumeResponse,
    /// Answer by itself.
    Respond(Answer),
    /// Reset the stream without an answer.
    Reset,
    /// Ask a cluster something; the answer comes by [`HttpFilter::on_call_done`](super::HttpFilter::on_call_done).
    Call(CallId, Box<CallOut>),
    /// Wake this filter then ([`HttpFilter::on_timer`](super::HttpFilter::on_timer)), and not when it had asked for before.
    Timer(Option<Instant>),
}
