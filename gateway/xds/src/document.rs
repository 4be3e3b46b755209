//! Documents: a bootstrap, and the files of discovered resources. Both come apart into single resources.

use std::{collections::HashMap, mem};

use prost::{Message, bytes::Bytes};

use crate::{
    check::{Checked, check},
    decode::{self, Decoded, Form, decode},
    idle::Idle,
    lines::Lines,
    pb,
    problem::Problem,
    resource::{Kind, Resource},
    schema::{self, name_of_type_url},
    typed_struct, wire,
};

/// A bootstrap, its static resources apart.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// All but the static resources.
    pub proto: pb::bootstrap::Bootstrap,
    /// The whole of it in its wire form.
    pub bytes: Bytes,
    /// Static listeners, clusters and secrets in the order of the text.
    pub resources: Vec<Resource>,
    /// What is wrong outside of the resources; those have their own.
    pub problems: Vec<Problem>,
    /// What is set outside of the resources and changes nothing.
    pub idle: Vec<Idle>,
}

impl Bootstrap {
    /// Everything that is wrong, in the order of the lines.
    pub fn all_problems(&self) -> Vec<Problem> {
        let mut all: Vec<_> =
            self.problems.iter().chain(self.resources.iter().flat_map(|r| &r.problems)).cloned().collect();
        all.sort_by_key(|p| p.line);
        all
    }
}

/// The resources of a DiscoveryResponse.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// `version_info` as the file states it.
    pub version: String,
    /// In the order of the text.
    pub resources: Vec<Resource>,
    /// What is wrong outside of the resources: if there is anything, the file as a whole is not to be used.
    pub problems: Vec<Problem>,
}

/// The message of a bootstrap.
pub const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
const DISCOVERY_RESPONSE: &str = "envoy.service.discovery.v3.DiscoveryResponse";
const RESOURCE: &str = "envoy.service.discovery.v3.Resource";
/// `Bootstrap.static_resources`, and the fields in it.
const STATIC_RESOURCES: u32 = 2;
const STATIC_KINDS: [(u32, Kind, &str); 3] =
    [(1, Kind::Listener, "listeners"), (2, Kind::Cluster, "clusters"), (3, Kind::Secret, "secrets")];

/// Reads a bootstrap from YAML or JSON and checks it and each of its static resources.
pub fn read_bootstrap(text: &str) -> Bootstrap {
    read_bootstrap_file("", text, None)
}

/// The same, of a file with that name: if it ends in `.json`, the text must be JSON. Merges `over` into it as protobuf
/// does: its scalars replace, its lists are added behind, messages are merged. Paths and lines are those of `text` and
/// what was merged into it; what is wrong with the form of `over` is not told: decode it by itself for that.
pub fn read_bootstrap_file(file_name: &str, text: &str, over: Option<&str>) -> Bootstrap {
    if is_blank(text) {
        return Bootstrap { problems: vec![nothing()], ..Bootstrap::default() };
    }
    let mut document = match Document::read(text, Form::of_file(file_name), BOOTSTRAP) {
        Ok(document) => document,
        Err(problem) => return Bootstrap { problems: vec![problem], ..Bootstrap::default() },
    };
    if let Some(over) = over {
        // What either could not hold is told as a problem of its form.
        let mut merged = pb::bootstrap::Bootstrap::decode(document.decoded.bytes.as_slice()).unwrap_or_default();
        let _ = merged.merge(decode(over, BOOTSTRAP).bytes.as_slice());
        document.decoded.bytes = merged.encode_to_vec();
    }
    bootstrap(document)
}

/// Whether there is nothing in it but comments.
fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim_start).all(|line| line.is_empty() || line.starts_with('#'))
}

/// Cut off, most likely, or the wrong file.
fn nothing() -> Problem {
    Problem { path: String::new(), line: None, reason: "empty; a bootstrap that asks for nothing says `{}`".to_owned() }
}

