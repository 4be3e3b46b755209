//! A request's way to its cluster: an endpoint is chosen, a connection taken, the exchange driven, tried again where the
//! route says so.

mod account;
mod body;
mod failure;
mod instructions;
mod limits;
mod plan;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::alarm::{due, earlier};
use super::error::{Cause, Failed};
use super::worker::Worker;
use crate::cluster::{Cluster, Endpoint, NoEndpoint, Permit, Pick, RoutingPriority};
use crate::filter::Stream;
use crate::http::h1::{BodyEvent, ResponseOptions, trailer_bytes};
use crate::http::{BodyBuf, HeaderMap, NameCase, ResponseHead};
use crate::route::rewrite::rewrite_authority;
use crate::route::{Action, HostRewrite, Matched, Priority, RetryPolicy};
use crate::snapshot::Snapshot;
use crate::snapshot::compile::filter::PerRoute;
use crate::snapshot::connection_manager::ConnectionManager;
use crate::telemetry::Details;
use crate::telemetry::metrics::names::cluster as metric;
use crate::upstream::h1::{Exchange, ExchangeError, Head};
use crate::upstream::{Acquire, Lease, UpstreamError};

use self::body::Replay;
use self::limits::TryLimits;
use self::plan::finish_head;

/// What a router has to tell.
pub(super) enum Event {
    /// Something went on; ask again.
    Moved,
    /// A 1xx; the second field says that it is the first.
    Informational(ResponseHead, bool),
    /// The response's head; the second field says that nothing follows.
    Head(ResponseHead, bool),
    /// A piece of the response's body; the second field says that nothing follows.
    Data(Bytes, bool),
    /// The response's trailers.
    Trailers(HeaderMap),
    /// There is no (whole) response: the gateway answers instead.
    Failed(Box<Failed>),
}

/// The upstream side of one request.
pub(super) struct Router {
    cluster: Arc<Cluster>,
    priority: RoutingPriority,
    attempt: Attempt,
    /// Pieces of the body that the current try has not been given.
    unsent: BodyBuf,
    replay: Replay,
    ended: bool,
    trailers: Option<HeaderMap>,
    retry: Option<Arc<RetryPolicy>>,
    retries: u32,
    retry_permit: Option<Permit>,
    tried: SmallVec<[Arc<Endpoint>; 1]>,
    timeout: Option<Duration>,
    timeout_at: Option<Instant>,
    try_limits: Option<Box<TryLimits>>,
    /// The next of `try_limits`.
    try_limit_at: Option<Instant>,
    /// The answer has begun: no more retries.
    responding: bool,
    /// An interim answer came.
    interim: bool,
    /// The request came from inside, which counts its answer apart.
    internal: bool,
    /// The answer is gRPC's: its trailers say whether it is good.
    grpc_open: bool,
    names: NameCase,
    read: ResponseOptions,
    count_attempts: bool,
    show_attempts: bool,
    envoy_headers: bool,
    /// The host as it was routed, if that decides whom a connection leads to.
    host: Bytes,
    rewrite_to_endpoint: bool,
    append_forwarded_host: bool,
    late_is_empty: bool,
}

/// What the current try does.
enum Attempt {
    /// A connection is being made, or waited for.
    Connecting(Arc<Endpoint>, Pin<Box<dyn Future<Output = Result<Lease, UpstreamError>>>>),
    /// The exchange is under way.
    Active(Box<Active>),
    /// Until the next try.
    Pausing(Instant),
    /// Nothing more will come.
    Done,
}

struct Active {
    lease: Lease,
    exchange: Exchange,
    flushed: bool,
}

