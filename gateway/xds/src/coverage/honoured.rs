//! The honoured fields as a list, for the test that looks for who reads them.

use super::{Cover, of};
use crate::schema::{self, Field, Kind, Shape};

/// A field that the table calls honoured.
#[derive(Clone, Copy, Debug)]
pub struct HonouredField {
    /// Full name of its message.
    pub message: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The oneof that it is in.
    pub oneof: Option<&'static str>,
    /// Whether its values are those of an enum.
    pub is_enum: bool,
    /// Full name of the message that it holds, or that it holds many of.
    pub holds: Option<&'static str>,
}

/// All fields that are honoured, also those of which only some values are.
pub fn honoured_fields() -> Vec<HonouredField> {
    let mut all = Vec::new();
    for (index, message) in schema::messages().iter().enumerate() {
        let Some(covers) = u16::try_from(index).ok().and_then(of) else { continue };
        let honoured = message.fields.iter().zip(covers).filter(|(_, cover)| is_honoured(cover));
        all.extend(honoured.map(|(field, _)| HonouredField {
            message: message.name,
            name: field.name,
            oneof: field.oneof.and_then(|at| message.oneofs.get(usize::from(at))).map(|oneof| oneof.name),
            is_enum: matches!(field.kind, Kind::Enum(_)),
            holds: holds(field),
        }));
    }
    all
}

fn is_honoured(cover: &Cover) -> bool {
    matches!(cover, Cover::Honoured | Cover::Opaque | Cover::Values(_))
}

fn holds(field: &Field) -> Option<&'static str> {
    let Kind::Message(index) = field.kind else { return None };
    let message = schema::message_at(index);
    if field.shape != Shape::Map {
        return Some(message.name);
    }
    match message.fields.last()?.kind {
        Kind::Message(value) => Some(schema::message_at(value).name),
        _ => None,
    }
}
