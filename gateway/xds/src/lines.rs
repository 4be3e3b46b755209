//! From a field path back to the line of the text.

use std::cell::OnceCell;

use crate::{
    schema::is_camel_case_of,
    tape::{Tape, View},
};

/// The lines of a document. The text is parsed again at the first question, so that a good document costs nothing.
#[derive(Debug)]
pub struct Lines<'a> {
    text: &'a str,
    tape: OnceCell<Option<Tape<'a>>>,
}

impl<'a> Lines<'a> {
    /// Of a YAML or JSON text.
    pub fn new(text: &'a str) -> Self {
        Self { text, tape: OnceCell::new() }
    }

    /// The line, from 1, of a path such as `static_resources.clusters[0].name`; of the nearest part above it if the
    /// text has no such part. None if the text is no YAML.
    pub fn line(&self, path: &str) -> Option<u32> {
        let tape = self.tape.get_or_init(|| Tape::read(self.text).ok()).as_ref()?;
        Some(line_of(tape, path))
    }
}

/// The line of the deepest part of `path` that the document has.
fn line_of(tape: &Tape<'_>, path: &str) -> u32 {
    let mut at = 0;
    let mut line = tape.line(0);
    let mut rest = path;
    while let Some((step, after)) = next_step(rest) {
        rest = after;
        let Some((next, next_line)) = step_into(tape, at, &step) else { break };
        at = next;
        line = next_line;
    }
    line
}

enum Step {
    Name(String),
    Index(usize),
}

fn next_step(path: &str) -> Option<(Step, &str)> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() {
        return None;
    }
    let Some(bracket) = path.strip_prefix('[') else {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (name, rest) = path.split_at_checked(end)?;
        return Some((Step::Name(name.to_owned()), rest));
    };
    if bracket.starts_with('"') {
        let end = bracket.find("\"]").map_or(bracket.len(), |at| at + 1);
        let (quoted, rest) = bracket.split_at_checked(end)?;
        let name = serde_json::from_str(quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned());
        return Some((Step::Name(name), rest.strip_prefix(']').unwrap_or(rest)));
    }
    let (index, rest) = bracket.split_once(']')?;
    Some((Step::Index(index.parse().ok()?), rest))
}

fn step_into(tape: &Tape<'_>, at: usize, step: &Step) -> Option<(usize, u32)> {
    match step {
        Step::Index(index) => match tape.view(at) {
            View::List => tape.items(at).nth(*index).map(|item| (item, tape.line(item))),
            // A map with numbers as keys.
            _ => tape.entry(at, &index.to_string()).map(|e| (e.value, e.line)),
        },
        Step::Name(name) => {
            let of = |at: usize| {
                let entries = tape.entries(at).ok()?;
                entries.into_iter().find(|e| e.key == name || is_camel_case_of(e.key, name)).map(|e| (e.value, e.line))
            };
            // Paths leave out the `value` of a TypedStruct and of the like in an Any.
            of(at).or_else(|| of(tape.entry(at, "value")?.value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_paths() {
        let text = "a:\n  fooBar:\n  - x: 1\n  -\n    m:\n      \"k.e y\": 1\n    t:\n      \"@type\": u\n      value:\n        deep: 1\n";
        let lines = Lines::new(text);
        for (path, line) in [
            ("", 1),
            ("a", 1),
            ("a.foo_bar", 2),
            ("a.foo_bar[0].x", 3),
            ("a.foo_bar[1].m[\"k.e y\"]", 6),
            ("a.foo_bar[1].t.deep", 10),
            ("a.foo_bar[1].t.absent.below", 7),
            ("a.foo_bar[7]", 2),
            ("b", 1),
        ] {
            assert_eq!(lines.line(path), Some(line), "{path}");
        }
        assert_eq!(Lines::new("a: [").line("a"), None);
    }
}
