//! What the table of fields calls honoured is read: somewhere in the gateway each such field is asked for.
//!
//! Only a text is looked at: a file that names the field's message, or reads a field that holds such a message, must read a field of
//! that name, or name the variant that prost makes of a member of a oneof. That no other message of the same file is meant, text
//! cannot tell.

use std::collections::{BTreeMap, BTreeSet};

use weir_xds::{HonouredField, honoured_fields};

use super::{File, rust_files};

/// Fields that no text of the gateway reads, and why they are honoured for all that.
const READ_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("envoy.config.bootstrap.v3.Bootstrap", "cluster_manager", NOTHING_INSIDE),
    ("envoy.config.bootstrap.v3.Bootstrap", "default_regex_engine", NOTHING_INSIDE),
    ("envoy.config.bootstrap.v3.Bootstrap.StaticResources", "clusters", BY_WEIR_XDS),
    ("envoy.config.bootstrap.v3.Bootstrap.StaticResources", "listeners", BY_WEIR_XDS),
    ("envoy.config.bootstrap.v3.Bootstrap.StaticResources", "secrets", BY_WEIR_XDS),
    ("envoy.config.cluster.v3.Cluster", "protocol_selection", ONE_VALUE),
    ("envoy.config.core.v3.ConfigSource", "resource_api_version", "V3 is the only version, and AUTO means it"),
    ("envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name", BY_WEIR_XDS),
    ("envoy.config.listener.v3.Listener", "deprecated_v1", ONE_VALUE),
    ("envoy.config.route.v3.RouteAction", "internal_redirect_action", ONE_VALUE),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails",
        "format",
        ONE_VALUE,
    ),
    ("envoy.service.discovery.v3.DiscoveryResponse", "resources", BY_WEIR_XDS),
    ("envoy.service.discovery.v3.DiscoveryResponse", "version_info", BY_WEIR_XDS),
];

const BY_WEIR_XDS: &str = "weir-xds takes it out of the wire form: resources and what they are called";
const NOTHING_INSIDE: &str = "what it may hold is empty, or without effect";
const ONE_VALUE: &str = "the value that says what Weir does in any case; others are refused";

#[test]
fn every_honoured_field_is_read() {
    let fields = honoured_fields();
    let sources: Vec<Source> =
        rust_files("gateway/src").iter().filter(|file| is_program(file)).map(Source::of).collect();
    let holders = holders(&fields);
    let unread = fields.iter().filter(|field| !sources.iter().any(|source| source.reads(field, &holders)));
    let unread: BTreeSet<_> = unread.map(|field| (field.message, field.name)).collect();

    let excepted: BTreeSet<_> = READ_ELSEWHERE.iter().map(|(message, name, _)| (*message, *name)).collect();
    let missing: Vec<_> = unread.difference(&excepted).map(|(message, name)| format!("{message}.{name}")).collect();
    assert!(missing.is_empty(), "honoured by the table, and nobody reads them:\n{}", missing.join("\n"));
    let needless: Vec<_> = excepted.difference(&unread).collect();
    assert!(needless.is_empty(), "these are read, or not honoured: take them off the list: {needless:?}");
}

#[test]
fn what_reads_a_field_is_seen() {
    let field = |message, name, oneof, is_enum| HonouredField { message, name, oneof, is_enum, holds: None };
    let holders = Holders::from([("a.Peer", BTreeSet::from(["peer"]))]);
    let reads = |field: &HonouredField, code: &str| Source { code: code.to_owned() }.reads(field, &holders);

    let port = field("a.Peer", "port", None, false);
    for code in ["fn f(p: &Peer) { p.port }", "host.peer.map(|p| p.port == 1)", "let pb::Peer { port, .. } = p;"] {
        assert!(reads(&port, code), "{code}");
    }
    for code in
        ["p.port", "fn f(p: &mut Peer) { p.port = 1 }", "Peer { port }", "peer.port_of; Peer::port(p)", "p.port(Peer)"]
    {
        assert!(!reads(&port, code), "{code}");
    }
    assert!(reads(&field("a.Peer", "kind", None, true), "Peer: p.kind()"));
    assert!(reads(&field("a.Peer", "by_name", Some("way"), false), "match p.way { Way::ByName(n) => n }"));
    assert!(!reads(&field("a.Peer", "by_name", Some("way"), false), "p.way, p.by_name"));
}

