//! The request, from the client towards the cluster.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::Request;
use crate::filter::chain::Direction;
use crate::http::h1::BodyEvent;
use crate::http::{BodyBuf, ResponseHead};
use crate::proxy::downstream::{Downstream, DownstreamError};
use crate::proxy::error::{Cause, Failed, Tries};
use crate::proxy::response;
use crate::proxy::router::Router;
use crate::route::https_redirect;
use crate::telemetry::metrics::names::{http, weir};

impl Request {
    /// Reads the client's body as long as somebody takes it; while nobody does, watches whether the client leaves.
    pub(super) fn poll_client(&mut self, task: &mut Context<'_>, down: &mut Downstream<'_>) -> bool {
        if !self.response.is_open() {
            return false;
        }
        if self.request_read {
            if let Poll::Ready(error) = down.poll_gone(task) {
                self.client_failed(&error);
                return true;
            }
            return false;
        }
        if self.pauses(Direction::Request, self.is_full()) || !self.chain.wants_more(Direction::Request) {
            if let Poll::Ready(error) = down.poll_unread(task) {
                self.client_failed(&error);
                return true;
            }
            return false;
        }
        match down.poll_body(task) {
            Poll::Pending => false,
            Poll::Ready(Ok(event)) => {
                self.client_sent(event, down);
                true
            }
            Poll::Ready(Err(DownstreamError::Malformed(error))) => {
                self.request_read = true;
                down.close_after();
                self.metrics().inc(http::DOWNSTREAM_CX_PROTOCOL_ERROR);
                let cause = Cause::MalformedBody(error);
                if cause.is_header_limit() {
                    self.cx.worker.limits().inc(weir::HEADER_LIMIT_EXCEEDED);
                }
                self.fail(cause.into(), down);
                true
            }
            Poll::Ready(Err(error)) => {
                self.client_failed(&error);
                true
            }
        }
    }

    /// Others have their turn before more of the client's body is looked at.
    pub(super) fn keep_unread(&mut self, task: &mut Context<'_>, down: &mut Downstream<'_>) {
        if !self.request_read
            && let Poll::Ready(error) = down.poll_unread(task)
        {
            self.client_failed(&error);
        }
    }

    /// There is room for the body again that had none when the client was asked last.
    pub(super) fn client_may_go_on(&self) -> bool {
        self.paused[Direction::Request as usize] && self.response.is_open() && !self.request_read && !self.is_full()
    }

    /// As much of the body waits for the endpoint as may.
    fn is_full(&self) -> bool {
        self.router.as_ref().is_some_and(|router| router.is_full())
    }

    fn client_sent(&mut self, event: BodyEvent, down: &mut Downstream<'_>) {
        let now = Instant::now();
        self.clock.moved = now;
        {
            let info = &mut self.stream.edit().info;
            info.downstream_bytes = down.bytes();
            if let BodyEvent::Data(piece) = &event {
                info.bytes_received += piece.len() as u64;
            } else {
                info.request_complete = Some(now);
                self.request_read = true;
            }
        }
        let bypass = self.chain.passes_request_body()
            && (!matches!(event, BodyEvent::Trailers(_)) || self.chain.passes_request_trailers());
        match (event, bypass) {
            (BodyEvent::Data(piece), true) => self.send(BodyBuf::from(piece), false),
            (BodyEvent::Data(piece), false) => self.chain.request_body(piece, false),
            (BodyEvent::End, true) => self.send(BodyBuf::new(), true),
            (BodyEvent::End, false) => self.chain.request_body(Bytes::new(), true),
            (BodyEvent::Trailers(trailers), bypass) => {
                self.stream.edit().request_trailers = Some(trailers);
                if bypass {
                    self.send_trailers();
                } else {
                    self.chain.request_trailers();
                }
            }
        }
        self.take_out(down);
    }

    pub(super) fn send(&mut self, pieces: BodyBuf, end: bool) {
        let failed = self.router.as_mut().and_then(|router| router.send(pieces, end, &self.stream));
        if let Some(failed) = failed {
            self.answer(failed);
        }
    }

    pub(super) fn send_trailers(&mut self) {
        if let Some(router) = &mut self.router {
            router.send_trailers(self.stream.get().request_trailers.clone());
        }
    }

    /// The head has passed the filters: to the route's cluster, or the route's own answer.
    pub(super) fn forward(&mut self, end: bool) {
        if std::mem::take(&mut self.stream.edit().clear_route_cache) {
            self.routing.choose(&self.stream);
        }
        self.metrics().inc(http::RQ_TOTAL);
        let routing = self.routing.clone();
        let Some(matched) = routing.matched() else {
            if routing.redirects_to_https() {
                self.metrics().inc(http::RQ_DIRECT_RESPONSE);
                let answer = https_redirect(&self.stream.get().request);
                return self.chain.respond(response::of_route(answer).into());
            }
            return self.answer(self.no_route().into());
        };
        let envoy_headers = !self.serving.manager().suppress_envoy_headers;
        let answer = matched.answer(&mut self.stream.edit().request, envoy_headers);
        if let Some(answer) = answer {
            // As in Envoy a redirect is one, too.
            self.metrics().inc(http::RQ_DIRECT_RESPONSE);
            let mut reply = response::of_route(answer);
            let mut head = ResponseHead { status: reply.status, headers: std::mem::take(&mut reply.headers) };
            {
                let state = &mut *self.stream.edit();
                // What is added to the answer may tell why there is one.
                state.info.details = Some(reply.details.clone());
                matched.finalize_response(&mut head, &state.request, &state.info);
            }
            reply.headers = head.headers;
            return self.chain.respond(reply.into());
        }
        match Router::start(
            &self.cx.worker,
            self.serving.snapshot(),
            self.serving.manager(),
            &self.stream,
            &matched,
            end,
        ) {
            Ok(router) => self.router = Some(router),
            Err(cause) => {
                if matches!(cause, Cause::NoCluster(_)) {
                    self.metrics().inc(http::NO_CLUSTER);
                }
                let show = matched.host.include_attempt_count_in_response;
                let tries = Tries {
                    no_envoy_headers: !envoy_headers,
                    shown: show.then(|| self.stream.get().info.attempts),
                    ..Tries::default()
                };
                self.answer(Failed::after(cause, &tries));
            }
        }
    }
}
