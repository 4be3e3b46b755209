//! `RetryPolicy`.

use weir_xds::pb;
use weir_xds::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use weir_xds::pb::route::retry_policy::{retry_host_predicate, retry_priority};

use super::matching::header_matchers;
use crate::route::retry::BackOff;
use crate::route::{RetryOn, RetryPolicy};
use crate::snapshot::Problems;
use crate::snapshot::compile::span::{limit, span};

pub(super) fn compile(proto: &pb::route::RetryPolicy, problems: &mut Problems) -> Option<RetryPolicy> {
    let before = problems.len();
    let on = RetryOn::parse(&proto.retry_on, |word| {
        problems.push("retry_on", format!("unknown condition '{word}'"));
    });
    let mut status_codes = Vec::with_capacity(proto.retriable_status_codes.len());
    for (at, code) in proto.retriable_status_codes.iter().enumerate() {
        match u16::try_from(*code) {
            Ok(code) => status_codes.push(code),
            Err(_) => problems.push(format!("retriable_status_codes[{at}]"), format!("{code} is not a status")),
        }
    }
    let limit = |span: &Option<pb::Duration>, field, problems: &mut Problems| {
        span.as_ref().and_then(|span| limit(span, field, problems))
    };
    let policy = RetryPolicy {
        on,
        retries: proto.num_retries.as_ref().map_or(1, |retries| retries.value),
        per_try_timeout: limit(&proto.per_try_timeout, "per_try_timeout", problems),
        per_try_idle_timeout: limit(&proto.per_try_idle_timeout, "per_try_idle_timeout", problems),
        status_codes: status_codes.into(),
        response_headers: header_matchers(&proto.retriable_headers, "retriable_headers", problems),
        request_headers: header_matchers(&proto.retriable_request_headers, "retriable_request_headers", problems),
        back_off: proto
            .retry_back_off
            .as_ref()
            .map_or_else(BackOff::default, |back_off| back_off_of(back_off, problems)),
        avoid_previous_hosts: avoid_previous_hosts(&proto.retry_host_predicate, problems),
        host_selection_attempts: u32::try_from(proto.host_selection_retry_max_attempts).unwrap_or(1).max(1),
        avoid_previous_priorities: proto
            .retry_priority
            .as_ref()
            .and_then(|priority| previous_priorities(priority, problems)),
    };
    (problems.len() == before).then_some(policy)
}

fn back_off_of(proto: &pb::route::retry_policy::RetryBackOff, problems: &mut Problems) -> BackOff {
    let Some(base) = &proto.base_interval else {
        problems.push("retry_back_off.base_interval", "required: the first pause is below it");
        return BackOff::default();
    };
    let base = span(base, "retry_back_off.base_interval", problems);
    let max = match &proto.max_interval {
        Some(max) => span(max, "retry_back_off.max_interval", problems),
        None => base.saturating_mul(10),
    };
    if base.is_zero() {
        problems.push("retry_back_off.base_interval", "has to be greater than 0");
    } else if max < base {
        problems.push("retry_back_off.max_interval", "has to be base_interval or more");
    }
    BackOff { base, max }
}

fn avoid_previous_hosts(proto: &[pb::route::retry_policy::RetryHostPredicate], problems: &mut Problems) -> bool {
    let mut avoid = false;
    for (at, predicate) in proto.iter().enumerate() {
        let name = match &predicate.config_type {
            Some(retry_host_predicate::ConfigType::TypedConfig(any)) => pb::type_name(any),
            None => &predicate.name,
        };
        match name {
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            | "envoy.retry_host_predicates.previous_hosts" => avoid = true,
            other => problems.push(
                format!("retry_host_predicate[{at}]"),
                format!("'{other}' is not supported: only envoy.retry_host_predicates.previous_hosts is"),
            ),
        }
    }
    avoid
}

fn previous_priorities(proto: &pb::route::retry_policy::RetryPriority, problems: &mut Problems) -> Option<u32> {
    let Some(retry_priority::ConfigType::TypedConfig(any)) = &proto.config_type else {
        problems.push("retry_priority.typed_config", "required: a PreviousPrioritiesConfig");
        return None;
    };
    match pb::unpack::<PreviousPrioritiesConfig>(any) {
        Ok(config) if config.update_frequency > 0 => u32::try_from(config.update_frequency).ok(),
        Ok(_) => {
            problems.push("retry_priority.typed_config.update_frequency", "has to be greater than 0");
            None
        }
        Err(error) => {
            problems.push("retry_priority.typed_config", error.to_string());
            None
        }
    }
}
