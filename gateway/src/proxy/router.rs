//! A request's way to its cluster: an endpoint is chosen, a connection taken, the exchange driven, tried again where the
//! route says so.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::alarm::{due, earlier};
use super::error::Cause;
use super::worker::Worker;
use crate::cluster::{BreakerKind, Cluster, Endpoint, NoEndpoint, Permit, Pick, RoutingPriority};
use crate::filter::Stream;
use crate::http::h1::{BodyEvent, HeadLimits};
use crate::http::{BodyBuf, HeaderMap, RequestHead, ResponseHead};
use crate::route::retry::Failure;
use crate::route::rewrite::rewrite_authority;
use crate::route::{Action, Forward, HostRewrite, Matched, Priority, RetryPolicy};
use crate::snapshot::Snapshot;
use crate::snapshot::compile::filter::PerRoute;
use crate::snapshot::connection_manager::ConnectionManager;
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{self, cluster as metric};
use crate::telemetry::{Details, ResponseFlags};
use crate::upstream::h1::{Exchange, ExchangeError, Head};
use crate::upstream::{Acquire, Lease, UpstreamError};

/// What a router has to tell.
pub(super) enum Event {
    /// Something went on; ask again.
    Moved,
    /// A 1xx.
    Informational(ResponseHead),
    /// The response's head; the second field says that nothing follows.
    Head(ResponseHead, bool),
    /// A piece of the response's body; the second field says that nothing follows.
    Data(Bytes, bool),
    /// The response's trailers.
    Trailers(HeaderMap),
    /// There is no (whole) response.
    Failed(Cause),
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
    try_timeout_at: Option<Instant>,
    /// A deadline has passed; [`Router::poll`] sees which.
    rang: bool,
    responding: bool,
    limits: HeadLimits,
    count_attempts: bool,
    show_attempts: bool,
    envoy_headers: bool,
    rewrite_to_endpoint: bool,
    append_forwarded_host: bool,
    started: Instant,
}

/// What the current try does.
enum Attempt {
    /// A connection is being made, or waited for.
    Connecting(Pin<Box<dyn Future<Output = Result<Lease, UpstreamError>>>>),
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

/// The request's body, kept for another try as long as one may come and it is not too large.
enum Replay {
    Off,
    Keep { pieces: Vec<Bytes>, len: usize, limit: usize },
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
        let Some(cluster) = found else { return Err(Cause::NoCluster(forward.cluster_not_found_status)) };
        let envoy_headers = !manager.suppress_envoy_headers;
        stream.edit().info.cluster = Some(Arc::clone(cluster.name()));
        let retry = finish_head(stream, matched, forward, envoy_headers);
        let config = &cluster.config;
        let limit = matched.route.retry_buffer_limit.map_or(manager.buffer_limit, |limit| limit as usize);
        let now = Instant::now();
        let mut router = Self {
            cluster: Arc::clone(cluster),
            priority: match forward.priority {
                Priority::Default => RoutingPriority::Default,
                Priority::High => RoutingPriority::High,
            },
            attempt: Attempt::Done,
            unsent: BodyBuf::new(),
            replay: if retry.is_some() && !end {
                Replay::Keep { pieces: Vec::new(), len: 0, limit }
            } else {
                Replay::Off
            },
            ended: end,
            trailers: None,
            retry,
            retries: 0,
            retry_permit: None,
            tried: SmallVec::new(),
            timeout: forward.timeout,
            timeout_at: if end { due(now, forward.timeout) } else { None },
            try_timeout_at: None,
            rang: false,
            responding: false,
            limits: HeadLimits {
                bytes: config.http.max_response_headers_kb as usize * 1024,
                fields: config.http.max_headers_count as usize,
            },
            count_attempts: matched.host.include_request_attempt_count,
            show_attempts: matched.host.include_attempt_count_in_response,
            envoy_headers,
            append_forwarded_host: forward.append_x_forwarded_host,
            rewrite_to_endpoint: matches!(forward.host_rewrite, HostRewrite::Endpoint),
            started: now,
        };
        router.try_once(worker, stream)?;
        Ok(router)
    }

    /// Takes pieces of the request's body.
    pub(super) fn send(&mut self, mut pieces: BodyBuf, end: bool) {
        if let Replay::Keep { pieces: kept, len, limit } = &mut self.replay {
            *len += pieces.len();
            if *len > *limit {
                self.replay = Replay::Off;
                // Beyond the limit the request can be sent once only (Envoy: retry_or_shadow_abandoned).
                self.retry = None;
            } else {
                kept.extend(pieces.pieces().cloned());
            }
        }
        self.unsent.append(&mut pieces);
        if end {
            self.end_request(None);
        }
    }

