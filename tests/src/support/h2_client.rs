//! A client of HTTP/2, over any connection.

use super::{Head, Response, TlsClient};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// One connection.
pub struct H2Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    /// The client's own address, as the gateway sees it.
    pub local: SocketAddr,
}

impl H2Client {
    /// Connects in the clear, with prior knowledge.
    pub async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let local = stream.local_addr().unwrap();
        Self::over(stream, local).await.unwrap()
    }

    /// Connects with TLS and ALPN `h2`.
    pub async fn tls(to: SocketAddr, tls: &TlsClient, name: &str) -> io::Result<Self> {
        let stream = tls.clone().alpn(&["h2"]).connect(to, name).await?;
        let local = stream.get_ref().0.local_addr()?;
        Self::over(stream, local).await.map_err(io::Error::other)
    }

    async fn over<S>(stream: S, local: SocketAddr) -> Result<Self, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = h2::client::handshake(stream).await?;
        Ok(Self { requests, connection: tokio::spawn(connection), local })
    }

    /// GET of a path of host `test`.
    pub async fn get(&mut self, path: &str) -> Response {
        self.request(request("GET", path, &[]), b"").await.unwrap()
    }

    /// Sends a request with its whole body, and waits for the whole answer.
    pub async fn request(&mut self, request: Request<()>, body: &[u8]) -> Result<Response, h2::Error> {
        let (answer, mut stream) = self.start(request, body.is_empty()).await?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        receive(answer).await
    }

    /// Sends the head of a request.
    pub async fn start(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.requests.clone().ready().await?.send_request(request, end)
    }

    /// Waits until the gateway has ended the connection, and says how.
    pub async fn closed(self) -> Result<(), h2::Error> {
        drop(self.requests);
        self.connection.await.unwrap()
    }
}

/// A request for host `test` over http.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(format!("http://test{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

/// The whole answer.
pub async fn receive(mut answer: ResponseFuture) -> Result<Response, h2::Error> {
    let mut response = Response::default();
    while let Some(head) = std::future::poll_fn(|cx| answer.poll_informational(cx)).await {
        let head = head?;
        response.informational.push(Head {
            status: head.status().as_u16(),
            line: String::new(),
            headers: list(head.headers()),
        });
    }
    let (head, mut body) = answer.await?.into_parts();
    response.status = head.status.as_u16();
    response.headers = list(&head.headers);
    response.body = drain(&mut body).await?;
    if let Some(trailers) = body.trailers().await? {
        response.trailers = list(&trailers);
    }
    Ok(response)
}

async fn drain(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn list(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())).collect()
}
