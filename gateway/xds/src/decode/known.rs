//! Messages with a JSON form of their own: Any, TypedStruct, Struct, durations, timestamps, wrappers.

use super::{Decoder, scalar};
use crate::{
    problem::Step,
    problem::nearest,
    schema::{self, Message, WellKnown, name_of_type_url},
    tape::View,
    time, wire,
};

impl<'t> Decoder<'t> {
    pub(super) fn well_known(&mut self, message: &'static Message, at: usize) {
        let view = self.tape.view(at);
        match (message.known, view) {
            (WellKnown::Any, _) => self.any(at),
            (WellKnown::Struct, View::Object) => self.object(at),
            (WellKnown::Struct, _) => self.expected("an object", at),
            (WellKnown::ListValue, View::List) => self.list(at),
            (WellKnown::ListValue, _) => self.expected("a list", at),
            (WellKnown::Value, _) => self.dynamic(at),
            // Envoy reads `{ value: 5 }` and `{ seconds: 5 }` too.
            (WellKnown::Wrapper | WellKnown::Duration | WellKnown::Timestamp, View::Object) => {
                self.fields(message, at, &[]);
            }
            (WellKnown::Wrapper, _) => {
                // A wrapper has one field, `value`.
                if let Some(field) = message.fields.first() {
                    self.scalar_field(field.kind, field.number, at, false);
                }
            }
            (WellKnown::Duration, View::Scalar { text, .. }) => match time::parse_duration(text) {
                Some((seconds, nanos)) => self.seconds_and_nanos(seconds, nanos),
                None => self.expected("a duration: seconds with the suffix s, such as 0.25s", at),
            },
            (WellKnown::Timestamp, View::Scalar { text, .. }) => match time::parse_timestamp(text) {
                Some((seconds, nanos)) => self.seconds_and_nanos(seconds, nanos),
                None => self.expected("a time such as 2026-01-31T12:00:00Z", at),
            },
            (WellKnown::FieldMask, View::Scalar { text, .. }) => {
                for path in text.split(',').filter(|p| !p.is_empty()) {
                    wire::put_bytes_field(&mut self.out, 1, snake_case(path).as_bytes());
                }
            }
            (WellKnown::Duration, _) => self.expected("a duration such as 0.25s", at),
            (WellKnown::Timestamp, _) => self.expected("a time such as 2026-01-31T12:00:00Z", at),
            (WellKnown::FieldMask, _) => self.expected("field paths separated by commas", at),
            (WellKnown::No | WellKnown::TypedStruct, _) => self.fields(message, at, &[]),
        }
    }

