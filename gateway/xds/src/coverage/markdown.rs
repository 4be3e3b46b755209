//! The table as docs/fields.md shows it.

use std::fmt::Write;

use super::{Cover, of, table};
use crate::schema;

/// The table of fields in Markdown, one heading per message.
pub fn coverage_markdown() -> String {
    let mut text = String::new();
    for section in table::sections() {
        let Some(index) = schema::message_index(section.message) else { continue };
        let Some(covers) = of(index) else { continue };
        // Writing to a String does not fail.
        let _ = write!(text, "## {}\n\n", section.message);
        render(&mut text, schema::message_at(index), covers);
    }
    text
}

fn render(text: &mut String, message: &schema::Message, covers: &[Cover]) {
    let fields = || message.fields.iter().zip(covers);
    let honoured: Vec<_> = fields()
        .filter_map(|(field, cover)| match cover {
            Cover::Honoured | Cover::Opaque => Some(format!("`{}`", field.name)),
            Cover::Values(numbers) => {
                let schema::Kind::Enum(index) = field.kind else { return None };
                let names = numbers.iter().filter_map(|n| schema::enum_at(index).value_name(*n));
                Some(format!("`{}` ({})", field.name, names.collect::<Vec<_>>().join(", ")))
            }
            _ => None,
        })
        .collect();
    if message.fields.is_empty() {
        text.push_str("Honoured; it has no fields.\n\n");
    } else if !honoured.is_empty() {
        let _ = write!(text, "Honoured: {}.\n\n", honoured.join(", "));
    }
    let noted = |wanted: fn(&Cover) -> Option<(&'static str, &'static str)>| {
        fields().filter_map(move |(f, c)| wanted(c).map(|(what, why)| (f.name, what, why))).collect::<Vec<_>>()
    };
    let rows = noted(|cover| match cover {
        Cover::WithoutEffect(why) => Some(("accepted without effect", why)),
        Cover::Off(why) => Some(("accepted only if false, zero or empty", why)),
        Cover::On(why) => Some(("accepted only if true", why)),
        Cover::Refused(why) => Some(("refused", why)),
        _ => None,
    });
    if !rows.is_empty() {
        text.push_str("| Field | What happens | Why |\n|---|---|---|\n");
        for (name, what, why) in rows {
            let why = if why.is_empty() { "not built yet" } else { why };
            let _ = writeln!(text, "| `{name}` | {what} | {why} |");
        }
        text.push('\n');
    }
    let unlisted: Vec<_> =
        fields().filter(|(_, c)| **c == Cover::Unlisted).map(|(f, _)| format!("`{}`", f.name)).collect();
    if !unlisted.is_empty() {
        let _ = write!(text, "Refused: {}.\n\n", unlisted.join(", "));
    }
}
