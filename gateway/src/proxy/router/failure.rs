//! What goes wrong on the way to an endpoint: another try, or the gateway's own answer.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::account::is_internal;
use super::body::Replay;
use super::limits::TryLimit;
use super::{Attempt, Event, Router};
use crate::cluster::BreakerKind;
use crate::filter::Stream;
use crate::http::BodyBuf;
use crate::proxy::error::{Cause, Failed, Tries};
use crate::proxy::worker::Worker;
use crate::route::retry::Failure;
use crate::telemetry::ResponseFlags;
use crate::telemetry::metrics::names::cluster as metric;
use crate::upstream::UpstreamError;
use crate::upstream::h1::ExchangeError;

impl Router {
    pub(super) fn not_connected(&mut self, error: &UpstreamError, worker: &Worker, stream: &Stream) -> Event {
        let (cause, failure) = match error {
            UpstreamError::Overflow(kind) => {
                // As Envoy, which blames the endpoint if it had a connection to it.
                if *kind == BreakerKind::Requests
                    && let Some(endpoint) = self.endpoint()
                {
                    endpoint.stats.rq_error.fetch_add(1, Relaxed);
                }
                if *kind == BreakerKind::Pending {
                    // As Envoy, which has not asked the endpoint for anything.
                    stream.edit().info.upstream_remote = None;
                }
                (Cause::Overflow, Failure::Overflow)
            }
            UpstreamError::Timeout => (Cause::ConnectTimeout, Failure::Connect),
            UpstreamError::Bind { reason } => {
                stream.edit().info.upstream_failure = Some(reason.replace(' ', "_").into());
                (Cause::BindFailure(reason.clone()), Failure::Connect)
            }
            UpstreamError::Connect { reason } | UpstreamError::Tls { reason } => {
                stream.edit().info.upstream_failure = Some(reason.replace(' ', "_").into());
                (Cause::ConnectFailure(reason.clone()), Failure::Connect)
            }
        };
        self.failed(cause, Some(failure), worker, stream)
    }

    /// An interim answer: the request is not tried again after it. Returns whether it is the first, which alone counts, all as
    /// in Envoy.
    pub(super) fn informational(&mut self, status: u16, worker: &Worker, stream: &Stream) -> bool {
        let first = !std::mem::replace(&mut self.interim, true);
        if first {
            self.retry = None;
            self.retry_permit = None;
            self.metrics(worker).response(status, is_internal(stream));
        }
        first
    }

    pub(super) fn broken(&mut self, error: &ExchangeError, worker: &Worker, stream: &Stream) -> Event {
        let cause = match error {
            ExchangeError::Closed { begun: false } | ExchangeError::Io { begun: false, .. } => Cause::UpstreamClosed,
            // An answer that breaks off is a broken one.
            _ => Cause::UpstreamProtocol,
        };
        if cause == Cause::UpstreamProtocol {
            self.metrics(worker).inc(metric::UPSTREAM_CX_PROTOCOL_ERROR);
        }
        let mut head_sent = true;
        if let Attempt::Active(active) = &mut self.attempt {
            if matches!(error, ExchangeError::Closed { .. } | ExchangeError::Io { .. }) {
                active.lease.closed_by_peer();
            }
            head_sent = active.flushed;
        }
        self.failed(cause, Some(Failure::Reset { head_sent }), worker, stream)
    }

    /// A deadline has passed; perhaps it is one of ours.
    pub(in crate::proxy) fn timed_out(&mut self, worker: &Worker, stream: &Stream) -> Option<Event> {
        let now = Instant::now();
        if self.timeout_at.is_some_and(|at| at <= now) {
            if let Some(endpoint) = self.endpoint() {
                self.metrics(worker).inc(metric::UPSTREAM_RQ_TIMEOUT);
                endpoint.stats.rq_timeout.fetch_add(1, Relaxed);
            }
            return Some(self.failed(Cause::UpstreamTimeout, None, worker, stream));
        }
        if let Some(limit) = self.try_limits.as_ref().and_then(|limits| limits.reached(now)) {
            return Some(self.try_too_long(limit, worker, stream));
        }
        if matches!(self.attempt, Attempt::Pausing(until) if until <= now) {
            // As in Envoy a retry counts when its pause is over: one that the client or a time-out does not wait for never was.
            let metrics = self.metrics(worker);
            metrics.inc(metric::UPSTREAM_RQ_RETRY);
            metrics.inc(metric::UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL);
            return Some(self.try_again(now, worker, stream));
        }
        None
    }

