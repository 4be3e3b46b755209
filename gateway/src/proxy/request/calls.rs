//! The call-outs of a request's filters.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::Request;
use crate::filter::{CallId, FilterId};
use crate::proxy::downstream::Downstream;
use crate::upstream::{CallOut, CallResult, call};

/// Those under way. They end with the request, whose driver polls them: an answer wakes nobody else.
#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

struct Call {
    filter: FilterId,
    id: CallId,
    answer: Pin<Box<dyn Future<Output = CallResult>>>,
}

impl Calls {
    fn start(&mut self, filter: FilterId, id: CallId, answer: impl Future<Output = CallResult> + 'static) {
        self.0.push(Call { filter, id, answer: Box::pin(answer) });
    }

    /// One that has ended.
    fn poll(&mut self, task: &mut Context<'_>) -> Option<(FilterId, CallId, CallResult)> {
        for (at, call) in self.0.iter_mut().enumerate() {
            if let Poll::Ready(result) = call.answer.as_mut().poll(task) {
                let Call { filter, id, .. } = self.0.swap_remove(at);
                return Some((filter, id, result));
            }
        }
        None
    }
}

impl Request {
    /// Asks the clusters of the snapshot that the request holds.
    pub(super) fn start_call(&mut self, filter: FilterId, id: CallId, asked: CallOut) {
        let (worker, clusters) = (&self.cx.worker, &self.serving.snapshot().clusters);
        self.calls.start(filter, id, call(&worker.pools, &worker.clusters, clusters, asked));
    }

    /// Brings what was answered to the filters that had asked.
    #[inline]
    pub(super) fn poll_calls(&mut self, task: &mut Context<'_>, down: &mut Downstream<'_>) -> bool {
        if self.calls.0.is_empty() {
            return false;
        }
        let Some((filter, id, result)) = self.calls.poll(task) else { return false };
        self.chain.call_done(filter, id, result);
        self.take_out(down);
        true
    }
}
