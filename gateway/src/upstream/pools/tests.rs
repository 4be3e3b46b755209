#![allow(clippy::unwrap_used)]

mod bell;
mod tls;
mod waiting;

use std::net::SocketAddr;
use std::task::Poll;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::cluster::{
    Assignment, BreakerKind, ClusterConfig, Health, HostSpec, HttpOptions, SocketOptions, TcpKeepalive, Thresholds,
};
use crate::telemetry::metrics::names::{self, cluster as metric};
use crate::telemetry::metrics::{Counter, Registry};
use crate::tls::protocol::{Protocol, provider};
use crate::tls::{UpstreamParams, UpstreamTls};

const DEFAULT: RoutingPriority = RoutingPriority::Default;

struct Bench {
    listener: TcpListener,
    cluster: Arc<Cluster>,
    pools: Pools,
}

impl Bench {
    async fn new(edit: impl FnOnce(&mut ClusterConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = cluster(listener.local_addr().unwrap(), edit);
        Self { listener, cluster, pools: Pools::new(1) }
    }

    async fn acquire(&self) -> Result<Lease, UpstreamError> {
        acquire(&self.pools, &self.cluster).await
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    fn count(&self, id: Counter<names::Cluster>) -> u64 {
        self.cluster.runtime.metrics().counter(id)
    }

    fn in_use(&self, kind: BreakerKind) -> u32 {
        self.cluster.runtime.used(kind, DEFAULT)
    }
}

pub(in crate::upstream) fn cluster(address: SocketAddr, edit: impl FnOnce(&mut ClusterConfig)) -> Arc<Cluster> {
    let mut config = ClusterConfig::new("c");
    edit(&mut config);
    let host = HostSpec { address, hostname: "".into(), weight: 1, health: Health::Healthy, priority: 0, locality: 0 };
    let assignment = Assignment { hosts: vec![host], ..Assignment::default() };
    let metrics = Registry::new(1).scope(names::Cluster, "c");
    Arc::new(Cluster::new(config, 0, Some(assignment), metrics, None))
}

async fn acquire(pools: &Pools, cluster: &Arc<Cluster>) -> Result<Lease, UpstreamError> {
    let endpoint = &cluster.endpoints.hosts()[0].endpoint;
    take(pools, Acquire { cluster, endpoint, priority: DEFAULT, host: b"a.test" }).await
}

/// Whether the connection was made for this request.
fn fresh(lease: &Lease) -> bool {
    lease.slot.requests == 1
}

/// An idle connection, or a new one.
async fn take(pools: &Pools, wanted: Acquire<'_>) -> Result<Lease, UpstreamError> {
    match pools.checkout(wanted)? {
        Some(lease) => Ok(lease),
        None => pools.establish(wanted).await,
    }
}

fn thresholds(edit: impl FnOnce(&mut Thresholds)) -> impl FnOnce(&mut ClusterConfig) {
    |config| edit(&mut config.breakers[0])
}

async fn closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_released_connection_is_used_again_and_a_dropped_one_is_closed() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let first = bench.acquire().await.unwrap();
            let mut server = bench.accept().await;
            assert!(fresh(&first));
            let local = first.local.unwrap();
            assert_eq!(local, server.peer_addr().unwrap());
            let stats = &first.endpoint().clone().stats;
            assert_eq!(bench.in_use(BreakerKind::Requests), 1);
            first.release(Instant::now());
            assert_eq!((bench.in_use(BreakerKind::Requests), bench.in_use(BreakerKind::Connections)), (0, 1));

            let mut second = bench.acquire().await.unwrap();
            assert!(!fresh(&second));
            assert_eq!(second.local.unwrap(), local);
            second.wire.io_mut().write_all(b"x").await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'x');
            drop(second);
            assert!(closed(&mut server).await);
            for kind in BreakerKind::ALL {
                assert_eq!(bench.in_use(kind), 0, "{kind:?}");
            }
            assert_eq!(stats.rq_total.load(std::sync::atomic::Ordering::Relaxed), 2);
            assert_eq!(stats.cx_active.load(std::sync::atomic::Ordering::Relaxed), 0);
            assert_eq!(bench.count(metric::UPSTREAM_CX_TOTAL), 1);
            assert_eq!(bench.count(metric::UPSTREAM_RQ_TOTAL), 2);
            assert_eq!(bench.count(metric::UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ), 1);
            assert_eq!(bench.cluster.runtime.metrics().gauge(metric::UPSTREAM_CX_ACTIVE), 0);
            assert_eq!(bench.cluster.runtime.metrics().gauge(metric::UPSTREAM_RQ_ACTIVE), 0);
        })
        .await;
}

