//! How headers, body and trailers move along the filters of one direction, stop and go on.

use std::time::Instant;

use super::{Chain, Direction, Out, ResponsePhase};
use crate::filter::{Answer, DataAction, Failure, HeadersAction, HttpFilter, TrailersAction, Wants};
use crate::http::BodyBuf;

/// One direction of the chain.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// No filter is called any more, nothing leaves.
    pub(super) aborted: bool,
    /// The end has left the chain.
    pub(super) complete: bool,
    /// How many filters are stopped or hold body.
    pub(super) stopped: usize,
    /// Filters hold more than the buffer limit (and have not yet come below its half).
    pub(super) above_watermark: bool,
    held_bytes: usize,
    /// Bytes of body that the head which left has announced and that have not left yet; kept only if filters can change
    /// bodies.
    announced: Option<u64>,
}

impl Flow {
    pub(super) fn abort(&mut self) {
        self.aborted = true;
        self.above_watermark = false;
    }
}

/// A filter and where it stands in both directions.
pub(super) struct Node<F> {
    pub(super) filter: F,
    pub(super) wants: Wants,
    /// When the filter wants to be woken.
    pub(super) timer: Option<Instant>,
    request: Place,
    response: Place,
}

impl<F: HttpFilter> Node<F> {
    pub(super) fn new(filter: F) -> Self {
        let wants = filter.wants();
        Self { filter, wants, timer: None, request: Place::default(), response: Place::default() }
    }

    pub(super) fn place(&self, direction: Direction) -> &Place {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    fn place_mut(&mut self, direction: Direction) -> &mut Place {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

/// Where one filter stands in one direction.
#[derive(Debug, Default)]
pub(super) struct Place {
    iteration: Iteration,
    /// The headers went on behind this filter.
    headers_passed: bool,
    /// A callback of this filter has been told the end.
    ended: bool,
    /// The end has come up to this filter, by headers or body.
    end_arrived: bool,
    /// Trailers have come up to this filter (or it made them).
    trailers_arrived: bool,
    /// Body held here; `Some` and empty if only its end is held.
    held: Option<Box<BodyBuf>>,
}

impl Place {
    pub(super) fn is_stopped(&self) -> bool {
        self.iteration != Iteration::Continue
    }

    fn stops_all(&self) -> bool {
        matches!(self.iteration, Iteration::StopAllAndBuffer | Iteration::StopAllAndWatermark)
    }

    fn counts(&self) -> bool {
        self.is_stopped() || self.held.is_some()
    }
}

/// Envoy's `IterationState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Iteration {
    #[default]
    Continue,
    /// Nothing goes on behind this filter, but it is called.
    StopSingle,
    /// Nothing comes to this filter.
    StopAllAndBuffer,
    StopAllAndWatermark,
}

/// What to do when more is held than the limit allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Refuse,
    Watermark,
}

impl<F: HttpFilter> Chain<F> {
    pub(super) fn headers(&mut self, direction: Direction, start: usize, end: bool) {
        if self.flow(direction).aborted {
            return;
        }
        // The first filter that added a body to a message without one: what follows it sees no end in the headers.
        let mut added_at = None;
        for position in start..self.nodes.len() {
            let end_here = end && added_at.is_none();
            let Some(node) = self.node(direction, position) else { break };
            let wanted = direction == Direction::Request || node.wants.response_headers;
            let place = node.place_mut(direction);
            (place.ended, place.end_arrived) = (end_here, end_here);
            if !wanted {
                place.headers_passed = true;
                continue;
            }
            let (action, added) = self.call_headers(direction, position, end_here);
            let iteration = match action {
                HeadersAction::Continue => Iteration::Continue,
                HeadersAction::StopIteration => Iteration::StopSingle,
                HeadersAction::StopAllAndBuffer => Iteration::StopAllAndBuffer,
                HeadersAction::StopAllAndWatermark => Iteration::StopAllAndWatermark,
                HeadersAction::Respond(reply) => return self.respond(reply),
            };
            let goes_on = iteration == Iteration::Continue;
            self.edit_place(direction, position, |place| {
                place.iteration = iteration;
                place.headers_passed = goes_on;
            });
            if !added.is_empty() {
                if end_here && goes_on {
                    added_at = Some(position);
                }
                self.hold(direction, position, added, Overflow::Watermark);
            }
            if !goes_on {
                if let Some(added_at) = added_at {
                    self.go_on(direction, added_at);
                }
                return;
            }
        }
        let end = end && added_at.is_none();
        match direction {
            Direction::Request => self.stream.edit().request_left = true,
            Direction::Response => {
                self.stream.edit().response_left = true;
                self.response_phase = ResponsePhase::Sent;
            }
        }
        if !end {
            self.note_length(direction);
        }
        self.flow_mut(direction).complete |= end;
        self.emit(Out::Headers(direction, end));
        if let Some(added_at) = added_at {
            self.go_on(direction, added_at);
        }
    }

