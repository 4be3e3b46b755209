//! Follows the frames of a client, to know since when one of its heads is incomplete: h2 shows a head only when it is whole.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::PREFACE;
use super::toll::{Flooded, Toll};

/// Length of a frame's head (RFC 9113 section 4.1).
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// Since when a request's head is incomplete; none while there is no such head. Shared by the connection's reader and its task.
pub(super) type OpenSince = Rc<Cell<Option<Instant>>>;

/// Follows the bytes that a client sends, as they are read. What is no HTTP/2 is h2's to refuse.
pub(super) struct Heads {
    open_since: OpenSince,
    /// Bytes of the preface or of a frame's payload that are still to come.
    skip: usize,
    frame: [u8; FRAME_HEAD],
    /// How much of `frame` is there.
    have: usize,
    /// Between the beginning of a request's head and its last frame.
    is_open: bool,
    /// The frame whose payload comes is the last of a head.
    is_last: bool,
    /// The newest stream: a head of an older one is its trailers, for which the stream's own time-outs hold.
    newest: u32,
    toll: Toll,
}

impl Heads {
    pub(super) fn new() -> Self {
        let (skip, frame, open_since) = (PREFACE.len(), [0; FRAME_HEAD], OpenSince::default());
        Self { open_since, skip, frame, have: 0, is_open: false, is_last: false, newest: 0, toll: Toll::default() }
    }

    pub(super) fn open_since(&self) -> OpenSince {
        Rc::clone(&self.open_since)
    }

    /// Whether the client sends too many frames that only cost.
    pub(super) fn is_flooded(&self) -> Flooded {
        self.toll.is_flooded()
    }

    /// So many bytes were sent to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.toll.sent(bytes);
    }

    /// The client's next bytes. Looks at the clock only where they end within a head.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // No slice is too long: what is skipped and taken are at most `bytes`, and `have` is below FRAME_HEAD.
            let skipped = self.skip.min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip -= skipped;
            if self.skip > 0 {
                break;
            }
            self.is_open &= !self.is_last;
            let taken = (FRAME_HEAD - self.have).min(bytes.len());
            self.frame[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == FRAME_HEAD {
                self.have = 0;
                self.begin_frame();
            }
        }
        if self.skip == 0 {
            self.is_open &= !self.is_last;
        }
        self.toll.look();
        let since = self.is_open.then(|| self.open_since.get().unwrap_or_else(Instant::now));
        self.open_since.set(since);
    }

    fn begin_frame(&mut self) {
        let [a, b, c, kind, flags, stream @ ..] = self.frame;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream) & !(1 << 31);
        self.toll.frame(kind);
        if kind == HEADERS && stream > self.newest {
            (self.newest, self.is_open) = (stream, true);
        }
        self.is_last = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, length: u8) -> Vec<u8> {
        [vec![0, 0, length, kind, flags, 0, 0, 0, stream], vec![0; length.into()]].concat()
    }

    /// Whether a head is open after each piece.
    fn open_after(pieces: &[&[u8]]) -> Vec<bool> {
        let mut heads = Heads::new();
        heads.follow(PREFACE);
        let follow = |piece: &&[u8]| {
            heads.follow(piece);
            heads.open_since().get().is_some()
        };
        pieces.iter().map(follow).collect()
    }

    #[test]
    fn a_head_is_open_from_its_first_frame_to_the_end_of_its_last() {
        let (first, last) = (frame(HEADERS, 0, 1, 5), frame(CONTINUATION, END_HEADERS, 1, 7));
        assert_eq!(open_after(&[&first, &last]), [true, false]);
        assert_eq!(open_after(&[&first, &last[..15], &last[15..]]), [true, true, false]);
        assert_eq!(open_after(&[&[first, last].concat()]), [false]);
    }

    #[test]
    fn half_a_frame_is_an_open_head() {
        let whole = frame(HEADERS, END_HEADERS, 1, 5);
        assert_eq!(open_after(&[&whole[..8], &whole[8..9], &whole[9..]]), [false, true, false]);
        assert_eq!(open_after(&[&frame(HEADERS, 0, 1, 0), &frame(CONTINUATION, END_HEADERS, 1, 0)]), [true, false]);
    }

    #[test]
    fn byte_by_byte_is_the_same() {
        let bytes = [frame(4, 0, 0, 6), frame(HEADERS, END_HEADERS, 1, 3), frame(0, 1, 1, 4)].concat();
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        let open = open_after(&pieces).iter().filter(|open| **open).count();
        assert_eq!(open, 3, "from the whole head of the frame to the last byte but one of its payload");
    }

    #[test]
    fn trailers_are_no_head() {
        let open = [frame(HEADERS, END_HEADERS, 3, 2), frame(HEADERS, 0, 3, 2)].concat();
        assert_eq!(open_after(&[&open, &frame(HEADERS, 0, 5, 2)]), [false, true]);
    }

    #[test]
    fn the_clock_starts_once() {
        let mut heads = Heads::new();
        heads.follow(PREFACE);
        heads.follow(&frame(HEADERS, 0, 1, 1));
        let since = heads.open_since().get();
        heads.follow(&frame(CONTINUATION, 0, 1, 1));
        assert!(since.is_some() && since == heads.open_since().get());
    }

    proptest::proptest! {
        /// What is open at the end does not depend on where the network cut the bytes.
        #[test]
        fn cuts_do_not_matter(
            frames in proptest::collection::vec((0u8..12, 0u8..8, 0u8..6, 0u8..20), 0..8),
            size in 1usize..40,
            missing in 0usize..30,
        ) {
            let bytes: Vec<u8> = frames.into_iter().flat_map(|(kind, flags, stream, length)| frame(kind, flags, stream, length)).collect();
            let bytes = &bytes[..bytes.len().saturating_sub(missing)];
            let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![bytes] } else { bytes.chunks(size).collect() };
            let (cut, whole) = (open_after(&pieces), open_after(&[bytes]));
            proptest::prop_assert_eq!(cut.last(), whole.last());
        }
    }
}
