//! The thread that writes the log: nobody who logs waits for whoever reads it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::metrics::Scope;
use crate::telemetry::metrics::names::{Weir, weir};

/// Most bytes of lines that wait to be written; further lines are dropped and counted.
const WAITING_BYTES: usize = 1 << 20;

/// Lines on their way to the thread that writes them. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    filled: Condvar,
    /// All is written.
    written: Condvar,
    counter: OnceLock<Scope<Weir>>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that found no room since the writer last looked.
    dropped: u64,
    /// The writer has what it took not yet written.
    writing: bool,
}

impl Lines {
    /// Starts a thread that writes to the standard error stream.
    pub(super) fn to_stderr() -> io::Result<Self> {
        // A descriptor of its own: the message of a panic does not wait for this thread.
        Self::start(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    fn start(mut to: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                let bytes = shared.take();
                // Whoever closed the stream wants no log; there is nobody to tell.
                let _ = to.write_all(&bytes);
            }
        })?;
        Ok(lines)
    }

    /// As [`super::LogControl::count_in`].
    pub(super) fn count_in(&self, scope: Scope<Weir>) {
        // The first gateway of a process stays the one that counts.
        let _ = self.0.counter.set(scope);
    }

    /// As [`super::LogControl::flush`].
    pub(super) fn flush(&self, limit: Duration) {
        let ends = Instant::now() + limit;
        let mut waiting = self.0.lock();
        while waiting.writing || !waiting.bytes.is_empty() {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self.0.written.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// One write is one line, as the log's layer does it.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.bytes.len() + line.len() <= WAITING_BYTES {
            waiting.bytes.extend_from_slice(line);
            self.0.filled.notify_one();
        } else {
            waiting.dropped += 1;
            drop(waiting);
            if let Some(scope) = self.0.counter.get() {
                scope.inc(weir::LOG_LINES_DROPPED);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to write. What was taken before is written by now.
    fn take(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        waiting.writing = false;
        if waiting.bytes.is_empty() {
            self.written.notify_all();
        }
        while waiting.bytes.is_empty() {
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.writing = true;
        let mut bytes = std::mem::take(&mut waiting.bytes);
        let dropped = std::mem::take(&mut waiting.dropped);
        drop(waiting);
        if dropped > 0 {
            let _ = writeln!(bytes, "weir: {dropped} lines of the log were dropped here: nobody read them fast enough");
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Hands on what it is given, when it is let.
    struct Gate(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_finds_no_room_is_counted() {
        let (let_it, gate) = channel();
        let (output, written) = channel();
        let mut lines = Lines::start(Gate(gate, output)).unwrap();
        let registry = crate::telemetry::metrics::Registry::new(1);
        let scope = registry.scope(Weir, "");
        lines.count_in(scope.clone());

        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..3000 {
            lines.write_all(&line).unwrap();
        }

        let dropped = scope.counter(weir::LOG_LINES_DROPPED);
        // The writer may have taken one load before it stood at the gate.
        assert!((950..=1976).contains(&dropped), "{dropped}");
        lines.flush(Duration::from_millis(1));
        (0..4).for_each(|_| let_it.send(()).unwrap());
        lines.flush(Duration::from_secs(10));
        let text = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        let (notes, kept): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("weir: "));
        assert_eq!(kept.len() as u64 + dropped, 3000);
        let noted = |note: &&str| note.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
        assert_eq!(notes.iter().map(noted).sum::<u64>(), dropped);
    }
}
