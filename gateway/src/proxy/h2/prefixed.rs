//! A client's connection as h2 reads it: what was read already comes first, and all of it is followed for heads.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::Heads;
use crate::proxy::connection::ConnectionContext;
use crate::tls::Io;

/// So many bytes are read before the streams have their turn: h2 reads as long as there is something, and keeps each frame
/// by itself until its stream takes it.
const BURST: usize = 64 << 10;

/// A connection whose first bytes were read already.
pub(super) struct Prefixed {
    prefix: BytesMut,
    io: Io,
    heads: Heads,
    /// Bytes that were read in this turn.
    burst: usize,
    /// Counts the bytes.
    counted: Rc<ConnectionContext>,
}

impl Prefixed {
    pub(super) fn new(prefix: BytesMut, io: Io, heads: Heads, counted: Rc<ConnectionContext>) -> Self {
        Self { prefix, io, heads, burst: 0, counted }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        // Of the prefix at most all.
        let take = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..take]);
        self.prefix.advance(take);
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, written: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.heads.sent(*bytes);
            self.counted.moved(0, *bytes as u64);
        }
        written
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.burst >= BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = self.poll_fill(cx, buf);
        // A reader adds to what is filled: AsyncRead says so.
        let new = &buf.filled()[before..];
        self.heads.follow(new);
        self.burst = if read.is_ready() { self.burst + new.len() } else { 0 };
        self.counted.moved(new.len() as u64, 0);
        read
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
