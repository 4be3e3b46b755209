//! One request from its head to its log line.
//!
//! [`serve`] reads as the story of a request: made canonical, routed, through the filters, to the cluster and back.
//! [`Request::poll`] moves what can be moved, in both directions at once, until the response has been written.

mod flow;
mod to_client;
mod to_cluster;

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::alarm::{Alarm, due, earlier};
use super::connection::{ConnectionContext, Serving};
use super::downstream::{Downstream, DownstreamError};
use super::error::{Cause, Failed, of_client};
use super::router::Router;
use super::{log, prepare, response};
use crate::filter::chain::{Chain, Direction, Out};
use crate::filter::{Answer, Failure, LocalReply, Stream};
use crate::http::{BodyBuf, RequestHead, ResponseHead, Version};
use crate::route::{Action, Choice, MatchInput, Matched, RouteConfig, RouteRef};
use crate::snapshot::compile::filter::{FilterInstance, PerRoute};
use crate::telemetry::StreamInfo;
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{Http, ListenerHttp, http, listener_http, weir};
pub(super) use flow::MOST_WAITING;

/// A request as its codec read it.
pub(crate) struct Incoming {
    /// Its head.
    pub(crate) head: RequestHead,
    /// Nothing follows the head.
    pub(crate) end: bool,
    /// Bytes of the head as it came.
    pub(crate) header_bytes: u64,
    /// It names a host.
    pub(crate) has_host: bool,
    /// It asks for another protocol.
    pub(crate) upgrade: bool,
}

/// Serves one request. When it returns, the response has been handed to the connection, or the client is gone.
pub(crate) async fn serve(
    cx: &Rc<ConnectionContext>,
    serving: Rc<Serving>,
    down: &mut Downstream<'_>,
    alarm: &mut Alarm,
    incoming: Incoming,
) {
    let mut info = StreamInfo::new(Rc::clone(&cx.info), incoming.head.version);
    info.request_header_bytes = incoming.header_bytes;
    let (end, upgrade) = (incoming.end, incoming.upgrade);
    let (head, refused) = prepare::prepare(cx, serving.manager(), incoming, &mut info);
    let mut request = Request::new(cx, serving, head, info, refused.is_none());
    let refused = refused.or_else(|| upgrade.then(|| request.upgrade_refused()));
    request.begin(down, end, refused);
    std::future::poll_fn(|task| request.poll(task, down, alarm)).await;
    request.finish();
}

/// Answers bytes that are no request, or not yet one, and logs that.
pub(super) fn answer_malformed(
    cx: &Rc<ConnectionContext>,
    serving: &Rc<Serving>,
    version: Version,
    cause: Cause,
) -> (ResponseHead, Bytes) {
    let mut info = StreamInfo::new(Rc::clone(&cx.info), version);
    let Failed { cause, flags, reply } = Failed::from(cause);
    info.flags.insert(flags);
    info.details = Some(reply.details.clone());
    let reply = match &serving.manager().local_replies {
        Some(configured) => configured.rewrite(reply, None, &mut info, false),
        None => reply,
    };
    info.status = reply.status;
    let metrics = serving.manager().scope.chunk(cx.worker.index);
    metrics.inc(http::DOWNSTREAM_RQ_TOTAL);
    let http2 = version == Version::Http2;
    metrics.inc(if http2 { http::DOWNSTREAM_RQ_HTTP2_TOTAL } else { http::DOWNSTREAM_RQ_HTTP1_TOTAL });
    metrics.inc(match cause {
        Cause::HeadTimeout => http::DOWNSTREAM_RQ_HEADER_TIMEOUT,
        Cause::RequestTimeout => http::DOWNSTREAM_RQ_TIMEOUT,
        Cause::IdleTimeout(_) => http::DOWNSTREAM_RQ_IDLE_TIMEOUT,
        _ => http::DOWNSTREAM_CX_PROTOCOL_ERROR,
    });
    if cause.is_header_limit() {
        cx.worker.limits().inc(weir::HEADER_LIMIT_EXCEEDED);
    }
    count_status(cx, serving, reply.status);
    let (mut head, body) = response::of_local_reply(reply);
    response::name(serving.manager(), &cx.worker, &mut head);
    info.bytes_sent = body.len() as u64;
    log::malformed(cx, serving, info);
    (head, body)
}

