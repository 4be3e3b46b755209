//! `/config_dump`: the configuration as it came, in Envoy's form (`envoy.admin.v3.ConfigDump`), secrets hidden.

use std::time::SystemTime;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value, json};
use weir_xds::Kind;

use super::Parts;
use super::inline_endpoints::inline_endpoints;
use super::inline_routes::inline_routes;
use super::query::Query;
use super::reply::Reply;
use crate::snapshot::{DumpEntry, Rejection};

pub(super) fn answer(admin: &Parts, query: &Query, entries: &[DumpEntry]) -> Result<Reply, Reply> {
    let names = query.whole_pattern("name_regex")?;
    let mut inline = inline_routes(entries);
    if query.has("include_eds") {
        inline.extend(inline_endpoints(entries));
    }
    let entries: Vec<&DumpEntry> = entries.iter().chain(&inline).collect();
    let paths = query.value("mask").map(|mask| mask.split(',').filter(|path| !path.is_empty()).collect::<Vec<_>>());
    let show = Show { entries, names: names.as_ref(), paths: paths.as_deref(), endpoints: query.has("include_eds") };
    let configs = match query.value("resource") {
        None => show.everything(admin)?,
        Some(resource) => show.one(resource)?,
    };
    Ok(Reply::json(&if configs.is_empty() { json!({}) } else { json!({ "configs": configs }) }))
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
    /// Fields that exist and never hold anything here.
    empty: &'static [&'static str],
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
        empty: &["dynamic_warming_clusters"],
        on_request: false,
    },
    Section {
        kind: Kind::Listener,
        message: "ListenersConfigDump",
        field: "listener",
        fixed: ("static_listeners", "StaticListener"),
        dynamic: ("dynamic_listeners", "DynamicListener"),
        empty: &[],
        on_request: false,
    },
    Section {
        kind: Kind::Route,
        message: "RoutesConfigDump",
        field: "route_config",
        fixed: ("static_route_configs", "StaticRouteConfig"),
        dynamic: ("dynamic_route_configs", "DynamicRouteConfig"),
        empty: &[],
        on_request: false,
    },
    Section {
        kind: Kind::Secret,
        message: "SecretsConfigDump",
        field: "secret",
        fixed: ("static_secrets", "StaticSecret"),
        dynamic: ("dynamic_active_secrets", "DynamicSecret"),
        empty: &["dynamic_warming_secrets"],
        on_request: false,
    },
    Section {
        kind: Kind::Endpoint,
        message: "EndpointsConfigDump",
        field: "endpoint_config",
        fixed: ("static_endpoint_configs", "StaticEndpointConfig"),
        dynamic: ("dynamic_endpoint_configs", "DynamicEndpointConfig"),
        empty: &[],
        on_request: true,
    },
];

/// What is asked for.
struct Show<'a> {
    entries: Vec<&'a DumpEntry>,
    names: Option<&'a Regex>,
    paths: Option<&'a [&'a str]>,
    endpoints: bool,
}

impl Show<'_> {
    /// Every message of the dump. As in Envoy a mask leaves out those that its paths do not fit, but must fit one.
    fn everything(&self, admin: &Parts) -> Result<Vec<Value>, Reply> {
        let sections = SECTIONS.iter().filter(|section| self.endpoints || !section.on_request);
        let sections = sections.map(|section| (section.message, self.section(section)));
        let all = std::iter::once(("BootstrapConfigDump", bootstrap(admin))).chain(sections);
        let all = all.filter_map(|(message, mut shown)| {
            let masked = self.paths.map(|paths| weir_xds::mask(&format!("{PACKAGE}{message}"), &mut shown, paths));
            masked.is_none_or(|masked| masked.is_ok()).then_some(shown)
        });
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            let mask = self.paths.unwrap_or_default().join(",");
            let reason = format!("FieldMask {mask} could not be successfully applied to any configs.\n");
            return Err(Reply::bad_request(reason));
        }
        Ok(all)
    }

    fn section(&self, section: &Section) -> Value {
        let mut message = Map::from_iter([type_of(section.message)]);
        for (field, fixed) in [(section.fixed.0, true), (section.dynamic.0, false)] {
            let shown: Vec<_> = self.of(section, fixed).map(|entry| section.show(entry)).collect();
            if !shown.is_empty() {
                message.insert(field.to_owned(), shown.into());
            }
        }
        Value::Object(message)
    }

    /// The entries of one field, each by itself.
    fn one(&self, resource: &str) -> Result<Vec<Value>, Reply> {
        if matches!(resource, "bootstrap" | "last_updated" | "version_info") {
            let reason = format!("{resource} is not a repeated field. Use ?mask={resource} to get only this field");
            return Err(Reply::bad_request(reason));
        }
        let sections = SECTIONS.iter().filter(|section| self.endpoints || !section.on_request);
        let found = sections.into_iter().find_map(|section| match resource {
            _ if resource == section.fixed.0 => Some((section, section.fixed.1, true)),
            _ if resource == section.dynamic.0 => Some((section, section.dynamic.1, false)),
            _ if section.empty.contains(&resource) => Some((section, "", false)),
            _ => None,
        });
        let Some((section, message, fixed)) = found else {
            let reason = format!("{resource} not found in config dump");
            return Err(Reply::status(http::StatusCode::NOT_FOUND, reason));
        };
        if message.is_empty() {
            return Ok(Vec::new());
        }
        let message = format!("{}.{message}", section.message);
        let mut configs = Vec::new();
        for entry in self.of(section, fixed) {
            let mut shown = section.show(entry);
            weir_xds::mask(&format!("{PACKAGE}{message}"), &mut shown, self.paths.unwrap_or_default()).map_err(
                |error| {
                    let mask = self.paths.unwrap_or_default().join(",");
                    Reply::bad_request(format!("FieldMask {mask} could not be successfully used: {error}\n"))
                },
            )?;
            if let Some(object) = shown.as_object_mut() {
                object.extend([type_of(&message)]);
            }
            configs.push(shown);
        }
        Ok(configs)
    }

    fn of(&self, section: &Section, fixed: bool) -> impl Iterator<Item = &DumpEntry> {
        let kind = section.kind;
        let of_kind =
            self.entries.iter().copied().filter(move |entry| entry.kind == kind && entry.is_static() == fixed);
        of_kind.filter(|entry| self.names.is_none_or(|names| names.is_match(&entry.name)))
    }
}

const PACKAGE: &str = "envoy.admin.v3.";

fn type_of(message: &str) -> (String, Value) {
    ("@type".to_owned(), format!("type.googleapis.com/{PACKAGE}{message}").into())
}

fn bootstrap(admin: &Parts) -> Value {
    let message = "envoy.config.bootstrap.v3.Bootstrap";
    let mut shown = Map::from_iter([type_of("BootstrapConfigDump")]);
    shown.insert("bootstrap".to_owned(), weir_xds::to_json(message, &admin.bootstrap));
    shown.insert("last_updated".to_owned(), date(admin.control.started().1));
    Value::Object(shown)
}

impl Section {
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
            "last_update_attempt": date(rejection.at),
            "details": reasons.join("; "),
        });
        // Of what could not be read at all there is nothing to show.
        if let Some(object) = state.as_object_mut().filter(|_| !rejection.bytes.is_empty()) {
            let failed = weir_xds::to_json_any(&self.kind.type_url(), &rejection.bytes);
            object.insert("failed_configuration".to_owned(), failed);
        }
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
