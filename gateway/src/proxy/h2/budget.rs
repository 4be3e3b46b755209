//! What the streams of a connection hold together for a client that reads too slowly.
//!
//! Flow control bounds a stream only as far as its client wants to: with wide windows all that is sent goes to h2, which
//! keeps it until the socket takes it. So bytes are counted from the moment they are handed to h2 until they are written.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::{Buf, Bytes};

use crate::http::BodyBuf;

/// The bytes that wait on one connection.
pub(super) struct Budget {
    /// `per_connection_buffer_limit_bytes`.
    limit: usize,
    /// Handed to h2 and not written: they wait for the socket.
    unwritten: Cell<usize>,
    /// Not handed to h2: they wait for the windows of their streams.
    held_back: Cell<usize>,
    /// Streams that wait until the socket has taken something, by their tickets, and the last ticket. A stream that ends is
    /// taken out: the waker keeps its task.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    tickets: Cell<u64>,
}

impl Budget {
    /// For a connection for which so many bytes may wait.
    pub(super) fn new(limit: usize) -> Rc<Self> {
        let (unwritten, held_back, waiting, tickets) = Default::default();
        Rc::new(Self { limit, unwritten, held_back, waiting, tickets })
    }

    /// Nothing more is to be handed to h2. One piece may lie above the limit.
    fn is_full(&self) -> bool {
        self.unwritten.get() >= self.limit
    }

    fn charge(self: &Rc<Self>, bytes: Bytes) -> Charged {
        let charge = bytes.len();
        self.unwritten.set(self.unwritten.get() + charge);
        Charged { bytes, charge, budget: Rc::clone(self) }
    }

    fn written(&self, bytes: usize) {
        let left = self.unwritten.get().saturating_sub(bytes);
        self.unwritten.set(left);
        if left <= self.limit / 2 && !self.waiting.borrow().is_empty() {
            let mut waiting = self.waiting.take();
            // They run in this order, and the first may take all the room: each is to be the first in its turn.
            let first = waiting.pop_first();
            waiting.into_values().chain(first.map(|(_, waker)| waker)).for_each(Waker::wake);
        }
    }
}

/// Bytes that h2 has. They are given back when it drops them: written, or of a stream that is no more.
pub(crate) struct Charged {
    bytes: Bytes,
    charge: usize,
    budget: Rc<Budget>,
}

impl Buf for Charged {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(into)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.budget.written(self.charge);
    }
}

/// What flow control, or the budget, holds back of one stream.
pub(super) struct HeldBack {
    pieces: BodyBuf,
    budget: Rc<Budget>,
    /// Where this stream is on the list of those that wait, if it still is; 0 if it never was.
    ticket: u64,
}

