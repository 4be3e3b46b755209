//! `envoy.config.endpoint.v3.ClusterLoadAssignment`: inline in a STATIC cluster, or of EDS.

use std::collections::HashSet;

use weir_xds::pb;
use weir_xds::pb::core::HealthStatus;
use weir_xds::pb::core::address::Address;
use weir_xds::pb::endpoint::lb_endpoint::HostIdentifier;
use weir_xds::pb::endpoint::{ClusterLoadAssignment, LbEndpoint};
use weir_xds::pb::types::FractionalPercent;
use weir_xds::pb::types::fractional_percent::DenominatorType;

use super::socket_address;
use crate::cluster::{Assignment, Health, HostSpec, Locality};
use crate::snapshot::Problems;

/// The highest priority that Envoy's API allows.
const MAX_PRIORITY: u32 = 128;

/// Compiles an assignment of EDS. As in Envoy the first of several endpoints with one address counts.
pub fn compile_update(proto: &ClusterLoadAssignment, problems: &mut Problems) -> Option<Assignment> {
    let mut assignment = compile_assignment(proto, problems)?;
    let mut addresses = HashSet::new();
    assignment.hosts.retain(|host| addresses.insert(host.address));
    Some(assignment)
}

/// Compiles the assignment that stands in a cluster, where as in Envoy all endpoints count.
pub(super) fn compile_assignment(proto: &ClusterLoadAssignment, problems: &mut Problems) -> Option<Assignment> {
    let before = problems.len();
    let mut assignment = Assignment::default();
    if let Some(policy) = &proto.policy {
        compile_policy(policy, &mut assignment, problems);
    }
    if !proto.named_endpoints.is_empty() {
        problems.push("named_endpoints", "not supported");
    }
    for (at, group) in proto.endpoints.iter().enumerate() {
        let path = |rest: &str| format!("endpoints[{at}]{rest}");
        if group.lb_config.is_some() {
            problems.push(path(".leds_cluster_locality_config"), "not supported; use lb_endpoints");
        }
        if group.priority > MAX_PRIORITY {
            problems.push(path(".priority"), format!("must be at most {MAX_PRIORITY}"));
        }
        let locality = intern(&mut assignment.localities, group.locality.as_ref());
        let mut total = 0_u64;
        for (index, endpoint) in group.lb_endpoints.iter().enumerate() {
            let mut inner = Problems::new();
            if let Some(host) = compile_host(endpoint, group.priority, locality, &mut inner) {
                total += u64::from(host.weight);
                assignment.hosts.push(host);
            }
            if !inner.is_empty() {
                problems.nest(&path(&format!(".lb_endpoints[{index}]")), inner);
            }
        }
        if total > u64::from(u32::MAX) {
            problems.push(path(""), format!("the weights of its endpoints add up to more than {}", u32::MAX));
        }
    }
    (problems.len() == before).then_some(assignment)
}

fn compile_policy(
    proto: &pb::endpoint::cluster_load_assignment::Policy,
    assignment: &mut Assignment,
    problems: &mut Problems,
) {
    assignment.weighted_priority_health = proto.weighted_priority_health;
    if let Some(factor) = &proto.overprovisioning_factor {
        match factor.value {
            0 => problems.push("policy.overprovisioning_factor", "must be greater than 0"),
            factor => assignment.overprovisioning = factor,
        }
    }
    match proto.drop_overloads.as_slice() {
        [] => {}
        [only] => {
            if let Some(share) = &only.drop_percentage {
                assignment.drop_per_million = per_million(share);
            }
        }
        _ => problems.push("policy.drop_overloads", "one category at most is supported, as in Envoy"),
    }
}

fn per_million(share: &FractionalPercent) -> u32 {
    let factor = match share.denominator() {
        DenominatorType::Hundred => 10_000,
        DenominatorType::TenThousand => 100,
        DenominatorType::Million => 1,
    };
    share.numerator.saturating_mul(factor).min(1_000_000)
}

fn compile_host(proto: &LbEndpoint, priority: u32, locality: u32, problems: &mut Problems) -> Option<HostSpec> {
    let endpoint = match &proto.host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => endpoint,
        Some(HostIdentifier::EndpointName(_)) => {
            problems.push("endpoint_name", "not supported; give endpoint");
            return None;
        }
        None => {
            problems.push("endpoint", "an endpoint needs an address");
            return None;
        }
    };
    if !endpoint.additional_addresses.is_empty() {
        problems.push("endpoint.additional_addresses", "not supported");
    }
    let weight = proto.load_balancing_weight.as_ref().map_or(1, |weight| weight.value);
    if weight == 0 {
        problems.push("load_balancing_weight", "must be greater than 0");
    }
    let health = match proto.health_status() {
        HealthStatus::Unknown | HealthStatus::Healthy => Health::Healthy,
        HealthStatus::Degraded => Health::Degraded,
        HealthStatus::Unhealthy | HealthStatus::Timeout => Health::Unhealthy,
        HealthStatus::Draining => Health::Draining,
    };
    let (path, address) = match endpoint.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(Address::SocketAddress(address)) => ("endpoint.address.socket_address", socket_address(address)),
        Some(Address::Pipe(_)) => ("endpoint.address.pipe", Err("Unix domain sockets are not supported".to_owned())),
        Some(Address::EnvoyInternalAddress(_)) => {
            ("endpoint.address.envoy_internal_address", Err("internal addresses are not supported".to_owned()))
        }
        None => ("endpoint.address", Err("an endpoint needs an address".to_owned())),
    };
    match address {
        Ok(address) => {
            let hostname = endpoint.hostname.as_str().into();
            Some(HostSpec { address, hostname, weight, health, priority, locality })
        }
        Err(reason) => {
            problems.push(path, reason);
            None
        }
    }
}

/// The place of a locality in the list, which has each once.
fn intern(localities: &mut Vec<Locality>, proto: Option<&pb::core::Locality>) -> u32 {
    let locality = proto.map_or_else(Locality::default, |locality| Locality {
        region: locality.region.as_str().into(),
        zone: locality.zone.as_str().into(),
        sub_zone: locality.sub_zone.as_str().into(),
    });
    let at = localities.iter().position(|known| *known == locality).unwrap_or_else(|| {
        localities.push(locality);
        localities.len() - 1
    });
    // Each came from a list in one message: fewer than 2^32.
    at as u32
}