fn bootstrap(mut document: Document<'_>) -> Bootstrap {
    let bytes = Bytes::from(mem::take(&mut document.decoded.bytes));
    let mut rest = Vec::new();
    let mut resources = Vec::new();
    // A field that is not repeated may still come in parts; their lists are joined.
    let mut counts = [0_usize; STATIC_KINDS.len()];
    for (number, value) in wire::fields(&bytes).flatten() {
        match (number, value) {
            (STATIC_RESOURCES, wire::Value::Len(part)) => {
                for (number, value) in wire::fields(part).flatten() {
                    let kind = STATIC_KINDS.iter().zip(&mut counts).find(|((n, ..), _)| *n == number);
                    let (Some(((_, kind, list), count)), Some(resource)) = (kind, value.bytes()) else { continue };
                    let path = format!("static_resources.{list}[{count}]");
                    *count += 1;
                    resources.push(document.resource(*kind, path, bytes.slice_ref(resource), String::new()));
                }
            }
            (number, wire::Value::Len(value)) => wire::put_bytes_field(&mut rest, number, value),
            (number, wire::Value::Varint(value)) => wire::put_varint_field(&mut rest, number, value),
            // A bootstrap has no fixed-width fields.
            _ => (),
        }
    }
    refuse_duplicates(&mut resources);
    let mut problems = document.outside(&resources);
    let reported = |p: &Problem| hides(&document.decoded.problems, p);
    let Checked { problems: found, idle } = document.locate("", check(BOOTSTRAP, &rest));
    problems.extend(found.into_iter().filter(|p| !reported(p)));
    let proto = pb::bootstrap::Bootstrap::decode(rest.as_slice()).unwrap_or_else(|e| {
        problems.push(Problem { path: String::new(), line: None, reason: format!("malformed bootstrap: {e}") });
        pb::bootstrap::Bootstrap::default()
    });
    Bootstrap { proto, bytes, resources, problems, idle }
}

/// Reads one resource from YAML or JSON: its message itself, without `@type`.
pub fn read_resource(kind: Kind, text: &str) -> Resource {
    match Document::read(text, Form::Any, kind.message()) {
        Ok(mut document) => {
            let bytes = Bytes::from(mem::take(&mut document.decoded.bytes));
            document.resource(kind, String::new(), bytes, String::new())
        }
        Err(problem) => Resource {
            kind,
            name: String::new(),
            bytes: Bytes::new(),
            path: String::new(),
            version: String::new(),
            problems: vec![problem],
            idle: Vec::new(),
        },
    }
}

/// Reads a file of a `path_config_source`: a DiscoveryResponse with resources of one kind, in YAML or JSON; by the
/// end of the file's name, in JSON alone (`.json`) or in its wire form (`.pb`).
pub fn read_discovery(kind: Kind, file_name: &str, contents: &[u8]) -> Discovery {
    let whole = |reason: String| Discovery {
        problems: vec![Problem { path: String::new(), line: None, reason }],
        ..Discovery::default()
    };
    if file_name.ends_with(".pb_text") {
        return whole("text protobuf is not supported: use YAML, JSON or .pb".to_owned());
    }
    let document = if file_name.ends_with(".pb") {
        let mut problems = Vec::new();
        let message = schema::message(DISCOVERY_RESPONSE);
        let resolved = message.and_then(|message| typed_struct::resolve(message, contents, &mut problems));
        let bytes = resolved.unwrap_or_else(|| contents.to_vec());
        Ok(Document { lines: Lines::new(""), decoded: Decoded { bytes, problems } })
    } else {
        match std::str::from_utf8(contents) {
            Ok(text) => Document::read(text, Form::of_file(file_name), DISCOVERY_RESPONSE),
            Err(e) => return whole(format!("not UTF-8 after byte {}", e.valid_up_to())),
        }
    };
    match document {
        Ok(mut document) => document.discovery(kind),
        Err(problem) => Discovery { problems: vec![problem], ..Discovery::default() },
    }
}

/// A document as parsed: its wire form, and the lines of its text.
struct Document<'a> {
    lines: Lines<'a>,
    decoded: Decoded,
}

impl<'a> Document<'a> {
    fn read(text: &'a str, form: Form, message: &str) -> Result<Self, Problem> {
        let message = schema::message(message).ok_or_else(|| Problem {
            path: String::new(),
            line: None,
            reason: format!("unknown message type {message}"),
        })?;
        Ok(Self { lines: Lines::new(text), decoded: decode::read(text, form, message)? })
    }

    fn discovery(&mut self, kind: Kind) -> Discovery {
        let bytes = Bytes::from(mem::take(&mut self.decoded.bytes));
        let mut resources = Vec::new();
        let mut malformed = Vec::new();
        for field in wire::fields(&bytes) {
            match field {
                Ok((2, wire::Value::Len(any))) => {
                    let path = format!("resources[{}]", resources.len());
                    resources.push(self.discovered(kind, path, &bytes, any));
                }
                Ok(_) => (),
                Err(wire::Malformed) => malformed.push(Problem {
                    path: String::new(),
                    line: None,
                    reason: "not a DiscoveryResponse: malformed".to_owned(),
                }),
            }
        }
        refuse_duplicates(&mut resources);
        let mut problems = self.outside(&resources);
        problems.append(&mut malformed);
        Discovery { version: wire::last_text(&bytes, 1).to_owned(), resources, problems }
    }