impl HeldBack {
    /// Nothing yet.
    pub(super) fn new(budget: Rc<Budget>) -> Self {
        Self { pieces: BodyBuf::new(), budget, ticket: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.move_total(piece.len(), 0);
        self.pieces.push(piece);
    }

    /// Whether bytes may be handed to h2.
    pub(super) fn may_send(&self) -> bool {
        !self.budget.is_full()
    }

    /// Takes the first piece, or `most` bytes of it.
    pub(super) fn take(&mut self, most: usize) -> Option<Charged> {
        let mut piece = self.pieces.pop()?;
        if piece.len() > most {
            self.pieces.prepend(piece.split_off(most));
        }
        self.move_total(0, piece.len());
        Some(self.budget.charge(piece))
    }

    /// No bytes: what ends a stream whose end was not known with its last piece.
    pub(super) fn nothing(&self) -> Charged {
        self.budget.charge(Bytes::new())
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        self.move_total(0, self.pieces.len());
        self.pieces = BodyBuf::new();
    }

    /// Whether more may be read for this stream, of which `watermark` bytes may wait. While the socket takes nothing no
    /// stream gets more. Where it is the streams' windows that hold bytes back, those of others must not stop this one: it
    /// may always hold one piece.
    pub(super) fn has_room(&mut self, task: &Context<'_>, watermark: usize) -> bool {
        if self.budget.is_full() {
            self.wait(task);
            return false;
        }
        let total = self.budget.unwritten.get() + self.budget.held_back.get();
        self.len() < watermark && (self.is_empty() || total < self.budget.limit)
    }

    /// Wakes the task once the socket has taken a good part of what waits for it.
    pub(super) fn wait(&mut self, task: &Context<'_>) {
        let mut waiting = self.budget.waiting.borrow_mut();
        match waiting.get_mut(&self.ticket) {
            Some(waker) => waker.clone_from(task.waker()),
            None => {
                self.ticket = self.budget.tickets.get() + 1;
                self.budget.tickets.set(self.ticket);
                waiting.insert(self.ticket, task.waker().clone());
            }
        }
    }

    fn move_total(&self, more: usize, less: usize) {
        let total = &self.budget.held_back;
        total.set((total.get() + more).saturating_sub(less));
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        self.clear();
        if self.ticket != 0 {
            self.budget.waiting.borrow_mut().remove(&self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn bytes_count_until_h2_drops_them() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let task = Context::from_waker(&waker);
        let budget = Budget::new(100);
        let (mut one, mut other) = (HeldBack::new(Rc::clone(&budget)), HeldBack::new(Rc::clone(&budget)));
        one.push(Bytes::from(vec![b'x'; 130]));
        assert_eq!((one.len(), budget.held_back.get()), (130, 130));
        let first = one.take(60).unwrap();
        let second = one.take(60).unwrap();
        assert_eq!((first.remaining(), one.len(), budget.unwritten.get()), (60, 10, 120));
        assert!(!one.may_send() && !other.has_room(&task, 1000) && !other.has_room(&task, 1000));

        drop(first);
        assert_eq!(woken.0.load(Relaxed), 0, "60 of 100 are too many to begin again");
        drop(second);
        assert_eq!((woken.0.load(Relaxed), budget.unwritten.get()), (1, 0));
        assert!(other.has_room(&task, 1000));
        drop(one);
        assert_eq!(budget.held_back.get(), 0);
    }

    #[test]
    fn a_stream_waits_once_and_until_it_ends() {
        let woken: [_; 3] = std::array::from_fn(|_| Arc::new(Woken::default()));
        let wakers = woken.clone().map(Waker::from);
        let budget = Budget::new(100);
        let mut source = HeldBack::new(Rc::clone(&budget));
        source.push(Bytes::from(vec![b'x'; 100]));
        let full = source.take(100);
        let mut streams: Vec<HeldBack> = (0..2).map(|_| HeldBack::new(Rc::clone(&budget))).collect();
        // As many have come and gone while the socket took nothing as may be: only those that are there are kept.
        for _ in 0..1000 {
            let mut ended = HeldBack::new(Rc::clone(&budget));
            ended.wait(&Context::from_waker(&wakers[2]));
            streams[0].wait(&Context::from_waker(&wakers[2]));
            streams[0].wait(&Context::from_waker(&wakers[0]));
            streams[1].wait(&Context::from_waker(&wakers[1]));
        }
        assert_eq!(budget.waiting.borrow().len(), 2);
        assert_eq!(Arc::strong_count(&woken[2]), 2, "this test's own and its waker");

        drop(full);
        assert_eq!(woken.each_ref().map(|woken| woken.0.load(Relaxed)), [1, 1, 0]);
        // A ticket of the past takes out nobody.
        source.wait(&Context::from_waker(&wakers[2]));
        drop(streams);
        assert_eq!(budget.waiting.borrow().len(), 1);
    }

    #[test]
    fn a_stream_may_hold_a_piece_however_much_others_hold() {
        let task = Context::from_waker(Waker::noop());
        let budget = Budget::new(100);
        let (mut paused, mut other) = (HeldBack::new(Rc::clone(&budget)), HeldBack::new(budget));
        paused.push(Bytes::from(vec![b'x'; 200]));
        assert!(!paused.has_room(&task, 1000) && other.has_room(&task, 1000));
        other.push(Bytes::from("a"));
        assert!(!other.has_room(&task, 1000));
        paused.clear();
        assert!(other.has_room(&task, 1000) && !other.has_room(&task, 1));
    }
}
