//! YAML and JSON into the wire form, led by the schema. Everything wrong is collected, with path and line.

mod base64;
mod known;
mod scalar;

pub(crate) use base64::encode as encode_base64;

use std::collections::HashSet;

use crate::{
    problem::{Path, Problem, Step, nearest},
    schema::{self, Field, Kind, Message, Shape, WellKnown},
    tape::{MAX_DEPTH, Tape, View, without_trailing_commas},
    wire,
};

/// How many values aliases may add to those in the text.
const MAX_EXPANSION: usize = 1_000_000;
/// prost decodes no more messages inside of each other. What is in an Any is decoded by itself.
const MAX_MESSAGES: usize = 100;
/// After so many problems, the rest is not looked at.
const MAX_PROBLEMS: usize = 1_000;

/// A document in its wire form.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// What could be read; complete if there are no problems.
    pub bytes: Vec<u8>,
    /// Everything wrong with the form of the text. Whether the values are allowed is told by `check`.
    pub problems: Vec<Problem>,
}

/// Reads a YAML or JSON text as a message, by its full name, such as `envoy.config.bootstrap.v3.Bootstrap`.
pub fn decode(text: &str, message: &str) -> Decoded {
    let Some(message) = schema::message(message) else {
        let problem = Problem { path: String::new(), line: None, reason: format!("unknown message type {message}") };
        return Decoded { bytes: Vec::new(), problems: vec![problem] };
    };
    read(text, Form::Any, message).unwrap_or_else(|problem| Decoded { bytes: Vec::new(), problems: vec![problem] })
}

/// What a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// YAML or JSON.
    Any,
    /// JSON, with commas behind the last part of a list or an object if need be.
    Json,
}

impl Form {
    /// As in Envoy, the name of a file says it.
    pub(crate) fn of_file(name: &str) -> Self {
        if name.to_ascii_lowercase().ends_with(".json") { Self::Json } else { Self::Any }
    }
}

/// The same; what is not of that form is an error.
pub(crate) fn read(text: &str, form: Form, message: &'static Message) -> Result<Decoded, Problem> {
    let json = match Tape::of_json(text) {
        None if form == Form::Json => {
            let text = without_trailing_commas(text);
            Some(decode_tape(&Tape::of_json_only(&text)?, message))
        }
        json => json.map(|tape| decode_tape(&tape, message)),
    };
    let json = match json {
        Some(good) if good.problems.is_empty() => return Ok(good),
        json => json,
    };
    match (Tape::read(text), json) {
        (Ok(tape), _) => Ok(decode_tape(&tape, message)),
        // JSON that the YAML scanner does not take: without lines.
        (Err(_), Some(mut decoded)) => {
            decoded.problems.iter_mut().for_each(|problem| problem.line = None);
            Ok(decoded)
        }
        (Err(problem), None) => Err(problem),
    }
}

/// Reads a parsed document as a message.
fn decode_tape(tape: &Tape<'_>, message: &'static Message) -> Decoded {
    let mut decoder = Decoder {
        tape,
        out: Vec::with_capacity(tape.len() * 8),
        path: Path::default(),
        line: 1,
        depth: 0,
        messages: 0,
        secret: false,
        budget: tape.len() + MAX_EXPANSION,
        problems: Vec::new(),
    };
    decoder.message(message, 0, &[]);
    Decoded { bytes: decoder.out, problems: decoder.problems }
}

struct Decoder<'t> {
    tape: &'t Tape<'t>,
    out: Vec<u8>,
    path: Path<'t>,
    line: u32,
    depth: usize,
    /// Messages around, from the document or the Any that they are in.
    messages: usize,
    /// Inside of a field that Envoy's API marks as sensitive.
    secret: bool,
    /// Values that may still be looked at: aliases are followed, so that a small text can mean a huge document.
    budget: usize,
    problems: Vec<Problem>,
}