    /// An Any is written with the bytes of its message; a TypedStruct in it as the message that it stands for.
    fn any(&mut self, at: usize) {
        if !matches!(self.tape.view(at), View::Object) {
            return self.expected("an object with @type", at);
        }
        let Some(r#type) = self.tape.entry(at, "@type") else {
            let is_empty = self.tape.entries(at).is_ok_and(|e| e.is_empty());
            if !is_empty {
                self.problem("@type is missing: the type URL of this message".to_owned());
            }
            return;
        };
        let View::Scalar { text, .. } = self.tape.view(r#type.value) else {
            return self.expected("@type to be a type URL", r#type.value);
        };
        let Some(message) = self.message_of_url(text, r#type.line) else { return };
        match message.known {
            WellKnown::No => self.any_body(message, at, &["@type"]),
            WellKnown::TypedStruct => self.typed_struct(at),
            _ => match self.tape.entry(at, "value") {
                Some(entry) => {
                    self.any_body(message, entry.value, &[]);
                    self.no_other_keys(at, &["@type", "value"]);
                }
                None => self.problem(format!("value is missing: a {} is given as value", message.name)),
            },
        }
    }

    fn typed_struct(&mut self, at: usize) {
        let key = |names: [&str; 2]| names.into_iter().find_map(|name| self.tape.entry(at, name));
        let url = key(["type_url", "typeUrl"]);
        let value = key(["value", "value"]);
        self.no_other_keys(at, &["@type", "type_url", "typeUrl", "value"]);
        let Some(url) = url else {
            return self.problem("type_url is missing: the type that the TypedStruct stands for".to_owned());
        };
        let View::Scalar { text, .. } = self.tape.view(url.value) else {
            return self.expected("type_url to be a type URL", url.value);
        };
        let Some(message) = self.message_of_url(text, url.line) else { return };
        match value.filter(|v| !self.tape.is_null(v.value)) {
            Some(value) => self.any_body(message, value.value, &[]),
            None => self.put_type_url(message),
        }
    }

    fn any_body(&mut self, message: &'static Message, at: usize, skip: &[&str]) {
        self.put_type_url(message);
        let around = std::mem::take(&mut self.messages);
        let start = wire::open(&mut self.out, 2);
        self.message(message, at, skip);
        wire::close(&mut self.out, start);
        self.messages = around;
    }

    fn put_type_url(&mut self, message: &'static Message) {
        let start = wire::open(&mut self.out, 1);
        self.out.extend_from_slice(b"type.googleapis.com/");
        self.out.extend_from_slice(message.name.as_bytes());
        wire::close(&mut self.out, start);
    }

    fn message_of_url(&mut self, url: &str, line: u32) -> Option<&'static Message> {
        let name = name_of_type_url(url);
        let found = schema::message(name).filter(|_| url.contains('/'));
        if found.is_none() {
            let known = schema::message(name).map(|m| m.name);
            let reason = match known.or_else(|| nearest(name, schema::messages().iter().map(|m| m.name))) {
                Some(near) => format!("unknown type {url}; did you mean type.googleapis.com/{near}?"),
                None => format!("unknown type {url}"),
            };
            self.problem_at(line, reason);
        }
        found
    }

    fn no_other_keys(&mut self, at: usize, known: &[&str]) {
        let Ok(entries) = self.tape.entries(at) else { return };
        for entry in entries.into_iter().filter(|e| !known.contains(&e.key)) {
            self.path.push(Step::Unknown(entry.key));
            self.problem_at(entry.line, format!("unknown field beside {}", known.join(", ")));
            self.path.pop();
        }
    }

    fn object(&mut self, at: usize) {
        let entries = match self.tape.entries(at) {
            Ok(entries) => entries,
            Err(problem) => return self.problem_at(problem.line.unwrap_or(self.line), problem.reason),
        };
        let mut seen = std::collections::HashSet::new();
        let line = self.line;
        for entry in entries {
            self.path.push(Step::Key(entry.key));
            self.line = entry.line;
            if !seen.insert(entry.key) {
                self.problem("given twice".to_owned());
            }
            self.nested(1, entry.value, |inside| {
                wire::put_bytes_field(&mut inside.out, 1, entry.key.as_bytes());
                inside.dynamic_field(2, entry.value);
            });
            self.path.pop();
        }
        self.line = line;
    }

    fn list(&mut self, at: usize) {
        let line = self.line;
        for (index, item) in self.tape.items(at).enumerate() {
            self.path.push(Step::Index(index));
            self.line = self.tape.line(item);
            self.dynamic_field(1, item);
            self.path.pop();
        }
        self.line = line;
    }

    fn dynamic_field(&mut self, number: u32, at: usize) {
        if !self.enter(at) {
            return;
        }
        self.nested(number, at, |inside| inside.dynamic(at));
        self.depth -= 1;
    }

    /// A google.protobuf.Value: null 1, number 2, string 3, bool 4, struct 5, list 6.
    fn dynamic(&mut self, at: usize) {
        match self.tape.view(at) {
            View::Scalar { .. } if self.tape.is_null(at) => wire::put_varint_field(&mut self.out, 1, 0),
            View::Scalar { text, plain: true } => {
                if scalar::is_ambiguous(text) {
                    self.problem(scalar::ambiguous(text));
                } else if let Some(value) = scalar::boolean(text, true) {
                    wire::put_varint_field(&mut self.out, 4, value.into());
                } else if let Some(value) = number(text) {
                    wire::put_tag(&mut self.out, 2, 1);
                    self.out.extend_from_slice(&value.to_le_bytes());
                } else {
                    wire::put_bytes_field(&mut self.out, 3, text.as_bytes());
                }
            }
            View::Scalar { text, .. } => wire::put_bytes_field(&mut self.out, 3, text.as_bytes()),
            View::Object => {
                self.nested(5, at, |inside| inside.object(at));
            }
            View::List => {
                self.nested(6, at, |inside| inside.list(at));
            }
        }
    }

    fn seconds_and_nanos(&mut self, seconds: i64, nanos: i32) {
        // Negative numbers stand in two's complement on the wire.
        if seconds != 0 {
            wire::put_varint_field(&mut self.out, 1, seconds as u64);
        }
        if nanos != 0 {
            wire::put_varint_field(&mut self.out, 2, i64::from(nanos) as u64);
        }
    }
}

/// A number that JSON can hold; infinities stay text.
fn number(text: &str) -> Option<f64> {
    let whole = scalar::integer(text, true).map(|n| n as f64);
    whole.or_else(|| scalar::real(text).filter(|v| v.is_finite()))
}

/// A field path of a mask in the spelling of .proto files.
fn snake_case(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
