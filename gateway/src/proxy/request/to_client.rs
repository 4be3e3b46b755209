//! The response, from the cluster towards the client.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::{Request, Response};
use crate::filter::chain::Direction;
use crate::http::BodyBuf;
use crate::proxy::downstream::{Downstream, DownstreamError};
use crate::proxy::response;
use crate::proxy::router::Event;
use crate::telemetry::metrics::names::weir;

impl Request {
    /// Takes what the endpoint sends, as fast as the client takes it.
    pub(super) fn poll_router(&mut self, task: &mut Context<'_>, down: &mut Downstream<'_>) -> bool {
        if self.router.is_none() || !self.response.is_open() || !self.chain.wants_more(Direction::Response) {
            return false;
        }
        // Before the head nothing waits for the client, and the request must go on.
        if self.response == Response::Begun || down.queued() > 0 {
            let room = down.has_room(task, self.watermark);
            if self.pauses(Direction::Response, !room) {
                return false;
            }
        }
        let Some(router) = &mut self.router else { return false };
        let Some(matched) = self.routing.matched() else { return false };
        let Poll::Ready(event) = router.poll(task, &self.cx.worker, &self.stream, &matched) else { return false };
        self.clock.moved = Instant::now();
        self.endpoint_sent(event, down);
        true
    }

    pub(super) fn endpoint_sent(&mut self, event: Event, down: &mut Downstream<'_>) {
        match event {
            Event::Moved => {}
            // As Envoy: interim responses pass only where the gateway does not answer 100-continue by itself, and only the
            // first. They wait for nobody, so any number would pile up before a client that does not read.
            Event::Informational(mut head, first) => match (self.serving.manager().proxy_100_continue, first) {
                (true, true) => {
                    self.chain.informational(&mut head);
                    down.informational(&head);
                }
                (true, false) => self.cx.worker.limits().inc(weir::INTERIM_RESPONSES_DROPPED),
                (false, _) => {}
            },
            Event::Head(head, end) => {
                self.stream.edit().response = Some(head);
                if self.chain.passes_response_headers() {
                    self.respond_head(down, end);
                } else {
                    self.chain.response_headers(end);
                }
            }
            Event::Data(piece, end) if self.chain.passes_response_body() => {
                self.respond_data(down, BodyBuf::from(piece), end)
            }
            Event::Data(piece, end) => self.chain.response_body(piece, end),
            Event::Trailers(trailers) => {
                self.stream.edit().response_trailers = Some(trailers);
                if self.chain.passes_response_trailers() {
                    self.respond_trailers(down);
                } else {
                    self.chain.response_trailers();
                }
            }
            Event::Failed(failed) => self.fail(*failed, down),
        }
        self.take_out(down);
    }

    pub(super) fn respond_head(&mut self, down: &mut Downstream<'_>, mut end: bool) {
        if self.response != Response::Awaited {
            return;
        }
        let manager = self.serving.manager();
        let sent = {
            let mut state = self.stream.edit();
            let state = &mut *state;
            let Some(head) = state.response.as_mut() else { return };
            response::finalize(manager, &self.cx.worker, &state.request, head);
            // A filter can make such a status of one with a body, which would be read as the next response.
            if !end && matches!(head.status, 204 | 304) {
                head.headers.remove("content-length");
                end = true;
            }
            state.info.status = head.status;
            state.info.response_first = Some(self.clock.moved);
            let sent = down.head(head, end);
            state.info.downstream_bytes = down.bytes();
            sent
        };
        self.response = Response::Begun;
        self.sent(sent, end);
    }

    pub(super) fn respond_data(&mut self, down: &mut Downstream<'_>, mut pieces: BodyBuf, end: bool) {
        if self.response != Response::Begun {
            return;
        }
        {
            let mut state = self.stream.edit();
            if !state.request.is_head() {
                state.info.bytes_sent += pieces.len() as u64;
            }
        }
        loop {
            let piece = pieces.pop().unwrap_or_default();
            let last = end && pieces.is_empty();
            let sent = down.data(piece, last);
            self.sent(sent, last);
            if pieces.is_empty() || self.response == Response::Unwanted {
                break;
            }
        }
        self.stream.edit().info.downstream_bytes = down.bytes();
    }

    pub(super) fn respond_trailers(&mut self, down: &mut Downstream<'_>) {
        if self.response != Response::Begun {
            return;
        }
        let sent = match &self.stream.get().response_trailers {
            Some(trailers) => down.trailers(trailers),
            None => down.data(Bytes::new(), true),
        };
        self.sent(sent, true);
    }

    fn sent(&mut self, sent: Result<(), DownstreamError>, end: bool) {
        match sent {
            Ok(()) if end => {
                self.response = Response::Complete;
                self.begin_to_flush();
            }
            Ok(()) => {}
            Err(error) => self.client_failed(&error),
        }
    }
}
