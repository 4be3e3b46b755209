//! The request's body on its way to the endpoint.

use std::time::Instant;

use super::{Attempt, Router};
use crate::filter::Stream;
use crate::http::{BodyBuf, HeaderMap};
use crate::proxy::alarm::due;
use crate::proxy::error::Failed;
use crate::proxy::request::MOST_WAITING;
use crate::telemetry::metrics::names::cluster as metric;

/// The request's body, kept for another try as long as one may come and it is not too large.
pub(super) enum Replay {
    Off,
    Keep { pieces: BodyBuf, limit: usize },
}

impl Router {
    /// Takes pieces of the request's body; tells a failure if it cannot be sent any more.
    pub(in crate::proxy) fn send(&mut self, mut pieces: BodyBuf, end: bool, stream: &Stream) -> Option<Failed> {
        if let Replay::Keep { pieces: kept, limit } = &mut self.replay {
            if kept.len() + pieces.len() > *limit {
                self.replay = Replay::Off;
                // Beyond the limit the request can be sent once only.
                self.retry = None;
                self.cluster.runtime.metrics().inc(metric::RETRY_OR_SHADOW_ABANDONED);
                if matches!(self.attempt, Attempt::Pausing(_)) {
                    return Some(self.abandoned(stream));
                }
            } else {
                pieces.pieces().for_each(|piece| kept.push(piece.clone()));
            }
        }
        self.unsent.append(&mut pieces);
        if end {
            self.end_request(None);
        }
        None
    }

    /// Takes the request's trailers, its end.
    pub(in crate::proxy) fn send_trailers(&mut self, trailers: Option<HeaderMap>) {
        self.end_request(trailers);
    }

    fn end_request(&mut self, trailers: Option<HeaderMap>) {
        let now = Instant::now();
        self.ended = true;
        self.trailers = trailers;
        self.timeout_at = due(now, self.timeout);
        if matches!(self.attempt, Attempt::Active(_)) {
            self.limit_try(|limits| limits.requested(now));
        }
    }

    /// Whether as much waits for the endpoint as may.
    pub(in crate::proxy) fn is_full(&self) -> bool {
        let wire = match &self.attempt {
            Attempt::Active(active) => active.lease.wire.queued(),
            _ => 0,
        };
        self.unsent.len() + wire >= self.cluster.config.buffer_limit.min(MOST_WAITING)
    }
}
