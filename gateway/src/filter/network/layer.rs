//! A connection whose bytes go through its network filters, both ways.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{BytesAction, NetworkChain, NetworkFilter};
use crate::tls::{Io, Layer};

/// One read takes so much.
const READ: usize = 8 * 1024;

/// Joins filters and their connection, which may hold `limit` bytes in each direction
/// (`per_connection_buffer_limit_bytes`). Filters that want no bytes are given back, to be kept for as long as the connection.
pub fn join<F: NetworkFilter + 'static>(
    filters: NetworkChain<F>,
    io: Io,
    limit: usize,
) -> (Io, Option<NetworkChain<F>>) {
    if !filters.0.iter().any(NetworkFilter::wants_bytes) {
        return (io, Some(filters));
    }
    let nothing =
        |filter: &F| Held { wants: filter.wants_bytes(), from_client: BytesMut::new(), to_client: BytesMut::new() };
    let held = filters.0.iter().map(nothing).collect();
    let (input, output) = (BytesMut::new(), BytesMut::new());
    let layer = Filtered {
        io,
        filters,
        held,
        limit,
        input,
        output,
        read_end: false,
        end: false,
        said_end: false,
        closed: false,
    };
    (Io::Layered(Box::new(layer)), None)
}

struct Filtered<F: NetworkFilter> {
    io: Io,
    filters: NetworkChain<F>,
    held: SmallVec<[Held; 1]>,
    limit: usize,
    /// What the filters have let through, and the protocol has not read.
    input: BytesMut,
    /// What the filters have let through, and the client has not taken.
    output: BytesMut,
    /// The client has ended.
    read_end: bool,
    /// Its end has come through the filters.
    end: bool,
    /// The filters know of our end.
    said_end: bool,
    /// A filter has closed the connection: none is asked any more.
    closed: bool,
}

/// What one filter holds.
struct Held {
    wants: bool,
    from_client: BytesMut,
    to_client: BytesMut,
}

impl<F: NetworkFilter> Filtered<F> {
    /// Whether nothing is read any more: the filters hold as much as they may, or the client's end. Only a time-out ends such
    /// a connection.
    fn is_stuck(&self) -> bool {
        self.read_end || self.held.iter().map(|held| held.from_client.len()).sum::<usize>() >= self.limit
    }

    /// The same of what is written.
    fn is_stuck_writing(&self) -> bool {
        self.held.iter().map(|held| held.to_client.len()).sum::<usize>() >= self.limit
    }

    fn take(&mut self, data: BytesMut, end: bool) -> io::Result<()> {
        let filters = self.filters.0.iter_mut().zip(&mut self.held).filter(|(_, held)| held.wants);
        let filters = filters.map(|(filter, held)| (filter, &mut held.from_client));
        if let Some(data) = pass(filters, data, end, F::on_data, &mut self.closed)? {
            append(&mut self.input, data);
            self.end |= end;
        }
        Ok(())
    }

    fn give(&mut self, data: BytesMut, end: bool) -> io::Result<()> {
        let filters = self.filters.0.iter_mut().zip(&mut self.held).rev().filter(|(_, held)| held.wants);
        let filters = filters.map(|(filter, held)| (filter, &mut held.to_client));
        pass(filters, data, end, F::on_write, &mut self.closed)?
            .into_iter()
            .for_each(|data| append(&mut self.output, data));
        Ok(())
    }

    /// Tells the filters of our end.
    fn say_end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.said_end, true) { Ok(()) } else { self.give(BytesMut::new(), true) }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.output.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Through one filter after the other; `None` if one holds them.
fn pass<'a, F: 'a>(
    filters: impl Iterator<Item = (&'a mut F, &'a mut BytesMut)>,
    mut data: BytesMut,
    end: bool,
    event: fn(&mut F, &mut BytesMut, bool) -> BytesAction,
    closed: &mut bool,
) -> io::Result<Option<BytesMut>> {
    let refused = || io::Error::new(io::ErrorKind::ConnectionAborted, "closed by a network filter");
    if *closed {
        return Err(refused());
    }
    for (filter, held) in filters {
        append(held, data);
        match event(filter, held, end) {
            BytesAction::Continue => data = std::mem::take(held),
            BytesAction::Stop => return Ok(None),
            BytesAction::Close => {
                *closed = true;
                return Err(refused());
            }
        }
    }
    Ok(Some(data))
}

fn append(to: &mut BytesMut, data: BytesMut) {
    if to.is_empty() { *to = data } else { to.unsplit(data) }
}

impl<F: NetworkFilter> Layer for Filtered<F> {
    fn below(&self) -> &Io {
        &self.io
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.input.is_empty() || self.end {
            Poll::Ready(Ok(()))
        } else if self.is_stuck() {
            Poll::Pending
        } else {
            self.io.poll_readable(cx)
        }
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_end()?;
        ready!(self.poll_output(cx))?;
        self.io.poll_last_words(cx)
    }
}

impl<F: NetworkFilter> std::fmt::Debug for Filtered<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filtered").field("io", &self.io).finish_non_exhaustive()
    }
}

/// Filters are no part of a connection that could move under them.
impl<F: NetworkFilter> Unpin for Filtered<F> {}

impl<F: NetworkFilter> AsyncRead for Filtered<F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.input.is_empty() && !self.end {
            if self.is_stuck() {
                return Poll::Pending;
            }
            let mut data = BytesMut::zeroed(READ);
            let mut read = ReadBuf::new(&mut data);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let read = read.filled().len();
            data.truncate(read);
            self.read_end = read == 0;
            self.take(data, read == 0)?;
        }
        let most = self.input.len().min(buf.remaining());
        buf.put_slice(&self.input.split_to(most));
        Poll::Ready(Ok(()))
    }
}

impl<F: NetworkFilter> AsyncWrite for Filtered<F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.output.len() >= self.limit {
            ready!(self.poll_output(cx))?;
        }
        if self.is_stuck_writing() {
            return Poll::Pending;
        }
        self.give(BytesMut::from(buf), false)?;
        match self.poll_output(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What was not taken yet goes out when it is flushed.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_end()?;
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
