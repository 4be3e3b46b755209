//! Network filters: the closed enum of those that stand before the connection manager, and what they are compiled from.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use weir_xds::pb;

use super::filter::WorkerFilters;
use super::span::limit_or;
use crate::filter::connection_limit::{ConnectionLimit, ConnectionLimitFilter};
use crate::filter::network::{Arrival, BytesAction, NetworkAction, NetworkChain, NetworkFilter};
use crate::snapshot::Problems;
use crate::telemetry::metrics::{Registry, names};
use pb::connection_limit::ConnectionLimit as Proto;
use pb::listener::filter::ConfigType;

/// Any network filter of a filter chain.
#[derive(Debug)]
pub enum NetworkFilterConfig {
    /// `envoy.filters.network.connection_limit`
    ConnectionLimit(Arc<ConnectionLimit>),
}

/// Any network filter on one connection.
#[allow(missing_docs, reason = "named as what they hold")]
pub enum NetworkFilterInstance {
    ConnectionLimit(ConnectionLimitFilter),
    #[cfg(test)]
    Scripted(Box<dyn NetworkFilter>),
}

/// The filters for a new connection of that worker.
pub fn instantiate(configs: &[NetworkFilterConfig], worker: &WorkerFilters) -> NetworkChain<NetworkFilterInstance> {
    let filters = configs.iter().map(|config| match config {
        NetworkFilterConfig::ConnectionLimit(limit) => {
            NetworkFilterInstance::ConnectionLimit(ConnectionLimitFilter::new(Arc::clone(limit), worker.index))
        }
    });
    #[cfg(test)]
    let filters = filters.chain(worker.scripts.network().map(NetworkFilterInstance::Scripted));
    NetworkChain::new(filters)
}

macro_rules! each {
    ($self:expr, $filter:ident => $call:expr) => {
        match $self {
            NetworkFilterInstance::ConnectionLimit($filter) => $call,
            #[cfg(test)]
            NetworkFilterInstance::Scripted($filter) => $call,
        }
    };
}

impl NetworkFilter for NetworkFilterInstance {
    fn wants_bytes(&self) -> bool {
        each!(self, filter => filter.wants_bytes())
    }

    fn on_new_connection(&mut self, arrival: &Arrival<'_>) -> NetworkAction {
        each!(self, filter => filter.on_new_connection(arrival))
    }

    fn on_data(&mut self, data: &mut BytesMut, end: bool) -> BytesAction {
        each!(self, filter => filter.on_data(data, end))
    }

    fn on_write(&mut self, data: &mut BytesMut, end: bool) -> BytesAction {
        each!(self, filter => filter.on_write(data, end))
    }

    fn on_close(&mut self) {
        each!(self, filter => filter.on_close());
    }
}

/// Compiles one filter; `None` with a problem, or without one if it is switched off.
pub(super) fn compile(
    proto: &pb::listener::Filter,
    registry: &Registry,
    problems: &mut Problems,
) -> Option<NetworkFilterConfig> {
    match &proto.config_type {
        Some(ConfigType::TypedConfig(any)) if pb::is::<Proto>(any) => {
            let proto = pb::unpack::<Proto>(any).map_err(|error| problems.push("", error.to_string())).ok()?;
            connection_limit(&proto, registry, problems)
        }
        Some(ConfigType::TypedConfig(any)) => {
            let found = pb::type_name(any);
            let reason =
                format!("{found} is not supported; supported: HttpConnectionManager, before it ConnectionLimit");
            problems.push("", reason);
            None
        }
        _ => {
            problems.push("", "is missing: it says which filter this is");
            None
        }
    }
}

fn connection_limit(proto: &Proto, registry: &Registry, problems: &mut Problems) -> Option<NetworkFilterConfig> {
    let flag = proto.runtime_enabled.as_ref().and_then(|flag| flag.default_value);
    if flag.is_some_and(|value| !value.value) {
        return None;
    }
    let delay = limit_or(proto.delay.as_ref(), Some(Duration::ZERO), "delay", problems).unwrap_or_default();
    let Some(max) = proto.max_connections.as_ref().map(|max| max.value) else {
        problems.push("max_connections", "is required");
        return None;
    };
    let metrics = registry.scope(names::ConnectionLimit, proto.stat_prefix.as_str());
    Some(NetworkFilterConfig::ConnectionLimit(Arc::new(ConnectionLimit::new(max, delay, metrics))))
}
