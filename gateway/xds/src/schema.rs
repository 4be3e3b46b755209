//! The schema of Envoy's API: what descriptors say, as read-only tables written by `build.rs`.

#[expect(clippy::unreadable_literal, reason = "written by build.rs")]
mod tables {
    use super::{Bound, Enum, Field, Kind, Message, Oneof, Rule, Shape, WellKnown};

    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

/// A message type.
#[derive(Debug)]
pub(crate) struct Message {
    /// Full name, such as `envoy.config.cluster.v3.Cluster`.
    pub(crate) name: &'static str,
    /// Whether its `validate.rules` count.
    pub(crate) validated: bool,
    pub(crate) known: WellKnown,
    /// In the order of their numbers.
    pub(crate) fields: &'static [Field],
    pub(crate) oneofs: &'static [Oneof],
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    /// Position among the oneofs of its message.
    pub(crate) oneof: Option<u8>,
    /// Marked `udpa.annotations.sensitive`: never shown.
    pub(crate) sensitive: bool,
    pub(crate) rules: &'static [Rule],
}

/// Fields of which one at most is set.
#[derive(Debug)]
pub(crate) struct Oneof {
    pub(crate) name: &'static str,
    /// One must be set.
    pub(crate) required: bool,
}

/// An enum type.
#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) name: &'static str,
    pub(crate) values: &'static [(&'static str, i32)],
}

/// The type of a field's value; messages and enums by position in their tables.
#[allow(dead_code, reason = "all of protobuf, whichever part Envoy's API uses")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Bytes,
    Double,
    Enum(u16),
    Fixed32,
    Fixed64,
    Float,
    Int32,
    Int64,
    Message(u16),
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
    String,
    Uint32,
    Uint64,
}

/// How often a field occurs, and whether being unset differs from holding the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Once; the default is the same as unset.
    Implicit,
    /// Once; messages, oneof members and `optional`.
    Explicit,
    Repeated,
    Map,
}

/// Messages whose JSON form is not an object of their fields.
#[allow(dead_code, reason = "all of protobuf, whichever part Envoy's API uses")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WellKnown {
    No,
    Any,
    Duration,
    FieldMask,
    ListValue,
    Struct,
    Timestamp,
    TypedStruct,
    Value,
    Wrapper,
}

/// One of `validate.rules`, as far as Envoy's API uses them; `build/rules.rs` ends the build at any other.
#[derive(Debug)]
pub(crate) enum Rule {
    Required,
    /// The message is not validated.
    Skip,
    /// The rules do not apply to an empty value.
    IgnoreEmpty,
    /// A number of the enum's.
    Defined,
    /// `HeaderName` and `HeaderValue` refuse NUL, CR and LF only.
    Lenient,
    HeaderName,
    HeaderValue,
    Pattern(&'static str),
    Prefix(&'static str),
    Suffix(&'static str),
    /// Equal to one of these.
    Text(&'static [&'static str]),
    MinChars(i128),
    MaxChars(i128),
    MinBytes(i128),
    MaxBytes(i128),
    MinItems(i128),
    MaxItems(i128),
    Unique,
    Items(&'static [Self]),
    Keys(&'static [Self]),
    /// Of integers, and of durations in nanoseconds.
    Bound(Bound, i128),
    Real(Bound, f64),
    In(&'static [i128]),
    NotIn(&'static [i128]),
}

/// Which side of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Above,
    AtLeast,
    AtMost,
    Below,
}

/// The position of a message type in the table.
pub(crate) fn message_index(name: &str) -> Option<u16> {
    let at = tables::MESSAGES.binary_search_by(|m| m.name.cmp(name)).ok()?;
    u16::try_from(at).ok()
}

/// The message type of that full name.
pub(crate) fn message(name: &str) -> Option<&'static Message> {
    tables::MESSAGES.get(usize::from(message_index(name)?))
}

/// The message type at a position that the tables themselves hold.
pub(crate) fn message_at(index: u16) -> &'static Message {
    // Positions are written by build.rs beside the table they point into.
    &tables::MESSAGES[usize::from(index)]
}

/// The enum type at a position that the tables themselves hold.
pub(crate) fn enum_at(index: u16) -> &'static Enum {
    // Positions are written by build.rs beside the table they point into.
    &tables::ENUMS[usize::from(index)]
}

/// All message types, in the order of their names.
pub(crate) fn messages() -> &'static [Message] {
    tables::MESSAGES
}

/// The full name in a type URL: what follows the last slash.
pub(crate) fn name_of_type_url(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

impl Message {
    /// A field and its position, by either spelling: `snake_case` or `lowerCamelCase`.
    pub(crate) fn field(&self, text: &str) -> Option<(usize, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, f)| f.name == text || is_camel_case_of(text, f.name))
    }

    /// A field and its position, by number.
    pub(crate) fn field_by_number(&self, number: u32) -> Option<(usize, &'static Field)> {
        let at = self.fields.binary_search_by_key(&number, |f| f.number).ok()?;
        Some((at, self.fields.get(at)?))
    }
}

impl Enum {
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
    }

    pub(crate) fn value_name(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
    }
}

/// Whether `camel` is the lowerCamelCase form of `snake`: underscores gone, the letter after one in upper case.
pub(crate) fn is_camel_case_of(camel: &str, snake: &str) -> bool {
    let mut given = camel.bytes();
    let mut raise = false;
    for byte in snake.bytes() {
        if byte == b'_' {
            raise = true;
            continue;
        }
        let wanted = if raise { byte.to_ascii_uppercase() } else { byte };
        raise = false;
        if given.next() != Some(wanted) {
            return false;
        }
    }
    given.next().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn finds_fields_by_either_spelling() {
        let cluster = message("envoy.config.cluster.v3.Cluster").unwrap();
        let (at, field) = cluster.field("connect_timeout").unwrap();
        assert_eq!(cluster.field("connectTimeout").unwrap().0, at);
        assert_eq!(cluster.field_by_number(4).unwrap().0, at);
        assert!(matches!(field.kind, Kind::Message(m) if message_at(m).known == WellKnown::Duration));
        assert!(cluster.field("connecttimeout").is_none());
        assert!(cluster.field("connect_timeout_").is_none());
    }

    #[test]
    fn tables_are_sorted_and_fit_the_walks() {
        assert!(messages().is_sorted_by_key(|m| m.name));
        for message in messages() {
            assert!(message.fields.len() <= 128, "{}", message.name);
            assert!(message.oneofs.len() <= 32, "{}", message.name);
            assert!(message.fields.is_sorted_by_key(|f| f.number), "{}", message.name);
        }
    }
}
