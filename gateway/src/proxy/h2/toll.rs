//! Frames of a client that move nothing and cost all the same: PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown ones. h2
//! bounds what it keeps because of them, and not how many there are.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;

/// So many of them may come in [`SPAN`]. No sound client comes near it: it acknowledges, and asks now and then.
const FRAMES: u64 = 10_000;
const SPAN: Duration = Duration::from_secs(1);
/// One more may come for so many bytes that were sent to the client, who gives windows back: the smallest pieces in which
/// clients of the field do that have 16 times as many.
const BYTES: u64 = 1024;

/// There are too many. Shared by the connection's reader and its task.
pub(super) type Flooded = Rc<Cell<bool>>;

/// Counts them.
pub(super) struct Toll {
    since: Instant,
    frames: u64,
    sent: u64,
    flooded: Flooded,
}

impl Default for Toll {
    fn default() -> Self {
        Self { since: Instant::now(), frames: 0, sent: 0, flooded: Flooded::default() }
    }
}

impl Toll {
    pub(super) fn is_flooded(&self) -> Flooded {
        Rc::clone(&self.flooded)
    }

    /// A frame of that kind begins. Streams and their resets have bounds of their own.
    pub(super) fn frame(&mut self, kind: u8) {
        self.frames += u64::from(!matches!(kind, DATA | HEADERS | RST_STREAM | CONTINUATION));
    }

    /// So many bytes were sent to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Looks at the clock only if there are many.
    pub(super) fn look(&mut self) {
        if self.frames <= FRAMES + self.sent / BYTES {
            return;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.since) < SPAN {
            self.flooded.set(true);
        }
        (self.since, self.frames, self.sent) = (now, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_in_a_second_are_too_many_and_those_that_answer_bytes_are_not() {
        let after = |frames: u64, kind: u8, sent: usize, old: Duration| {
            let mut toll = Toll::default();
            toll.since -= old;
            toll.sent(sent);
            for _ in 0..frames {
                toll.frame(kind);
            }
            toll.look();
            toll.is_flooded().get()
        };
        const WINDOW_UPDATE: u8 = 0x8;
        assert!(after(FRAMES + 1, WINDOW_UPDATE, 0, Duration::ZERO));
        assert!(!after(FRAMES + 1, WINDOW_UPDATE, 0, SPAN));
        assert!(!after(FRAMES + 1, WINDOW_UPDATE, 1024, Duration::ZERO));
        assert!(!after(FRAMES + 1, HEADERS, 0, Duration::ZERO));
        assert!(!after(FRAMES, 0x6, 0, Duration::ZERO));
    }
}
