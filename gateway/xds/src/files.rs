//! Which files a resource takes content from, read off its wire form: that works for one that cannot be used, too.

use std::path::PathBuf;

use crate::{
    schema::{self, Kind, Message, WellKnown, name_of_type_url},
    tape::MAX_DEPTH,
    wire,
};

/// A file that a resource names as the source of a text, a key, a certificate or a module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedFile {
    /// The file.
    pub path: PathBuf,
    /// The folder whose moves announce a change of it (`watched_directory`).
    pub directory: Option<PathBuf>,
}

const DATA_SOURCE: &str = "envoy.config.core.v3.DataSource";

/// The files of all `DataSource.filename` in a message, by its full name, also inside of every Any.
pub fn named_files(message: &str, bytes: &[u8]) -> Vec<NamedFile> {
    let mut found = Vec::new();
    if let Some(message) = schema::message(message) {
        walk(message, bytes, None, 0, &mut found);
    }
    found
}

fn walk(message: &'static Message, bytes: &[u8], directory: Option<&str>, depth: usize, found: &mut Vec<NamedFile>) {
    if depth > 2 * MAX_DEPTH {
        return;
    }
    if message.known == WellKnown::Any {
        let held = schema::message(name_of_type_url(wire::last_text(bytes, 1)));
        if let (Some(held), Some(value)) = (held, wire::last_bytes(bytes, 2)) {
            walk(held, value, directory, depth + 1, found);
        }
        return;
    }
    if message.known != WellKnown::No {
        return;
    }
    let number = |name: &str| message.fields.iter().find(|field| field.name == name).map(|field| field.number);
    // `WatchedDirectory.path` is its only field, 1.
    let watched = number("watched_directory").and_then(|number| wire::last_bytes(bytes, number));
    let directory = watched.map(|watched| wire::last_text(watched, 1)).filter(|path| !path.is_empty()).or(directory);
    if message.name == DATA_SOURCE {
        let path = number("filename").map(|number| wire::last_text(bytes, number)).unwrap_or_default();
        if !path.is_empty() {
            found.push(NamedFile { path: path.into(), directory: directory.map(PathBuf::from) });
        }
        return;
    }
    for (number, value) in wire::fields(bytes).flatten() {
        if let (Some((_, field)), Some(inner)) = (message.field_by_number(number), value.bytes())
            && let Kind::Message(index) = field.kind
        {
            walk(schema::message_at(index), inner, directory, depth + 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind::{Listener, Secret};

    #[test]
    fn finds_files_wherever_they_are_named() {
        let secret = "name: s\ntls_certificate:\n  watched_directory: {path: /certs}\n  \
                      certificate_chain: {filename: /certs/cert.pem}\n  private_key: {inline_string: x}\n";
        let read = crate::read_resource(Secret, secret);
        let file = |path: &str, directory: Option<&str>| NamedFile {
            path: path.into(),
            directory: directory.map(PathBuf::from),
        };
        assert_eq!(named_files(Secret.message(), &read.bytes), [file("/certs/cert.pem", Some("/certs"))]);
        let listener = r#"
name: l
filter_chains:
- filters:
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      http_filters:
      - name: wasm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config: {vm_config: {code: {local: {filename: plugin.wasm}}}}
"#;
        let read = crate::read_resource(Listener, listener);
        assert_eq!(named_files(Listener.message(), &read.bytes), [file("plugin.wasm", None)]);
        assert_eq!(named_files(Listener.message(), b"\xff\xff"), []);
    }
}
