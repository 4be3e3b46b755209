//! Walks a resource on the wire: every field set is covered, every value keeps its `validate.rules`.
//!
//! The wire form is the same for a file and for a control plane, and holds what prost drops in silence: unknown fields,
//! and the difference between unset and default.

mod rules;

use std::collections::HashSet;

use crate::{
    coverage::{self, Cover},
    idle::Idle,
    problem::{Path, Problem, Step},
    schema::{self, Field, Kind, Message, Rule, Shape, WellKnown, name_of_type_url},
    tape::MAX_DEPTH,
    wire::{self, Value},
};

/// After so many problems, the rest is not looked at.
const MAX_PROBLEMS: usize = 1_000;

/// What is found in a message, with paths relative to it.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What is not allowed.
    pub problems: Vec<Problem>,
    /// What changes nothing.
    pub idle: Vec<Idle>,
}

/// Looks at every field of a message, by its full name.
pub fn check(message: &str, bytes: &[u8]) -> Checked {
    let mut walk = Walk { path: Path::default(), problems: Vec::new(), idle: Vec::new() };
    match schema::message_index(message) {
        Some(index) => walk.message(index, bytes, Mode { covered: true, validated: true, optional: false }),
        None => walk.problem(format!("unknown message type {message}")),
    }
    Checked { problems: walk.problems, idle: walk.idle }
}

struct Walk<'b> {
    path: Path<'b>,
    problems: Vec<Problem>,
    idle: Vec<Idle>,
}

/// What applies to a part.
#[derive(Clone, Copy)]
struct Mode {
    /// Fields must be honoured.
    covered: bool,
    /// Values must keep their rules.
    validated: bool,
    /// The author says `is_optional`, or `disabled`: an extension that is not supported is left out.
    optional: bool,
}

