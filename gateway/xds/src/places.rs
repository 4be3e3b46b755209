//! Where a resource names the file that another resource comes from, read off its wire form.

use crate::{
    problem::{Path, Step},
    schema::{self, Kind, Message, Shape, WellKnown, name_of_type_url},
    tape::MAX_DEPTH,
    wire,
};

const CONFIG_SOURCE: &str = "envoy.config.core.v3.ConfigSource";

/// The path of the first field of a message, given by its full name, that names this file as the source of resources, such
/// as `eds_cluster_config.eds_config.path_config_source.path`.
pub fn place_of_source(message: &str, bytes: &[u8], file: &str) -> Option<String> {
    walk(schema::message(message)?, bytes, file, &mut Path::default())
}

fn walk<'b>(message: &'static Message, bytes: &'b [u8], file: &str, path: &mut Path<'b>) -> Option<String> {
    if path.depth() > 2 * MAX_DEPTH {
        return None;
    }
    if message.known == WellKnown::Any {
        let held = schema::message(name_of_type_url(wire::last_text(bytes, 1)))?;
        return walk(held, wire::last_bytes(bytes, 2)?, file, path);
    }
    if message.name == CONFIG_SOURCE {
        let number = |message: &Message, name: &str| Some(message.fields.iter().find(|f| f.name == name)?.number);
        if number(message, "path").is_some_and(|number| wire::last_text(bytes, number) == file) {
            return Some(format!("{path}.path"));
        }
        let source = number(message, "path_config_source").and_then(|number| wire::last_bytes(bytes, number))?;
        let inner = schema::message("envoy.config.core.v3.PathConfigSource")?;
        let is_it = number(inner, "path").is_some_and(|number| wire::last_text(source, number) == file);
        return is_it.then(|| format!("{path}.path_config_source.path"));
    }
    if message.known != WellKnown::No {
        return None;
    }
    // The schema's test keeps messages within 128 fields.
    let mut counts = [0_usize; 128];
    for (number, value) in wire::fields(bytes).flatten() {
        let (Some((position, field)), Some(inner)) = (message.field_by_number(number), value.bytes()) else { continue };
        let Kind::Message(index) = field.kind else { continue };
        path.push(Step::Field(field.name));
        let is_list = field.shape == Shape::Repeated;
        if let Some(count) = counts.get_mut(position).filter(|_| is_list) {
            path.push(Step::Index(*count));
            *count += 1;
        }
        let found = walk(schema::message_at(index), inner, file, path);
        if is_list {
            path.pop();
        }
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind::{Cluster, Listener};

    #[test]
    fn finds_the_field_that_names_a_file() {
        let cluster =
            "name: c\ntype: EDS\neds_cluster_config: {eds_config: {path_config_source: {path: /a/eds.yaml}}}\n";
        let read = crate::read_resource(Cluster, cluster);
        let place = |file| place_of_source(Cluster.message(), &read.bytes, file);
        assert_eq!(place("/a/eds.yaml").as_deref(), Some("eds_cluster_config.eds_config.path_config_source.path"));
        assert_eq!(place("/b/eds.yaml"), None);
        let listener = r#"
name: l
filter_chains:
- {}
- filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      rds: {route_config_name: r, config_source: {path: rds.yaml}}
"#;
        let read = crate::read_resource(Listener, listener);
        let place = place_of_source(Listener.message(), &read.bytes, "rds.yaml");
        assert_eq!(place.as_deref(), Some("filter_chains[1].filters[0].typed_config.rds.config_source.path"));
        assert_eq!(place_of_source(Listener.message(), b"\xff\xff", "x"), None);
    }
}
