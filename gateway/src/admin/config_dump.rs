//! `/config_dump`: the configuration as it came, in Envoy's form (`envoy.admin.v3.ConfigDump`), secrets hidden.

use std::time::SystemTime;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value, json};
use weir_xds::Kind;

use super::Admin;
use super::query::Query;
use super::reply::Reply;
use crate::snapshot::{DumpEntry, Rejection};

pub(super) fn answer(admin: &Admin, query: &Query) -> Result<Reply, Reply> {
    if query.has("mask") {
        return Err(Reply::bad_request("mask is not supported by Weir: use resource and name_regex\n"));
    }
    let names = query.pattern("name_regex")?;
    let entries = admin.publisher.borrow().dump();
    match query.value("resource") {
        None => Ok(Reply::json(&whole(&entries, names.as_ref(), query.has("include_eds")))),
        Some(resource) => one(&entries, names.as_ref(), resource),
    }
}

/// A message of the dump.
struct Section {
    kind: Kind,
    message: &'static str,
    /// Field of the resource in an entry.
    field: &'static str,
    /// Field and message of entries from the bootstrap.
    fixed: (&'static str, &'static str),
    /// Field and message of entries from a source.
    dynamic: (&'static str, &'static str),
    /// Only with `include_eds`.
    on_request: bool,
}

const SECTIONS: [Section; 5] = [
    Section {
        kind: Kind::Cluster,
        message: "ClustersConfigDump",
        field: "cluster",
        fixed: ("static_clusters", "StaticCluster"),
        dynamic: ("dynamic_active_clusters", "DynamicCluster"),
        on_request: false,
    },
    Section {
        kind: Kind::Listener,
        message: "ListenersConfigDump",
        field: "listener",
        fixed: ("static_listeners", "StaticListener"),
        dynamic: ("dynamic_listeners", "DynamicListener"),
        on_request: false,
    },
    Section {
        kind: Kind::Route,
        message: "RoutesConfigDump",
        field: "route_config",
        fixed: ("static_route_configs", "StaticRouteConfig"),
        dynamic: ("dynamic_route_configs", "DynamicRouteConfig"),
        on_request: false,
    },
    Section {
        kind: Kind::Secret,
        message: "SecretsConfigDump",
        field: "secret",
        fixed: ("static_secrets", "StaticSecret"),
        dynamic: ("dynamic_active_secrets", "DynamicSecret"),
        on_request: false,
    },
    Section {
        kind: Kind::Endpoint,
        message: "EndpointsConfigDump",
        field: "endpoint_config",
        fixed: ("static_endpoint_configs", "StaticEndpointConfig"),
        dynamic: ("dynamic_endpoint_configs", "DynamicEndpointConfig"),
        on_request: true,
    },
];

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3.";

fn whole(entries: &[DumpEntry], names: Option<&Regex>, endpoints: bool) -> Value {
    let sections = SECTIONS.iter().filter(|section| endpoints || !section.on_request).map(|section| {
        let mut message = Map::from_iter([("@type".to_owned(), Value::from(format!("{ADMIN}{}", section.message)))]);
        for (field, fixed) in [(section.fixed.0, true), (section.dynamic.0, false)] {
            let shown: Vec<_> = section.of(entries, fixed, names).map(|entry| section.show(entry)).collect();
            if !shown.is_empty() {
                message.insert(field.to_owned(), shown.into());
            }
        }
        Value::Object(message)
    });
    json!({ "configs": sections.collect::<Vec<_>>() })
}

/// The entries of one field, each by itself.
fn one(entries: &[DumpEntry], names: Option<&Regex>, resource: &str) -> Result<Reply, Reply> {
    let found = SECTIONS.iter().find_map(|section| match resource {
        _ if resource == section.fixed.0 => Some((section, section.fixed.1, true)),
        _ if resource == section.dynamic.0 => Some((section, section.dynamic.1, false)),
        _ => None,
    });
    let Some((section, message, fixed)) = found else {
        let reason = format!("{resource} not found in config dump");
        return Err(Reply::status(http::StatusCode::NOT_FOUND, reason));
    };
    let typed = |entry| {
        let mut shown = section.show(entry);
        if let Some(object) = shown.as_object_mut() {
            object.insert("@type".to_owned(), format!("{ADMIN}{}.{message}", section.message).into());
        }
        shown
    };
    let shown: Vec<_> = section.of(entries, fixed, names).map(typed).collect();
    Ok(Reply::json(&if shown.is_empty() { json!({}) } else { json!({ "configs": shown }) }))
}

impl Section {
    fn of<'a>(
        &self,
        entries: &'a [DumpEntry],
        fixed: bool,
        names: Option<&Regex>,
    ) -> impl Iterator<Item = &'a DumpEntry> {
        let kind = self.kind;
        entries
            .iter()
            .filter(move |entry| entry.kind == kind && entry.is_static() == fixed)
            .filter(move |entry| names.is_none_or(|names| names.is_match(&entry.name)))
    }

    fn show(&self, entry: &DumpEntry) -> Value {
        let mut shown = Map::new();
        if matches!(self.kind, Kind::Secret) || (self.kind == Kind::Listener && !entry.is_static()) {
            shown.insert("name".to_owned(), (*entry.name).into());
        }
        let good = entry.bytes.as_ref().map(|bytes| self.state(&entry.version, entry.last_updated, bytes));
        if self.kind == Kind::Listener && !entry.is_static() {
            // Envoy tells a listener that waits from one that serves.
            let field = if entry.warming.is_empty() { "active_state" } else { "warming_state" };
            shown.extend(good.map(|state| (field.to_owned(), Value::Object(state))));
        } else {
            shown.extend(good.into_iter().flatten());
        }
        if let Some(rejection) = &entry.rejection {
            shown.insert("error_state".to_owned(), self.error_state(rejection));
        }
        Value::Object(shown)
    }

    fn state(&self, version: &str, updated: Option<SystemTime>, bytes: &[u8]) -> Map<String, Value> {
        let mut state = Map::new();
        if !version.is_empty() {
            state.insert("version_info".to_owned(), version.into());
        }
        state.insert(self.field.to_owned(), weir_xds::to_json_any(&self.kind.type_url(), bytes));
        if let Some(updated) = updated {
            state.insert("last_updated".to_owned(), date(updated));
        }
        state
    }

    /// `envoy.admin.v3.UpdateFailureState`
    fn error_state(&self, rejection: &Rejection) -> Value {
        let reasons: Vec<_> = rejection.problems.iter().map(ToString::to_string).collect();
        let mut state = json!({
            "failed_configuration": weir_xds::to_json_any(&self.kind.type_url(), &rejection.bytes),
            "last_update_attempt": date(rejection.at),
            "details": reasons.join("; "),
        });
        if let Some(object) = state.as_object_mut().filter(|_| !rejection.version.is_empty()) {
            object.insert("version_info".to_owned(), rejection.version.clone().into());
        }
        state
    }
}

fn date(time: SystemTime) -> Value {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into()
}