    /// A resource in an Any, or in a Resource that adds name and version.
    fn discovered(&self, kind: Kind, path: String, bytes: &Bytes, any: &[u8]) -> Resource {
        let of = |any: &[u8]| {
            let url = wire::last_bytes(any, 1).unwrap_or_default();
            (String::from_utf8_lossy(url).into_owned(), wire::last_bytes(any, 2).map(|v| bytes.slice_ref(v)))
        };
        let (mut url, mut value) = of(any);
        let (mut path, mut version) = (path, String::new());
        if name_of_type_url(&url) == RESOURCE {
            let wrapper = value.unwrap_or_default();
            // Resource.version is field 1, Resource.resource field 2.
            version = wire::last_text(&wrapper, 1).to_owned();
            (url, value) = of(wire::last_bytes(&wrapper, 2).unwrap_or_default());
            path.push_str(".resource");
        }
        if Kind::of_type_url(&url) == Some(kind) {
            return self.resource(kind, path, value.unwrap_or_default(), version);
        }
        let found = if url.is_empty() { "no @type".to_owned() } else { url };
        let mut problems = self.inside(&path);
        if problems.is_empty() {
            problems.push(Problem {
                line: self.lines.line(&path),
                reason: format!("expected {}, found {found}", kind.type_url()),
                path: path.clone(),
            });
        }
        Resource { kind, name: String::new(), bytes: Bytes::new(), path, version, problems, idle: Vec::new() }
    }

    fn resource(&self, kind: Kind, path: String, bytes: Bytes, version: String) -> Resource {
        let mut problems = self.inside(&path);
        let Checked { problems: found, idle } = self.locate(&path, check(kind.message(), &bytes));
        let found: Vec<_> = found.into_iter().filter(|p| !hides(&problems, p)).collect();
        problems.extend(found);
        Resource { kind, name: kind.name_of(&bytes).to_owned(), bytes, path, version, problems, idle }
    }

    /// Problems of reading that lie in the part at `path`.
    fn inside(&self, path: &str) -> Vec<Problem> {
        self.decoded.problems.iter().filter(|p| is_inside(&p.path, path)).cloned().collect()
    }

    /// Problems of reading that lie in none of the resources.
    fn outside(&self, resources: &[Resource]) -> Vec<Problem> {
        let problems = self.decoded.problems.iter();
        problems.filter(|p| !resources.iter().any(|r| is_inside(&p.path, &r.path))).cloned().collect()
    }

    /// Puts `prefix` before the paths, and the lines beside them.
    fn locate(&self, prefix: &str, mut found: Checked) -> Checked {
        let problems = found.problems.iter_mut().map(|problem| (&mut problem.path, &mut problem.line));
        let idle = found.idle.iter_mut().map(|idle| (&mut idle.path, &mut idle.line));
        for (path, line) in problems.chain(idle) {
            *path = join(prefix, path);
            *line = self.lines.line(path);
        }
        found
    }
}

/// A path below another.
fn join(prefix: &str, path: &str) -> String {
    if prefix.is_empty() || path.is_empty() || path.starts_with('[') {
        format!("{prefix}{path}")
    } else {
        format!("{prefix}.{path}")
    }
}

fn is_inside(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.is_empty() || rest.starts_with(['.', '[']))
}

/// Whether a problem is but the consequence of one at the same place or below: what could not be read is missing.
fn hides(known: &[Problem], problem: &Problem) -> bool {
    known.iter().any(|k| is_inside(&k.path, &problem.path) && !problem.path.is_empty())
}

/// Of two resources with the same name, the second is refused.
fn refuse_duplicates(resources: &mut [Resource]) {
    let mut first: HashMap<(Kind, String), String> = HashMap::new();
    for resource in resources.iter_mut().filter(|r| !r.name.is_empty()) {
        let key = (resource.kind, resource.name.clone());
        match first.get(&key) {
            Some(other) => {
                let reason = format!("the name {:?} is taken by {other}", resource.name);
                let line = resource.problems.first().and_then(|p| p.line);
                resource.problems.push(Problem { path: join(&resource.path, "name"), line, reason });
            }
            None => drop(first.insert(key, resource.path.clone())),
        }
    }
}