impl<'b> Walk<'b> {
    fn message(&mut self, index: u16, bytes: &'b [u8], mode: Mode) {
        if self.path.depth() > 2 * MAX_DEPTH {
            return self.problem(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let message = schema::message_at(index);
        match message.known {
            WellKnown::No => self.fields(message, index, bytes, mode),
            WellKnown::Any => self.any(bytes, mode),
            WellKnown::TypedStruct => {
                self.problem("a TypedStruct stands only where any message may: in an Any".to_owned());
            }
            _ => (),
        }
    }

    fn any(&mut self, bytes: &'b [u8], mode: Mode) {
        let url = wire::last_text(bytes, 1);
        if url.is_empty() {
            return;
        }
        let value = wire::last_bytes(bytes, 2).unwrap_or_default();
        let Some(index) = schema::message_index(name_of_type_url(url)) else {
            if !mode.optional {
                self.problem(format!("unknown type {url}"));
            }
            return;
        };
        let message = schema::message_at(index);
        if mode.covered && message.known == WellKnown::No && coverage::of(index).is_none() {
            if !mode.optional {
                self.problem(format!("{} is not supported by Weir", message.name));
            }
            return;
        }
        self.message(index, value, Mode { optional: false, ..mode });
    }

    fn fields(&mut self, message: &'static Message, index: u16, bytes: &'b [u8], mode: Mode) {
        let covers = if mode.covered { coverage::of(index) } else { None };
        if mode.covered && covers.is_none() && !bytes.is_empty() {
            return self.problem(format!("set, but not supported by Weir ({})", message.name));
        }
        let optional = is_optional(message, bytes);
        // The schema's test keeps messages within 128 fields.
        let mut counts = [0_usize; 128];
        for field in wire::fields(bytes) {
            let Ok((number, value)) = field else {
                return self.problem(format!("malformed {}", message.name));
            };
            let Some((position, field)) = message.field_by_number(number) else {
                if mode.covered {
                    self.problem(format!("field {number} of {} is newer than Weir", message.name));
                }
                continue;
            };
            let before = counts[position];
            self.path.push(Step::Field(field.name));
            let mut inner = Mode { optional, ..mode };
            match covers.and_then(|c| c.get(position)) {
                Some(Cover::Honoured) | None => (),
                // What is no value of the enum breaks a rule as well: that is told once.
                Some(Cover::Values(numbers)) => inner.validated &= self.enum_value(field, value, numbers),
                Some(Cover::WithoutEffect(reason)) => {
                    if !is_zero(field.kind, value) && !coverage::is_label(reason) {
                        self.idle(message.name, field.name, reason);
                    }
                    inner.covered = false;
                }
                Some(Cover::Opaque) => inner.covered = false,
                Some(Cover::Off(_)) if is_zero(field.kind, value) => inner.covered = false,
                Some(Cover::On(_)) if is_true(field.kind, value) => inner.covered = false,
                Some(Cover::Refused(reason) | Cover::Off(reason) | Cover::On(reason)) => {
                    if before == 0 {
                        self.refused(reason);
                    }
                    inner.covered = false;
                    inner.validated = false;
                }
                Some(Cover::Unlisted) => {
                    if before == 0 {
                        self.refused("");
                    }
                    inner.covered = false;
                    inner.validated = false;
                }
            }
            inner.validated &= message.validated && !field.rules.iter().any(|r| matches!(r, Rule::Skip));
            counts[position] += self.value(field, value, before, inner);
            self.path.pop();
        }
        if mode.validated && message.validated {
            self.absent(message, bytes, &counts);
        }
    }

    /// Walks one field; the number of values it held, which is more than one if they are packed.
    fn value(&mut self, field: &'static Field, value: Value<'b>, before: usize, mode: Mode) -> usize {
        let rules = if mode.validated { field.rules } else { &[] };
        match (field.shape, field.kind, value) {
            (Shape::Map, Kind::Message(entry), Value::Len(bytes)) => self.map_entry(entry, bytes, rules, mode),
            (Shape::Repeated, Kind::Message(_) | Kind::String | Kind::Bytes, _) => {
                self.path.push(Step::Index(before));
                self.one(field.kind, value, items(rules), mode);
                self.path.pop();
            }
            (Shape::Repeated, kind, Value::Len(packed)) => {
                let mut rest = packed;
                let mut count = 0;
                while !rest.is_empty() {
                    let Some(number) = unpack(kind, &mut rest) else {
                        self.problem("malformed packed numbers".to_owned());
                        break;
                    };
                    self.path.push(Step::Index(before + count));
                    self.one(kind, number, items(rules), mode);
                    self.path.pop();
                    count += 1;
                }
                return count;
            }
            (Shape::Repeated, kind, _) => self.one(kind, value, items(rules), mode),
            (_, kind, _) => self.one(kind, value, rules, mode),
        }
        1
    }

    fn one(&mut self, kind: Kind, value: Value<'b>, rules: &'static [Rule], mode: Mode) {
        match (kind, value) {
            (Kind::Message(index), Value::Len(bytes)) => {
                self.message_rules(index, bytes, rules);
                self.message(index, bytes, mode);
            }
            _ => {
                if let Err(reason) = rules::check_scalar(kind, value, rules) {
                    self.problem(reason);
                }
            }
        }
    }

    fn message_rules(&mut self, index: u16, bytes: &'b [u8], rules: &'static [Rule]) {
        if rules.is_empty() {
            return;
        }
        let message = schema::message_at(index);
        let result = match message.known {
            WellKnown::Duration => rules::check_duration(bytes, rules),
            WellKnown::Any => rules::check_text(wire::last_text(bytes, 1), rules),
            WellKnown::Wrapper => match message.fields.first() {
                Some(inner) => {
                    let value = wire::fields(bytes).flatten().filter(|(n, _)| *n == 1).map(|(_, v)| v).last();
                    rules::check_scalar(inner.kind, value.unwrap_or_else(|| rules::default_of(inner.kind)), rules)
                }
                None => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(reason) = result {
            self.problem(reason);
        }
    }

    fn map_entry(&mut self, entry: u16, bytes: &'b [u8], rules: &'static [Rule], mode: Mode) {
        let [key_field, value_field] = schema::message_at(entry).fields else { return };
        let (mut key, mut value) = (rules::default_of(key_field.kind), rules::default_of(value_field.kind));
        for field in wire::fields(bytes).flatten() {
            match field {
                (1, v) => key = v,
                (2, v) => value = v,
                _ => (),
            }
        }
        self.path.push(match key {
            Value::Len(text) => Step::Key(std::str::from_utf8(text).unwrap_or("?")),
            Value::Varint(n) | Value::Fixed64(n) => Step::Index(usize::try_from(n).unwrap_or_default()),
            Value::Fixed32(n) => Step::Index(usize::try_from(n).unwrap_or_default()),
        });
        let keys = rules.iter().find_map(|r| if let Rule::Keys(k) = r { Some(*k) } else { None });
        if let Err(reason) = rules::check_scalar(key_field.kind, key, keys.unwrap_or_default()) {
            self.problem(format!("the key {reason}"));
        }
        self.one(value_field.kind, value, &[], mode);
        self.path.pop();
    }

    /// Rules that speak of what is not there, or of how many there are.
    fn absent(&mut self, message: &'static Message, bytes: &'b [u8], counts: &[usize; 128]) {
        for (field, count) in message.fields.iter().zip(counts).filter(|(f, _)| !f.rules.is_empty()) {
            self.path.push(Step::Field(field.name));
            let result = match field.shape {
                Shape::Implicit if *count == 0 => {
                    rules::check_scalar(field.kind, rules::default_of(field.kind), field.rules)
                }
                // Of a oneof, the rules of the member that was chosen hold.
                Shape::Explicit
                    if *count == 0
                        && field.oneof.is_none()
                        && field.rules.iter().any(|r| matches!(r, Rule::Required)) =>
                {
                    Err("must be set".to_owned())
                }
                Shape::Repeated | Shape::Map => rules::check_count(*count, field.rules),
                Shape::Implicit | Shape::Explicit => Ok(()),
            };
            if let Err(reason) = result {
                self.problem(reason);
            }
            if field.rules.iter().any(|r| matches!(r, Rule::Unique)) && has_duplicate(bytes, field.number) {
                self.problem("holds the same item twice".to_owned());
            }
            self.path.pop();
        }
        for (position, oneof) in message.oneofs.iter().enumerate().filter(|(_, o)| o.required) {
            let members =
                || message.fields.iter().zip(counts).filter(|(f, _)| f.oneof.map(usize::from) == Some(position));
            if members().all(|(_, count)| *count == 0) {
                let names: Vec<_> = members().map(|(f, _)| f.name).collect();
                self.problem(format!("{} must be set: one of {}", oneof.name, names.join(", ")));
            }
        }
    }

    /// Whether it is supported.
    fn enum_value(&mut self, field: &'static Field, value: Value<'_>, supported: &[i32]) -> bool {
        let (Kind::Enum(index), Value::Varint(number)) = (field.kind, value) else { return true };
        // Enum numbers are 32 bits, sign-extended on the wire.
        let number = number as i32;
        if supported.contains(&number) {
            return true;
        }
        let r#enum = schema::enum_at(index);
        let known = supported.iter().filter_map(|n| r#enum.value_name(*n)).collect::<Vec<_>>().join(", ");
        match r#enum.value_name(number) {
            Some(name) => self.problem(format!("{name} is not supported by Weir; supported: {known}")),
            None => self.problem(format!("{number} is no value of {}", r#enum.name)),
        }
        false
    }

    fn refused(&mut self, reason: &str) {
        if reason.is_empty() {
            self.problem("set, but not supported by Weir".to_owned());
        } else {
            self.problem(format!("set, but not supported by Weir: {reason}"));
        }
    }

    /// The path is rendered for the first of many places only.
    fn idle(&mut self, message: &'static str, field: &'static str, reason: &'static str) {
        match self.idle.iter_mut().find(|idle| idle.message == message && idle.field == field) {
            Some(idle) => idle.count += 1,
            None => self.idle.push(Idle { message, field, path: self.path.to_string(), line: None, reason, count: 1 }),
        }
    }

    fn problem(&mut self, reason: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { path: self.path.to_string(), line: None, reason });
        }
    }
}

/// Whether the author allows to leave out an extension that is not supported.
fn is_optional(message: &'static Message, bytes: &[u8]) -> bool {
    let optional = |number| wire::last_varint(bytes, number) != 0;
    match message.name {
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter" => optional(6) || optional(7),
        "envoy.config.route.v3.FilterConfig" => optional(2),
        _ => false,
    }
}

/// Whether a value is false, zero, empty, or a wrapper or message of such.
fn is_zero(kind: Kind, value: Value<'_>) -> bool {
    match (kind, value) {
        (_, Value::Varint(0) | Value::Fixed32(0) | Value::Fixed64(0)) => true,
        (Kind::Message(index), Value::Len(bytes)) => match schema::message_at(index).known {
            WellKnown::Wrapper | WellKnown::Duration => wire::fields(bytes).flatten().all(|(_, v)| {
                matches!(v, Value::Varint(0) | Value::Fixed32(0) | Value::Fixed64(0))
                    || v.bytes().is_some_and(<[u8]>::is_empty)
            }),
            _ => bytes.is_empty(),
        },
        (_, Value::Len(bytes)) => bytes.is_empty(),
        _ => false,
    }
}

/// Whether a switch, or a wrapper of one, is on.
fn is_true(kind: Kind, value: Value<'_>) -> bool {
    match (kind, value) {
        (Kind::Bool, Value::Varint(value)) => value != 0,
        (Kind::Message(index), Value::Len(bytes)) => {
            schema::message_at(index).known == WellKnown::Wrapper && wire::last_varint(bytes, 1) != 0
        }
        _ => false,
    }
}

fn has_duplicate(bytes: &[u8], number: u32) -> bool {
    let mut seen = HashSet::new();
    let mut values = wire::fields(bytes).flatten().filter(|(n, _)| *n == number);
    values.any(|(_, v)| match v {
        Value::Len(bytes) => !seen.insert(bytes.to_vec()),
        Value::Varint(n) | Value::Fixed64(n) => !seen.insert(n.to_le_bytes().to_vec()),
        Value::Fixed32(n) => !seen.insert(n.to_le_bytes().to_vec()),
    })
}

fn items(rules: &'static [Rule]) -> &'static [Rule] {
    rules.iter().find_map(|r| if let Rule::Items(items) = r { Some(*items) } else { None }).unwrap_or_default()
}

/// Takes one packed number.
fn unpack<'b>(kind: Kind, rest: &mut &'b [u8]) -> Option<Value<'b>> {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
            Some(Value::Fixed64(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?)))
        }
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
            Some(Value::Fixed32(u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?)))
        }
        _ => wire::varint(rest).map(Value::Varint),
    }
}