    pub(super) fn data(&mut self, direction: Direction, start: usize, mut data: BodyBuf, end: bool) {
        if self.flow(direction).aborted {
            return;
        }
        let trailers_before = self.has_trailers(direction);
        let mut end = end;
        // The filter that made trailers at the end of the body, and the one that stopped.
        let (mut created_at, mut stopped_at) = (None, None);
        for position in start..self.nodes.len() {
            let ends = end && !self.has_trailers(direction);
            let Some(node) = self.node(direction, position) else { break };
            let wanted = match direction {
                Direction::Request => node.wants.request_body,
                Direction::Response => node.wants.response_body,
            };
            let place = node.place_mut(direction);
            if place.ended {
                return;
            }
            if place.stops_all() {
                place.end_arrived |= ends;
                let overflow = match place.iteration {
                    Iteration::StopAllAndBuffer => Overflow::Refuse,
                    _ => Overflow::Watermark,
                };
                self.hold(direction, position, std::mem::take(&mut data), overflow);
                stopped_at = Some(position);
                break;
            }
            (place.ended, place.end_arrived) = (ends, ends);
            let stopped = place.is_stopped();
            let mut held_before = 0;
            if let Some(mut held) = self.take_held(direction, position) {
                held_before = held.len();
                held.append(&mut data);
                data = held;
            }
            let mut action = DataAction::Continue;
            if wanted {
                (action, data) = self.call_body(direction, position, data, ends);
            }
            if ends && !trailers_before && created_at.is_none() && self.has_trailers(direction) {
                (created_at, end) = (Some(position), false);
                self.edit_place(direction, position, |place| place.trailers_arrived = true);
            }
            match action {
                DataAction::Continue if !stopped => continue,
                DataAction::Continue => {
                    self.put_held(direction, position, data);
                    self.go_on(direction, position);
                }
                DataAction::StopAndBuffer | DataAction::StopAndWatermark => {
                    let overflow = match action {
                        DataAction::StopAndBuffer => Overflow::Refuse,
                        _ => Overflow::Watermark,
                    };
                    self.edit_place(direction, position, |place| place.iteration = Iteration::StopSingle);
                    self.hold(direction, position, data, overflow);
                }
                DataAction::StopNoBuffer => {
                    self.edit_place(direction, position, |place| place.iteration = Iteration::StopSingle);
                    data.truncate(held_before);
                    if ends || !data.is_empty() {
                        self.put_held(direction, position, data);
                    }
                }
                DataAction::Respond(reply) => return self.respond(reply),
            }
            stopped_at = Some(position);
            data = BodyBuf::new();
            break;
        }
        if stopped_at.is_none() && (end || !data.is_empty()) {
            if !self.keeps_length(direction, data.len(), end) {
                return;
            }
            self.flow_mut(direction).complete |= end;
            self.emit(Out::Data(direction, data, end));
        }
        if let Some(created_at) = created_at
            && stopped_at != Some(created_at)
        {
            self.trailers(direction, created_at + 1);
        }
    }