/// Counts a response by its status, for the connection manager and for its listener.
fn count_status(cx: &ConnectionContext, serving: &Serving, status: u16) {
    let metrics = serving.manager().scope.chunk(cx.worker.index);
    let of_listener = serving.listener_scope().chunk(cx.worker.index);
    if let (Some(class), Some(listener_class)) = (Http::class(status), ListenerHttp::class(status)) {
        metrics.inc(http::DOWNSTREAM_RQ_COMPLETED);
        metrics.inc(class);
        of_listener.inc(listener_http::DOWNSTREAM_RQ_COMPLETED);
        of_listener.inc(listener_class);
    }
}

/// A request under way.
struct Request {
    cx: Rc<ConnectionContext>,
    serving: Rc<Serving>,
    stream: Stream,
    chain: Chain<FilterInstance>,
    routes: Option<Arc<RouteConfig<PerRoute>>>,
    route: Chosen,
    random: u64,
    router: Option<Router>,
    /// Bytes that may wait for the client.
    watermark: usize,
    /// Who waits until the other side has taken something: the client's body, the endpoint's answer.
    paused: [bool; 2],
    /// The request was read to its end, or nobody wants the rest.
    request_read: bool,
    /// The response's head went to the client.
    head_sent: bool,
    /// The response was handed to the connection as a whole, or is cut.
    response_done: bool,
    /// The response ends in the middle: nobody waits until the rest of it is written.
    cut: bool,
    /// The client is gone, or its stream: nothing can be sent any more.
    gone: bool,
    idle_limit: Option<Duration>,
    last_moved: Instant,
    end_of_life: Option<Instant>,
    request_due: Option<Instant>,
}

/// What the route configuration has for a request.
#[derive(Clone, Copy)]
enum Chosen {
    Route(RouteRef),
    HttpsRedirect,
    None,
}

impl Request {
    fn new(
        cx: &Rc<ConnectionContext>,
        serving: Rc<Serving>,
        mut head: RequestHead,
        info: StreamInfo,
        route: bool,
    ) -> Self {
        let manager = serving.manager();
        let (start, timeouts) = (info.start, manager.timeouts);
        let routes = serving.routes();
        let random = cx.worker.clusters.random();
        if let Some(routes) = routes.as_deref()
            && !head.headers.contains("x-envoy-internal")
        {
            for name in &routes.internal_only_headers {
                head.headers.remove(&**name);
            }
        }
        let stream = Stream::new(head, info);
        stream.edit().buffer_limit = manager.buffer_limit;
        let route = if route { choose(routes.as_deref(), &stream, random) } else { Chosen::None };
        let matched = matched(routes.as_deref(), route);
        let said = matched.map(|matched| matched.per_filter()).unwrap_or_default();
        let chain = manager.filters.instantiate(&cx.worker.filters, &stream, said);
        let route_idle = matched.and_then(|matched| match &matched.route.action {
            Action::Forward(forward) => forward.idle_timeout,
            _ => None,
        });
        let route_life = matched.and_then(|matched| match &matched.route.action {
            Action::Forward(forward) => forward.max_stream_duration,
            _ => None,
        });
        let life = route_life.or(timeouts.stream).filter(|limit| !limit.is_zero());
        let idle_limit = route_idle.or(timeouts.stream_idle).filter(|limit| !limit.is_zero());
        let metrics = manager.scope.chunk(cx.worker.index);
        let http2 = stream.get().request.version == Version::Http2;
        metrics.inc(http::DOWNSTREAM_RQ_TOTAL);
        metrics.inc(if http2 { http::DOWNSTREAM_RQ_HTTP2_TOTAL } else { http::DOWNSTREAM_RQ_HTTP1_TOTAL });
        metrics.up(http::DOWNSTREAM_RQ_ACTIVE);
        Self {
            cx: Rc::clone(cx),
            stream,
            chain,
            routes,
            route,
            random,
            router: None,
            paused: [false; 2],
            watermark: manager.buffer_limit.min(MOST_WAITING),
            request_read: false,
            head_sent: false,
            response_done: false,
            cut: false,
            gone: false,
            idle_limit,
            last_moved: start,
            end_of_life: due(start, life),
            request_due: due(start, timeouts.request),
            serving,
        }
    }

