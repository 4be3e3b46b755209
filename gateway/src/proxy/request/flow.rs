//! One side of a request is read no faster than the other one takes it.

use super::Request;
use crate::filter::chain::Direction;
use crate::telemetry::metrics::names::{cluster, http};

/// Bytes that may wait for a slow peer before its other side is read no more, if `per_connection_buffer_limit_bytes`
/// allows as many.
pub(in crate::proxy) const MOST_WAITING: usize = 64 * 1024;

impl Request {
    /// Notes whether one side is not read because the other one is slow, and says so.
    #[inline]
    pub(super) fn pauses(&mut self, direction: Direction, pause: bool) -> bool {
        if self.paused[direction as usize] != pause {
            self.count_pause(direction, pause);
        }
        pause
    }

    #[cold]
    fn count_pause(&mut self, direction: Direction, pause: bool) {
        self.paused[direction as usize] = pause;
        let Some(router) = &self.router else { return };
        let (of_cluster, metrics) = (router.metrics(&self.cx.worker), self.metrics());
        match (direction, pause) {
            (Direction::Request, true) => {
                of_cluster.inc(cluster::UPSTREAM_FLOW_CONTROL_BACKED_UP_TOTAL);
                metrics.inc(http::DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL);
            }
            (Direction::Request, false) => {
                of_cluster.inc(cluster::UPSTREAM_FLOW_CONTROL_DRAINED_TOTAL);
                metrics.inc(http::DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL);
            }
            (Direction::Response, true) => of_cluster.inc(cluster::UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL),
            (Direction::Response, false) => of_cluster.inc(cluster::UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL),
        }
    }
}
