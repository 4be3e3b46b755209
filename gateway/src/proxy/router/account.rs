//! What is counted of a request's tries: for the cluster and for the endpoint, as Envoy's router does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::{Attempt, Router};
use crate::cluster::{Cluster, Endpoint};
use crate::filter::Stream;
use crate::http::{HeaderMap, ResponseHead};
use crate::proxy::error::{Cause, Failed};
use crate::proxy::worker::Worker;
use crate::route::matcher::is_grpc;
use crate::telemetry::WireBytes;
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{self, cluster as metric};
use crate::upstream::Lease;
use crate::upstream::h1::Exchange;

/// Whether a request came from inside.
pub(super) fn is_internal(stream: &Stream) -> bool {
    stream.get().request.headers.get("x-envoy-internal") == Some(b"true")
}

/// What a try has taken of its connection since it was asked last.
pub(super) fn count_bytes(lease: &mut Lease, exchange: &mut Exchange, stream: &Stream) {
    let (received, sent) = lease.count_bytes();
    if received + sent > 0 {
        stream.edit().info.upstream_bytes += WireBytes { received, sent, ..exchange.take_fields() };
    }
}

/// A request that there is no endpoint for.
pub(super) fn refused(cluster: &Cluster, worker: &Worker, stream: &Stream) {
    cluster.runtime.metrics().chunk(worker.index).response(Cause::NoEndpoint.status(), is_internal(stream));
}

impl Router {
    pub(in crate::proxy) fn metrics(&self, worker: &Worker) -> Chunk<'_, names::Cluster> {
        self.cluster.runtime.metrics().chunk(worker.index)
    }

    /// Where the current try goes.
    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match &self.attempt {
            Attempt::Active(active) => Some(active.lease.endpoint()),
            Attempt::Connecting(endpoint, _) => Some(endpoint),
            Attempt::Pausing(_) | Attempt::Done => None,
        }
    }

    /// The head of the answer that goes to the client.
    pub(super) fn count_head(&mut self, head: &ResponseHead, end: bool, worker: &Worker, stream: &Stream) {
        self.metrics(worker).response(head.status, self.internal);
        let good = if (500..600).contains(&head.status) {
            false
        } else {
            let grpc = {
                let request = &stream.get().request;
                request.method == "POST" && is_grpc(&request.headers)
            };
            if grpc && !end {
                self.grpc_open = true;
                return;
            }
            !grpc || grpc_is_good(&head.headers)
        };
        self.count_outcome(good);
    }

    /// The end of the answer.
    pub(super) fn count_end(&mut self, trailers: Option<&HeaderMap>, now: Instant, worker: &Worker, stream: &Stream) {
        if std::mem::take(&mut self.grpc_open) {
            self.count_outcome(trailers.is_some_and(grpc_is_good));
        }
        let Some(complete) = stream.get().info.request_complete else { return };
        let taken = now.saturating_duration_since(complete).as_millis() as u64;
        let metrics = self.metrics(worker);
        metrics.record(metric::UPSTREAM_RQ_TIME, taken);
        let of_origin =
            if self.internal { metric::INTERNAL_UPSTREAM_RQ_TIME } else { metric::EXTERNAL_UPSTREAM_RQ_TIME };
        metrics.record(of_origin, taken);
    }

    /// The last try failed, and the gateway answers.
    pub(super) fn count_failure(&mut self, failed: &Failed, worker: &Worker, stream: &Stream) {
        if self.responding {
            if std::mem::take(&mut self.grpc_open) {
                self.count_outcome(false);
            }
            return;
        }
        // As Envoy, which counts these by themselves only.
        if matches!(failed.cause, Cause::UpstreamStreamDuration(_)) {
            return;
        }
        self.metrics(worker).response(failed.reply.status, is_internal(stream));
        // Where a circuit breaker is full, it is known already whose fault that is.
        if failed.cause != Cause::Overflow {
            self.count_outcome(false);
        }
    }

    fn count_outcome(&self, good: bool) {
        let Some(endpoint) = self.endpoint() else { return };
        let counter = if good { &endpoint.stats.rq_success } else { &endpoint.stats.rq_error };
        counter.fetch_add(1, Relaxed);
    }
}

/// Whether `grpc-status` is there and would not be a 5xx of HTTP.
fn grpc_is_good(fields: &HeaderMap) -> bool {
    let status = fields.get_str("grpc-status").and_then(|status| status.parse::<u32>().ok());
    matches!(status, Some(0 | 1 | 3 | 5..=11 | 16))
}
