//! A connection with its buffers, for both sides of the gateway.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::Io;

/// First read of a message; most requests and responses fit.
const READ_FIRST: usize = 8 * 1024;
/// Reads grow up to this while they fill their buffer, if the connection may hold as much.
const READ_MOST: usize = 64 * 1024;
/// Pieces up to this size are copied behind the head, so that one write sends both.
const COPY_BELOW: usize = 4 * 1024;
/// Bytes that were written and still lie before those that wait.
const SENT_MOST: usize = 64 * 1024;

/// A connection, what was read and not used, and what is to be written. Holds no memory while idle.
#[derive(Debug)]
pub struct Wire {
    io: Io,
    /// What was read and not used yet.
    pub input: BytesMut,
    read_size: usize,
    read_most: usize,
    output: Output,
    received: u64,
    sent: u64,
}

/// Bytes to write: `pieces` first, then `tail`. Small parts are gathered in `tail`, large ones are never copied.
#[derive(Debug, Default)]
struct Output {
    pieces: VecDeque<Bytes>,
    pieces_len: usize,
    tail: Vec<u8>,
    /// Bytes of `tail` that were written already; 0 while there are pieces.
    sent: usize,
}

impl Wire {
    /// A connection with empty buffers, that may hold `buffer_limit` bytes: no read is larger, unless it is the first.
    pub fn new(io: Io, buffer_limit: usize) -> Self {
        let (input, output) = (BytesMut::new(), Output::default());
        let read_most = buffer_limit.clamp(READ_FIRST, READ_MOST);
        Self { io, input, read_size: READ_FIRST, read_most, output, received: 0, sent: 0 }
    }

    /// The connection.
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// The connection, to write or to close it past the buffers.
    pub fn io_mut(&mut self) -> &mut Io {
        &mut self.io
    }

    /// Gives the connection and the unread bytes to another protocol.
    pub fn into_parts(self) -> (Io, BytesMut) {
        (self.io, self.input)
    }

    /// Reads what is there behind `input`; 0 is the peer's end.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // A piece that is held keeps its whole buffer: what is left of it is used before another is made.
        if self.input.capacity() - self.input.len() < self.read_size / 2 {
            self.input.reserve(self.read_size);
        }
        let spare = self.input.spare_capacity_mut();
        let room = spare.len();
        let mut buf = ReadBuf::uninit(spare);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        let read = buf.filled().len();
        // SAFETY: `buf` was made of the spare capacity and says how much of it has been filled.
        unsafe { self.input.set_len(self.input.len() + read) };
        self.received += read as u64;
        if read == room && room >= self.read_size && self.read_size < self.read_most {
            self.read_size = (self.read_size * 2).min(self.read_most);
        }
        Poll::Ready(Ok(read))
    }

    /// The place to write heads and chunk lines to; it is sent behind all that was queued before.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.output.tail
    }

    /// Queues a piece of a body.
    pub fn push(&mut self, piece: Bytes) {
        self.output.push(piece);
    }

    /// Queues a few bytes behind all that is queued.
    pub fn push_static(&mut self, bytes: &'static [u8]) {
        self.output.tail.extend_from_slice(bytes);
    }

    /// Bytes that are queued and not written.
    pub fn queued(&self) -> usize {
        self.output.len()
    }

    /// Writes all that is queued.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.queued() == 0 {
            return Poll::Ready(Ok(()));
        }
        while self.queued() > 0 {
            let written = ready!(self.output.poll_write(&mut self.io, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
            self.sent += written as u64;
        }
        if self.io.keeps_output() { Pin::new(&mut self.io).poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Bytes received and sent since this was asked last.
    pub fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.received), std::mem::take(&mut self.sent))
    }

    /// Writes all that is queued and closes our end. To be called once more only if it was not ready.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Writes all that is queued, and what the connection says at its end; it is to be dropped next.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        self.io.poll_last_words(cx)
    }

    /// Gives the buffers' memory back if they are empty: the connection is idle.
    pub fn release_buffers(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_size = READ_FIRST;
        }
        if self.queued() == 0 {
            self.output = Output::default();
        }
    }
}

impl Output {
    fn len(&self) -> usize {
        self.pieces_len + self.tail.len() - self.sent
    }

    fn push(&mut self, piece: Bytes) {
        if piece.len() <= COPY_BELOW {
            self.tail.extend_from_slice(&piece);
            return;
        }
        if self.tail.len() > self.sent {
            // `sent` is never beyond the tail: `advance` adds to it what was written of the tail.
            let tail = Bytes::from(std::mem::take(&mut self.tail)).split_off(self.sent);
            self.pieces_len += tail.len();
            self.pieces.push_back(tail);
        }
        self.tail.clear();
        self.sent = 0;
        self.pieces_len += piece.len();
        self.pieces.push_back(piece);
    }

    fn poll_write(&self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // As above; and `count` goes up once for each slot.
        let tail = &self.tail[self.sent..];
        if self.pieces.is_empty() {
            return Pin::new(io).poll_write(cx, tail);
        }
        let mut slices = [IoSlice::new(&[]); 16];
        let mut count = 0;
        let parts = self.pieces.iter().map(|p| &p[..]).chain((!tail.is_empty()).then_some(tail));
        for (slot, part) in slices.iter_mut().zip(parts) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if first.len() > written {
                first.advance(written);
                self.pieces_len -= written;
                return;
            }
            written -= first.len();
            self.pieces_len -= first.len();
            self.pieces.pop_front();
        }
        self.sent += written;
        if self.sent == self.tail.len() {
            self.tail.clear();
            self.sent = 0;
        } else if self.sent >= SENT_MOST {
            // A peer that is always behind never empties the queue, and small pieces are added for ever.
            self.tail.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn pieces_that_are_held_share_their_buffers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = Wire::new(Io::Tcp(listener.accept().await.unwrap().0), READ_MOST);
        wire.read_size = READ_MOST;
        let mut held: Vec<Bytes> = Vec::new();
        for _ in 0..1000 {
            peer.write_all(&[b'x'; 600]).await.unwrap();
            std::future::poll_fn(|cx| wire.poll_fill(cx)).await.unwrap();
            held.push(wire.input.split().freeze());
        }

        let buffers = 1 + held.windows(2).filter(|pair| pair[0].as_ptr_range().end != pair[1].as_ptr()).count();
        let needed = held.iter().map(Bytes::len).sum::<usize>() / READ_MOST;
        assert!(buffers <= 2 * needed + 2, "{buffers} of 64 KiB for {needed}");
    }

    #[test]
    fn a_queue_that_never_empties_stays_small() {
        let (mut output, piece) = (Output::default(), Bytes::from(vec![b'x'; 1460]));
        for _ in 0..40_000 {
            while output.len() < 64 << 10 {
                output.push(piece.clone());
            }
            output.advance(1000);
        }
        assert!(output.tail.capacity() <= 512 << 10, "{}", output.tail.capacity());
        let left = output.len();
        output.advance(left);
        assert_eq!((output.len(), output.tail.len()), (0, 0));
    }
}