#[tokio::test]
async fn the_newest_idle_connection_is_taken_first() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let (a, b) = (bench.acquire().await.unwrap(), bench.acquire().await.unwrap());
            let newest = b.local;
            a.release(Instant::now());
            b.release(Instant::now());
            assert_eq!(bench.acquire().await.unwrap().local, newest);
        })
        .await;
}

#[tokio::test]
async fn a_connection_that_the_endpoint_closed_or_wrote_to_is_not_used() {
    LocalSet::new()
        .run_until(async {
            for unsolicited in [false, true] {
                let bench = Bench::new(|_| {}).await;
                let first = bench.acquire().await.unwrap();
                let mut server = bench.accept().await;
                if unsolicited {
                    server.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
                } else {
                    drop(server);
                }
                first.wire.io().readable().await.unwrap();
                first.release(Instant::now());
                assert!(fresh(&bench.acquire().await.unwrap()), "unsolicited bytes: {unsolicited}");
                assert_eq!(bench.count(metric::UPSTREAM_CX_DESTROY_REMOTE), u64::from(!unsolicited));
                // The new one was closed, too.
                assert_eq!(bench.count(metric::UPSTREAM_CX_DESTROY_LOCAL), 1 + u64::from(unsolicited));
            }
        })
        .await;
}

#[tokio::test]
async fn leftover_input_closes_the_connection() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let mut lease = bench.acquire().await.unwrap();
            lease.wire.input.extend_from_slice(b"HTTP/1.1 200 OK");
            lease.release(Instant::now());
            assert_eq!(bench.in_use(BreakerKind::Connections), 0);
        })
        .await;
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|config| config.http.idle_timeout = Some(Duration::from_millis(20))).await;
            let lease = bench.acquire().await.unwrap();
            let mut server = bench.accept().await;
            lease.release(Instant::now());
            tokio::select! {
                () = bench.pools.maintain() => unreachable!("the pools live"),
                end = closed(&mut server) => assert!(end),
            }
            assert_eq!(bench.count(metric::UPSTREAM_CX_IDLE_TIMEOUT), 1);
            assert!(bench.pools.0.pools.borrow().is_empty(), "an empty pool goes, too");
        })
        .await;
}

#[tokio::test]
async fn connections_of_a_removed_endpoint_are_closed() {
    LocalSet::new()
        .run_until(async {
            let mut bench = Bench::new(|_| {}).await;
            let lease = bench.acquire().await.unwrap();
            let mut server = bench.accept().await;
            lease.release(Instant::now());
            bench.cluster = Arc::new(bench.cluster.with_assignment(Assignment::default()));
            let maintain = bench.pools.maintain();
            tokio::select! {
                () = maintain => unreachable!("the pools live"),
                end = closed(&mut server) => assert!(end),
            }
            let maintain = bench.pools.maintain();
            drop(bench);
            maintain.await;
        })
        .await;
}

#[tokio::test]
async fn a_connection_carries_so_many_requests() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|config| config.http.max_requests_per_connection = 2).await;
            bench.acquire().await.unwrap().release(Instant::now());
            let second = bench.acquire().await.unwrap();
            assert!(!fresh(&second));
            second.release(Instant::now());
            assert!(fresh(&bench.acquire().await.unwrap()));
            assert_eq!(bench.count(metric::UPSTREAM_CX_MAX_REQUESTS), 1);
        })
        .await;
}

#[tokio::test]
async fn a_connection_lives_for_so_long() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|config| {
                config.http =
                    HttpOptions { max_connection_duration: Some(Duration::from_secs(60)), ..HttpOptions::default() };
            })
            .await;
            let lease = bench.acquire().await.unwrap();
            lease.release(Instant::now() + Duration::from_secs(61));
            assert_eq!(bench.in_use(BreakerKind::Connections), 0);
            assert_eq!(bench.count(metric::UPSTREAM_CX_MAX_DURATION_REACHED), 1);

            // Not a moment longer: whoever comes across one that is too old leaves it.
            let life = Duration::from_millis(20);
            let bench = Bench::new(|config| config.http.max_connection_duration = Some(life)).await;
            let lease = bench.acquire().await.unwrap();
            let opened = lease.slot.opened;
            lease.release(opened);
            while opened.elapsed() < life {
                tokio::task::yield_now().await;
            }
            assert!(fresh(&bench.acquire().await.unwrap()));
            assert_eq!(bench.count(metric::UPSTREAM_CX_MAX_DURATION_REACHED), 1);
        })
        .await;
}

