//! Where log lines end: files and the standard streams, written by one thread.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::telemetry::metrics::names::{self, filesystem};
use crate::telemetry::metrics::{Registry, Scope};

/// Buffers of 64 KiB that may wait for the writer: 8 MiB.
const QUEUE: usize = 128;

/// Where an access log goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file, appended to; made if it is absent.
    File(PathBuf),
    /// The standard output.
    Stdout,
    /// The standard error stream.
    Stderr,
}

/// An opened target. Logs of the same target share one.
#[derive(Debug)]
pub struct Sink {
    slot: usize,
    target: Target,
    /// Only the writer's thread takes it after the start.
    output: Mutex<Output>,
}

#[derive(Debug)]
struct Output {
    /// `None` for the standard streams.
    file: Option<File>,
    /// How often [`Sinks::reopen`] had been called when the file was opened.
    generation: u64,
    /// An error was logged, and nothing was written since.
    failing: bool,
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the access log {path}: {source}")]
pub struct SinkError {
    path: PathBuf,
    source: io::Error,
}

/// All targets of the process and the thread that writes to them.
#[derive(Debug)]
pub struct Sinks {
    /// `None` when configuration is only checked.
    queue: Option<SyncSender<Message>>,
    open: Mutex<Vec<Weak<Sink>>>,
    generation: Arc<AtomicU64>,
    files: Scope<names::Filesystem>,
    weir: Scope<names::Weir>,
}

enum Message {
    Write(Arc<Sink>, Vec<u8>),
    /// Look at the generation.
    Reopen(Vec<Arc<Sink>>),
    /// Answer when everything before is written.
    Sync(Sender<()>),
}

impl Sinks {
    /// Starts the writer's thread. It ends when the `Sinks` is dropped.
    pub fn start(registry: &Registry) -> io::Result<Arc<Self>> {
        let (queue, messages) = sync_channel(QUEUE);
        let generation = Arc::new(AtomicU64::new(0));
        let writer = Writer { generation: generation.clone(), files: registry.scope(names::Filesystem, "") };
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run(&messages))?;
        Ok(Arc::new(Self { queue: Some(queue), generation, ..Self::dry(registry) }))
    }

    /// Sinks that make and write nothing: to check a configuration.
    pub fn dry(registry: &Registry) -> Self {
        Self {
            queue: None,
            open: Mutex::default(),
            generation: Arc::default(),
            files: registry.scope(names::Filesystem, ""),
            weir: registry.scope(names::Weir, ""),
        }
    }

    /// Opens a target, or shares it if it is open already.
    pub fn open(&self, target: Target) -> Result<Arc<Sink>, SinkError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = open.iter().filter_map(Weak::upgrade).find(|sink| sink.target == target) {
            return Ok(sink);
        }
        let file = match &target {
            Target::File(path) if self.queue.is_some() => {
                Some(append_to(path, true).map_err(|source| SinkError { path: path.clone(), source })?)
            }
            Target::File(path) => {
                could_append_to(path).map_err(|source| SinkError { path: path.clone(), source })?;
                None
            }
            Target::Stdout | Target::Stderr => None,
        };
        let free = open.iter().position(|sink| sink.strong_count() == 0);
        let slot = free.unwrap_or(open.len());
        let generation = self.generation.load(Ordering::Acquire);
        let sink = Arc::new(Sink { slot, target, output: Mutex::new(Output { file, generation, failing: false }) });
        match open.get_mut(slot) {
            Some(place) => *place = Arc::downgrade(&sink),
            None => open.push(Arc::downgrade(&sink)),
        }
        Ok(sink)
    }

    /// Opens all files anew, as after `SIGUSR1` or a rotation: what is written from now on goes to the new file.
    pub fn reopen(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        let sinks = self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        if let Some(queue) = &self.queue {
            // If the queue is full, files are opened anew with their next write.
            drop(queue.try_send(Message::Reopen(sinks)));
        }
    }

    /// Waits until all that was handed over is written; says whether it was within the time.
    pub fn sync(&self, within: Duration) -> bool {
        let Some(queue) = &self.queue else { return true };
        let deadline = Instant::now() + within;
        let (done, wait) = channel();
        let mut message = Message::Sync(done);
        loop {
            match queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(_) => return false,
            }
            // The writer is busy with a full queue; there is nothing to wait on but time.
            std::thread::park_timeout(Duration::from_millis(1));
        }
        wait.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }

    /// Hands a buffer to the writer; says whether there was room.
    pub(super) fn write(&self, sink: Arc<Sink>, bytes: Vec<u8>) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(Message::Write(sink, bytes)).is_ok())
    }

    pub(super) fn scopes(&self) -> (Scope<names::Filesystem>, Scope<names::Weir>) {
        (self.files.clone(), self.weir.clone())
    }
}

