//! Field masks (`google.protobuf.FieldMask`) on the JSON form of a message.

use serde_json::{Map, Value as Json};

use crate::schema::{self, Field, Kind, Message, Shape, WellKnown, name_of_type_url};

/// Keeps of a message, as `to_json` shows it, the fields that `paths` name, such as `cluster.name`; all of them if there
/// are no paths. A path goes into an Any as if its message stood there.
///
/// # Errors
/// A path that names no field, or goes through a list or a map; the rest of `json` is then undefined.
pub fn mask(message: &str, json: &mut Json, paths: &[&str]) -> Result<(), MaskError> {
    let (Some(message), Json::Object(fields)) = (schema::message(message), json) else { return Ok(()) };
    if paths.is_empty() { Ok(()) } else { retain(message, fields, paths) }
}

/// A path that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is no path of {message}: fields are named in snake_case, and no path goes through a list")]
pub struct MaskError {
    message: &'static str,
    path: String,
}

fn retain(message: &'static Message, fields: &mut Map<String, Json>, paths: &[&str]) -> Result<(), MaskError> {
    let mut wanted: Vec<(&'static Field, Vec<&str>)> = Vec::new();
    for path in paths {
        let (name, rest) = path.split_once('.').map_or((*path, None), |(name, rest)| (name, Some(rest)));
        let field = message.fields.iter().find(|field| field.name == name);
        let field = field.filter(|field| rest.is_none() || inner(field).is_some());
        let Some(field) = field else {
            return Err(MaskError { message: message.name, path: (*path).to_owned() });
        };
        match (wanted.iter_mut().find(|(known, _)| known.number == field.number), rest) {
            // Once a field is wanted as a whole, its parts say nothing new.
            (Some((_, rests)), Some(rest)) if !rests.is_empty() => rests.push(rest),
            (Some((_, rests)), None) => rests.clear(),
            (Some(_), Some(_)) => {}
            (None, rest) => wanted.push((field, rest.into_iter().collect())),
        }
    }
    fields.retain(|name, _| name == "@type" || wanted.iter().any(|(field, _)| field.name == name));
    for (field, rests) in wanted.iter().filter(|(_, rests)| !rests.is_empty()) {
        let Some(declared) = inner(field) else { continue };
        let Some(Json::Object(value)) = fields.get_mut(field.name) else {
            // What is not there has nothing to keep, but its paths must be right all the same.
            if declared.known == WellKnown::No {
                retain(declared, &mut Map::new(), rests)?;
            }
            continue;
        };
        let held = match declared.known {
            WellKnown::Any => {
                value.get("@type").and_then(Json::as_str).and_then(|url| schema::message(name_of_type_url(url)))
            }
            _ => Some(declared),
        };
        if let Some(held) = held {
            retain(held, value, rests)?;
        }
    }
    Ok(())
}

/// The message that a path may go into.
fn inner(field: &Field) -> Option<&'static Message> {
    match (field.shape, field.kind) {
        (Shape::Implicit | Shape::Explicit, Kind::Message(index)) => Some(schema::message_at(index)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const STATIC: &str = "envoy.admin.v3.ClustersConfigDump.StaticCluster";

    fn shown() -> Json {
        json!({
            "cluster": {
                "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": "a",
                "connect_timeout": "1s",
                "load_assignment": {"cluster_name": "a", "endpoints": [{}]},
            },
            "last_updated": "2026-01-01T00:00:00.000Z",
        })
    }

    fn masked(paths: &[&str]) -> Json {
        let mut json = shown();
        mask(STATIC, &mut json, paths).unwrap();
        json
    }

    #[test]
    fn keeps_what_is_named() {
        assert_eq!(masked(&[]), shown());
        assert_eq!(masked(&["last_updated"]), json!({"last_updated": "2026-01-01T00:00:00.000Z"}));
        let kept = masked(&[
            "cluster.name",
            "cluster.load_assignment.cluster_name",
            "cluster.eds_cluster_config.service_name",
        ]);
        let url = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
        assert_eq!(kept, json!({"cluster": {"@type": url, "name": "a", "load_assignment": {"cluster_name": "a"}}}));
        for paths in [["cluster", "cluster.name"], ["cluster.name", "cluster"]] {
            assert_eq!(masked(&paths)["cluster"], shown()["cluster"]);
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for path in ["nope", "cluster.nope", "clusterName", "cluster.load_assignment.endpoints.priority", ""] {
            assert!(mask(STATIC, &mut shown(), &[path]).is_err(), "{path}");
        }
    }
}