impl<'t> Decoder<'t> {
    /// Appends the fields of the message at `at`; `skip` are keys that are none of its fields.
    fn message(&mut self, message: &'static Message, at: usize, skip: &[&str]) {
        if !self.enter(at) {
            return;
        }
        if message.known == WellKnown::No || message.known == WellKnown::TypedStruct {
            self.fields(message, at, skip);
        } else {
            self.well_known(message, at);
        }
        self.depth -= 1;
    }

    fn fields(&mut self, message: &'static Message, at: usize, skip: &[&str]) {
        if !matches!(self.tape.view(at), View::Object) {
            self.expected("an object", at);
            return;
        }
        let entries = match self.tape.entries(at) {
            Ok(entries) => entries,
            Err(problem) => return self.problem_at(problem.line.unwrap_or(self.line), problem.reason),
        };
        let line = self.line;
        let mut seen = 0_u128;
        let mut chosen = [None; 32];
        for entry in entries {
            if skip.contains(&entry.key) {
                continue;
            }
            self.line = entry.line;
            let Some((position, field)) = message.field(entry.key) else {
                self.unknown_field(message, entry.key);
                continue;
            };
            self.path.push(Step::Field(field.name));
            // The schema's test keeps messages within 128 fields and 32 oneofs.
            if seen & 1 << position != 0 {
                self.problem("given twice".to_owned());
            } else {
                seen |= 1 << position;
                let rival = field.oneof.and_then(|o| chosen.get_mut(usize::from(o)));
                match rival {
                    Some(slot) if !self.tape.is_null(entry.value) => match slot {
                        Some(other) => {
                            let reason = format!("cannot be set together with {other}: only one of them");
                            self.problem(reason);
                        }
                        None => {
                            *slot = Some(field.name);
                            self.field(field, entry.value);
                        }
                    },
                    _ => self.field(field, entry.value),
                }
            }
            self.path.pop();
        }
        self.line = line;
    }

    fn field(&mut self, field: &'static Field, at: usize) {
        if self.tape.is_null(at) && !means_null(field.kind) {
            return;
        }
        let outside = self.secret;
        self.secret |= field.sensitive;
        match field.shape {
            Shape::Implicit => self.value(field, field.number, at, false),
            Shape::Explicit => self.value(field, field.number, at, true),
            Shape::Repeated => self.repeated(field, at),
            Shape::Map => self.map(field, at),
        }
        self.secret = outside;
    }

    /// Appends one value as a field; the default only if `explicit`.
    fn value(&mut self, field: &'static Field, number: u32, at: usize, explicit: bool) {
        match field.kind {
            Kind::Message(inner) => {
                self.nested(number, at, |inside| inside.message(schema::message_at(inner), at, &[]));
            }
            _ => self.scalar_field(field.kind, number, at, explicit),
        }
    }

    fn repeated(&mut self, field: &'static Field, at: usize) {
        if !matches!(self.tape.view(at), View::List) {
            return self.expected("a list", at);
        }
        if !self.enter(at) {
            return;
        }
        let packed = !matches!(field.kind, Kind::Message(_) | Kind::String | Kind::Bytes);
        let start = if packed { wire::open(&mut self.out, field.number) } else { 0 };
        let line = self.line;
        for (index, item) in self.tape.items(at).enumerate() {
            self.path.push(Step::Index(index));
            self.line = self.tape.line(item);
            if self.tape.is_null(item) && !means_null(field.kind) {
                self.problem("an item of a list cannot be null".to_owned());
            } else if packed {
                self.scalar(field.kind, item);
            } else {
                self.value(field, field.number, item, true);
            }
            self.path.pop();
        }
        self.line = line;
        if packed {
            wire::close(&mut self.out, start);
        }
        self.depth -= 1;
    }

