//! Pieces of a body, passed on without copying; only small ones that wait behind others are joined.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A smaller piece is joined with the one before it: limits count bytes, so a byte must not cost a piece of its own, nor
/// keep the whole buffer that it was read into.
const SMALL: usize = 512;
/// How long a piece may become by that.
const JOINED: usize = 16 << 10;

/// Bytes of a body in the order they came. Allocates nothing while it holds one piece.
#[derive(Clone, Debug, Default)]
pub struct BodyBuf {
    first: Bytes,
    rest: VecDeque<Bytes>,
    len: usize,
}

impl BodyBuf {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece behind the others; an empty one is dropped.
    pub fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        let last = self.rest.back_mut().unwrap_or(&mut self.first);
        if piece.len() < SMALL && last.len() + piece.len() <= JOINED {
            *last = join(std::mem::take(last), &piece);
        } else {
            self.rest.push_back(piece);
        }
    }

    /// Takes the first piece out.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.first.is_empty() {
            return None;
        }
        let piece = std::mem::replace(&mut self.first, self.rest.pop_front().unwrap_or_default());
        self.len -= piece.len();
        Some(piece)
    }

    /// Moves all of `other` behind what is here.
    pub fn append(&mut self, other: &mut Self) {
        while let Some(piece) = other.pop() {
            self.push(piece);
        }
    }

    /// Takes everything, leaving this empty.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        (!self.first.is_empty()).then_some(&self.first).into_iter().chain(self.rest.iter())
    }

    /// Copies up to `max` bytes from `start` into `out`.
    pub fn copy_range(&self, start: usize, max: usize, out: &mut Vec<u8>) {
        let (mut skip, mut left) = (start, max);
        for piece in self.pieces() {
            if left == 0 {
                return;
            }
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            let take = left.min(piece.len() - skip);
            out.extend_from_slice(&piece[skip..skip + take]);
            left -= take;
            skip = 0;
        }
    }

    /// Drops `count` bytes from the front (all, if there are fewer).
    pub fn drain(&mut self, mut count: usize) {
        while count > 0 {
            let Some(piece) = self.pop() else { return };
            if piece.len() > count {
                let kept = piece.slice(count..);
                self.prepend(kept);
                return;
            }
            count -= piece.len();
        }
    }

    /// Keeps the first `len` bytes (all, if there are fewer).
    pub fn truncate(&mut self, len: usize) {
        let mut kept = Self::new();
        while kept.len < len {
            let Some(mut piece) = self.pop() else { break };
            piece.truncate(len - kept.len);
            kept.push(piece);
        }
        *self = kept;
    }

    /// Puts a piece before the others.
    pub fn prepend(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        if piece.len() + self.first.len() <= SMALL {
            self.first = join(piece, &self.first);
            return;
        }
        let second = std::mem::replace(&mut self.first, piece);
        if !second.is_empty() {
            self.rest.push_front(second);
        }
    }
}

/// `next` behind `piece`, in the memory of `piece` if nobody else has it.
fn join(piece: Bytes, next: &[u8]) -> Bytes {
    let mut joined = piece.try_into_mut().unwrap_or_else(|shared| {
        let mut own = BytesMut::with_capacity((shared.len() + next.len()).max(SMALL));
        own.extend_from_slice(&shared);
        own
    });
    joined.extend_from_slice(next);
    joined.freeze()
}

impl From<Bytes> for BodyBuf {
    fn from(piece: Bytes) -> Self {
        let mut buf = Self::new();
        buf.push(piece);
        buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buf: &BodyBuf) -> String {
        buf.pieces().map(|p| String::from_utf8_lossy(p).into_owned()).collect()
    }

    #[test]
    fn edits_keep_order_and_length() {
        let mut buf = BodyBuf::from(Bytes::from("bc"));
        buf.push(Bytes::from("def"));
        buf.prepend(Bytes::from("a"));
        assert_eq!((text(&buf).as_str(), buf.len()), ("abcdef", 6));
        buf.drain(2);
        assert_eq!((text(&buf).as_str(), buf.len()), ("cdef", 4));
        let mut out = Vec::new();
        buf.copy_range(1, 2, &mut out);
        assert_eq!(out, b"de");
        buf.push(Bytes::from("ghi"));
        buf.truncate(5);
        assert_eq!((text(&buf).as_str(), buf.len()), ("cdefg", 5));
        buf.drain(100);
        assert!(buf.is_empty() && buf.pop().is_none());
    }

    #[test]
    fn small_pieces_are_joined_and_large_ones_are_not_copied() {
        let read = Bytes::from(vec![b'x'; 64 << 10]);
        let mut buf = BodyBuf::new();
        // As they come from one read of a chunked body: each a slice of the same buffer.
        (0..40_000).for_each(|at| buf.push(read.slice(at..at + 1)));
        assert_eq!(buf.len(), 40_000);
        assert!(buf.pieces().count() <= 4, "{} pieces", buf.pieces().count());
        assert!(buf.pieces().all(|piece| piece.len() <= JOINED));

        buf.push(read.clone());
        assert_eq!(buf.pieces().last().map(|piece| piece.as_ptr()), Some(read.as_ptr()));

        let mut buf = BodyBuf::new();
        (0..4096).for_each(|at| buf.prepend(read.slice(at..at + 1)));
        assert_eq!((buf.len(), buf.pieces().count()), (4096, 8));
    }

    #[test]
    fn joining_leaves_what_others_hold_alone() {
        let mut buf = BodyBuf::from(Bytes::from("a"));
        buf.push(Bytes::from("b"));
        let copy = buf.clone();
        buf.push(Bytes::from("c"));
        assert_eq!((text(&buf).as_str(), text(&copy).as_str()), ("abc", "ab"));
    }
}
