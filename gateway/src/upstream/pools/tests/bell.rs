//! What happens to connections that nobody uses is noticed when it happens, not at the next look at all of them.

use super::*;
use crate::telemetry::metrics::names::cluster::{UPSTREAM_CX_ACTIVE, UPSTREAM_CX_DESTROY_LOCAL};

impl Bench {
    /// Waits for a bell, and looks at its pools as `maintain` does.
    async fn rung(&self) {
        let heard = Arc::clone(&self.pools.0.reaper.heard);
        loop {
            let keys = heard.take();
            if !keys.is_empty() {
                return keys.into_iter().for_each(|key| self.pools.0.reap_rung(key, Instant::now()));
            }
            heard.wake.notified().await;
        }
    }

    fn active(&self) -> u64 {
        self.cluster.runtime.metrics().gauge(UPSTREAM_CX_ACTIVE)
    }
}

#[tokio::test]
async fn an_endpoint_that_closes_an_idle_connection_rings() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let (first, second) = (bench.acquire().await.unwrap(), bench.acquire().await.unwrap());
            let (one, other) = (bench.accept().await, bench.accept().await);
            first.release(Instant::now());
            second.release(Instant::now());
            assert_eq!(bench.active(), 2);

            drop(one);
            bench.rung().await;
            assert_eq!((bench.active(), bench.count(metric::UPSTREAM_CX_DESTROY_REMOTE)), (1, 1));

            // The bell rings again, also for a connection that was used in between.
            let again = bench.acquire().await.unwrap();
            assert!(!fresh(&again));
            again.release(Instant::now());
            drop(other);
            bench.rung().await;
            assert_eq!((bench.active(), bench.count(metric::UPSTREAM_CX_DESTROY_REMOTE)), (0, 2));
            assert!(bench.pools.0.pools.borrow().is_empty(), "an empty pool goes, too");
        })
        .await;
}

#[tokio::test]
async fn an_endpoint_that_leaves_takes_its_connections_along() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            let (idle, used) = (bench.acquire().await.unwrap(), bench.acquire().await.unwrap());
            let (mut one, mut other) = (bench.accept().await, bench.accept().await);
            idle.release(Instant::now());

            // The cluster, an old one now, still has the endpoint: somebody holds its snapshot.
            bench.cluster.endpoints.leave(Some(&bench.cluster.endpoints));
            assert_eq!(bench.active(), 2);
            bench.cluster.endpoints.leave(None);
            bench.rung().await;
            assert!(closed(&mut one).await);
            assert_eq!((bench.active(), bench.count(UPSTREAM_CX_DESTROY_LOCAL)), (1, 1));

            used.release(Instant::now());
            assert!(closed(&mut other).await);
            assert_eq!((bench.active(), bench.count(UPSTREAM_CX_DESTROY_LOCAL)), (0, 2));
        })
        .await;
}

#[tokio::test]
async fn pools_that_go_leave_nothing_with_their_endpoint() {
    LocalSet::new()
        .run_until(async {
            let bench = Bench::new(|_| {}).await;
            for _ in 0..3 {
                bench.acquire().await.unwrap().release(Instant::now());
                drop(bench.accept().await);
                bench.rung().await;
                assert!(bench.pools.0.pools.borrow().is_empty());
            }
            assert_eq!(bench.cluster.endpoints.hosts()[0].endpoint.waiting_to_be_told(), 0);
        })
        .await;
}
