//! Route configurations that stand inside of listeners, for `/config_dump`.

use std::sync::Arc;

use prost::Message;
use weir_xds::{Kind, pb};

use crate::snapshot::{DumpEntry, STATIC};
use pb::hcm::http_connection_manager::RouteSpecifier;
use pb::listener::filter::ConfigType;

/// Those of the listeners among `entries`, in their order; as Envoy shows them, as static ones.
pub(super) fn inline_routes(entries: &[DumpEntry]) -> Vec<DumpEntry> {
    let listeners = entries.iter().filter(|entry| entry.kind == Kind::Listener);
    listeners.flat_map(|entry| in_listener(entry).unwrap_or_default()).collect()
}

fn in_listener(entry: &DumpEntry) -> Option<Vec<DumpEntry>> {
    let listener = pb::listener::Listener::decode(entry.bytes.clone()?).ok()?;
    let chains = listener.filter_chains.into_iter().chain(listener.default_filter_chain);
    let routes = chains.flat_map(|chain| chain.filters).filter_map(|filter| {
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else { return None };
        let manager = pb::unpack::<pb::hcm::HttpConnectionManager>(any).ok()?;
        let Some(RouteSpecifier::RouteConfig(routes)) = manager.route_specifier else { return None };
        Some(DumpEntry {
            kind: Kind::Route,
            name: routes.name.as_str().into(),
            source: Arc::from(STATIC),
            bytes: Some(routes.encode_to_vec().into()),
            version: String::new(),
            last_updated: entry.last_updated,
            rejection: None,
            warming: Vec::new(),
        })
    });
    Some(routes.collect())
}
