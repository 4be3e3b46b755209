//! The chain of filters on one stream: a synchronous state machine for both directions, without I/O.
//!
//! The driver feeds it with what arrives and takes out what left the last filter ([`Out`]). The semantics are those of
//! Envoy's filter manager; tests.rs is their table. Two differences, both where Envoy is known to misbehave: each filter
//! holds its own body (Envoy has one buffer per direction, which two holding filters would mix), and "the end has come"
//! is known per filter, so that resuming a late filter never announces an end that an earlier one still holds.

mod events;
mod flow;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Answer, CallId, Effect, FilterId, HttpFilter, Stream, Wants};
use crate::http::BodyBuf;
use crate::upstream::CallOut;
use flow::{Flow, Node};

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the endpoint: filters in configuration order.
    Request,
    /// From the endpoint to the client: filters in reverse order.
    Response,
}

/// What has left the chain; the head itself and the trailers are in the [`Stream`].
#[derive(Debug)]
pub enum Out {
    /// The head passed the last filter: send it. The second field says that nothing follows.
    Headers(Direction, bool),
    /// A piece of body passed the last filter (empty only to carry the end, which the third field says).
    Data(Direction, BodyBuf, bool),
    /// The trailers passed the last filter; they end their direction.
    Trailers(Direction),
    /// Answer by this: put its head into `stream.response` and feed it through [`Chain::response_headers`] and so on, as
    /// Envoy runs local replies through all filters. Nothing more comes of the request, its body may be dropped.
    Respond(Answer),
    /// Answer by this without the filters, which are already in the middle of another response: it replaces that one.
    RespondDirect(Answer),
    /// The response is on its way and cannot be replaced: reset the stream.
    Reset,
    /// Ask this for a filter, and bring the answer to [`Chain::call_done`].
    Call(FilterId, CallId, Box<CallOut>),
}

/// How the response stands, which decides what becomes of a local reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponsePhase {
    /// No response yet.
    None,
    /// A local reply was handed to the driver and has not come back yet.
    ReplyPending,
    /// A head has entered the filters.
    InFilters,
    /// The head left the filters.
    Sent,
}

/// The filters of one stream. `F` is the closed enum of filters (or a script, in tests).
pub struct Chain<F: HttpFilter> {
    stream: Stream,
    nodes: SmallVec<[Node<F>; 2]>,
    wants: Wants,
    request: Flow,
    response: Flow,
    response_phase: ResponsePhase,
    /// The earliest of its filters' timers.
    timer: Option<Instant>,
    /// The first of what left, which is usually the only one.
    next: Option<Out>,
    later: VecDeque<Out>,
    destroyed: bool,
}

impl<F: HttpFilter> Chain<F> {
    /// Filters in configuration order. Allocates only for more than two filters.
    pub fn new(stream: Stream, filters: impl IntoIterator<Item = F>) -> Self {
        let nodes: SmallVec<[Node<F>; 2]> = filters.into_iter().map(Node::new).collect();
        let mut wants = Wants::default();
        for node in &nodes {
            wants.request_body |= node.wants.request_body;
            wants.request_trailers |= node.wants.request_trailers;
            wants.informational |= node.wants.informational;
            wants.response_headers |= node.wants.response_headers;
            wants.response_body |= node.wants.response_body;
            wants.response_trailers |= node.wants.response_trailers;
            wants.log |= node.wants.log;
        }
        Self {
            stream,
            nodes,
            wants,
            request: Flow::default(),
            response: Flow::default(),
            response_phase: ResponsePhase::None,
            timer: None,
            next: None,
            later: VecDeque::new(),
            destroyed: false,
        }
    }

    /// The stream that its filters see.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether it has no filter at all.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The union of what its filters want.
    pub fn wants(&self) -> Wants {
        self.wants
    }

    /// `stream.request` is there. `end`: neither body nor trailers follow.
    pub fn request_headers(&mut self, end: bool) {
        self.headers(Direction::Request, 0, end);
        self.apply_effects();
    }

    /// A piece of the request's body came.
    pub fn request_body(&mut self, piece: Bytes, end: bool) {
        self.body(Direction::Request, piece, end);
    }

    /// `stream.request_trailers` is there.
    pub fn request_trailers(&mut self) {
        self.trailers(Direction::Request, 0);
        self.apply_effects();
    }

    /// `stream.response` is there. `end`: neither body nor trailers follow.
    pub fn response_headers(&mut self, end: bool) {
        if !matches!(self.response_phase, ResponsePhase::None | ResponsePhase::ReplyPending) {
            return;
        }
        self.response_phase = ResponsePhase::InFilters;
        self.headers(Direction::Response, 0, end);
        self.apply_effects();
    }

    /// A piece of the response's body came.
    pub fn response_body(&mut self, piece: Bytes, end: bool) {
        self.body(Direction::Response, piece, end);
    }

    /// `stream.response_trailers` is there.
    pub fn response_trailers(&mut self) {
        self.trailers(Direction::Response, 0);
        self.apply_effects();
    }

    /// Goes on behind a filter that had stopped; without effect if it had not.
    pub fn resume(&mut self, filter: FilterId, direction: Direction) {
        self.resume_stopped(filter, direction);
        self.apply_effects();
    }