impl Sink {
    /// Its place among a worker's buffers.
    pub(super) fn slot(&self) -> usize {
        self.slot
    }
}

struct Writer {
    generation: Arc<AtomicU64>,
    files: Scope<names::Filesystem>,
}

impl Writer {
    fn run(&self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Write(sink, bytes) => {
                    self.write(&sink, &bytes);
                    self.files.lower(filesystem::WRITE_TOTAL_BUFFERED, bytes.len() as u64);
                }
                Message::Reopen(sinks) => sinks.iter().for_each(|sink| self.reopen_if_due(sink, &mut lock(sink))),
                // Nobody waits any more: nothing to tell.
                Message::Sync(done) => drop(done.send(())),
            }
        }
    }

    fn write(&self, sink: &Sink, bytes: &[u8]) {
        let mut output = lock(sink);
        self.reopen_if_due(sink, &mut output);
        let result = match (&sink.target, &mut output.file) {
            (Target::Stdout, _) => write_stream(io::stdout().lock(), bytes),
            (Target::Stderr, _) => write_stream(io::stderr().lock(), bytes),
            (Target::File(_), Some(file)) => file.write_all(bytes),
            (Target::File(_), None) => Err(io::ErrorKind::NotConnected.into()),
        };
        match result {
            Ok(()) => {
                output.failing = false;
                self.files.inc(filesystem::WRITE_COMPLETED);
            }
            Err(error) => {
                self.files.inc(filesystem::WRITE_FAILED);
                if !std::mem::replace(&mut output.failing, true) {
                    tracing::error!(target: "access_log", log = ?sink.target, %error, "cannot write; lines are lost until it works again");
                }
            }
        }
    }

    fn reopen_if_due(&self, sink: &Sink, output: &mut Output) {
        let Target::File(path) = &sink.target else { return };
        let now = self.generation.load(Ordering::Acquire);
        if output.generation == now {
            return;
        }
        output.generation = now;
        match append_to(path, true) {
            Ok(file) => output.file = Some(file),
            Err(error) => {
                self.files.inc(filesystem::REOPEN_FAILED);
                tracing::error!(target: "access_log", path = %path.display(), %error, "cannot open anew; the old file is kept");
            }
        }
    }
}

fn lock(sink: &Sink) -> MutexGuard<'_, Output> {
    sink.output.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_stream(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

fn append_to(path: &Path, create: bool) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO waits for its reader, for ever if there is none.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = OpenOptions::new().append(true).create(create).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => {
            let reason = "it is a FIFO that nobody reads, or a socket: start what reads the FIFO first, or name a file";
            io::Error::new(error.kind(), reason)
        }
        _ => error,
    })?;
    // Writing is to wait: that a pipe is full for a moment is no error.
    SockRef::from(&file).set_nonblocking(false)?;
    Ok(file)
}

/// Whether [`append_to`] would work, as far as that shows without making or writing anything.
fn could_append_to(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        // To open a FIFO and close it again would tell its reader that the log has ended.
        Ok(found) if found.file_type().is_fifo() => Ok(()),
        Ok(_) => append_to(path, false).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => could_make_files_in(folder_of(path)?),
        Err(error) => Err(error),
    }
}

fn folder_of(path: &Path) -> io::Result<&Path> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(folder.unwrap_or_else(|| Path::new(".")))
}

/// Asks for a file that has no name and is gone when it is closed. Not all file systems have such: those are believed.
fn could_make_files_in(folder: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(folder) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            std::fs::metadata(folder).map(drop)
        }
        opened => opened.map(drop),
    }
}
