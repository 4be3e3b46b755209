//! One request from its head to its log line.
//!
//! [`serve`] is the story of a request: made canonical, routed, through the filters, to the cluster and back, logged.
//! [`Request::poll`] moves what can be moved, in both directions at once, until the response has been written.

mod account;
mod answers;
mod calls;
mod clock;
mod flow;
mod routing;
mod to_client;
mod to_cluster;

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::alarm::Alarm;
use super::connection::{ConnectionContext, Serving};
use super::downstream::Downstream;
use super::error::Cause;
use super::router::Router;
use super::{log, prepare};
use crate::filter::Stream;
use crate::filter::chain::{Chain, Direction, Out};
use crate::http::RequestHead;
use crate::snapshot::compile::filter::FilterInstance;
use crate::telemetry::StreamInfo;
pub(super) use account::{Malformed, refuse_head};
use calls::Calls;
use clock::Clock;
pub(super) use flow::MOST_WAITING;
use routing::Routing;

/// So many bytes for the client are worth a write of their own, although more comes.
const WRITTEN_AT_ONCE: usize = 16 * 1024;

/// So many events a request handles before others have their turn. A peer that always has more to say, in whatever small
/// pieces, neither keeps the worker for itself nor the request from its time-outs.
const TURN: u32 = 64;

/// A request as its codec read it.
pub(crate) struct Incoming {
    /// Its head.
    pub(crate) head: RequestHead,
    /// Nothing follows the head.
    pub(crate) end: bool,
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
    info.downstream_bytes = down.bytes();
    let (end, upgrade) = (incoming.end, incoming.upgrade);

    // Checked and made canonical.
    let (mut head, refused) = prepare::prepare(cx, serving.manager(), incoming, &mut info);

    // Routed, unless it is refused already.
    let mut routing = Routing::none(serving.routes(), cx.worker.clusters.random());
    routing.take_internal_only(&mut head);
    let stream = Stream::new(head, info);
    if refused.is_none() {
        routing.choose(&stream);
    }

    // Through the request's filters, unless the gateway answers by itself.
    let mut request = Request::new(cx, serving, stream, routing, end);
    request.count_begin();
    match refused.or_else(|| upgrade.then(|| request.upgrade_refused())) {
        Some(cause) => request.refuse(cause, down),
        None => request.enter_filters(down),
    }

    // To the cluster and back, the response through its filters, to the client.
    std::future::poll_fn(|task| request.poll(task, down, alarm)).await;

    // Logged, as soon as it is dropped: also if its connection is cut in the middle of it.
    request.stream.edit().info.downstream_bytes = down.bytes();
}

/// A request under way.
struct Request {
    cx: Rc<ConnectionContext>,
    serving: Rc<Serving>,
    stream: Stream,
    routing: Routing,
    chain: Chain<FilterInstance>,
    /// Its way to an endpoint, as long as it has one.
    router: Option<Router>,
    /// Bytes that may wait for the client.
    watermark: usize,
    /// Who waits until the other side has taken something: the client's body, the endpoint's answer.
    paused: [bool; 2],
    /// The request was read to its end, or nobody wants the rest.
    request_read: bool,
    response: Response,
    /// What its filters have asked of others.
    calls: Calls,
    clock: Clock,
}

/// Not ready, and asked again when all others, and the sockets, have been.
fn yield_to_others(task: &mut Context<'_>) -> Poll<()> {
    pin!(tokio::task::yield_now()).poll(task)
}

/// How far the response towards the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    /// Nothing of it was sent.
    Awaited,
    /// Its head was sent.
    Begun,
    /// All of it was handed to the connection, which may still have to write it.
    Complete,
    /// It ends in the middle: nobody waits until the rest of it is written.
    Cut,
    /// The client is gone, or its stream: nothing can be sent any more.
    Unwanted,
}

impl Response {
    /// Whether more of it may come.
    fn is_open(self) -> bool {
        matches!(self, Self::Awaited | Self::Begun)
    }
}

