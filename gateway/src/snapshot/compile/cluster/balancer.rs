//! How a cluster balances: `lb_policy` with its settings, or `load_balancing_policy`.

use weir_xds::pb;
use weir_xds::pb::cluster::cluster::common_lb_config::LocalityConfigSpecifier;
use weir_xds::pb::cluster::cluster::{LbConfig, LbPolicy};
use weir_xds::pb::lb_least_request::least_request::SelectionMethod;

use crate::cluster::{Balancer, ClusterConfig, LeastRequest};
use crate::snapshot::Problems;

pub(super) fn compile(proto: &pb::cluster::Cluster, config: &mut ClusterConfig, problems: &mut Problems) {
    if let Some(common) = &proto.common_lb_config {
        compile_common(common, config, problems);
    }
    if let Some(policy) = &proto.load_balancing_policy {
        if let Some(balancer) = compile_policies(policy, config, problems) {
            config.balancer = balancer;
        }
        return;
    }
    config.balancer = match LbPolicy::try_from(proto.lb_policy) {
        Ok(LbPolicy::RoundRobin) => Balancer::RoundRobin,
        Ok(LbPolicy::Random) => Balancer::Random,
        Ok(LbPolicy::LeastRequest) => Balancer::LeastRequest(LeastRequest::DEFAULT),
        Ok(LbPolicy::LoadBalancingPolicyConfig) => {
            problems.push("load_balancing_policy", "lb_policy asks for it, but it is not set");
            return;
        }
        other => {
            let name = other.map_or("this policy", |policy| policy.as_str_name());
            problems.push("lb_policy", format!("{name} is not supported; use ROUND_ROBIN, LEAST_REQUEST or RANDOM"));
            return;
        }
    };
    match (&proto.lb_config, &mut config.balancer) {
        (Some(LbConfig::RoundRobinLbConfig(settings)), _) => {
            slow_start("round_robin_lb_config", settings.slow_start_config.is_some(), problems);
        }
        (Some(LbConfig::LeastRequestLbConfig(settings)), balancer) => {
            slow_start("least_request_lb_config", settings.slow_start_config.is_some(), problems);
            if let Balancer::LeastRequest(options) = balancer {
                options.choices = choices(settings.choice_count, "least_request_lb_config", problems);
                options.bias = bias(settings.active_request_bias.as_ref(), "least_request_lb_config", problems);
            }
        }
        _ => {}
    }
}

fn compile_common(common: &pb::cluster::cluster::CommonLbConfig, config: &mut ClusterConfig, problems: &mut Problems) {
    if let Some(threshold) = &common.healthy_panic_threshold {
        // Truncated as Envoy does; the cast saturates.
        config.panic_threshold = (threshold.value as u32).min(100);
    }
    match &common.locality_config_specifier {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => {
            problems.push("common_lb_config.locality_weighted_lb_config", "not supported");
        }
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) => {
            config.fail_traffic_on_panic = zone.fail_traffic_on_panic;
        }
        None => {}
    }
    if common.close_connections_on_host_set_change {
        problems.push("common_lb_config.close_connections_on_host_set_change", "not supported");
    }
}

/// As Envoy: the first policy of the list that is known.
fn compile_policies(
    proto: &pb::cluster::LoadBalancingPolicy,
    config: &mut ClusterConfig,
    problems: &mut Problems,
) -> Option<Balancer> {
    let mut refused = Vec::new();
    for (at, policy) in proto.policies.iter().enumerate() {
        let path = format!("load_balancing_policy.policies[{at}].typed_extension_config");
        let Some(extension) = &policy.typed_extension_config else { continue };
        let Some(any) = &extension.typed_config else {
            problems.push(path, "needs a typed_config");
            return None;
        };
        let path = format!("{path}.typed_config");
        let name = pb::type_name(any);
        let known = if pb::is::<pb::lb_round_robin::RoundRobin>(any) {
            pb::unpack::<pb::lb_round_robin::RoundRobin>(any).map(|settings| {
                slow_start(&path, settings.slow_start_config.is_some(), problems);
                locality(&path, settings.locality_lb_config.as_ref(), config, problems);
                Balancer::RoundRobin
            })
        } else if pb::is::<pb::lb_random::Random>(any) {
            pb::unpack::<pb::lb_random::Random>(any).map(|settings| {
                locality(&path, settings.locality_lb_config.as_ref(), config, problems);
                Balancer::Random
            })
        } else if pb::is::<pb::lb_least_request::LeastRequest>(any) {
            pb::unpack::<pb::lb_least_request::LeastRequest>(any).map(|settings| {
                slow_start(&path, settings.slow_start_config.is_some(), problems);
                locality(&path, settings.locality_lb_config.as_ref(), config, problems);
                Balancer::LeastRequest(LeastRequest {
                    choices: choices(settings.choice_count, &path, problems),
                    full_scan: settings.selection_method() == SelectionMethod::FullScan
                        || settings.enable_full_scan.is_some_and(|on| on.value),
                    bias: bias(settings.active_request_bias.as_ref(), &path, problems),
                })
            })
        } else {
            refused.push(name.to_owned());
            continue;
        };
        return known.map_err(|error| problems.push(path, error.to_string())).ok();
    }
    let reason = match refused.as_slice() {
        [] => "names no policy".to_owned(),
        refused => format!("none of {} is supported; use round_robin, least_request or random", refused.join(", ")),
    };
    problems.push("load_balancing_policy.policies", reason);
    None
}

fn locality(
    path: &str,
    proto: Option<&pb::lb_common::LocalityLbConfig>,
    config: &mut ClusterConfig,
    problems: &mut Problems,
) {
    use pb::lb_common::locality_lb_config::LocalityConfigSpecifier;
    match proto.and_then(|proto| proto.locality_config_specifier.as_ref()) {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => {
            problems.push(format!("{path}.locality_lb_config.locality_weighted_lb_config"), "not supported");
        }
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) => {
            config.fail_traffic_on_panic = zone.fail_traffic_on_panic;
        }
        None => {}
    }
}

fn slow_start(path: &str, set: bool, problems: &mut Problems) {
    if set {
        problems.push(format!("{path}.slow_start_config"), "not supported");
    }
}

fn choices(proto: Option<pb::UInt32Value>, path: &str, problems: &mut Problems) -> u32 {
    let choices = proto.map_or(LeastRequest::DEFAULT.choices, |count| count.value);
    if choices < 2 {
        problems.push(format!("{path}.choice_count"), "must be at least 2");
    }
    choices
}

fn bias(proto: Option<&pb::core::RuntimeDouble>, path: &str, problems: &mut Problems) -> f64 {
    let bias = proto.map_or(LeastRequest::DEFAULT.bias, |bias| bias.default_value);
    if !(bias >= 0.0 && bias.is_finite()) {
        problems.push(format!("{path}.active_request_bias"), "must not be negative");
        return LeastRequest::DEFAULT.bias;
    }
    bias
}
