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
        Some(line_of(self.tape()?, path))
    }

    /// Where the part that `path` names lies in `over`, and its line there, if it came from that: `over` was merged into this
    /// text, its lists were added behind those of this text, and what else it says replaced what was there.
    pub fn merged(&self, over: &Lines<'_>, path: &str) -> Option<(String, u32)> {
        let (under, over) = (self.tape()?, over.tape()?);
        let (mut here, mut there, mut line) = (Some(0), 0, 1);
        let (mut shown, mut rest) = (String::new(), path);
        while let Some((mut step, after)) = next_step(rest) {
            let mut text = rest.strip_suffix(after)?.to_owned();
            if let (Step::Index(index), Some(View::List)) = (&step, here.map(|at| under.view(at))) {
                // Elements are not merged: this one is the one text's or the other's.
                let behind = index.checked_sub(under.items(here?).count())?;
                (here, text, step) = (None, format!("[{behind}]"), Step::Index(behind));
            }
            match step_into(over, there, &step) {
                Some(next) => (there, line) = next,
                // What is missing is missing where the part above it came from.
                None => return here.is_none().then(|| (format!("{shown}{text}{after}"), line)),
            }
            here = here.and_then(|at| Some(step_into(under, at, &step)?.0));
            shown.push_str(&text);
            rest = after;
        }
        (!shown.is_empty()).then_some((shown, line))
    }

    fn tape(&self) -> Option<&Tape<'a>> {
        self.tape.get_or_init(|| Tape::read(self.text).ok()).as_ref()
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
    fn parts_of_a_text_that_was_merged() {
        let under = Lines::new("a: {x: 1, l: [{p: 1}, {p: 2}]}\nm: {k: 1}\n");
        let over = Lines::new("a:\n  x: 2\n  l:\n  - p: 3\n  - q: 4\nn:\n- 1\n");
        let merged = |path: &str| under.merged(&over, path);
        for (path, there) in [
            ("a.x", Some(("a.x", 2))),
            ("a.l[2].p", Some(("a.l[0].p", 4))),
            ("a.l[3].absent[1].x", Some(("a.l[1].absent[1].x", 5))),
            ("n[0]", Some(("n[0]", 7))),
            ("n.absent", Some(("n.absent", 6))),
            ("absent", None),
            ("a.l[1].p", None),
            ("a.l[0]", None),
            ("a.y", None),
            ("m.k", None),
            ("", None),
        ] {
            assert_eq!(merged(path), there.map(|(path, line)| (path.to_owned(), line)), "{path}");
        }
        assert_eq!(Lines::new("a: [").merged(&over, "a.x"), None);
    }

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
