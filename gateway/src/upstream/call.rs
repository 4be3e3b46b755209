//! A request of the gateway's own, sent whole and answered whole: what the call-outs of filters are made of.
//!
//! It takes the same way as a client's request (balancer, pools, circuit breakers, TLS, metrics of the cluster), without
//! routes and retries.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::h1::{Exchange, ExchangeError, Head};
use super::{Acquire, Lease, Pools, UpstreamError};
use crate::cluster::{Cluster, ClusterTable, NoEndpoint, Pick, RoutingPriority, WorkerClusters};
use crate::http::h1::BodyEvent;
use crate::http::{BodyBuf, HeaderMap, RequestHead, ResponseHead};
use crate::telemetry::metrics::names::cluster as metric;

/// What is asked, and of whom.
#[derive(Clone, Debug)]
pub struct CallOut {
    /// Name of the cluster.
    pub cluster: Arc<str>,
    /// The head. Its `content-length` is set to what `body` has.
    pub head: RequestHead,
    /// The body, empty for none.
    pub body: Bytes,
    /// Trailers; with them the body is chunked.
    pub trailers: Option<HeaderMap>,
    /// How long everything may take, connecting and the answer's body with it.
    pub timeout: Duration,
    /// How many bytes of body the answer may have.
    pub max_body: usize,
}

/// The answer, whatever its status.
#[derive(Debug)]
pub struct CallResponse {
    /// Status and fields.
    pub head: ResponseHead,
    /// The whole body.
    pub body: BodyBuf,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallFailed {
    /// The configuration has no cluster of that name.
    #[error("no cluster is named {0}")]
    NoCluster(Arc<str>),
    /// The cluster has nobody to ask.
    #[error(transparent)]
    NoEndpoint(#[from] NoEndpoint),
    /// There is no connection to be had.
    #[error(transparent)]
    NotConnected(#[from] UpstreamError),
    /// The endpoint does not answer as it should.
    #[error(transparent)]
    Broken(#[from] ExchangeError),
    /// It took longer than it may.
    #[error("no whole answer within {0:?}")]
    TimedOut(Duration),
    /// The answer's body is longer than it may be.
    #[error("the answer has more than {0} bytes of body")]
    TooLarge(usize),
}

/// How a call-out ended.
pub type CallResult = Result<CallResponse, CallFailed>;

/// A connection, or the way to one.
type Connecting = Pin<Box<dyn Future<Output = Result<Lease, UpstreamError>>>>;

/// Chooses an endpoint among the clusters as they are now, and asks it. To be polled within a `LocalSet`; dropped, it
/// closes its connection.
pub fn call(
    pools: &Pools,
    balance: &WorkerClusters,
    clusters: &ClusterTable,
    call: CallOut,
) -> impl Future<Output = CallResult> + use<> {
    let begun = begin(pools, balance, clusters, &call);
    let worker = pools.worker();
    async move {
        let (cluster, connecting) = begun?;
        let (began, limit) = (Instant::now(), call.timeout);
        let result = match tokio::time::timeout(limit, exchange(&cluster, connecting, call)).await {
            Ok(result) => result,
            Err(_) => Err(CallFailed::TimedOut(limit)),
        };
        count(&cluster, worker, &result, began);
        result
    }
}

fn begin(
    pools: &Pools,
    balance: &WorkerClusters,
    clusters: &ClusterTable,
    call: &CallOut,
) -> Result<(Arc<Cluster>, Connecting), CallFailed> {
    let Some(cluster) = clusters.find(&call.cluster) else {
        return Err(CallFailed::NoCluster(Arc::clone(&call.cluster)));
    };
    let endpoint = balance.pick(cluster, &Pick::default()).inspect_err(|_| {
        let metrics = cluster.runtime.metrics().chunk(pools.worker());
        metrics.inc(metric::UPSTREAM_CX_NONE_HEALTHY);
        metrics.response(503, false);
    })?;
    let (priority, host) = (RoutingPriority::Default, &*call.head.authority);
    let wanted = Acquire { cluster, endpoint: &endpoint, priority, host };
    let connecting: Connecting = match pools.checkout(wanted) {
        Ok(None) => Box::pin(pools.establish(wanted)),
        ready => Box::pin(std::future::ready(ready.and_then(|lease| lease.ok_or(UpstreamError::Timeout)))),
    };
    Ok((Arc::clone(cluster), connecting))
}

async fn exchange(cluster: &Cluster, connecting: Connecting, call: CallOut) -> CallResult {
    let CallOut { mut head, body, trailers, max_body, .. } = call;
    let mut lease = connecting.await?;
    if trailers.is_some() {
        head.headers.remove("content-length");
    } else if !body.is_empty() {
        head.headers.set("content-length", itoa::Buffer::new().format(body.len()));
    }
    let end = body.is_empty() && trailers.is_none();
    let config = &cluster.config;
    let names = config.http.http1.key_format.written();
    let mut exchange = Exchange::start(&mut lease.wire, &head, end, names, config.response_options());
    exchange.send(&mut lease.wire, body);
    exchange.finish(&mut lease.wire, trailers.as_ref());

    let result = answer(&mut lease, &mut exchange, max_body).await;
    match &result {
        Ok(_) => exchange.give_back(lease, Instant::now()),
        Err(CallFailed::Broken(_)) => lease.closed_by_peer(),
        Err(_) => {}
    }
    result
}

async fn answer(lease: &mut Lease, exchange: &mut Exchange, max_body: usize) -> CallResult {
    let (head, mut ended) = loop {
        match poll_fn(|cx| poll_head(lease, exchange, cx)).await? {
            Head::Informational(_) => {}
            Head::Final { head, end } => break (head, end),
        }
    };
    let mut response = CallResponse { head, body: BodyBuf::new(), trailers: None };
    while !ended {
        // The rest of a request that the endpoint answers early is not owed to it.
        match poll_fn(|cx| exchange.poll_body(&mut lease.wire, cx)).await? {
            BodyEvent::Data(piece) if response.body.len() + piece.len() > max_body => {
                return Err(CallFailed::TooLarge(max_body));
            }
            BodyEvent::Data(piece) => response.body.push(piece),
            BodyEvent::Trailers(fields) => response.trailers = Some(fields),
            BodyEvent::End => {}
        }
        ended = exchange.response_done();
    }
    Ok(response)
}

/// Writes what is left of the request meanwhile.
fn poll_head(lease: &mut Lease, exchange: &mut Exchange, cx: &mut Context<'_>) -> Poll<Result<Head, ExchangeError>> {
    let written = lease.wire.poll_flush(cx);
    match (exchange.poll_head(&mut lease.wire, cx), written) {
        // An endpoint may answer before it closes: only if it has not, what could not be written counts.
        (Poll::Pending, Poll::Ready(Err(source))) => Poll::Ready(Err(ExchangeError::Io { begun: false, source })),
        (head, _) => head,
    }
}

/// As the router counts its requests; a call-out is nobody's from outside or inside.
fn count(cluster: &Cluster, worker: usize, result: &CallResult, began: Instant) {
    let metrics = cluster.runtime.metrics().chunk(worker);
    let status = match result {
        Ok(response) => response.head.status,
        Err(CallFailed::TimedOut(_)) => {
            metrics.inc(metric::UPSTREAM_RQ_TIMEOUT);
            504
        }
        Err(_) => 503,
    };
    metrics.response(status, false);
    if result.is_ok() {
        metrics.record(metric::UPSTREAM_RQ_TIME, u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
