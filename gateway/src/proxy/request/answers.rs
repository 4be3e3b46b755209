//! What the gateway answers by itself, and how a response ends early.

use std::time::Instant;

use super::{Request, Response};
use crate::filter::chain::Direction;
use crate::filter::{Answer, Failure, LocalReply};
use crate::http::BodyBuf;
use crate::proxy::downstream::{Downstream, DownstreamError};
use crate::proxy::error::{Cause, Failed, of_client, of_cut};
use crate::proxy::response;
use crate::route::Action;
use crate::telemetry::metrics::names::{http, http2, weir};

impl Request {
    /// No route allows another protocol; as Envoy, that is said of a route only.
    pub(super) fn upgrade_refused(&self) -> Cause {
        if self.routing.is_none() {
            return self.no_route();
        }
        self.metrics().inc(http::DOWNSTREAM_RQ_WS_ON_NON_WS_ROUTE);
        Cause::UpgradeRefused
    }

    pub(super) fn no_route(&self) -> Cause {
        self.metrics().inc(http::NO_ROUTE);
        if self.routing.has_routes() { Cause::NoRoute } else { Cause::NoRouteConfiguration }
    }

    /// Answers by the gateway, through the filters' response side.
    pub(super) fn answer(&mut self, failed: Failed) {
        self.stream.edit().info.flags.insert(failed.flags);
        self.chain.respond(failed.into_answer());
    }

    /// As [`Self::answer`], from outside of the chain's calls; a response that has begun is cut instead.
    pub(super) fn fail(&mut self, failed: Failed, down: &mut Downstream<'_>) {
        if self.response == Response::Awaited {
            self.answer(failed);
        } else {
            {
                let info = &mut self.stream.edit().info;
                info.flags.insert(failed.flags);
                info.details = Some(failed.cause.details_of_a_cut());
            }
            self.cut(down);
        }
        self.take_out(down);
    }

    /// The answer to what the filters could not go on with.
    #[cold]
    fn filters_failed(&self, failure: Failure) -> LocalReply {
        if let Failure::BodyTooLarge(direction) = failure {
            self.metrics().inc(match direction {
                Direction::Request => http::DOWNSTREAM_RQ_TOO_LARGE,
                Direction::Response => http::RS_TOO_LARGE,
            });
            self.cx.worker.limits().inc(weir::BODY_LIMIT_EXCEEDED);
        }
        let Failed { flags, reply, .. } = Cause::Filters(failure).into();
        self.stream.edit().info.flags.insert(flags);
        reply
    }

    pub(super) fn local_reply(&mut self, answer: Answer, filtered: bool, down: &mut Downstream<'_>) {
        self.drop_router();
        // As Envoy: the rest of the request is not waited for. Filters see the end of a body after the body; until then
        // more may come.
        if !self.request_read {
            down.close_after();
        }
        let mut reply = match answer {
            Answer::Reply(reply) => *reply,
            Answer::Failure(failure) => self.filters_failed(failure),
        };
        let body = {
            let mut state = self.stream.edit();
            let state = &mut *state;
            state.info.details = Some(reply.details.clone());
            let grpc = response::is_grpc(&state.request);
            if let Some(matched) = self.routing.matched()
                && matches!(matched.route.action, Action::Forward(_))
            {
                reply = response::with_headers_of_route(reply, &matched, &state.request, &state.info);
            }
            let reply = match &self.serving.manager().local_replies {
                Some(configured) => configured.rewrite(reply, Some(&state.request), &mut state.info, grpc),
                None => reply,
            };
            let (head, body) = if grpc { response::of_grpc_reply(reply) } else { response::of_local_reply(reply) };
            state.response = Some(head);
            body
        };
        let end = body.is_empty();
        if filtered && !self.chain.passes_response_headers() {
            self.chain.response_headers(end);
            if !end {
                self.chain.response_body(body, true);
            }
        } else {
            self.respond_head(down, end);
            if !end {
                self.respond_data(down, BodyBuf::from(body), true);
            }
        }
    }

    /// The response cannot be completed: the client must see that.
    pub(super) fn cut(&mut self, down: &mut Downstream<'_>) {
        self.drop_router();
        match self.response {
            Response::Awaited => {}
            Response::Begun | Response::Complete => {
                self.metrics().inc(http::RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED);
            }
            Response::Cut | Response::Unwanted => return,
        }
        self.metrics().inc(http::DOWNSTREAM_RQ_TX_RESET);
        down.reset();
        self.response = Response::Cut;
    }

    pub(super) fn client_failed(&mut self, error: &DownstreamError) {
        let (flags, details) = match self.cx.is_cut() {
            None => of_client(error),
            Some(broken) => of_cut(broken),
        };
        {
            let info = &mut self.stream.edit().info;
            info.flags.insert(flags);
            info.details = Some(details);
        }
        self.response = Response::Unwanted;
    }

    /// The gateway ends, and the request with it.
    pub(super) fn cut_by_us(&mut self) {
        let info = &mut self.stream.edit().info;
        let (flags, details) = of_cut(false);
        info.flags.insert(flags);
        info.details = Some(details);
    }

    /// The client does not take the end of a response.
    pub(super) fn not_taken(&mut self, down: &mut Downstream<'_>) {
        self.serving.manager().codecs.1.chunk(self.cx.worker.index).inc(http2::TX_FLUSH_TIMEOUT);
        down.reset();
        self.response = Response::Cut;
    }

    fn drop_router(&mut self) {
        if let Some(router) = self.router.take() {
            router.end(&self.cx.worker, &self.stream, Instant::now());
        }
    }
}