    fn try_too_long(&mut self, limit: TryLimit, worker: &Worker, stream: &Stream) -> Event {
        let (cause, counter) = match limit {
            TryLimit::Whole => (Cause::PerTryTimeout, metric::UPSTREAM_RQ_PER_TRY_TIMEOUT),
            TryLimit::Idle => (Cause::PerTryIdleTimeout, metric::UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT),
            TryLimit::Life => {
                let complete = stream.get().info.request_complete.is_some();
                (Cause::UpstreamStreamDuration(complete), metric::UPSTREAM_RQ_MAX_DURATION_REACHED)
            }
        };
        self.metrics(worker).inc(counter);
        if limit != TryLimit::Life
            && let Some(endpoint) = self.endpoint()
        {
            endpoint.stats.rq_timeout.fetch_add(1, Relaxed);
        }
        self.failed(cause, Some(Failure::Reset { head_sent: true }), worker, stream)
    }

    fn try_again(&mut self, now: Instant, worker: &Worker, stream: &Stream) -> Event {
        self.tell_time_left(now, stream);
        {
            let mut state = stream.edit();
            (state.info.upstream_connected, state.info.upstream_local) = (false, None);
            state.info.attempts += 1;
        }
        match self.try_once(worker, stream) {
            Ok(()) => Event::Moved,
            Err(cause) => {
                self.stop_clocks();
                self.attempt = Attempt::Done;
                Event::Failed(Box::new(self.own_answer(cause, stream)))
            }
        }
    }

    /// The body cannot be kept for the try that was planned.
    pub(super) fn abandoned(&mut self, stream: &Stream) -> Failed {
        self.stop_clocks();
        self.attempt = Attempt::Done;
        self.own_answer(Cause::RetryBuffer, stream)
    }

    /// What the endpoint of another try is told of the time that is left.
    fn tell_time_left(&self, now: Instant, stream: &Stream) {
        const NAME: &str = "x-envoy-expected-rq-timeout-ms";
        let Some(at) = self.timeout_at.filter(|_| self.envoy_headers) else { return };
        let left = at.saturating_duration_since(now).as_millis() as u64;
        let headers = &mut stream.edit().request.headers;
        let told = headers.get_str(NAME).and_then(|told| told.parse::<u64>().ok());
        if told.is_some_and(|told| told > left) {
            // 0 would say that there is no limit.
            headers.set(NAME, itoa::Buffer::new().format(left.max(1)));
        }
    }

    /// Another try, or the end; `failure` is `None` for what is never tried again.
    fn failed(&mut self, cause: Cause, failure: Option<Failure>, worker: &Worker, stream: &Stream) -> Event {
        if let Some(retry) = self.retry.as_ref().filter(|_| !self.responding)
            && let Some(failure) = failure
        {
            if retry.retries_failure(failure) {
                if self.plan_retry(None, worker, stream, Instant::now()) {
                    return Event::Moved;
                }
            } else {
                self.retried_well(worker);
            }
        }
        self.stop_clocks();
        let failed = self.own_answer(cause, stream);
        // Between two tries nothing is under way that could fail: only the time for all of them is over.
        if !matches!(self.attempt, Attempt::Pausing(_)) {
            self.count_failure(&failed, worker, stream);
        }
        self.attempt = Attempt::Done;
        Event::Failed(Box::new(failed))
    }

    /// The gateway's own answer, as Envoy's router gives it.
    fn own_answer(&self, cause: Cause, stream: &Stream) -> Failed {
        let tries = Tries {
            begun: self.interim,
            retried: self.retries > 0,
            late_is_empty: self.late_is_empty,
            no_envoy_headers: !self.envoy_headers,
            shown: self.show_attempts.then(|| stream.get().info.attempts),
        };
        Failed::after(cause, &tries)
    }

    /// Plans another try if the policy and the budget allow one; `status` is that of an answer that is not good enough.
    pub(super) fn plan_retry(&mut self, status: Option<u16>, worker: &Worker, stream: &Stream, now: Instant) -> bool {
        let Some(retry) = self.retry.clone() else { return false };
        // What the last retry held is free for this one.
        self.retry_permit = None;
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
        if let Some(status) = status {
            metrics.retried_response(status);
        }
        if let Some(endpoint) = self.endpoint() {
            endpoint.stats.rq_error.fetch_add(1, Relaxed);
        }
        self.retry_permit = Some(permit);
        self.retries += 1;
        self.unsent = match &self.replay {
            Replay::Keep { pieces, .. } => pieces.clone(),
            Replay::Off => BodyBuf::new(),
        };
        self.limit_try(|limits| limits.stop());
        let pause = Attempt::Pausing(now + retry.back_off.pause(self.retries, worker.clusters.random()));
        if let Attempt::Active(active) = std::mem::replace(&mut self.attempt, pause)
            && status.is_some()
        {
            active.exchange.give_back(active.lease, now);
        }
        true
    }

    /// A retry that ends the tries, whatever came of it; as Envoy counts.
    pub(super) fn retried_well(&mut self, worker: &Worker) {
        if self.retry_permit.take().is_some() {
            self.metrics(worker).inc(metric::UPSTREAM_RQ_RETRY_SUCCESS);
        }
    }
}
