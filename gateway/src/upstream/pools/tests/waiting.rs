//! Requests that wait for a connection.

use super::*;

/// An endpoint that lets nobody in any more: its backlog is full, and the kernel leaves the rest without an answer.
async fn fill(address: SocketAddr) -> Vec<TcpStream> {
    let mut fillers = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            Ok(filler) => fillers.push(filler.unwrap()),
            Err(_) => return fillers,
        }
        assert!(fillers.len() < 16, "the backlog has an end");
    }
}

fn with_short_backlog() -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(1).unwrap()
}

#[tokio::test]
async fn all_that_wait_fail_with_the_attempt_that_does() {
    LocalSet::new()
        .run_until(async {
            let listener = with_short_backlog();
            let cluster = cluster(listener.local_addr().unwrap(), |c| {
                c.connect_timeout = Duration::from_millis(50);
                c.breakers[0].max_connections = 1;
            });
            let pools = Pools::new(1);
            let _fillers = fill(listener.local_addr().unwrap()).await;
            let (a, b, c) =
                tokio::join!(acquire(&pools, &cluster), acquire(&pools, &cluster), acquire(&pools, &cluster));
            for error in [a, b, c] {
                assert_eq!(error.unwrap_err(), UpstreamError::Timeout);
            }
            let metrics = cluster.runtime.metrics();
            for (counter, count) in [
                (metric::UPSTREAM_CX_TOTAL, 1),
                (metric::UPSTREAM_CX_CONNECT_FAIL, 1),
                (metric::UPSTREAM_CX_CONNECT_TIMEOUT, 1),
                (metric::UPSTREAM_CX_OVERFLOW, 2),
                (metric::UPSTREAM_RQ_PENDING_FAILURE_EJECT, 3),
            ] {
                assert_eq!(metrics.counter(counter), count);
            }
            assert_eq!(cluster.runtime.used(BreakerKind::Connections, DEFAULT), 0);
            assert_eq!(cluster.runtime.used(BreakerKind::Pending, DEFAULT), 0);
        })
        .await;
}

#[tokio::test]
async fn an_idle_connection_goes_to_who_waits_for_another() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench { listener: with_short_backlog(), ..Bench::new(|_| {}).await };
            let address = bench.listener.local_addr().unwrap();
            let bench = Bench { cluster: cluster(address, |_| {}), ..bench };
            let first = bench.acquire().await.unwrap();
            let local = first.local;
            let _fillers = fill(address).await;
            let mut second = std::pin::pin!(bench.acquire());
            assert!(poll_once(second.as_mut()).await.is_none());
            assert_eq!(bench.count(metric::UPSTREAM_CX_TOTAL), 2, "another is being made");
            first.release(Instant::now());
            assert_eq!(second.await.unwrap().local, local);
        })
        .await;
}

#[tokio::test]
async fn a_connection_whose_request_has_left_serves_the_next() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let mut leaves = Box::pin(bench.acquire());
            assert!(poll_once(leaves.as_mut()).await.is_none());
            drop(leaves);
            assert_eq!(bench.in_use(BreakerKind::Pending), 0);
            assert_eq!(bench.in_use(BreakerKind::Connections), 1, "the attempt goes on");
            let next = bench.acquire().await.unwrap();
            drop(next);
            assert_eq!(bench.count(metric::UPSTREAM_CX_TOTAL), 1);

            // Given to a request that leaves before it takes it.
            let first = bench.acquire().await.unwrap();
            let local = first.local;
            let mut leaves = Box::pin(bench.acquire());
            assert!(poll_once(leaves.as_mut()).await.is_none());
            first.release(Instant::now());
            drop(leaves);
            assert_eq!(bench.acquire().await.unwrap().local, local);
        })
        .await;
}
