//! What a TLS session writes to.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// So many pieces go out with what is held; rustls writes a record or two at a time.
const PIECES: usize = 15;

/// A socket with bytes that go out together with the first that are written to it: in TLS 1.3 a session's ticket, which nobody
/// waits for. By itself it costs a system call, and often a packet to a client that has gone.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    held: Vec<u8>,
}

impl Socket {
    /// `held` goes out first.
    pub(super) fn new(tcp: TcpStream, held: Vec<u8>) -> Self {
        Self { tcp, held }
    }

    /// The TCP connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { tcp, held } = &mut *self;
        while !held.is_empty() {
            let mut all = [IoSlice::new(&[]); 1 + PIECES];
            let pieces = std::iter::once(&held[..]).chain(bufs.iter().map(|buf| &**buf));
            all.iter_mut().zip(pieces).for_each(|(place, piece)| *place = IoSlice::new(piece));
            let written = ready!(Pin::new(&mut *tcp).poll_write_vectored(cx, &all))?;
            match written.checked_sub(held.len()) {
                Some(rest) => {
                    *held = Vec::new();
                    if rest > 0 {
                        return Poll::Ready(Ok(rest));
                    }
                }
                None if written == 0 => return Poll::Ready(Ok(0)),
                None => drop(held.drain(..written)),
            }
        }
        Pin::new(tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is held waits on: this flushes what was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
