//! A client that sends exactly the bytes it is given and knows whether its connection was kept.

use super::response::{Parsed, parse};
use super::{Response, TlsClient};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    ended: Option<End>,
    /// The client's own address, as the gateway sees it.
    pub local: SocketAddr,
}

/// How a connection ended before a whole answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// Closed; these bytes had come since the last whole answer.
    Closed(Vec<u8>),
    /// Reset; these bytes had come since the last whole answer.
    Reset(Vec<u8>),
    /// Something that is no HTTP/1 answer.
    Broken(&'static str, Vec<u8>),
    /// Neither ended nor answered in time.
    Silent(Vec<u8>),
}

impl End {
    /// The same end without the bytes before it.
    #[must_use]
    pub fn without_bytes(&self) -> Self {
        match self {
            Self::Closed(_) => Self::Closed(Vec::new()),
            Self::Reset(_) => Self::Reset(Vec::new()),
            Self::Broken(reason, _) => Self::Broken(reason, Vec::new()),
            Self::Silent(_) => Self::Silent(Vec::new()),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Client {
    /// Connects in the clear.
    pub async fn connect(to: SocketAddr) -> Self {
        Self::try_connect(to).await.unwrap_or_else(|error| panic!("connect to {to}: {error}"))
    }

    /// Connects in the clear, or says why not.
    pub async fn try_connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok(Self { stream: Box::new(stream), buffer: Vec::new(), ended: None, local })
    }

    /// Connects with TLS, or says why not.
    pub async fn tls(to: SocketAddr, tls: &TlsClient, name: &str) -> io::Result<Self> {
        let stream = tls.connect(to, name).await?;
        let local = stream.get_ref().0.local_addr()?;
        Ok(Self { stream: Box::new(stream), buffer: Vec::new(), ended: None, local })
    }

    /// Sends bytes as they are. A connection that was closed meanwhile shows when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.stream.write_all(bytes.as_ref()).await {
            self.note(&error);
        } else if let Err(error) = self.stream.flush().await {
            self.note(&error);
        }
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        // It fails only when the connection is gone, which shows when reading.
        let _ = self.stream.shutdown().await;
    }

    /// GET on this connection, which must answer.
    pub async fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        self.response().await
    }

    /// The next answer.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn response(&mut self) -> Response {
        self.next(false, DEADLINE).await.unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// The next answer, to a HEAD request.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn response_to_head(&mut self) -> Response {
        self.next(true, DEADLINE).await.unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// The next answer, or how the connection ended; [`End::Silent`] after `patience`.
    pub async fn next(&mut self, bodiless: bool, patience: Duration) -> Result<Response, End> {
        loop {
            let eof = matches!(self.ended, Some(End::Closed(_)));
            match parse(&self.buffer, bodiless, eof) {
                Parsed::Whole(response, length) => {
                    self.buffer.drain(..length);
                    return Ok(response);
                }
                Parsed::Broken(reason) => return Err(End::Broken(reason, self.buffer.clone())),
                Parsed::Partial => {}
            }
            match self.ended {
                Some(End::Reset(_)) => return Err(End::Reset(self.buffer.clone())),
                Some(_) => return Err(End::Closed(self.buffer.clone())),
                None => {}
            }
            match timeout(patience, self.stream.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(End::Silent(self.buffer.clone())),
                Ok(Ok(0)) => self.ended = Some(End::Closed(Vec::new())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.note(&error),
            }
        }
    }

    /// Waits for bytes of an answer that contain this text, and leaves them to be read.
    ///
    /// # Panics
    /// When the connection ends before, or nothing comes.
    pub async fn receives(&mut self, text: &str) {
        while super::response::find_bytes(&self.buffer, text.as_bytes()).is_none() {
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.buffer)).await.expect("bytes in time").unwrap();
            assert!(read > 0, "closed before {text:?}, after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// How the connection ends, when no answer is expected any more; [`End::Silent`] after `patience`.
    pub async fn end(&mut self, patience: Duration) -> End {
        match self.next(false, patience).await {
            Ok(response) => End::Broken("an answer that nobody asked for", response.line.into_bytes()),
            Err(end) => end,
        }
    }

    /// Waits until the gateway ends the connection.
    ///
    /// # Panics
    /// When it does not, or sends something first.
    pub async fn closed(&mut self) {
        let end = self.end(DEADLINE).await;
        let (End::Closed(bytes) | End::Reset(bytes)) = &end else { panic!("not closed: {end:?}") };
        assert!(bytes.is_empty(), "more bytes before the end: {:?}", String::from_utf8_lossy(bytes));
    }

    fn note(&mut self, error: &io::Error) {
        // A TLS peer that ends without close_notify is an end like any other here.
        let reset = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
        self.ended = Some(if reset { End::Reset(Vec::new()) } else { End::Closed(Vec::new()) });
    }
}

/// GET on a connection of its own.
pub async fn get(at: SocketAddr, path: &str) -> io::Result<Response> {
    let mut client = Client::try_connect(at).await?;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await;
    client.next(false, DEADLINE).await.map_err(|end| io::Error::other(format!("{end:?}")))
}
