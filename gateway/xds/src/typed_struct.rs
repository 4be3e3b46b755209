//! TypedStruct in the wire form: YAML and JSON have it resolved while they are read, this does so for what comes encoded.

use crate::{
    decode::decode,
    json::to_json,
    problem::{Path, Problem, Step},
    schema::{self, Kind, Message, Shape, WellKnown, name_of_type_url},
    tape::MAX_DEPTH,
    wire::{self, Value},
};

/// The message with every Any that holds a TypedStruct holding the message instead that it stands for; `None` if there
/// is no such thing in it. What cannot be resolved is left as it is, and told.
pub(crate) fn resolve(message: &'static Message, bytes: &[u8], problems: &mut Vec<Problem>) -> Option<Vec<u8>> {
    // Most have none: one look settles it.
    bytes.windows(12).find(|part| *part == b".TypedStruct")?;
    Walk { path: Path::default(), problems }.message(message, bytes)
}

struct Walk<'p> {
    path: Path<'p>,
    problems: &'p mut Vec<Problem>,
}

impl Walk<'_> {
    fn message(&mut self, message: &'static Message, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.path.depth() > 2 * MAX_DEPTH {
            return None;
        }
        match message.known {
            WellKnown::Any => self.any(bytes),
            WellKnown::No => self.fields(message, bytes),
            _ => None,
        }
    }

    fn fields(&mut self, message: &'static Message, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut changed = false;
        let mut counts = vec![0_usize; message.fields.len()];
        for field in wire::fields(bytes) {
            // What is malformed is told by the check.
            let (number, value) = field.ok()?;
            let known = message.field_by_number(number);
            let replaced = match (known, value) {
                (Some((at, field)), Value::Len(inner)) if let Kind::Message(index) = field.kind => {
                    self.path.push(Step::Field(field.name));
                    if field.shape == Shape::Repeated {
                        self.path.push(Step::Index(counts[at]));
                    }
                    counts[at] += 1;
                    let replaced = self.message(schema::message_at(index), inner);
                    if field.shape == Shape::Repeated {
                        self.path.pop();
                    }
                    self.path.pop();
                    replaced
                }
                _ => None,
            };
            changed |= replaced.is_some();
            match (replaced, value) {
                (Some(replaced), _) => wire::put_bytes_field(&mut out, number, &replaced),
                (None, Value::Len(inner)) => wire::put_bytes_field(&mut out, number, inner),
                (None, Value::Varint(n)) => wire::put_varint_field(&mut out, number, n),
                (None, Value::Fixed64(n)) => {
                    wire::put_tag(&mut out, number, 1);
                    out.extend_from_slice(&n.to_le_bytes());
                }
                (None, Value::Fixed32(n)) => {
                    wire::put_tag(&mut out, number, 5);
                    out.extend_from_slice(&n.to_le_bytes());
                }
            }
        }
        changed.then_some(out)
    }

    fn any(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let value = wire::last_bytes(bytes, 2).unwrap_or_default();
        let held = schema::message(name_of_type_url(wire::last_text(bytes, 1)))?;
        if held.known != WellKnown::TypedStruct {
            let replaced = self.message(held, value)?;
            return Some(packed(held.name, &replaced));
        }
        // `string type_url = 1; google.protobuf.Struct value = 2;`
        let url = wire::last_text(value, 1);
        let Some(meant) = schema::message(name_of_type_url(url)) else {
            self.problem("type_url", format!("unknown type {url:?}"));
            return None;
        };
        let json = to_json("google.protobuf.Struct", wire::last_bytes(value, 2).unwrap_or_default());
        let decoded = decode(&json.to_string(), meant.name);
        for problem in decoded.problems {
            self.problem(&problem.path, problem.reason);
        }
        Some(packed(meant.name, &decoded.bytes))
    }

    fn problem(&mut self, below: &str, reason: String) {
        let dot = if below.is_empty() || below.starts_with('[') { "" } else { "." };
        self.problems.push(Problem { path: format!("{}{dot}{below}", self.path), line: None, reason });
    }
}

fn packed(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 32);
    wire::put_bytes_field(&mut out, 1, format!("type.googleapis.com/{name}").as_bytes());
    wire::put_bytes_field(&mut out, 2, value);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prost::Message as _;

    use super::*;
    use crate::{Kind::Listener, pb, read_discovery};

    /// A discovery response in its wire form, with a TypedStruct in the place of a filter's message.
    fn response(type_url: &str, field: &str) -> Vec<u8> {
        let value = pb::Value { kind: Some(pb::ValueKind::StringValue("p".to_owned())) };
        let shape = pb::Struct { fields: [(field.to_owned(), value)].into() };
        let mut typed = Vec::new();
        wire::put_bytes_field(&mut typed, 1, type_url.as_bytes());
        wire::put_bytes_field(&mut typed, 2, &shape.encode_to_vec());
        let any = pb::Any { type_url: "type.googleapis.com/xds.type.v3.TypedStruct".to_owned(), value: typed };
        let config_type = Some(pb::listener::filter::ConfigType::TypedConfig(any));
        let filter = pb::listener::Filter { name: "hcm".to_owned(), config_type };
        let chain = pb::listener::FilterChain { filters: vec![filter], ..Default::default() };
        let listener =
            pb::listener::Listener { name: "l".to_owned(), filter_chains: vec![chain], ..Default::default() };
        let resources = vec![pb::pack(&listener)];
        pb::discovery::DiscoveryResponse { resources, ..Default::default() }.encode_to_vec()
    }

    const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

    #[test]
    fn it_stands_for_the_message_that_it_names() {
        let bytes = response(&format!("type.googleapis.com/{MANAGER}"), "stat_prefix");
        let discovery = read_discovery(Listener, "lds.pb", &bytes);
        let listener = pb::listener::Listener::decode(discovery.resources[0].bytes.clone()).unwrap();
        let filter = &listener.filter_chains[0].filters[0];
        let Some(pb::listener::filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
            panic!("{filter:?}")
        };
        let manager = pb::unpack::<pb::hcm::HttpConnectionManager>(any).unwrap();
        assert_eq!(manager.stat_prefix, "p");
    }

    #[test]
    fn what_it_cannot_stand_for_is_told_with_its_path() {
        let place = "resources[0].filter_chains[0].filters[0].typed_config";
        for (url, field, path) in [
            ("type.googleapis.com/no.such.Message", "x", format!("{place}.type_url")),
            (MANAGER, "no_such_field", format!("{place}.no_such_field")),
        ] {
            let discovery = read_discovery(Listener, "lds.pb", &response(url, field));
            let problems = &discovery.resources[0].problems;
            assert!(problems.iter().any(|problem| problem.path == path), "{path} {problems:?}");
        }
    }
}
