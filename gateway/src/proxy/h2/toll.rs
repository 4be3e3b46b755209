//! Frames of a client that move nothing and cost all the same: PRIORITY, WINDOW_UPDATE and unknown ones. h2 bounds what it keeps
//! because of them, and not how many there are. (PING and SETTINGS are answered, and nothing is read while an answer waits: they
//! cost a client as much as us.)

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

/// So many of them may come in [`SPAN`] for nothing.
const FRAMES: u64 = 10_000;
const SPAN: Duration = Duration::from_secs(1);
/// So many more for each stream that is begun (Envoy: `max_inbound_priority_frames_per_stream`).
const OF_STREAM: u64 = 100;
/// One more for so many bytes that were sent to the client: even one byte in a frame of its own gives room for both windows to be
/// given back (Envoy: `max_inbound_window_update_frames_per_data_frame_sent`).
const BYTES: u64 = 4;

/// There are too many. Shared by the connection's reader and its task.
pub(super) type Flooded = Rc<Cell<bool>>;

/// Counts them.
pub(super) struct Toll {
    since: Instant,
    frames: u64,
    streams: u64,
    sent: u64,
    flooded: Flooded,
}

impl Default for Toll {
    fn default() -> Self {
        Self { since: Instant::now(), frames: 0, streams: 0, sent: 0, flooded: Flooded::default() }
    }
}

impl Toll {
    pub(super) fn is_flooded(&self) -> Flooded {
        Rc::clone(&self.flooded)
    }

    /// A frame of that kind begins. Other kinds have bounds of their own.
    pub(super) fn frame(&mut self, kind: u8) {
        match kind {
            HEADERS => self.streams += 1,
            PRIORITY | WINDOW_UPDATE => self.frames += 1,
            unknown if unknown > CONTINUATION => self.frames += 1,
            _ => {}
        }
    }

    /// So many bytes were sent to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Looks at the clock only if there are many.
    pub(super) fn look(&mut self) {
        if self.frames <= FRAMES + self.streams * OF_STREAM + self.sent / BYTES {
            return;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.since) < SPAN {
            self.flooded.set(true);
        }
        (self.since, self.frames, self.streams, self.sent) = (now, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is too much when this comes after so long.
    fn is_too_much(after: Duration, come: impl FnOnce(&mut Toll)) -> bool {
        let mut toll = Toll::default();
        toll.since -= after;
        come(&mut toll);
        toll.look();
        toll.is_flooded().get()
    }

    #[test]
    fn many_for_nothing_are_too_many() {
        for kind in [PRIORITY, WINDOW_UPDATE, 0x10, 0xee] {
            let come = |toll: &mut Toll| (0..=FRAMES).for_each(|_| toll.frame(kind));
            assert!(is_too_much(Duration::ZERO, come), "{kind}");
            assert!(!is_too_much(SPAN, come), "{kind}");
        }
        for kind in [0x0, 0x3, 0x4, 0x6] {
            assert!(!is_too_much(Duration::ZERO, |toll| (0..=FRAMES).for_each(|_| toll.frame(kind))), "{kind}");
        }
    }

    #[test]
    fn who_gives_both_windows_back_for_each_piece_is_no_flood() {
        let streams = |toll: &mut Toll| {
            for _ in 0..FRAMES {
                [HEADERS, WINDOW_UPDATE, WINDOW_UPDATE].into_iter().for_each(|kind| toll.frame(kind));
            }
        };
        assert!(!is_too_much(Duration::ZERO, streams));
        let bytes = |toll: &mut Toll| {
            for _ in 0..FRAMES {
                toll.sent(9 + 1);
                [WINDOW_UPDATE, WINDOW_UPDATE].into_iter().for_each(|kind| toll.frame(kind));
            }
        };
        assert!(!is_too_much(Duration::ZERO, bytes));
    }
}
