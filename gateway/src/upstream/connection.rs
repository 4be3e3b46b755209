//! An HTTP/1 connection to an endpoint, and its place in the counts.

use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::time::Instant;

use super::Wire;
use super::pool::Pool;
use crate::cluster::RoutingPriority;
use crate::telemetry::TlsInfo;

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    /// A number that no other connection to an endpoint has.
    pub id: u64,
    /// Its bytes, with their buffers.
    pub wire: Wire,
    /// Our end of it.
    pub local: Option<SocketAddr>,
    /// What its handshake settled.
    pub tls: Option<Rc<TlsInfo>>,
    pub(super) slot: Slot,
}

impl Connection {
    /// As [`Self::is_quiet`]; wakes `cx` when that may not be so any more.
    pub(super) fn stays_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        // What makes a socket readable may be nothing to read: a session ticket. tokio's budget for a task bounds the loop.
        while self.wire.io().poll_readable(cx).is_ready() {
            if !self.is_quiet() {
                return false;
            }
        }
        true
    }

    /// Whether it idles as it should: open, and without input that nobody asked for, on which we close it. Costs no system
    /// call unless the socket was reported readable.
    pub(super) fn is_quiet(&mut self) -> bool {
        match self.wire.io_mut().try_read(&mut [0; 1]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Ok(0) | Err(_) => {
                self.slot.end = End::Remote;
                false
            }
            Ok(_) => false,
        }
    }
}

/// A number that no connection had before.
pub(super) fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) + 1
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// We closed it.
    Local,
    /// The endpoint closed or broke it.
    Remote,
}

/// The place of a connection in the counts of its pool, endpoint and cluster, from before it is connected to its end.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) pool: Weak<Pool>,
    pub(super) priority: RoutingPriority,
    pub(super) opened: Instant,
    /// Whether it is still being made.
    pub(super) connecting: bool,
    /// Requests that went over it, with the one that has it now.
    pub(super) requests: u32,
    pub(super) end: End,
    /// Whether a request was on it when it ended.
    pub(super) in_use: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.closed(self);
        }
    }
}
