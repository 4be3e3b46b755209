//! A worker's collected log lines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sink::{Sink, Sinks};
use crate::telemetry::metrics::Scope;
use crate::telemetry::metrics::names::{self, filesystem, weir};

/// Bytes at which a buffer is handed over.
const FULL: usize = 64 * 1024;
/// Age at which a buffer is handed over.
const OLD: Duration = Duration::from_secs(1);

/// The lines that one worker has not handed over yet. Holds nothing while nothing is logged.
#[derive(Debug)]
pub struct LogBuffers {
    sinks: Arc<Sinks>,
    worker: usize,
    files: Scope<names::Filesystem>,
    weir: Scope<names::Weir>,
    by_sink: Vec<Option<Buffer>>,
}

#[derive(Debug)]
struct Buffer {
    sink: Arc<Sink>,
    bytes: Vec<u8>,
    lines: u64,
    due: Instant,
}

impl LogBuffers {
    /// For the worker of that number (the index of its metrics' chunks).
    pub fn new(sinks: Arc<Sinks>, worker: usize) -> Self {
        let (files, weir) = sinks.scopes();
        Self { sinks, worker, files, weir, by_sink: Vec::new() }
    }

    /// Hands over what is older than a second at `now`. To be called at [`Self::next_due`], or every second.
    pub fn flush_due(&mut self, now: Instant) {
        for slot in 0..self.by_sink.len() {
            if self.by_sink.get(slot).and_then(Option::as_ref).is_some_and(|buffer| buffer.due <= now) {
                self.files.chunk(self.worker).inc(filesystem::FLUSHED_BY_TIMER);
                self.hand_over(slot);
            }
        }
    }

    /// When something has to be handed over next; `None` while nothing is held.
    pub fn next_due(&self) -> Option<Instant> {
        self.by_sink.iter().flatten().map(|buffer| buffer.due).min()
    }

    /// Hands everything over: before the worker ends.
    pub fn flush_all(&mut self) {
        (0..self.by_sink.len()).for_each(|slot| self.hand_over(slot));
    }

    pub(super) fn append(&mut self, sink: &Arc<Sink>, render: impl FnOnce(&mut Vec<u8>)) {
        let slot = sink.slot();
        if self.by_sink.len() <= slot {
            self.by_sink.resize_with(slot + 1, || None);
        }
        let Some(place) = self.by_sink.get_mut(slot) else { return };
        let buffer = place.get_or_insert_with(|| Buffer {
            sink: sink.clone(),
            bytes: Vec::with_capacity(4096),
            lines: 0,
            due: Instant::now() + OLD,
        });
        render(&mut buffer.bytes);
        buffer.lines += 1;
        let full = buffer.bytes.len() >= FULL;
        self.files.chunk(self.worker).inc(filesystem::WRITE_BUFFERED);
        if full {
            self.hand_over(slot);
        }
    }

    fn hand_over(&mut self, slot: usize) {
        let Some(Buffer { sink, bytes, lines, .. }) = self.by_sink.get_mut(slot).and_then(Option::take) else { return };
        let size = bytes.len() as u64;
        if self.sinks.write(sink, bytes) {
            self.files.chunk(self.worker).raise(filesystem::WRITE_TOTAL_BUFFERED, size);
        } else {
            let weir = self.weir.chunk(self.worker);
            weir.add(weir::ACCESS_LOG_DROPPED_LINES, lines);
            weir.add(weir::ACCESS_LOG_DROPPED_BYTES, size);
        }
    }
}