/// By message, the fields that hold one.
type Holders = BTreeMap<&'static str, BTreeSet<&'static str>>;

fn holders(fields: &[HonouredField]) -> Holders {
    let mut holders = Holders::new();
    for field in fields {
        if let Some(held) = field.holds {
            holders.entry(held).or_default().insert(field.name);
        }
    }
    holders
}

/// A file, without comments and texts.
struct Source {
    code: String,
}

impl Source {
    /// Tests at its end read what they have written themselves.
    fn of(file: &File) -> Self {
        let lines = file.code().map(|(_, line)| line).take_while(|line| line.trim_end() != "mod tests {");
        Self { code: lines.map(|line| without_texts(line) + "\n").collect() }
    }

    fn reads(&self, field: &HonouredField, holders: &Holders) -> bool {
        let is_variant = |before: &str, after: &str| before.ends_with("::") || after.starts_with('(');
        self.is_about(field, holders)
            && match field.oneof {
                Some(_) => self.has(&camel_case(field.name), is_variant),
                None => self.reads_name(field.name, field.is_enum) || self.takes_apart(field),
            }
    }

    /// Whether the field's message is spoken of.
    fn is_about(&self, field: &HonouredField, holders: &Holders) -> bool {
        let r#type = camel_case(field.message.rsplit('.').next().unwrap());
        let held_by = holders.get(field.message).into_iter().flatten();
        self.has(&r#type, |_, _| true)
            || field.oneof.is_some_and(|oneof| self.reads_name(oneof, false))
            || held_by
                .into_iter()
                .any(|holder| self.reads_name(holder, false) || self.has(&camel_case(holder), |_, _| true))
    }

    /// `.name`, which is no method of its own and nothing is written to; values of enums have a method to read them.
    fn reads_name(&self, name: &str, is_enum: bool) -> bool {
        self.has(name, |before, after| {
            let written = after.trim_start().strip_prefix('=').is_some_and(|rest| !rest.starts_with(['=', '>']));
            let called = after.starts_with('(') && !(is_enum && after.starts_with("()"));
            (before.ends_with('.') || before.ends_with(".r#")) && !before.ends_with("..") && !called && !written
        })
    }

    /// `Message { name, .. }` of the protocol, by its path: Weir has types of the same names.
    fn takes_apart(&self, field: &HonouredField) -> bool {
        let r#type = format!("::{} {{", camel_case(field.message.rsplit('.').next().unwrap()));
        self.code.match_indices(&r#type).any(|(at, _)| {
            let inside = self.code[at + r#type.len()..].split('}').next().unwrap_or_default();
            inside.split(',').any(|part| part.split(':').next().is_some_and(|name| name.trim() == field.name))
        })
    }

    /// Whether the word stands in such a place, by what is before and after it.
    fn has(&self, word: &str, place: impl Fn(&str, &str) -> bool) -> bool {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            let (before, after) = (&self.code[..at], &self.code[at + word.len()..]);
            !before.ends_with(part_of_word) && !after.starts_with(part_of_word) && place(before, after)
        })
    }
}

fn is_program(file: &File) -> bool {
    let name = file.path.file_stem().unwrap().to_string_lossy();
    !name.ends_with("tests") && name != "testing" && !file.path.components().any(|part| part.as_os_str() == "tests")
}

/// A path in a text reads nothing.
fn without_texts(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// As prost names types and variants: `safe_regex` is `SafeRegex`, `RequestIDExtension` is `RequestIdExtension`.
fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (at, char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let begins = before.is_none_or(|before| {
            before == '_'
                || char.is_uppercase()
                    && (!before.is_uppercase() || chars.get(at + 1).is_some_and(|next| next.is_lowercase()))
        });
        match (*char, begins) {
            ('_', _) => {}
            (char, true) => camel.extend(char.to_uppercase()),
            (char, false) => camel.extend(char.to_lowercase()),
        }
    }
    camel
}

#[test]
fn names_are_as_prost_has_them() {
    for (name, rust) in [
        ("safe_regex", "SafeRegex"),
        ("RequestIDExtension", "RequestIdExtension"),
        ("GoogleRE2", "GoogleRe2"),
        ("RuntimeUInt32", "RuntimeUInt32"),
        ("TlsContextMatchOptions", "TlsContextMatchOptions"),
    ] {
        assert_eq!(camel_case(name), rust);
    }
}