    pub(super) fn trailers(&mut self, direction: Direction, start: usize) {
        for position in start..self.nodes.len() {
            if self.flow(direction).aborted {
                return;
            }
            let Some(node) = self.node(direction, position) else { break };
            let wanted = match direction {
                Direction::Request => node.wants.request_trailers,
                Direction::Response => node.wants.response_trailers,
            };
            let place = node.place_mut(direction);
            place.trailers_arrived = true;
            if place.stops_all() {
                return;
            }
            place.ended = true;
            let stopped = place.is_stopped();
            let mut action = TrailersAction::Continue;
            if wanted {
                action = self.call_trailers(direction, position);
            }
            match action {
                TrailersAction::Continue if stopped => return self.go_on(direction, position),
                TrailersAction::Continue => {
                    if let Some(held) = self.take_held(direction, position) {
                        self.data(direction, position + 1, held, false);
                    }
                }
                TrailersAction::Stop => {
                    return self.edit_place(direction, position, |place| place.iteration = Iteration::StopSingle);
                }
                TrailersAction::Respond(reply) => return self.respond(reply),
            }
        }
        if !self.flow(direction).aborted && self.keeps_length(direction, 0, true) {
            self.flow_mut(direction).complete = true;
            self.emit(Out::Trailers(direction));
        }
    }

    /// Goes on behind a filter with all that waits there. A filter that had stopped everything has not seen the body
    /// yet: that begins with itself, the headers behind it.
    pub(super) fn go_on(&mut self, direction: Direction, position: usize) {
        if self.flow(direction).aborted {
            return;
        }
        let held = self.take_held(direction, position);
        let Some(node) = self.node(direction, position) else { return };
        let place = node.place_mut(direction);
        let unseen = place.stops_all() && !place.ended;
        let headers_wait = !std::mem::replace(&mut place.headers_passed, true);
        let (end, trailers) = (place.end_arrived, place.trailers_arrived);
        self.edit_place(direction, position, |place| place.iteration = Iteration::Continue);

        if headers_wait {
            self.headers(direction, position + 1, end && held.is_none() && !trailers);
        }
        let next = if unseen { position } else { position + 1 };
        if let Some(held) = held {
            self.data(direction, next, held, end && !trailers);
        }
        if trailers {
            self.trailers(direction, next);
        }
    }

    fn note_length(&mut self, direction: Direction) {
        let changes = match direction {
            Direction::Request => self.wants.request_body || self.wants.request_trailers,
            Direction::Response => self.wants.response_body || self.wants.response_trailers,
        };
        if changes {
            let state = self.stream.get();
            let head = match direction {
                Direction::Request => Some(&state.request.headers),
                Direction::Response => state.response.as_ref().map(|head| &head.headers),
            };
            let announced = head.and_then(|headers| headers.get_str("content-length")?.parse().ok());
            drop(state);
            self.flow_mut(direction).announced = announced;
        }
    }

    /// A filter that changes a body whose length has been announced would have the other side read the rest of it as the
    /// next message (or wait for what never comes): such a message is not completed.
    fn keeps_length(&mut self, direction: Direction, len: usize, end: bool) -> bool {
        let Some(announced) = &mut self.flow_mut(direction).announced else { return true };
        match announced.checked_sub(len as u64) {
            Some(left) if !end || left == 0 => {
                *announced = left;
                true
            }
            _ => {
                self.respond(Answer::Failure(Failure::LengthChanged));
                false
            }
        }
    }

    pub(super) fn has_trailers(&self, direction: Direction) -> bool {
        let state = self.stream.get();
        match direction {
            Direction::Request => state.request_trailers.is_some(),
            Direction::Response => state.response_trailers.is_some(),
        }
    }

    fn call_headers(&mut self, direction: Direction, position: usize, end: bool) -> (HeadersAction, BodyBuf) {
        let (stream, node) = (&self.stream, node_at(&mut self.nodes, direction, position));
        let Some(node) = node else { return (HeadersAction::Continue, BodyBuf::new()) };
        let action = match direction {
            Direction::Request => node.filter.on_request_headers(stream, end),
            Direction::Response => node.filter.on_response_headers(stream, end),
        };
        (action, self.swap_body(direction, BodyBuf::new()))
    }

