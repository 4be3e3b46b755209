//! The connections of the admin interface: how many there may be, and which one goes when there are too many.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Sleep;

/// Connections at a time. A further one takes the place of the one that has been without progress for the longest time:
/// nobody can shut others out by holding connections.
const CONNECTIONS: usize = 128;
/// How long a client may take no byte of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// After so many bytes of answers others have their turn.
const TURN: usize = 16 << 10;
/// What the kernel holds of answers that are not taken: they are rendered no further ahead.
const SEND_BUFFER: usize = 128 << 10;

/// All connections. A number stands for one.
#[derive(Default)]
pub(super) struct Connections {
    tasks: JoinSet<u64>,
    open: HashMap<u64, (AbortHandle, Progress)>,
    last: u64,
}

/// When something was read or written last.
#[derive(Clone)]
pub(super) struct Progress(Rc<Cell<Instant>>);

impl Connections {
    /// Takes one more. Whether another one was closed for it.
    pub(super) fn add<F: Future<Output = ()> + 'static>(&mut self, serve: impl FnOnce(Progress) -> F) -> bool {
        while let Some(ended) = self.tasks.try_join_next() {
            self.forget(ended.ok());
        }
        let full = self.open.len() >= CONNECTIONS;
        if full && let Some(number) = self.longest_without_progress() {
            // Already out of the count; the task ends when it would run again.
            if let Some((task, _)) = self.open.remove(&number) {
                task.abort();
            }
        }
        self.last += 1;
        let (number, progress) = (self.last, Progress(Rc::new(Cell::new(Instant::now()))));
        let serving = serve(progress.clone());
        let task = self.tasks.spawn_local(async move {
            serving.await;
            number
        });
        self.open.insert(number, (task, progress));
        full
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.forget(ended.ok());
        }
    }

    /// One that was aborted is forgotten already; one that panicked goes when its place is needed.
    fn forget(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            self.open.remove(&number);
        }
    }

    fn longest_without_progress(&self) -> Option<u64> {
        self.open.iter().min_by_key(|(_, (_, progress))| progress.0.get()).map(|(number, _)| *number)
    }
}

/// A client's stream that notes progress, gives up when answers are not taken, and lets others have their turn.
pub(super) struct Watched {
    tcp: TcpStream,
    progress: Progress,
    /// Runs while a write waits.
    limit: Option<Pin<Box<Sleep>>>,
    in_turn: usize,
}

impl Watched {
    pub(super) fn new(tcp: TcpStream, progress: Progress) -> Self {
        // Without it the kernel takes more, no harm else.
        let _ = socket2::SockRef::from(&tcp).set_send_buffer_size(SEND_BUFFER);
        Self { tcp, progress, limit: None, in_turn: 0 }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.in_turn >= TURN {
            self.in_turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match write(Pin::new(&mut self.tcp), cx) {
            Poll::Ready(written) => {
                self.limit = None;
                self.progress.0.set(Instant::now());
                self.in_turn += written.as_ref().map_or(0, |bytes| *bytes);
                Poll::Ready(written)
            }
            Poll::Pending => {
                let limit = self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
                ready!(limit.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.progress.0.set(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |tcp, cx| tcp.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |tcp, cx| tcp.poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
