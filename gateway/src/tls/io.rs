//! A connection's bytes, with or without TLS: one type for everything above.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::socket::Socket;

/// A downstream or upstream connection.
///
/// A peer that goes away without close_notify reads as the end of the stream, as in Envoy; framing above tells a
/// truncated message.
#[derive(Debug)]
pub enum Io {
    /// Cleartext.
    Tcp(TcpStream),
    /// Cleartext whose first bytes were read already.
    Replay(Box<Replay>),
    /// TLS, the handshake done.
    Tls {
        /// The session over its socket.
        stream: Box<TlsStream<Socket>>,
        /// The peer has gone away without close_notify: there is nobody left to say anything to.
        cut: bool,
    },
    /// Whoever reads and changes its bytes before its protocol does.
    Layered(Box<dyn Layer>),
}

/// What stands between a connection and its protocol. A trait, because those that do so are above TLS.
pub trait Layer: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug {
    /// The connection below.
    fn below(&self) -> &Io;

    /// As [`Io::poll_readable`]; not ready if this takes nothing more.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// As [`Io::poll_last_words`].
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Io {
    /// TLS, the handshake done.
    pub fn tls(stream: impl Into<TlsStream<Socket>>) -> Self {
        Self::Tls { stream: Box::new(stream.into()), cut: false }
    }

    /// Cleartext that begins with `peeked`, which was already read from `tcp`.
    pub fn replaying(peeked: Bytes, tcp: TcpStream) -> Self {
        if peeked.is_empty() { Self::Tcp(tcp) } else { Self::Replay(Box::new(Replay { peeked, tcp })) }
    }

    /// Whether the handshake went on with an earlier session.
    pub fn is_resumed(&self) -> bool {
        match self {
            Self::Tls { stream, .. } => stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            Self::Tcp(_) | Self::Replay(_) => false,
            Self::Layered(layer) => layer.below().is_resumed(),
        }
    }

    /// Waits until a read is worth trying, without a buffer: for idle connections. May return although the next read
    /// finds nothing yet (a TLS record that is incomplete or carries no data).
    pub async fn readable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// [`Io::readable`] as a poll.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Layered(layer) => layer.poll_readable(cx),
            io if io.holds_input() => Poll::Ready(Ok(())),
            io => io.tcp().poll_read_ready(cx),
        }
    }

    /// Reads what is there now. `WouldBlock` if nothing is: the state of a healthy idle connection. Costs no system
    /// call as long as the socket has not been reported readable.
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Self::Tcp(tcp) = self {
            return tcp.try_read(buf);
        }
        // Whoever waits next registers its own waker.
        let mut cx = Context::from_waker(Waker::noop());
        let mut buf = ReadBuf::new(buf);
        match Pin::new(self).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) => Ok(buf.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Says the last of a connection that is dropped next: over TLS a close_notify, unless its peer has cut it. To shut our
    /// direction down as well would cost a system call, and the drop does it.
    pub fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Replay(_) => Poll::Ready(Ok(())),
            Self::Tls { cut: true, .. } => Poll::Ready(Ok(())),
            Self::Tls { stream, .. } => {
                // Said once only, however often this is called.
                stream.get_mut().1.send_close_notify();
                Pin::new(stream.as_mut()).poll_flush(cx)
            }
            Self::Layered(layer) => layer.poll_last_words(cx),
        }
    }

    /// Address of the peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// Our own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Replay(replay) => &replay.tcp,
            Self::Tls { stream, .. } => stream.get_ref().0.tcp(),
            Self::Layered(layer) => layer.below().tcp(),
        }
    }

    /// Whether what was written may have to be flushed.
    pub fn keeps_output(&self) -> bool {
        matches!(self, Self::Tls { .. } | Self::Layered(_))
    }

    /// Whether input waits above the socket.
    fn holds_input(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Replay(replay) => !replay.peeked.is_empty(),
            // rustls wants no more from the socket while it holds plaintext or after close_notify.
            Self::Tls { stream, .. } => !stream.get_ref().1.wants_read(),
            Self::Layered(_) => false,
        }
    }
}

/// Cleartext whose first bytes were read before it was known who would want them.
#[derive(Debug)]
pub struct Replay {
    peeked: Bytes,
    tcp: TcpStream,
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Replay(replay) if replay.peeked.is_empty() => Pin::new(&mut replay.tcp).poll_read(cx, buf),
            Self::Replay(replay) => {
                let n = replay.peeked.len().min(buf.remaining());
                // n is within both, by the line above.
                buf.put_slice(&replay.peeked[..n]);
                replay.peeked.advance(n);
                if replay.peeked.is_empty() {
                    replay.peeked = Bytes::new();
                }
                Poll::Ready(Ok(()))
            }
            Self::Tls { stream, cut } => match Pin::new(stream.as_mut()).poll_read(cx, buf) {
                Poll::Ready(Err(error)) => {
                    *cut = true;
                    Poll::Ready(if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) })
                }
                other => other,
            },
            Self::Layered(layer) => Pin::new(layer).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Replay(replay) => Pin::new(&mut replay.tcp).poll_write(cx, buf),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Self::Layered(layer) => Pin::new(layer).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Replay(replay) => Pin::new(&mut replay.tcp).poll_write_vectored(cx, bufs),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Self::Layered(layer) => Pin::new(layer).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Replay(replay) => Pin::new(&mut replay.tcp).poll_flush(cx),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Layered(layer) => Pin::new(layer).poll_flush(cx),
        }
    }

    /// Ends our direction; over TLS with close_notify first.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Replay(replay) => Pin::new(&mut replay.tcp).poll_shutdown(cx),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Layered(layer) => Pin::new(layer).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_was_peeked_comes_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b" world").await.unwrap();
        client.shutdown().await.unwrap();

        let mut io = Io::replaying(Bytes::from_static(b"hello"), server);
        io.readable().await.unwrap();
        let mut small = [0; 2];
        assert_eq!(io.try_read(&mut small).unwrap(), 2);
        assert_eq!(&small, b"he");
        let mut rest = String::new();
        io.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "llo world");
    }

    #[tokio::test]
    async fn an_idle_connection_would_block() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut io = Io::replaying(Bytes::new(), client);
        assert!(matches!(io, Io::Tcp(_)));
        assert_eq!(io.try_read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(listener.accept().await.unwrap());
        io.readable().await.unwrap();
        assert_eq!(io.try_read(&mut [0; 1]).unwrap(), 0);
    }
}