    /// Does what filters asked for by [`Stream::request_effect`], as far as it is the chain's matter. Every other call does it by itself at its end; the
    /// driver calls it when it was woken.
    pub fn apply_effects(&mut self) {
        loop {
            let effects = {
                let mut state = self.stream.edit();
                if state.effects.is_empty() {
                    return;
                }
                std::mem::take(&mut state.effects)
            };
            for (filter, effect) in effects {
                match effect {
                    Effect::ResumeRequest => self.resume_stopped(filter, Direction::Request),
                    Effect::ResumeResponse => self.resume_stopped(filter, Direction::Response),
                    Effect::Respond(answer) => self.respond(answer),
                    Effect::Reset => self.reset(),
                    Effect::Call(id, call) => self.emit(Out::Call(filter, id, call)),
                    Effect::Timer(at) => self.set_timer(filter, at),
                }
            }
        }
    }

    /// Answers in place of the endpoint, for a filter or for the driver itself (no route, time-out, no endpoint): through the
    /// filters if there is no response yet, in place of one that has not been sent, else by a reset.
    pub fn respond(&mut self, answer: Answer) {
        if self.response.complete {
            return;
        }
        self.request.abort();
        match self.response_phase {
            ResponsePhase::None => {
                self.response_phase = ResponsePhase::ReplyPending;
                self.emit(Out::Respond(answer));
            }
            ResponsePhase::ReplyPending => {}
            ResponsePhase::InFilters => {
                if !self.response.aborted {
                    self.response.abort();
                    self.emit(Out::RespondDirect(answer));
                }
            }
            ResponsePhase::Sent => self.reset(),
        }
    }

    /// The next thing that left the chain. Drain it after every call, until `None`.
    pub fn next_out(&mut self) -> Option<Out> {
        let out = self.next.take()?;
        self.next = self.later.pop_front();
        Some(out)
    }

    /// Whether the driver may read on in this direction: filters hold less than the buffer limit.
    pub fn wants_more(&self, direction: Direction) -> bool {
        !self.flow(direction).above_watermark
    }

    /// Whether a request's body would now pass untouched: the driver may then bypass the chain with it (its end and
    /// trailers too, if [`Self::passes_request_trailers`]).
    pub fn passes_request_body(&self) -> bool {
        !self.wants.request_body && self.request.stopped == 0
    }

    /// As [`Self::passes_request_body`] for trailers.
    pub fn passes_request_trailers(&self) -> bool {
        !self.wants.request_trailers && self.request.stopped == 0
    }

    /// Whether the response's head may go around the chain: only without any filter, because from the head on the chain
    /// knows what becomes of a local reply.
    pub fn passes_response_headers(&self) -> bool {
        self.nodes.is_empty()
    }

    /// As [`Self::passes_request_body`] for the response.
    pub fn passes_response_body(&self) -> bool {
        !self.wants.response_body && self.response.stopped == 0
    }

    /// As [`Self::passes_request_trailers`] for the response.
    pub fn passes_response_trailers(&self) -> bool {
        !self.wants.response_trailers && self.response.stopped == 0
    }

    /// Whether a filter holds this direction.
    pub fn is_stopped(&self, direction: Direction) -> bool {
        self.flow(direction).stopped != 0
    }

    /// The stream has ended: every filter that wants it logs, in configuration order.
    pub fn log(&mut self) {
        if self.wants.log {
            for node in self.nodes.iter_mut().filter(|node| node.wants.log) {
                node.filter.on_log(&self.stream);
            }
        }
    }

    /// The stream goes away: every filter gives back what it holds. Done by drop at the latest, and once only.
    pub fn destroy(&mut self) {
        if !std::mem::replace(&mut self.destroyed, true) {
            self.request.abort();
            self.response.abort();
            for node in &mut self.nodes {
                node.filter.on_destroy(&self.stream);
            }
        }
    }

    fn body(&mut self, direction: Direction, piece: Bytes, end: bool) {
        // Trailers that a filter made before the end had come go out behind the body.
        let trailers = end && self.has_trailers(direction);
        self.data(direction, 0, BodyBuf::from(piece), end && !trailers);
        if trailers {
            self.trailers(direction, 0);
        }
        self.apply_effects();
    }

    fn emit(&mut self, out: Out) {
        match self.next {
            None => self.next = Some(out),
            Some(_) => self.later.push_back(out),
        }
    }

    fn resume_stopped(&mut self, filter: FilterId, direction: Direction) {
        if self.nodes.get(filter.0).is_some_and(|node| node.place(direction).is_stopped()) {
            self.go_on(direction, self.position(filter, direction));
        }
    }

    fn reset(&mut self) {
        if !(self.response.aborted || self.response.complete) {
            self.request.abort();
            self.response.abort();
            self.emit(Out::Reset);
        }
    }

    fn flow(&self, direction: Direction) -> &Flow {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    fn flow_mut(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Where a filter stands on the way of this direction, and back: position and index mirror each other.
    fn position(&self, filter: FilterId, direction: Direction) -> usize {
        match direction {
            Direction::Request => filter.0,
            Direction::Response => self.nodes.len().saturating_sub(filter.0 + 1),
        }
    }
}

impl<F: HttpFilter> Drop for Chain<F> {
    fn drop(&mut self) {
        self.destroy();
    }
}
