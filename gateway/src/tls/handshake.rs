//! The server's part of a handshake, from what was read of the ClientHello on.
//!
//! tokio-rustls would write a session's ticket by itself, before the client has said anything, and look for more from the client
//! before that.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::error::TlsError;
use super::seen::Seen;
use super::socket::Socket;

/// One read takes what a client says at once, but for long chains of certificates.
const READ: usize = 4096;

/// A handshake in progress.
pub(super) struct Handshake {
    config: Arc<ServerConfig>,
    session: Box<ServerConnection>,
    /// What was seen of the client.
    pub(super) seen: Seen,
}

impl Handshake {
    pub(super) fn new(config: &Arc<ServerConfig>) -> Result<Self, TlsError> {
        let session = ServerConnection::new(Arc::clone(config)).map_err(TlsError::Rustls)?;
        Ok(Self { config: Arc::clone(config), session: Box::new(session), seen: Seen::default() })
    }

    /// Takes what was read from the client; what it is refused for has been said to it.
    pub(super) fn take(&mut self, mut read: &[u8], tcp: &TcpStream) -> Result<(), TlsError> {
        while !read.is_empty() {
            // From memory it fails only when rustls's buffers are full, which nothing that precedes a request can do.
            self.session.read_tls(&mut read)?;
            if let Err(error) = self.seen.during(|| self.session.process_new_packets()) {
                // A courtesy, which fits into an empty socket's buffer or is lost.
                while self.session.wants_write() && self.session.write_tls(&mut Now(tcp)).is_ok() {}
                return Err(TlsError::Rustls(error));
            }
        }
        Ok(())
    }

    /// Goes on until the client may speak.
    pub(super) async fn finish(&mut self, tcp: &mut TcpStream) -> Result<(), TlsError> {
        while self.session.is_handshaking() {
            self.write(tcp).await?;
            poll_fn(|cx| {
                let mut space = [0; READ];
                let mut buf = ReadBuf::new(&mut space);
                Poll::Ready(match ready!(Pin::new(&mut *tcp).poll_read(cx, &mut buf)) {
                    Ok(()) if buf.filled().is_empty() => Err(TlsError::Closed),
                    Ok(()) => self.take(buf.filled(), tcp),
                    Err(error) => Err(error.into()),
                })
            })
            .await?;
        }
        // In TLS 1.2 the client waits for what is left to be said.
        if self.session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            self.write(tcp).await?;
        }
        Ok(())
    }

    /// The connection, when the handshake is over. What is left to be said in TLS 1.3, a ticket, goes out with the first answer.
    pub(super) async fn into_stream(mut self, tcp: TcpStream) -> io::Result<TlsStream<Socket>> {
        let mut ticket = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut ticket)?;
        }
        let socket = Socket::new(tcp, ticket);
        // It has nothing more to do.
        TlsAcceptor::from(self.config).accept_with(socket, |fresh| *fresh = *self.session).await
    }

    async fn write(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Now(tcp)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes what can be written at once.
struct Now<'a>(&'a TcpStream);

impl Write for Now<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