    /// Takes the request's trailers, its end.
    pub(super) fn send_trailers(&mut self, trailers: Option<HeaderMap>) {
        self.end_request(trailers);
    }

    fn end_request(&mut self, trailers: Option<HeaderMap>) {
        let now = Instant::now();
        self.ended = true;
        self.trailers = trailers;
        self.timeout_at = due(now, self.timeout);
        self.arm_try(now);
    }

    /// Bytes that wait for the endpoint.
    pub(super) fn queued(&self) -> usize {
        let wire = match &self.attempt {
            Attempt::Active(active) => active.lease.wire.queued(),
            _ => 0,
        };
        self.unsent.len() + wire
    }

    /// When it wants to be polled at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pause = match &self.attempt {
            Attempt::Pausing(until) => Some(*until),
            _ => None,
        };
        earlier(earlier(self.timeout_at, self.try_timeout_at), pause)
    }

    /// Its deadline has passed.
    pub(super) fn rang(&mut self) {
        self.rang = true;
    }

    /// Goes on as far as it can.
    pub(super) fn poll(
        &mut self,
        task: &mut Context<'_>,
        worker: &Worker,
        stream: &Stream,
        matched: &Matched<'_, PerRoute>,
    ) -> Poll<Event> {
        if std::mem::take(&mut self.rang)
            && let Some(event) = self.timed_out(worker, stream)
        {
            return Poll::Ready(event);
        }
        match &mut self.attempt {
            Attempt::Done | Attempt::Pausing(_) => Poll::Pending,
            Attempt::Connecting(connecting) => match connecting.as_mut().poll(task) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(lease)) => {
                    self.begin_exchange(lease, worker, stream);
                    Poll::Ready(Event::Moved)
                }
                Poll::Ready(Err(error)) => Poll::Ready(self.not_connected(&error, worker, stream)),
            },
            Attempt::Active(_) => self.poll_exchange(task, worker, stream, matched),
        }
    }

    /// The request needs it no more. A connection in the middle of something is closed.
    pub(super) fn end(self, worker: &Worker, stream: &Stream, now: Instant) {
        let Attempt::Active(active) = self.attempt else { return };
        stream.edit().info.upstream_rx_last = Some(now);
        let metrics = self.cluster.runtime.metrics().chunk(worker.index);
        if !active.exchange.response_done() {
            metrics.inc(metric::UPSTREAM_RQ_CANCELLED);
        }
        drop(active);
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
        if self.cluster.endpoints.sheds(worker.clusters.random()) {
            return Err(Cause::DropOverload);
        }
        let picked = worker.clusters.pick(&self.cluster, &pick);
        let endpoint = picked.map_err(|_: NoEndpoint| {
            self.metrics(worker).inc(metric::UPSTREAM_CX_NONE_HEALTHY);
            // As in Envoy, choosing counts as an attempt even if there is nothing to choose.
            stream.edit().info.attempts += 1;
            Cause::NoEndpoint
        })?;
        {
            let mut state = stream.edit();
            state.info.attempts += 1;
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
        let acquire = Acquire {
            cluster: &self.cluster,
            endpoint: &endpoint,
            priority: self.priority,
            host: &stream.get().request.authority.clone(),
        };
        match worker.pools.checkout(acquire) {
            Ok(Some(lease)) => self.begin_exchange(lease, worker, stream),
            Ok(None) => self.attempt = Attempt::Connecting(Box::pin(worker.pools.establish(acquire))),
            Err(error) => return Err(cause_of(&error)),
        }
        Ok(())
    }

    fn begin_exchange(&mut self, mut lease: Lease, worker: &Worker, stream: &Stream) {
        let now = Instant::now();
        let mut state = stream.edit();
        state.info.upstream_local = lease.local;
        state.info.upstream_tls = lease.tls.clone();
        state.info.upstream_tx_first.get_or_insert(now);
        let end = self.ended && self.unsent.is_empty() && self.trailers.is_none();
        let exchange = Exchange::start(&mut lease.wire, &state.request, end, self.limits);
        drop(state);
        self.attempt = Attempt::Active(Box::new(Active { lease, exchange, flushed: false }));
        self.arm_try(now);
        let _ = worker;
    }

    /// The limit of one try runs from the end of the request.
    fn arm_try(&mut self, now: Instant) {
        if self.ended && matches!(self.attempt, Attempt::Active(_)) {
            self.try_timeout_at = due(now, self.retry.as_ref().and_then(|retry| retry.per_try_timeout));
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
            return match exchange.poll_body(&mut lease.wire, task) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(event)) => Poll::Ready(self.body(event, worker, stream)),
                Poll::Ready(Err(error)) => Poll::Ready(self.broken(&error, worker, stream)),
            };
        }
        match exchange.poll_head(&mut lease.wire, task) {
            Poll::Pending => match write_failed {
                None => Poll::Pending,
                Some(source) => Poll::Ready(self.broken(&ExchangeError::Io { begun: false, source }, worker, stream)),
            },
            Poll::Ready(Ok(Head::Informational(head))) => Poll::Ready(Event::Informational(head)),
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
        let internal = {
            let state = stream.get();
            state.request.headers.get("x-envoy-internal") == Some(b"true")
        };
        self.metrics(worker).response(head.status, internal);
        if self.retry.as_ref().is_some_and(|retry| retry.retries_response(&head)) {
            if self.plan_retry(worker, stream, now) {
                return Event::Moved;
            }
        } else if self.retries > 0 {
            self.metrics(worker).inc(metric::UPSTREAM_RQ_RETRY_SUCCESS);
        }
        self.responding = true;
        self.retry_permit = None;
        self.try_timeout_at = None;
        {
            let mut state = stream.edit();
            let state = &mut *state;
            state.info.upstream_rx_first = Some(now);
            state.info.status = head.status;
            state.info.details = Details::Borrowed("via_upstream");
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
            self.complete(worker, stream);
        }
        Event::Head(head, end)
    }

    fn body(&mut self, event: BodyEvent, worker: &Worker, stream: &Stream) -> Event {
        let done = match &self.attempt {
            Attempt::Active(active) => active.exchange.response_done(),
            _ => true,
        };
        if done {
            self.complete(worker, stream);
        }
        if let BodyEvent::Data(piece) = &event {
            self.metrics(worker).add(metric::UPSTREAM_CX_RX_BYTES_TOTAL, piece.len() as u64);
        }
        match event {
            BodyEvent::Data(piece) => Event::Data(piece, done),
            BodyEvent::Trailers(trailers) if self.cluster.config.http.http1.trailers => Event::Trailers(trailers),
            BodyEvent::Trailers(_) | BodyEvent::End => Event::Data(Bytes::new(), true),
        }
    }

    /// The response has been read: its connection is free, if the request has been sent as well.
    fn complete(&mut self, worker: &Worker, stream: &Stream) {
        let now = Instant::now();
        stream.edit().info.upstream_rx_last = Some(now);
        let taken = now.saturating_duration_since(self.started).as_millis() as u64;
        let metrics = self.metrics(worker);
        metrics.record(metric::UPSTREAM_RQ_TIME, taken);
        metrics.record(metric::EXTERNAL_UPSTREAM_RQ_TIME, taken);
        self.timeout_at = None;
        if let Attempt::Active(active) = std::mem::replace(&mut self.attempt, Attempt::Done)
            && active.exchange.reusable(&active.lease.wire)
        {
            active.lease.release(now);
        }
    }

    // ---- what goes wrong -----------------------------------------------------------------------------------------

    fn not_connected(&mut self, error: &UpstreamError, worker: &Worker, stream: &Stream) -> Event {
        let failure = match error {
            UpstreamError::Overflow(_) => Failure::Overflow,
            _ => {
                let reason = error.transport_failure().replace(' ', "_");
                stream.edit().info.upstream_failure = Some(reason.into());
                Failure::Connect
            }
        };
        self.failed(cause_of(error), failure, worker, stream)
    }

    fn broken(&mut self, error: &ExchangeError, worker: &Worker, stream: &Stream) -> Event {
        let metrics = self.metrics(worker);
        let cause = match error {
            ExchangeError::Head(_) | ExchangeError::Body(_) => {
                metrics.inc(metric::UPSTREAM_CX_PROTOCOL_ERROR);
                Cause::UpstreamProtocol
            }
            // An answer that breaks off is a broken one.
            ExchangeError::Closed { begun: true } | ExchangeError::Io { begun: true, .. } => Cause::UpstreamProtocol,
            ExchangeError::Closed { .. } | ExchangeError::Io { .. } => Cause::UpstreamClosed,
        };
        let mut head_sent = true;
        if let Attempt::Active(active) = &mut self.attempt {
            active.lease.closed_by_peer();
            head_sent = active.flushed;
        }
        self.failed(cause, Failure::Reset { head_sent }, worker, stream)
    }

    fn timed_out(&mut self, worker: &Worker, stream: &Stream) -> Option<Event> {
        let now = Instant::now();
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if passed(self.timeout_at) {
            self.metrics(worker).inc(metric::UPSTREAM_RQ_TIMEOUT);
            if let Some(endpoint) = self.endpoint() {
                endpoint.stats.rq_timeout.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            self.retry = None;
            return Some(self.failed(Cause::UpstreamTimeout, Failure::Overflow, worker, stream));
        }
        if passed(self.try_timeout_at) {
            self.metrics(worker).inc(metric::UPSTREAM_RQ_PER_TRY_TIMEOUT);
            return Some(self.failed(Cause::PerTryTimeout, Failure::Reset { head_sent: true }, worker, stream));
        }
        if matches!(self.attempt, Attempt::Pausing(until) if until <= now) {
            return Some(match self.try_once(worker, stream) {
                Ok(()) => Event::Moved,
                Err(cause) => Event::Failed(cause),
            });
        }
        None
    }

    /// Another try, or the end.
    fn failed(&mut self, cause: Cause, failure: Failure, worker: &Worker, stream: &Stream) -> Event {
        let again = !self.responding && self.retry.as_ref().is_some_and(|retry| retry.retries_failure(failure));
        if again && self.plan_retry(worker, stream, Instant::now()) {
            return Event::Moved;
        }
        self.attempt = Attempt::Done;
        self.timeout_at = None;
        self.try_timeout_at = None;
        Event::Failed(cause)
    }

    /// Plans another try if the policy, the budget and the body allow one.
    fn plan_retry(&mut self, worker: &Worker, stream: &Stream, now: Instant) -> bool {
        let Some(retry) = self.retry.clone() else { return false };
        let metrics = self.metrics(worker);
        if self.retries >= retry.retries {
            metrics.inc(metric::UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED);
            stream.edit().info.flags.insert(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
            return false;
        }
        let Some(permit) = self.cluster.permit(BreakerKind::Retries, self.priority) else {
            metrics.inc(metric::UPSTREAM_RQ_RETRY_OVERFLOW);
            stream.edit().info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW);
            return false;
        };
        metrics.inc(metric::UPSTREAM_RQ_RETRY);
        metrics.inc(metric::UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL);
        self.retry_permit = Some(permit);
        self.retries += 1;
        self.unsent = BodyBuf::new();
        if let Replay::Keep { pieces, .. } = &self.replay {
            pieces.iter().for_each(|piece| self.unsent.push(piece.clone()));
        }
        self.try_timeout_at = None;
        self.attempt = Attempt::Pausing(now + retry.back_off.pause(self.retries, worker.clusters.random()));
        true
    }

    fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match &self.attempt {
            Attempt::Active(active) => Some(active.lease.endpoint()),
            _ => None,
        }
    }

    fn metrics(&self, worker: &Worker) -> Chunk<'_, names::Cluster> {
        self.cluster.runtime.metrics().chunk(worker.index)
    }
}

