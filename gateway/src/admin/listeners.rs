//! `/listeners`: where the gateway listens.

use serde_json::json;

use super::Parts;
use super::query::Query;
use super::reply::Reply;

pub(super) fn answer(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let all = admin.control.listening();
    if query.value("format") == Some("json") {
        let statuses: Vec<_> = all
            .iter()
            .map(|(name, listening)| json!({"name": name, "local_address": socket_address(listening.address)}))
            .collect();
        return Ok(Reply::json(&json!({"listener_statuses": statuses})));
    }
    let lines: String = all.iter().map(|(name, listening)| format!("{name}::{}\n", listening.address)).collect();
    Ok(Reply::text(lines))
}

/// An address in the form of Envoy's API.
pub(super) fn socket_address(address: std::net::SocketAddr) -> serde_json::Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
