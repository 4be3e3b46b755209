//! What comes to filters beside the two messages: interim responses, answers to call-outs, timers.

use std::time::Instant;

use super::Chain;
use crate::filter::{CallId, FilterId, HttpFilter};
use crate::http::ResponseHead;
use crate::upstream::CallResult;

impl<F: HttpFilter> Chain<F> {
    /// An interim response is about to be passed on: filters see it in reverse order, as they see the response.
    pub fn informational(&mut self, head: &mut ResponseHead) {
        if !self.wants.informational {
            return;
        }
        for node in self.nodes.iter_mut().rev().filter(|node| node.wants.informational) {
            node.filter.on_informational(&self.stream, head);
        }
        self.apply_effects();
    }

    /// A call-out of this filter has ended.
    pub fn call_done(&mut self, filter: FilterId, call: CallId, result: CallResult) {
        if let Some(node) = self.nodes.get_mut(filter.0) {
            node.filter.on_call_done(&self.stream, call, result);
        }
        self.apply_effects();
    }

    /// When [`Self::ring`] is to be called, if at all.
    pub fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// Wakes the filters whose time has come. Each timer rings once; what is set meanwhile counts from the next call on.
    pub fn ring(&mut self, now: Instant) {
        for node in &mut self.nodes {
            if node.timer.take_if(|at| *at <= now).is_some() {
                node.filter.on_timer(&self.stream);
            }
        }
        self.note_timers();
        self.apply_effects();
    }

    pub(super) fn set_timer(&mut self, filter: FilterId, at: Option<Instant>) {
        if let Some(node) = self.nodes.get_mut(filter.0) {
            node.timer = at;
            self.note_timers();
        }
    }

    fn note_timers(&mut self) {
        self.timer = self.nodes.iter().filter_map(|node| node.timer).min();
    }
}