/// The head as the endpoint gets it: header operations, rewrites, the router's own fields. Returns the retry policy if it
/// holds for this request.
fn finish_head(
    stream: &Stream,
    matched: &Matched<'_, PerRoute>,
    forward: &Forward<PerRoute>,
    envoy_headers: bool,
) -> Option<Arc<RetryPolicy>> {
    let mut state = stream.edit();
    let state = &mut *state;
    let retry = forward.retry.clone().filter(|retry| retry.applies_to(&state.request));
    if envoy_headers && let Some(timeout) = forward.timeout {
        let limit =
            retry.as_ref().and_then(|retry| retry.per_try_timeout).map_or(timeout, |per_try| per_try.min(timeout));
        state
            .request
            .headers
            .set("x-envoy-expected-rq-timeout-ms", itoa::Buffer::new().format(limit.as_millis() as u64));
    }
    let head: &mut RequestHead = &mut state.request;
    matched.finalize_request(head, &state.info, envoy_headers);
    retry
}

fn cause_of(error: &UpstreamError) -> Cause {
    match error {
        UpstreamError::Overflow(_) => Cause::Overflow,
        UpstreamError::Timeout => Cause::ConnectTimeout,
        UpstreamError::Connect { reason } | UpstreamError::Tls { reason } => Cause::ConnectFailure(reason.clone()),
    }
}
