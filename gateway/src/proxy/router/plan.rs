//! How a request is to be sent: its head as the endpoint gets it, its time, its retries.

use std::sync::Arc;
use std::time::Duration;

use super::instructions;
use super::limits::TryLimits;
use crate::filter::Stream;
use crate::route::{Forward, Matched, RetryPolicy};
use crate::snapshot::compile::filter::PerRoute;

/// What [`Router::start`](super::Router::start) learns while it finishes the head.
pub(super) struct Plan {
    /// If this request may be tried again.
    pub(super) retry: Option<Arc<RetryPolicy>>,
    /// For all tries together.
    pub(super) timeout: Option<Duration>,
    /// For each.
    pub(super) try_limits: Option<Box<TryLimits>>,
    /// When it is too late, 204 without a body.
    pub(super) late_is_empty: bool,
}

/// The head as the endpoint gets it: header operations, rewrites, the router's own fields. What the request asks of the
/// router is taken out, in Envoy's order: time before the route's header operations, retries after them.
pub(super) fn finish_head(
    stream: &Stream,
    matched: &Matched<'_, PerRoute>,
    forward: &Forward<PerRoute>,
    life: Option<Duration>,
    envoy_headers: bool,
) -> Plan {
    let mut state = stream.edit();
    let state = &mut *state;
    let head = &mut state.request;
    let asks = instructions::any(&head.headers);
    let asked = if asks { instructions::take_time(&mut head.headers) } else { instructions::Time::default() };
    let timeout = match asked.whole {
        Some(whole) => Some(whole).filter(|whole| !whole.is_zero()),
        None => forward.timeout,
    };
    let policy = forward.retry.as_ref();
    let per_try = asked.per_try.or_else(|| policy.and_then(|policy| policy.per_try_timeout));
    let per_try = per_try.filter(|limit| !limit.is_zero() && timeout.is_none_or(|timeout| *limit < timeout));
    if envoy_headers && let Some(limit) = per_try.or(timeout) {
        head.headers.set("x-envoy-expected-rq-timeout-ms", itoa::Buffer::new().format(limit.as_millis() as u64));
    }
    matched.finalize_request(head, &state.info, envoy_headers);
    let retry = if asks || matched.edits_request() && instructions::any(&head.headers) {
        instructions::take_retries(&mut head.headers, policy)
    } else {
        policy.cloned()
    };
    Plan {
        retry: retry.filter(|retry| retry.applies_to(head)),
        timeout,
        try_limits: TryLimits::new(per_try, policy.and_then(|policy| policy.per_try_idle_timeout), asked.life.or(life)),
        late_is_empty: asked.late_is_empty,
    }
}