    /// No route allows another protocol; as Envoy, that is said of a route only.
    fn upgrade_refused(&self) -> Cause {
        match self.route {
            Chosen::None => self.no_route(),
            Chosen::Route(_) | Chosen::HttpsRedirect => {
                self.metrics().inc(http::DOWNSTREAM_RQ_WS_ON_NON_WS_ROUTE);
                Cause::UpgradeRefused
            }
        }
    }

    fn no_route(&self) -> Cause {
        self.metrics().inc(http::NO_ROUTE);
        let known = self.routes.is_some();
        if known { Cause::NoRoute } else { Cause::NoRouteConfiguration }
    }

    /// Lets the request's head into the filters, or answers it if the connection manager refused it.
    fn begin(&mut self, down: &mut Downstream<'_>, end: bool, refused: Option<Cause>) {
        self.request_read = end;
        self.note_route();
        if end {
            let mut state = self.stream.edit();
            state.info.request_complete = Some(state.info.start);
        }
        match refused {
            Some(cause) => {
                if !cause.leaves_connection_usable() {
                    down.close_after();
                }
                self.answer(cause.into());
            }
            None if self.chain.is_empty() => self.forward(end),
            None => self.chain.request_headers(end),
        }
        self.take_out(down);
    }

    /// Moves all that can be moved. Ready when nothing is left to do for this request.
    fn poll(&mut self, task: &mut Context<'_>, down: &mut Downstream<'_>, alarm: &mut Alarm) -> Poll<()> {
        loop {
            let mut moved = self.poll_router(task, down);
            moved |= self.poll_client(task, down);
            moved |= self.apply_effects(down);
            let queued = down.queued();
            if queued > 0 && !self.gone {
                match down.poll_flush(task) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(error)) => self.client_failed(&error),
                    Poll::Pending if down.queued() < queued => self.last_moved = Instant::now(),
                    Poll::Pending => {}
                }
            }
            if self.gone || self.cut || (self.response_done && down.queued() == 0) {
                return Poll::Ready(());
            }
            if moved {
                continue;
            }
            match alarm.poll(task, self.next_deadline()) {
                Poll::Ready(()) => self.deadline(down),
                Poll::Pending => {
                    self.stream.edit().waker = Some(task.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Logs, and gives everything back.
    fn finish(mut self) {
        let now = Instant::now();
        if let Some(router) = self.router.take() {
            router.end(&self.cx.worker, &self.stream, now);
        }
        {
            let mut state = self.stream.edit();
            state.info.end = Some(now);
            if !self.request_read && !self.gone {
                self.metrics().inc(http::DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE);
            }
        }
        self.chain.log();
        log::request(&self.cx, &self.serving, &self.stream);
        self.chain.destroy();
        let info = &self.stream.get().info;
        let metrics = self.metrics();
        metrics.down(http::DOWNSTREAM_RQ_ACTIVE);
        metrics.record(http::DOWNSTREAM_RQ_TIME, now.saturating_duration_since(info.start).as_millis() as u64);
        // What requests and responses are made of; framing and TLS come on top on the wire.
        metrics.add(http::DOWNSTREAM_CX_RX_BYTES_TOTAL, info.request_header_bytes);
        metrics.add(http::DOWNSTREAM_CX_TX_BYTES_TOTAL, info.response_header_bytes + info.bytes_sent);
        count_status(&self.cx, &self.serving, info.status);
    }

    // ---- what the filters and the gateway itself decide ----------------------------------------------------------

    /// Does what left the chain.
    fn take_out(&mut self, down: &mut Downstream<'_>) {
        while let Some(out) = self.chain.next_out() {
            match out {
                Out::Headers(Direction::Request, end) => self.forward(end),
                Out::Data(Direction::Request, pieces, end) => self.send(pieces, end),
                Out::Trailers(Direction::Request) => self.send_trailers(),
                Out::Headers(Direction::Response, end) => self.respond_head(down, end),
                Out::Data(Direction::Response, pieces, end) => self.respond_data(down, pieces, end),
                Out::Trailers(Direction::Response) => self.respond_trailers(down),
                Out::Respond(answer) => self.local_reply(answer, true, down),
                Out::RespondDirect(answer) => self.local_reply(answer, false, down),
                Out::Reset => self.cut(down),
            }
        }
    }

    fn apply_effects(&mut self, down: &mut Downstream<'_>) -> bool {
        if self.stream.get().effects.is_empty() {
            return false;
        }
        self.chain.apply_effects();
        self.take_out(down);
        true
    }

    /// Answers by the gateway, through the filters' response side.
    fn answer(&mut self, failed: Failed) {
        self.stream.edit().info.flags.insert(failed.flags);
        self.chain.respond(failed.into_answer());
    }

    /// As [`Self::answer`], from outside of the chain's calls; a response that has begun is cut instead.
    fn fail(&mut self, failed: Failed, down: &mut Downstream<'_>) {
        if self.head_sent {
            {
                let info = &mut self.stream.edit().info;
                info.flags.insert(failed.flags);
                info.details = Some(failed.cause.details_of_a_cut());
            }
            self.cut(down);
        } else {
            self.answer(failed);
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

    fn local_reply(&mut self, answer: Answer, filtered: bool, down: &mut Downstream<'_>) {
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
            if let Some(matched) = matched(self.routes.as_deref(), self.route)
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
    fn cut(&mut self, down: &mut Downstream<'_>) {
        self.drop_router();
        if self.head_sent {
            self.metrics().inc(http::RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED);
        }
        self.metrics().inc(http::DOWNSTREAM_RQ_TX_RESET);
        down.reset();
        self.response_done = true;
        self.cut = true;
    }

    fn client_failed(&mut self, error: &DownstreamError) {
        let (flags, details) = of_client(error);
        {
            let info = &mut self.stream.edit().info;
            info.flags.insert(flags);
            info.details = Some(details);
        }
        if matches!(error, DownstreamError::Reset) {
            self.metrics().inc(http::DOWNSTREAM_RQ_RX_RESET);
        }
        self.gone = true;
    }

    fn drop_router(&mut self) {
        if let Some(router) = self.router.take() {
            router.end(&self.cx.worker, &self.stream, Instant::now());
        }
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    fn next_deadline(&self) -> Option<Instant> {
        let idle = due(self.last_moved, self.idle_limit);
        let router = self.router.as_ref().and_then(Router::deadline);
        let whole = self.request_due.filter(|_| !self.request_read);
        earlier(earlier(idle, router), earlier(self.end_of_life, whole))
    }

    fn deadline(&mut self, down: &mut Downstream<'_>) {
        let now = Instant::now();
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let cause = if passed(self.request_due) && !self.request_read {
            self.metrics().inc(http::DOWNSTREAM_RQ_TIMEOUT);
            Cause::RequestTimeout
        } else if passed(self.end_of_life) {
            self.metrics().inc(http::DOWNSTREAM_RQ_MAX_DURATION_REACHED);
            Cause::StreamDuration(self.request_read)
        } else if passed(due(self.last_moved, self.idle_limit)) {
            self.metrics().inc(http::DOWNSTREAM_RQ_IDLE_TIMEOUT);
            Cause::IdleTimeout(self.request_read)
        } else {
            // The router's own. It is told even while a slow client keeps it from being polled.
            let event = self.router.as_mut().and_then(|router| router.timed_out(&self.cx.worker, &self.stream));
            if let Some(event) = event {
                self.endpoint_sent(event, down);
            }
            return;
        };
        self.fail(cause.into(), down);
    }

    fn note_route(&self) {
        let Some(matched) = matched(self.routes.as_deref(), self.route) else { return };
        let info = &mut self.stream.edit().info;
        info.route = matched.route.name.clone();
        info.virtual_host = Some(Arc::clone(&matched.host.name));
        info.cluster = matched.cluster_name().cloned();
    }

    fn metrics(&self) -> Chunk<'_, Http> {
        self.serving.manager().scope.chunk(self.cx.worker.index)
    }
}

fn choose(routes: Option<&RouteConfig<PerRoute>>, stream: &Stream, random: u64) -> Chosen {
    let state = stream.get();
    let input = MatchInput::new(&state.request, random, state.info.connection.tls.as_ref());
    match routes.map(|routes| routes.choose(&input)) {
        Some(Choice::Route(matched)) => Chosen::Route(matched.at),
        Some(Choice::HttpsRedirect(_)) => Chosen::HttpsRedirect,
        Some(Choice::None) | None => Chosen::None,
    }
}

fn matched(routes: Option<&RouteConfig<PerRoute>>, chosen: Chosen) -> Option<Matched<'_, PerRoute>> {
    match chosen {
        Chosen::Route(at) => routes?.at(at),
        Chosen::HttpsRedirect | Chosen::None => None,
    }
}
