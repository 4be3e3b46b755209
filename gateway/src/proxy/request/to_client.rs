//! The response, from the cluster towards the client.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::{Request, matched};
use crate::filter::chain::Direction;
use crate::http::BodyBuf;
use crate::proxy::downstream::{Downstream, DownstreamError};
use crate::proxy::response;
use crate::proxy::router::Event;

impl Request {
    /// Takes what the endpoint sends, as fast as the client takes it.
    pub(super) fn poll_router(&mut self, task: &mut Context<'_>, down: &mut Downstream<'_>) -> bool {
        if self.router.is_none() || self.response_done || !self.chain.wants_more(Direction::Response) {
            return false;
        }
        // Before the head nothing waits for the client, and the request must go on.
        if self.head_sent || down.queued() > 0 {
            let room = down.has_room(task, self.watermark);
            if self.pauses(Direction::Response, !room) {
                return false;
            }
        }
        let Some(router) = &mut self.router else { return false };
        let routes = self.routes.as_deref();
        let Some(matched) = matched(routes, self.route) else { return false };
        let Poll::Ready(event) = router.poll(task, &self.cx.worker, &self.stream, &matched) else { return false };
        self.last_moved = Instant::now();
        self.endpoint_sent(event, down);
        true
    }

    pub(super) fn endpoint_sent(&mut self, event: Event, down: &mut Downstream<'_>) {
        match event {
            Event::Moved => {}
            // As Envoy: interim responses pass only where the gateway does not answer 100-continue by itself.
            Event::Informational(head) => {
                if self.serving.manager().proxy_100_continue {
                    down.informational(&head);
                }
            }
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

    pub(super) fn respond_head(&mut self, down: &mut Downstream<'_>, end: bool) {
        if self.head_sent || self.gone {
            return;
        }
        let manager = self.serving.manager();
        let sent = {
            let mut state = self.stream.edit();
            let state = &mut *state;
            let Some(head) = state.response.as_mut() else { return };
            response::finalize(manager, &self.cx.worker, &state.request, head);
            state.info.status = head.status;
            state.info.response_first = Some(self.last_moved);
            state.info.response_header_bytes = (head.headers.byte_size() + head.headers.len() * 4 + 19) as u64;
            down.head(head, end)
        };
        self.head_sent = true;
        self.sent(sent, end);
    }

    pub(super) fn respond_data(&mut self, down: &mut Downstream<'_>, mut pieces: BodyBuf, end: bool) {
        if !self.head_sent || self.response_done {
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
            if pieces.is_empty() || self.gone {
                return;
            }
        }
    }

    pub(super) fn respond_trailers(&mut self, down: &mut Downstream<'_>) {
        let sent = match &self.stream.get().response_trailers {
            Some(trailers) => down.trailers(trailers),
            None => down.data(Bytes::new(), true),
        };
        self.sent(sent, true);
    }

    fn sent(&mut self, sent: Result<(), DownstreamError>, end: bool) {
        match sent {
            Ok(()) => self.response_done |= end,
            Err(error) => self.client_failed(&error),
        }
    }
}
