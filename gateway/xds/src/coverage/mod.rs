//! Which fields of Envoy's API are honoured, which are accepted without effect, and which are refused.

mod honoured;
mod markdown;
mod table;

use std::sync::OnceLock;

pub use honoured::{HonouredField, honoured_fields};
pub use markdown::coverage_markdown;

use crate::schema::{self, Kind};

/// What Weir does about a field that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cover {
    /// It does what Envoy's API says.
    Honoured,
    /// Honoured, and what is in it is passed on as it is.
    Opaque,
    /// Honoured for these values of the enum; others are refused.
    Values(Box<[i32]>),
    /// Accepted, for the reason given, though it changes nothing.
    WithoutEffect(&'static str),
    /// Accepted while it is false, zero or empty; refused otherwise, for the reason given.
    Off(&'static str),
    /// Accepted while it is true; refused otherwise, for the reason given.
    On(&'static str),
    /// Refused, for the reason given.
    Refused(&'static str),
    /// Refused: the table does not have it.
    Unlisted,
}

/// What the table says of one message. Lists of fields are words separated by spaces.
pub(crate) struct Section {
    /// Full name of the message.
    pub(crate) message: &'static str,
    pub(crate) honoured: &'static str,
    pub(crate) opaque: &'static str,
    /// An enum field and the values of it that are honoured.
    pub(crate) values: &'static [(&'static str, &'static str)],
    /// Fields and why they change nothing.
    pub(crate) idle: &'static [(&'static str, &'static str)],
    /// Fields that must be false, zero or empty, and why.
    pub(crate) off: &'static [(&'static str, &'static str)],
    /// Switches that must be true, and why.
    pub(crate) on: &'static [(&'static str, &'static str)],
    /// Fields with a reason or an alternative worth telling; all others are refused as well.
    pub(crate) refused: &'static [(&'static str, &'static str)],
}

/// A section that says nothing, to fill in.
pub(crate) const NOTHING: Section =
    Section { message: "", honoured: "", opaque: "", values: &[], idle: &[], off: &[], on: &[], refused: &[] };

/// Whether a field changes nothing because it is a label, which is no more in Envoy: nobody misses an effect of it.
pub(crate) fn is_label(reason: &str) -> bool {
    reason.starts_with("a label: ")
}

/// What is done about each field of a message, in the order of its schema. None: the message as a whole is refused.
pub(crate) fn of(message: u16) -> Option<&'static [Cover]> {
    static COMPILED: OnceLock<Vec<Option<Box<[Cover]>>>> = OnceLock::new();
    COMPILED.get_or_init(compile).get(usize::from(message))?.as_deref()
}

/// Mistakes in the table itself: names that are no message, field or value. Empty unless Envoy's API and the table
/// have come apart.
pub fn self_check() -> Vec<String> {
    let mut mistakes = Vec::new();
    for section in table::sections() {
        let Some(message) = schema::message(section.message) else {
            mistakes.push(format!("no message {}", section.message));
            continue;
        };
        let mut seen = Vec::new();
        for name in words(section) {
            match message.fields.iter().position(|f| f.name == name) {
                None => mistakes.push(format!("no field {}.{name}", section.message)),
                Some(at) if seen.contains(&at) => mistakes.push(format!("{}.{name} stands twice", section.message)),
                Some(at) => seen.push(at),
            }
        }
        for (name, values) in section.values {
            let kind = message.fields.iter().find(|f| f.name == *name).map(|f| f.kind);
            let Some(Kind::Enum(index)) = kind else {
                mistakes.push(format!("{}.{name} is no enum", section.message));
                continue;
            };
            let unknown = values.split_whitespace().filter(|v| schema::enum_at(index).number(v).is_none());
            mistakes.extend(unknown.map(|value| format!("{}.{name} has no value {value}", section.message)));
        }
    }
    mistakes
}

fn words(section: &Section) -> impl Iterator<Item = &'static str> {
    let lists = [section.honoured, section.opaque].into_iter();
    let named = section
        .values
        .iter()
        .chain(section.idle)
        .chain(section.off)
        .chain(section.on)
        .chain(section.refused)
        .map(|(n, _)| *n);
    lists.chain(named).flat_map(str::split_whitespace)
}

fn compile() -> Vec<Option<Box<[Cover]>>> {
    let mut compiled: Vec<Option<Box<[Cover]>>> = vec![None; schema::messages().len()];
    for section in table::sections() {
        let Some(index) = schema::message_index(section.message) else { continue };
        let message = schema::message_at(index);
        let mut covers = vec![Cover::Unlisted; message.fields.len()];
        let mut set = |names: &str, cover: &dyn Fn(Kind) -> Cover| {
            for name in names.split_whitespace() {
                let field = message.fields.iter().zip(&mut covers).find(|(f, _)| f.name == name);
                if let Some((field, slot)) = field {
                    *slot = cover(field.kind);
                }
            }
        };
        set(section.honoured, &|_| Cover::Honoured);
        set(section.opaque, &|_| Cover::Opaque);
        for (name, values) in section.values {
            set(name, &|kind| {
                let Kind::Enum(index) = kind else { return Cover::Honoured };
                let r#enum = schema::enum_at(index);
                Cover::Values(values.split_whitespace().filter_map(|v| r#enum.number(v)).collect())
            });
        }
        for (names, reason) in section.idle {
            set(names, &|_| Cover::WithoutEffect(reason));
        }
        for (names, reason) in section.off {
            set(names, &|_| Cover::Off(reason));
        }
        for (names, reason) in section.on {
            set(names, &|_| Cover::On(reason));
        }
        for (names, reason) in section.refused {
            set(names, &|_| Cover::Refused(reason));
        }
        if let Some(slot) = compiled.get_mut(usize::from(index)) {
            *slot = Some(covers.into_boxed_slice());
        }
    }
    compiled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::WellKnown;

    #[test]
    fn every_entry_of_the_table_exists() {
        assert_eq!(self_check(), Vec::<String>::new());
    }

    /// A message behind an honoured field would be refused as a whole if it had no section.
    #[test]
    fn every_message_of_an_honoured_field_has_a_section() {
        let mut missing = Vec::new();
        for (index, message) in schema::messages().iter().enumerate() {
            let Some(covers) = u16::try_from(index).ok().and_then(of) else { continue };
            for (field, cover) in message.fields.iter().zip(covers) {
                let Kind::Message(inner) = field.kind else { continue };
                let inner = if field.shape == schema::Shape::Map {
                    match schema::message_at(inner).fields.last().map(|f| f.kind) {
                        Some(Kind::Message(value)) => value,
                        _ => continue,
                    }
                } else {
                    inner
                };
                if matches!(cover, Cover::Honoured | Cover::Off(_))
                    && schema::message_at(inner).known == WellKnown::No
                    && !matches!(cover, Cover::Off(_))
                    && of(inner).is_none()
                {
                    missing.push(format!("{}.{}: {}", message.name, field.name, schema::message_at(inner).name));
                }
            }
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