impl Router {
    /// Finishes the request's head and makes the first try. `end` says that the head is all of the request.
    pub(super) fn start(
        worker: &Worker,
        snapshot: &Snapshot,
        manager: &ConnectionManager,
        stream: &Stream,
        matched: &Matched<'_, PerRoute>,
        end: bool,
    ) -> Result<Self, Cause> {
        let Action::Forward(forward) = &matched.route.action else { return Err(Cause::NoRoute) };
        let found = matched.cluster_name().and_then(|name| snapshot.clusters.find(name));
        let Some(cluster) = found else {
            stream.edit().info.cluster = None;
            return Err(Cause::NoCluster(forward.cluster_not_found_status));
        };
        stream.edit().info.cluster = Some(Arc::clone(cluster.name()));
        if cluster.endpoints.sheds(|| worker.clusters.random()) {
            account::refused(cluster, worker, stream);
            let all = cluster.endpoints.sheds_all();
            return Err(if all { Cause::UnconditionalDropOverload } else { Cause::DropOverload });
        }
        let config = &cluster.config;
        let envoy_headers = !manager.suppress_envoy_headers;
        // As in Envoy the first attempt has begun when the head is made, and choosing counts even if there is nothing to choose.
        stream.edit().info.attempts += 1;
        let plan = finish_head(stream, matched, forward, config.http.max_stream_duration, envoy_headers);
        let limit = matched.route.retry_buffer_limit.map_or(manager.buffer_limit, |limit| limit as usize);
        let mut router = Self {
            cluster: Arc::clone(cluster),
            priority: match forward.priority {
                Priority::Default => RoutingPriority::Default,
                Priority::High => RoutingPriority::High,
            },
            attempt: Attempt::Done,
            unsent: BodyBuf::new(),
            replay: if plan.retry.is_some() && !end {
                Replay::Keep { pieces: BodyBuf::new(), limit }
            } else {
                Replay::Off
            },
            ended: end,
            trailers: None,
            retry: plan.retry,
            retries: 0,
            retry_permit: None,
            tried: SmallVec::new(),
            timeout: plan.timeout,
            timeout_at: if end { due(Instant::now(), plan.timeout) } else { None },
            try_limits: plan.try_limits,
            try_limit_at: None,
            responding: false,
            interim: false,
            internal: false,
            grpc_open: false,
            names: config.http.http1.key_format.written(),
            read: config.response_options(),
            count_attempts: matched.host.include_request_attempt_count,
            show_attempts: matched.host.include_attempt_count_in_response,
            envoy_headers,
            host: if config.http.by_host() { stream.get().request.authority.clone() } else { Bytes::new() },
            append_forwarded_host: forward.append_x_forwarded_host,
            rewrite_to_endpoint: matches!(forward.host_rewrite, HostRewrite::Endpoint),
            late_is_empty: plan.late_is_empty,
        };
        router.try_once(worker, stream)?;
        Ok(router)
    }

