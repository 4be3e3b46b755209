//! Requests through a worker whose chains have filters of the tests' own: what no filter that can be configured does yet. All
//! others go in by the front door, in the package of tests.

#![allow(clippy::unwrap_used)]

mod effects;
mod network;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use weir_xds::Kind;

use super::connection;
use super::limits::ConnectionLimits;
use super::worker::{ConnectionCounts, Worker};
use crate::snapshot::SnapshotStore;
use crate::snapshot::testing::{cluster, inline, listener, publisher, reasons, update};
use crate::telemetry::access_log::Sinks;
use crate::telemetry::metrics::{Registry, names};

/// A worker that sends all requests to one endpoint.
struct Gateway {
    worker: Rc<Worker>,
    /// Where the endpoint listens.
    endpoint: TcpListener,
    clients: TcpListener,
}

impl Gateway {
    async fn new() -> Self {
        let [endpoint, clients] = [TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await];
        let (endpoint, clients) = (endpoint.unwrap(), clients.unwrap());
        let cluster = cluster("c", endpoint.local_addr().unwrap().port());
        let mut publisher = publisher();
        let report = publisher.publish(vec![
            update("test", Kind::Cluster, &[&cluster]),
            update("test", Kind::Listener, &[&listener("l", 1, &format!("{}\nproxy_100_continue: true", inline("c")))]),
        ]);
        assert_eq!(reasons(&report), [""; 0]);
        let store: Arc<SnapshotStore> = Arc::clone(publisher.store());
        let registry = Registry::new(1);
        let sinks = Arc::new(Sinks::dry(&registry));
        let (counts, limits) = (Arc::<ConnectionCounts>::default(), Arc::<ConnectionLimits>::default());
        let worker = Worker::new(1, store, sinks, counts, limits, registry.scope(names::Weir, ""));
        Self { worker, endpoint, clients }
    }

    /// A client whose connection is served.
    async fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.clients.local_addr().unwrap()).await.unwrap();
        let (tcp, remote) = self.clients.accept().await.unwrap();
        let listener = Arc::clone(self.worker.snapshot().listener("l").unwrap());
        let room = self.worker.connection_limits.take(&listener).unwrap();
        let local = tcp.local_addr().unwrap();
        tokio::task::spawn_local(connection::serve(Rc::clone(&self.worker), listener, tcp, remote, local, room));
        client
    }

    /// A client that has asked for `/`.
    async fn ask(&self) -> TcpStream {
        let mut client = self.connect().await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        client
    }

    /// Takes the next connection at the endpoint and the request on it, and answers with this status and body.
    async fn answer(&self, status: &str, body: &str) -> (TcpStream, String) {
        let (mut server, _) = self.endpoint.accept().await.unwrap();
        let request = read_until(&mut server, "\r\n\r\n").await;
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        server.write_all(response.as_bytes()).await.unwrap();
        (server, request)
    }
}

/// Runs a test as a worker runs its connections; what waits for ever fails.
async fn run(test: impl Future<Output = ()>) {
    let test = tokio::time::timeout(Duration::from_secs(60), test);
    LocalSet::new().run_until(test).await.expect("the test ends");
}

async fn read_until(tcp: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        assert_ne!(tcp.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}