impl Request {
    fn new(cx: &Rc<ConnectionContext>, serving: Rc<Serving>, stream: Stream, routing: Routing, end: bool) -> Self {
        let manager = serving.manager();
        let (said, clock) = {
            let matched = routing.matched();
            let said = matched.as_ref().map(|matched| matched.per_filter()).unwrap_or_default();
            let forward = matched.and_then(routing::to_cluster);
            (said, Clock::new(stream.get().info.start, &manager.timeouts, forward))
        };
        {
            let mut state = stream.edit();
            state.buffer_limit = manager.buffer_limit;
            if end {
                state.info.request_complete = Some(state.info.start);
            }
        }
        let chain = manager.filters.instantiate(&cx.worker.filters, &stream, said);
        Self {
            cx: Rc::clone(cx),
            watermark: manager.buffer_limit.min(MOST_WAITING),
            stream,
            chain,
            routing,
            router: None,
            paused: [false; 2],
            request_read: end,
            response: Response::Awaited,
            calls: Calls::default(),
            clock,
            serving,
        }
    }

    /// The gateway answers what it does not serve.
    fn refuse(&mut self, cause: Cause, down: &mut Downstream<'_>) {
        if !cause.leaves_connection_usable() {
            down.close_after();
        }
        self.answer(cause.into());
        self.take_out(down);
    }

    /// Lets the request's head into the filters; what they let through goes to the cluster ([`Self::forward`]).
    fn enter_filters(&mut self, down: &mut Downstream<'_>) {
        if self.chain.is_empty() {
            self.forward(self.request_read);
        } else {
            self.chain.request_headers(self.request_read);
        }
        self.take_out(down);
    }

    /// Moves all that can be moved. Ready when nothing is left to do for this request.
    fn poll(&mut self, task: &mut Context<'_>, down: &mut Downstream<'_>, alarm: &mut Alarm) -> Poll<()> {
        let mut turn = 0..TURN;
        loop {
            // The client first: a head goes out together with what has come of its body.
            let mut moved = self.poll_client(task, down)
                || self.poll_router(task, down)
                || self.poll_calls(task, down)
                || self.apply_effects(down);
            // What the router has written since the client was asked makes room for more of its body.
            moved |= self.client_may_go_on();
            let queued = down.queued();
            // Likewise towards the client: while more comes at once, it is not written piece by piece.
            let write = !moved || queued >= WRITTEN_AT_ONCE || !self.response.is_open();
            if queued > 0 && write && self.response != Response::Unwanted {
                match down.poll_flush(task) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(error)) => self.client_failed(&error),
                    Poll::Pending if down.queued() < queued => self.clock.moved = Instant::now(),
                    Poll::Pending => {}
                }
            }
            match self.response {
                Response::Cut | Response::Unwanted => return Poll::Ready(()),
                Response::Complete if down.queued() == 0 => return Poll::Ready(()),
                Response::Awaited | Response::Begun | Response::Complete => {}
            }
            if moved && turn.next().is_some() {
                continue;
            }
            let over = if moved { self.is_over_time() } else { alarm.poll(task, self.next_deadline()).is_ready() };
            if over {
                self.deadline(down);
            } else if moved {
                self.keep_unread(task, down);
                return yield_to_others(task);
            } else {
                self.stream.edit().waker = Some(task.waker().clone());
                return Poll::Pending;
            }
        }
    }

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
                Out::Call(filter, id, call) => self.start_call(filter, id, *call),
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
}

impl Drop for Request {
    /// Logs, and gives everything back.
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(router) = self.router.take() {
            router.end(&self.cx.worker, &self.stream, now);
        }
        if self.response.is_open() {
            self.cut_by_us();
        }
        self.stream.edit().info.end = Some(now);
        self.chain.log();
        log::request(&self.cx, &self.serving, &self.stream);
        self.chain.destroy();
        self.count_end(now);
    }
}