    /// When it wants to be polled at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pause = match &self.attempt {
            Attempt::Pausing(until) => Some(*until),
            _ => None,
        };
        earlier(earlier(self.timeout_at, self.try_limit_at), pause)
    }

    /// Goes on as far as it can.
    pub(super) fn poll(
        &mut self,
        task: &mut Context<'_>,
        worker: &Worker,
        stream: &Stream,
        matched: &Matched<'_, PerRoute>,
    ) -> Poll<Event> {
        match &mut self.attempt {
            Attempt::Done | Attempt::Pausing(_) => Poll::Pending,
            Attempt::Connecting(_, connecting) => match connecting.as_mut().poll(task) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(lease)) => {
                    self.begin_exchange(lease, stream);
                    Poll::Ready(Event::Moved)
                }
                Poll::Ready(Err(error)) => Poll::Ready(self.not_connected(&error, worker, stream)),
            },
            Attempt::Active(_) => self.poll_exchange(task, worker, stream, matched),
        }
    }

    /// The request needs it no more. A connection in the middle of something is closed.
    pub(super) fn end(self, worker: &Worker, stream: &Stream, now: Instant) {
        match self.attempt {
            Attempt::Active(_) => stream.edit().info.upstream_rx_last = Some(now),
            Attempt::Connecting(..) => self.metrics(worker).inc(metric::UPSTREAM_RQ_CANCELLED),
            Attempt::Pausing(_) | Attempt::Done => {}
        }
    }

    // ---- one try -------------------------------------------------------------------------------------------------

    /// Chooses an endpoint and takes a connection to it.
    fn try_once(&mut self, worker: &Worker, stream: &Stream) -> Result<(), Cause> {
        let retry = self.retry.as_deref();
        let pick = Pick {
            tried: &self.tried,
            avoid_tried: retry.is_some_and(|retry| retry.avoid_previous_hosts),
            reselect: retry.map_or(0, |retry| retry.host_selection_attempts),
            priority_update_frequency: retry.and_then(|retry| retry.avoid_previous_priorities).unwrap_or_default(),
        };
        let picked = worker.clusters.pick(&self.cluster, &pick);
        let endpoint = picked.map_err(|_: NoEndpoint| {
            self.metrics(worker).inc(metric::UPSTREAM_CX_NONE_HEALTHY);
            account::refused(&self.cluster, worker, stream);
            Cause::NoEndpoint
        })?;
        {
            let mut state = stream.edit();
            state.info.upstream_remote = Some(endpoint.address);
            if self.count_attempts {
                let attempts = state.info.attempts;
                state.request.headers.set("x-envoy-attempt-count", itoa::Buffer::new().format(attempts));
            }
            if self.rewrite_to_endpoint && !endpoint.hostname.is_empty() {
                let host = Bytes::copy_from_slice(endpoint.hostname.as_bytes());
                rewrite_authority(&mut state.request, host, self.append_forwarded_host, self.envoy_headers);
            }
        }
        if self.retry.is_some() {
            self.tried.push(Arc::clone(&endpoint));
        }
        let (cluster, host) = (&self.cluster, &self.host);
        let acquire = Acquire { cluster, endpoint: &endpoint, priority: self.priority, host };
        match worker.pools.checkout(acquire) {
            Ok(Some(lease)) => self.begin_exchange(lease, stream),
            Ok(None) => {
                let connecting = Box::pin(worker.pools.establish(acquire));
                self.attempt = Attempt::Connecting(endpoint, connecting);
            }
            Err(error) => self.attempt = Attempt::Connecting(endpoint, Box::pin(std::future::ready(Err(error)))),
        }
        Ok(())
    }

    fn begin_exchange(&mut self, mut lease: Lease, stream: &Stream) {
        let now = Instant::now();
        {
            let mut state = stream.edit();
            let info = &mut state.info;
            info.upstream_connected = true;
            info.upstream_connection = lease.id;
            let address = lease.endpoint().address;
            if !info.upstream_attempted.contains(&address) {
                info.upstream_attempted.push(address);
            }
            state.info.upstream_local = lease.local;
            state.info.upstream_tls = lease.tls.clone();
            state.info.upstream_tx_first.get_or_insert(now);
            let end = self.ended && self.unsent.is_empty() && self.trailers.is_none();
            let exchange = Exchange::start(&mut lease.wire, &state.request, end, self.names, self.read);
            self.attempt = Attempt::Active(Box::new(Active { lease, exchange, flushed: false }));
        }
        let ended = self.ended;
        self.limit_try(|limits| {
            limits.connected(now);
            if ended {
                limits.requested(now);
            }
        });
    }

    /// Moves the limits of the try, if there are any.
    fn limit_try(&mut self, change: impl FnOnce(&mut TryLimits)) {
        if let Some(limits) = &mut self.try_limits {
            change(limits);
            self.try_limit_at = limits.next();
        }
    }

    fn poll_exchange(
        &mut self,
        task: &mut Context<'_>,
        worker: &Worker,
        stream: &Stream,
        matched: &Matched<'_, PerRoute>,
    ) -> Poll<Event> {
        let Attempt::Active(active) = &mut self.attempt else { return Poll::Pending };
        let Active { lease, exchange, flushed } = &mut **active;
        while let Some(piece) = self.unsent.pop() {
            exchange.send(&mut lease.wire, piece);
        }
        if self.ended {
            let pass = self.cluster.config.http.http1.trailers;
            exchange.finish(&mut lease.wire, self.trailers.as_ref().filter(|_| pass));
        }
        let mut write_failed = None;
        if lease.wire.queued() > 0 {
            *flushed = false;
            match lease.wire.poll_flush(task) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => {}
                // The endpoint may have answered before it closed: its answer counts.
                Poll::Ready(Err(source)) => write_failed = Some(source),
            }
        }
        if !*flushed && lease.wire.queued() == 0 {
            *flushed = true;
            if self.ended {
                stream.edit().info.upstream_tx_last = Some(Instant::now());
            }
        }
        if self.responding {
            let polled = exchange.poll_body(&mut lease.wire, task);
            account::count_bytes(lease, exchange, stream);
            return match polled {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(event)) => Poll::Ready(self.body(event, worker, stream)),
                Poll::Ready(Err(error)) => Poll::Ready(self.broken(&error, worker, stream)),
            };
        }
        let polled = exchange.poll_head(&mut lease.wire, task);
        account::count_bytes(lease, exchange, stream);
        match polled {
            Poll::Pending => match write_failed {
                None => Poll::Pending,
                Some(source) => Poll::Ready(self.broken(&ExchangeError::Io { begun: false, source }, worker, stream)),
            },
            Poll::Ready(Ok(Head::Informational(head))) => {
                let first = self.informational(head.status, worker, stream);
                Poll::Ready(Event::Informational(head, first))
            }
            Poll::Ready(Ok(Head::Final { head, end })) => Poll::Ready(self.head(head, end, worker, stream, matched)),
            Poll::Ready(Err(error)) => Poll::Ready(self.broken(&error, worker, stream)),
        }
    }

    // ---- the response --------------------------------------------------------------------------------------------

    fn head(
        &mut self,
        mut head: ResponseHead,
        end: bool,
        worker: &Worker,
        stream: &Stream,
        matched: &Matched<'_, PerRoute>,
    ) -> Event {
        let now = Instant::now();
        self.internal = account::is_internal(stream);
        match &self.retry {
            Some(retry) if retry.retries_response(&head) => {
                if self.plan_retry(Some(head.status), worker, stream, now) {
                    return Event::Moved;
                }
            }
            _ => self.retried_well(worker),
        }
        self.responding = true;
        self.retry = None;
        self.limit_try(|limits| limits.answered(now));
        self.count_head(&head, end, worker, stream);
        {
            let mut state = stream.edit();
            let state = &mut *state;
            state.info.upstream_rx_first = Some(now);
            state.info.status = head.status;
            state.info.details = Some(Details::Borrowed("via_upstream"));
            if self.envoy_headers
                && let Some(complete) = state.info.request_complete
            {
                let taken = now.saturating_duration_since(complete).as_millis() as u64;
                head.headers.set("x-envoy-upstream-service-time", itoa::Buffer::new().format(taken));
            }
            if self.show_attempts {
                head.headers.set("x-envoy-attempt-count", itoa::Buffer::new().format(state.info.attempts));
            }
            matched.finalize_response(&mut head, &state.request, &state.info);
        }
        if end {
            self.complete(None, worker, stream);
        }
        Event::Head(head, end)
    }

    fn body(&mut self, event: BodyEvent, worker: &Worker, stream: &Stream) -> Event {
        let done = !matches!(&self.attempt, Attempt::Active(active) if !active.exchange.response_done());
        let pass_trailers = self.cluster.config.http.http1.trailers;
        if done {
            let trailers = if let BodyEvent::Trailers(trailers) = &event { Some(trailers) } else { None };
            if let Some(trailers) = trailers.filter(|_| pass_trailers) {
                stream.edit().info.upstream_bytes.fields_received += trailer_bytes(trailers) as u64;
            }
            self.complete(trailers, worker, stream);
        } else {
            self.limit_try(|limits| limits.moved(Instant::now()));
        }
        match event {
            BodyEvent::Data(piece) => Event::Data(piece, done),
            BodyEvent::Trailers(trailers) if pass_trailers => Event::Trailers(trailers),
            BodyEvent::Trailers(_) | BodyEvent::End => Event::Data(Bytes::new(), true),
        }
    }

    /// The response has been read: its connection is free, if the request has been sent as well.
    fn complete(&mut self, trailers: Option<&HeaderMap>, worker: &Worker, stream: &Stream) {
        let now = Instant::now();
        stream.edit().info.upstream_rx_last = Some(now);
        self.count_end(trailers, now, worker, stream);
        self.stop_clocks();
        if let Attempt::Active(active) = std::mem::replace(&mut self.attempt, Attempt::Done) {
            active.exchange.give_back(active.lease, now);
        }
    }

    fn stop_clocks(&mut self) {
        self.timeout_at = None;
        self.try_limits = None;
        self.try_limit_at = None;
    }
}