    fn call_body(&mut self, direction: Direction, position: usize, body: BodyBuf, end: bool) -> (DataAction, BodyBuf) {
        self.swap_body(direction, body);
        let (stream, node) = (&self.stream, node_at(&mut self.nodes, direction, position));
        let Some(node) = node else { return (DataAction::Continue, BodyBuf::new()) };
        let action = match direction {
            Direction::Request => node.filter.on_request_body(stream, end),
            Direction::Response => node.filter.on_response_body(stream, end),
        };
        (action, self.swap_body(direction, BodyBuf::new()))
    }

    /// The filter sees, and may add to, what it holds.
    fn call_trailers(&mut self, direction: Direction, position: usize) -> TrailersAction {
        let held = self.take_held(direction, position);
        let was_held = held.is_some();
        self.swap_body(direction, held.unwrap_or_default());
        let (stream, node) = (&self.stream, node_at(&mut self.nodes, direction, position));
        let Some(node) = node else { return TrailersAction::Continue };
        let action = match direction {
            Direction::Request => node.filter.on_request_trailers(stream),
            Direction::Response => node.filter.on_response_trailers(stream),
        };
        let body = self.swap_body(direction, BodyBuf::new());
        if was_held || !body.is_empty() {
            self.put_held(direction, position, body);
        }
        action
    }

    fn swap_body(&mut self, direction: Direction, body: BodyBuf) -> BodyBuf {
        let mut state = self.stream.edit();
        match direction {
            Direction::Request => std::mem::replace(&mut state.request_body, body),
            Direction::Response => std::mem::replace(&mut state.response_body, body),
        }
    }

    /// Holds a body and sees to the limit (`stream.buffer_limit`).
    fn hold(&mut self, direction: Direction, position: usize, body: BodyBuf, overflow: Overflow) {
        self.put_held(direction, position, body);
        let limit = self.stream.get().buffer_limit;
        let flow = self.flow_mut(direction);
        if flow.held_bytes <= limit {
            return;
        }
        match overflow {
            Overflow::Watermark => flow.above_watermark = true,
            Overflow::Refuse => self.respond(Answer::Failure(Failure::BodyTooLarge(direction))),
        }
    }

    fn put_held(&mut self, direction: Direction, position: usize, mut body: BodyBuf) {
        self.flow_mut(direction).held_bytes += body.len();
        self.edit_place(direction, position, |place| match &mut place.held {
            Some(held) => held.append(&mut body),
            None => place.held = Some(Box::new(body)),
        });
    }

    fn take_held(&mut self, direction: Direction, position: usize) -> Option<BodyBuf> {
        let place = self.node(direction, position)?.place_mut(direction);
        // The usual case, without a look at the stream.
        place.held.as_ref()?;
        let mut taken = None;
        self.edit_place(direction, position, |place| taken = place.held.take());
        let held = *taken?;
        let limit = self.stream.get().buffer_limit;
        let flow = self.flow_mut(direction);
        flow.held_bytes = flow.held_bytes.saturating_sub(held.len());
        if flow.held_bytes <= limit / 2 {
            flow.above_watermark = false;
        }
        Some(held)
    }

    /// Every change of `iteration` and `held` goes through here, so that `Flow::stopped` is right.
    fn edit_place(&mut self, direction: Direction, position: usize, edit: impl FnOnce(&mut Place)) {
        let Some(node) = self.node(direction, position) else { return };
        let place = node.place_mut(direction);
        let before = place.counts();
        edit(place);
        let after = place.counts();
        let flow = self.flow_mut(direction);
        match (before, after) {
            (false, true) => flow.stopped += 1,
            (true, false) => flow.stopped -= 1,
            _ => {}
        }
    }

    fn node(&mut self, direction: Direction, position: usize) -> Option<&mut Node<F>> {
        node_at(&mut self.nodes, direction, position)
    }
}

fn node_at<F>(nodes: &mut [Node<F>], direction: Direction, position: usize) -> Option<&mut Node<F>> {
    let index = match direction {
        Direction::Request => position,
        Direction::Response => nodes.len().checked_sub(position + 1)?,
    };
    nodes.get_mut(index)
}