#[tokio::test]
async fn beyond_the_limit_of_connections_requests_wait_for_one() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(thresholds(|t| t.max_connections = 1)).await;
            let first = bench.acquire().await.unwrap();
            let local = first.local;
            let mut second = std::pin::pin!(bench.acquire());
            assert!(poll_once(second.as_mut()).await.is_none());
            assert_eq!(bench.in_use(BreakerKind::Pending), 1);
            let stats = &bench.cluster.endpoints.hosts()[0].endpoint.stats;
            assert_eq!(stats.rq_pending_active.load(std::sync::atomic::Ordering::Relaxed), 1);
            first.release(Instant::now());
            let second = second.await.unwrap();
            assert_eq!((fresh(&second), second.local), (false, local));
            assert_eq!(bench.in_use(BreakerKind::Pending), 0);
            assert_eq!(bench.count(metric::UPSTREAM_CX_OVERFLOW), 1);

            // A connection that is closed gives its place to the one that waits, also when the first of them has given up.
            let mut gives_up = Box::pin(bench.acquire());
            assert!(poll_once(gives_up.as_mut()).await.is_none());
            let mut waits = std::pin::pin!(bench.acquire());
            assert!(poll_once(waits.as_mut()).await.is_none());
            drop(second);
            drop(gives_up);
            assert!(fresh(&waits.await.unwrap()));
        })
        .await;
}

#[tokio::test]
async fn open_breakers_refuse() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(thresholds(|t| t.max_pending = 0)).await;
            assert_eq!(bench.acquire().await.unwrap_err(), UpstreamError::Overflow(BreakerKind::Pending));
            assert_eq!(bench.count(metric::UPSTREAM_RQ_PENDING_OVERFLOW), 1);

            let bench = Bench::new(thresholds(|t| t.max_requests = 1)).await;
            let first = bench.acquire().await.unwrap();
            assert_eq!(bench.acquire().await.unwrap_err(), UpstreamError::Overflow(BreakerKind::Requests));
            assert_eq!(bench.in_use(BreakerKind::Connections), 2, "the connection is kept");
            first.release(Instant::now());
            assert!(!fresh(&bench.acquire().await.unwrap()));
        })
        .await;
}

#[tokio::test]
async fn connections_per_endpoint_are_limited() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|config| config.max_connections_per_endpoint[0] = 1).await;
            let first = bench.acquire().await.unwrap();
            let mut second = std::pin::pin!(bench.acquire());
            assert!(poll_once(second.as_mut()).await.is_none());
            first.release(Instant::now());
            assert!(!fresh(&second.await.unwrap()));
        })
        .await;
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let (cluster, pools) = (bench.cluster.clone(), bench.pools.clone());
            drop(bench.listener);
            let error = acquire(&pools, &cluster).await.unwrap_err();
            assert_eq!(error.to_string(), "delayed connect error: Connection refused");
            assert_eq!(cluster.runtime.metrics().counter(metric::UPSTREAM_CX_CONNECT_FAIL), 1);
            assert_eq!(cluster.runtime.used(BreakerKind::Connections, DEFAULT), 0);
            assert_eq!(cluster.runtime.used(BreakerKind::Pending, DEFAULT), 0);
        })
        .await;
}

#[tokio::test]
async fn an_endpoint_that_closes_at_once_fails_the_request() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let (mut lease, server) = tokio::join!(async { bench.acquire().await.unwrap() }, bench.accept());
            drop(server);
            assert_eq!(lease.wire.io_mut().read(&mut [0; 1]).await.unwrap(), 0);
            drop(lease);
            assert_eq!(bench.count(metric::UPSTREAM_CX_TOTAL), 1);
        })
        .await;
}

#[tokio::test]
async fn sockets_have_their_options() {
    LocalSet::new()
        .run_until(async {
            let keepalive = TcpKeepalive {
                probes: Some(3),
                time: Some(Duration::from_secs(7)),
                interval: Some(Duration::from_secs(2)),
            };
            let source = "127.0.0.2:0".parse().unwrap();
            let bench = Bench::new(|config| {
                config.socket = SocketOptions { source: Some(source), keepalive: Some(keepalive) };
            })
            .await;
            let lease = bench.acquire().await.unwrap();
            let tcp = lease.wire.io().tcp();
            assert!(tcp.nodelay().unwrap());
            let socket = socket2::SockRef::from(tcp);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(2));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            assert_eq!(lease.local.unwrap().ip(), source.ip());
        })
        .await;
}

#[test]
fn a_host_is_compared_without_its_port() {
    let rows: &[(&[u8], &str)] = &[
        (b"Shop.Example", "shop.example"),
        (b"shop.example:8443", "shop.example"),
        (b"10.0.0.1", "10.0.0.1"),
        (b"10.0.0.1:443", "10.0.0.1"),
        (b"[::1]:443", "::1"),
        (b"[::1]", "::1"),
        (b"", ""),
        (b"\xff", "\u{fffd}"),
    ];
    for (host, expected) in rows {
        assert_eq!(without_port(host), *expected, "{host:?}");
    }
}

/// Polls once.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