    fn map(&mut self, field: &'static Field, at: usize) {
        let Kind::Message(entry_type) = field.kind else { return };
        // A map's entry has two fields, key (1) and value (2), by definition.
        let [key_field, value_field] = schema::message_at(entry_type).fields else { return };
        if !matches!(self.tape.view(at), View::Object) {
            return self.expected("an object", at);
        }
        if !self.enter(at) {
            return;
        }
        let line = self.line;
        let mut seen = HashSet::new();
        match self.tape.entries(at) {
            Ok(entries) => {
                for entry in entries {
                    self.line = entry.line;
                    self.path.push(Step::Key(entry.key));
                    if !seen.insert(entry.key) {
                        self.problem("given twice".to_owned());
                    } else if self.tape.is_null(entry.value) && !means_null(value_field.kind) {
                        self.problem("a value of a map cannot be null".to_owned());
                    } else {
                        self.nested(field.number, entry.value, |inside| {
                            inside.text_scalar_field(key_field.kind, 1, entry.key);
                            inside.value(value_field, 2, entry.value, true);
                        });
                    }
                    self.path.pop();
                }
            }
            Err(problem) => self.problem_at(problem.line.unwrap_or(line), problem.reason),
        }
        self.line = line;
        self.depth -= 1;
    }

    /// Appends a message as a field, unless it stands too deep, which is reported.
    fn nested(&mut self, number: u32, at: usize, write: impl FnOnce(&mut Self)) {
        if self.messages == MAX_MESSAGES {
            let reason = format!(
                "nested too deep: at most {MAX_MESSAGES} messages inside of each other, of which an object of free form (metadata) counts 3, a list in one 2"
            );
            return self.problem_at(self.tape.line(at), reason);
        }
        self.messages += 1;
        let start = wire::open(&mut self.out, number);
        write(self);
        wire::close(&mut self.out, start);
        self.messages -= 1;
    }

    /// Counts a value and its depth; false if there are too many, which is reported once.
    fn enter(&mut self, at: usize) -> bool {
        if self.depth >= MAX_DEPTH {
            self.problem_at(self.tape.line(at), format!("nested deeper than {MAX_DEPTH} levels"));
            return false;
        }
        if self.budget == 0 || self.problems.len() >= MAX_PROBLEMS {
            return false;
        }
        self.budget -= 1;
        if self.budget == 0 {
            self.problem_at(self.tape.line(at), format!("aliases expand to more than {MAX_EXPANSION} values"));
            return false;
        }
        self.depth += 1;
        true
    }

    fn unknown_field(&mut self, message: &'static Message, key: &'t str) {
        let reason = match nearest(key, message.fields.iter().map(|f| f.name)) {
            Some(near) => format!("unknown field of {}; did you mean {near}?", message.name),
            None => format!("unknown field of {}", message.name),
        };
        self.path.push(Step::Unknown(key));
        self.problem(reason);
        self.path.pop();
    }

    fn expected(&mut self, what: &str, at: usize) {
        let found = match self.tape.view(at) {
            View::Scalar { .. } if self.tape.is_null(at) => "null".to_owned(),
            // What is secret stands in no log, not even in part.
            View::Scalar { .. } if self.secret => "a text".to_owned(),
            View::Scalar { text, .. } => {
                let shown: String = text.chars().take(40).collect();
                format!("{shown:?}")
            }
            View::List => "a list".to_owned(),
            View::Object => "an object".to_owned(),
        };
        self.problem(format!("expected {what}, found {found}"));
    }

    fn problem(&mut self, reason: String) {
        self.problem_at(self.line, reason);
    }

    fn problem_at(&mut self, line: u32, reason: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { path: self.path.to_string(), line: Some(line), reason });
        }
    }
}

/// Whether null is a value of the type, and not the same as leaving the field out.
fn means_null(kind: Kind) -> bool {
    match kind {
        Kind::Message(inner) => schema::message_at(inner).known == WellKnown::Value,
        Kind::Enum(inner) => schema::enum_at(inner).name == "google.protobuf.NullValue",
        _ => false,
    }
}
