#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::cluster::BreakerKind;
use crate::http::Version;
use crate::upstream::pools::tests::cluster;

struct Bench {
    listener: TcpListener,
    cluster: Arc<Cluster>,
    clusters: ClusterTable,
    pools: Pools,
    balance: WorkerClusters,
}

impl Bench {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = cluster(listener.local_addr().unwrap(), |_| {});
        let mut clusters = ClusterTable::new();
        clusters.insert(Arc::clone(&cluster));
        Self { listener, cluster, clusters, pools: Pools::new(1), balance: WorkerClusters::new(1) }
    }

    fn call<E: FnOnce(&mut CallOut)>(&self, edit: E) -> impl Future<Output = CallResult> + use<E> {
        let head = RequestHead {
            method: "POST".into(),
            scheme: "http".into(),
            authority: "auth.test".into(),
            path: "/check".into(),
            version: Version::Http11,
            headers: [("x-a", "1"), ("content-length", "999")].into_iter().collect(),
        };
        let mut asked = CallOut {
            cluster: "c".into(),
            head,
            body: "who?".into(),
            trailers: None,
            timeout: Duration::from_secs(60),
            max_body: 100,
        };
        edit(&mut asked);
        call(&self.pools, &self.balance, &self.clusters, asked)
    }

    /// Takes a connection, and gives the request that came on it with the bytes `until` at its end.
    async fn accept(&self, until: &str) -> (TcpStream, String) {
        let (mut server, _) = self.listener.accept().await.unwrap();
        let request = read_until(&mut server, until).await;
        (server, request)
    }
}

async fn read_until(server: &mut TcpStream, end: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(end.as_bytes()) {
        assert_ne!(server.read_buf(&mut request).await.unwrap(), 0, "{}", String::from_utf8_lossy(&request));
    }
    String::from_utf8(request).unwrap()
}

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

fn text(body: &BodyBuf) -> String {
    body.pieces().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

#[tokio::test]
async fn an_answer_comes_whole_and_its_connection_is_used_again() {
    run(async {
        let bench = Bench::new().await;
        let serve = async {
            let (mut server, request) = bench.accept("who?").await;
            let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
            let answer = "HTTP/1.1 403 Forbidden\r\nx-why: you\r\ncontent-length: 3\r\n\r\nno\n";
            server.write_all(format!("{interim}{answer}").as_bytes()).await.unwrap();
            (server, request)
        };
        let (answer, (mut server, request)) = tokio::join!(bench.call(|_| {}), serve);
        let expected = "POST /check HTTP/1.1\r\nhost: auth.test\r\nx-a: 1\r\ncontent-length: 4\r\n\r\nwho?";
        assert_eq!(request, expected);
        let answer = answer.unwrap();
        assert_eq!((answer.head.status, answer.head.headers.get_str("x-why")), (403, Some("you")));
        assert_eq!(text(&answer.body), "no\n");

        let with_trailers = bench.call(|call| call.trailers = Some([("sum", "1")].into_iter().collect()));
        let serve = async {
            let request = read_until(&mut server, "sum: 1\r\n\r\n").await;
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nsum: 2\r\n\r\n";
            server.write_all(answer.as_bytes()).await.unwrap();
            request
        };
        let (answer, request) = tokio::join!(with_trailers, serve);
        assert!(request.ends_with("transfer-encoding: chunked\r\n\r\n4\r\nwho?\r\n0\r\nsum: 1\r\n\r\n"), "{request}");
        let answer = answer.unwrap();
        assert_eq!((text(&answer.body), answer.trailers.unwrap().get_str("sum")), ("ok".into(), Some("2")));

        let metrics = bench.cluster.runtime.metrics();
        assert_eq!(metrics.counter(metric::UPSTREAM_CX_TOTAL), 1, "the second went over the first one's connection");
        assert_eq!((metrics.counter(metric::UPSTREAM_RQ_2XX), metrics.counter(metric::UPSTREAM_RQ_4XX)), (1, 1));
        assert_eq!(bench.cluster.runtime.used(BreakerKind::Requests, RoutingPriority::Default), 0);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_by_its_reason_and_costs_the_connection() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n".to_owned() + &"x".repeat(101);
    for (answer, closes, reason) in [
        ("HTTP/1.1 200", true, "the endpoint closed the connection in mid-response"),
        ("", true, "the endpoint closed the connection before it answered"),
        ("what?\r\n\r\n", false, "the endpoint broke the protocol"),
        (&*long, false, "the answer has more than 100 bytes of body"),
        ("", false, "no whole answer within 100ms"),
    ] {
        run(async {
            let bench = Bench::new().await;
            let slow = !closes && answer.is_empty();
            let asked = bench.call(|call| {
                if slow {
                    call.timeout = Duration::from_millis(100);
                }
            });
            let serve = async {
                let (mut server, _) = bench.accept("who?").await;
                server.write_all(answer.as_bytes()).await.unwrap();
                (!closes).then_some(server)
            };
            let (failed, server) = tokio::join!(asked, serve);
            let said = failed.unwrap_err().to_string();
            assert!(said.starts_with(reason), "{said}, not {reason}");
            if let Some(mut server) = server {
                assert!(matches!(server.read(&mut [0]).await, Ok(0) | Err(_)), "{reason}");
            }
            for kind in BreakerKind::ALL {
                assert_eq!(bench.cluster.runtime.used(kind, RoutingPriority::Default), 0, "{reason}: {kind:?}");
            }
            let metrics = bench.cluster.runtime.metrics();
            assert_eq!(metrics.counter(metric::UPSTREAM_RQ_5XX), 1, "{reason}");
            assert_eq!(metrics.counter(metric::UPSTREAM_RQ_TIMEOUT), u64::from(slow), "{reason}");
        })
        .await;
    }
}

#[tokio::test]
async fn without_a_cluster_or_an_endpoint_nobody_is_asked() {
    run(async {
        let mut bench = Bench::new().await;
        let failed = bench.call(|call| call.cluster = "other".into()).await.unwrap_err();
        assert!(matches!(&failed, CallFailed::NoCluster(name) if &**name == "other"), "{failed}");

        let address = bench.listener.local_addr().unwrap();
        drop(bench.listener);
        bench.listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let failed = bench.call(|_| {}).await.unwrap_err();
        assert!(matches!(failed, CallFailed::NotConnected(UpstreamError::Connect { .. })), "{address}: {failed}");
    })
    .await;
}

#[tokio::test]
async fn a_call_out_that_nobody_wants_any_more_closes_its_connection() {
    run(async {
        let bench = Bench::new().await;
        let asked = tokio::task::spawn_local(bench.call(|_| {}));
        let (mut server, _) = bench.accept("who?").await;
        asked.abort();
        assert!(matches!(server.read(&mut [0]).await, Ok(0) | Err(_)));
    })
    .await;
}
