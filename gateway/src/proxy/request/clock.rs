//! How long a request may take.

use std::time::{Duration, Instant};

use super::Request;
use crate::http::Version;
use crate::proxy::alarm::{due, earlier};
use crate::proxy::downstream::Downstream;
use crate::proxy::error::Cause;
use crate::proxy::router::Router;
use crate::route::Forward;
use crate::snapshot::compile::filter::PerRoute;
use crate::snapshot::connection_manager::Timeouts;
use crate::telemetry::metrics::names::http;

/// The limits of one request: its route's, else the connection manager's.
pub(super) struct Clock {
    /// When something last moved, in any direction.
    pub(super) moved: Instant,
    idle_limit: Option<Duration>,
    /// When the client must have taken the end of the response; whether some of it moves does not matter.
    flush_due: Option<Instant>,
    end_of_life: Option<Instant>,
    request_due: Option<Instant>,
}

impl Clock {
    /// Begins to run.
    pub(super) fn new(start: Instant, timeouts: &Timeouts, route: Option<&Forward<PerRoute>>) -> Self {
        let of_route = |limit: fn(&Forward<PerRoute>) -> Option<Duration>| route.and_then(limit);
        let on = |limit: &Duration| !limit.is_zero();
        let idle_limit = of_route(|route| route.idle_timeout).or(timeouts.stream_idle).filter(on);
        let life = of_route(|route| route.max_stream_duration).or(timeouts.stream).filter(on);
        Self {
            moved: start,
            idle_limit,
            flush_due: None,
            end_of_life: due(start, life),
            request_due: due(start, timeouts.request),
        }
    }
}

impl Request {
    /// All of the response is written, as far as the client takes it. Over HTTP/2 a client that opens its window byte by byte
    /// would keep it for ever; as Envoy the rest is limited (`stream_flush_timeout`). Over HTTP/1 the connection has the rest.
    pub(super) fn begin_to_flush(&mut self) {
        if self.stream.get().request.version == Version::Http2 {
            self.clock.flush_due = due(self.clock.moved, self.clock.idle_limit);
        }
    }

    /// When it is to be looked at at the latest.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let clock = &self.clock;
        let idle = earlier(due(clock.moved, clock.idle_limit), clock.flush_due);
        let router = self.router.as_ref().and_then(Router::deadline);
        let whole = clock.request_due.filter(|_| !self.request_read);
        earlier(earlier(earlier(idle, router), earlier(clock.end_of_life, whole)), self.chain.timer())
    }

    /// Whether one of its limits has passed.
    pub(super) fn is_over_time(&self) -> bool {
        self.next_deadline().is_some_and(|at| at <= Instant::now())
    }

    /// One of its limits has passed.
    pub(super) fn deadline(&mut self, down: &mut Downstream<'_>) {
        let now = Instant::now();
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let clock = &self.clock;
        if passed(self.chain.timer()) {
            self.chain.ring(now);
            return self.take_out(down);
        }
        if passed(clock.flush_due) {
            return self.not_taken(down);
        }
        let (cause, counter) = if passed(clock.request_due) && !self.request_read {
            (Cause::RequestTimeout, http::DOWNSTREAM_RQ_TIMEOUT)
        } else if passed(clock.end_of_life) {
            (Cause::StreamDuration(self.request_read), http::DOWNSTREAM_RQ_MAX_DURATION_REACHED)
        } else if passed(due(clock.moved, clock.idle_limit)) {
            (Cause::IdleTimeout(self.request_read), http::DOWNSTREAM_RQ_IDLE_TIMEOUT)
        } else {
            // The router's own. It is told even while a slow client keeps it from being polled.
            let event = self.router.as_mut().and_then(|router| router.timed_out(&self.cx.worker, &self.stream));
            if let Some(event) = event {
                self.endpoint_sent(event, down);
            }
            return;
        };
        self.metrics().inc(counter);
        self.fail(cause.into(), down);
    }
}
