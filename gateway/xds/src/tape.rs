//! YAML and JSON text as a flat list of nodes: one parse, no tree.

mod json;

pub(crate) use json::without_trailing_commas;

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::{problem::Problem, read::MAX_FILE_BYTES};

/// A text has the limit of a file: that of the command line comes from none.
const MAX_TEXT: usize = MAX_FILE_BYTES as usize;
/// Lists and objects nest no deeper; Envoy's own messages stay below 40.
pub(crate) const MAX_DEPTH: usize = 128;

/// The nodes of a document in the order of the text; an object's children are key, value, key, value.
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    nodes: Vec<Node<'a>>,
}

#[derive(Debug)]
struct Node<'a> {
    line: u32,
    shape: Shape<'a>,
}

#[derive(Debug)]
enum Shape<'a> {
    /// `plain`: written without quotes, so that it may mean a number, a boolean or null.
    Scalar {
        text: Cow<'a, str>,
        plain: bool,
    },
    /// `end` is the position after the last node in it.
    List {
        end: usize,
    },
    Object {
        end: usize,
        merges: bool,
    },
    /// An alias to an earlier, complete node.
    Alias(usize),
}

/// What a node is, aliases followed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'t> {
    Scalar { text: &'t str, plain: bool },
    List,
    Object,
}

/// A key and its value in an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) key: &'t str,
    /// Line of the key.
    pub(crate) line: u32,
    /// Position of the value.
    pub(crate) value: usize,
}

impl<'a> Tape<'a> {
    /// Reads one document. The root is the node at 0; an empty text is an empty object.
    pub(crate) fn read(text: &'a str) -> Result<Self, Problem> {
        if text.len() > MAX_TEXT {
            return Err(too_long());
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Builder::default().run(Parser::new_from_str(text))
    }

    /// What the node at `at` is.
    pub(crate) fn view(&self, at: usize) -> View<'_> {
        match self.shape(self.resolve(at)) {
            Some(Shape::Scalar { text, plain }) => View::Scalar { text, plain: *plain },
            Some(Shape::List { .. }) => View::List,
            Some(Shape::Object { .. }) => View::Object,
            // Positions come from this tape, and `resolve` follows aliases: neither arm is reached.
            Some(Shape::Alias(_)) | None => View::Scalar { text: "", plain: true },
        }
    }

    /// The line on which the node starts, from 1.
    pub(crate) fn line(&self, at: usize) -> u32 {
        self.nodes.get(at).map_or(1, |n| n.line)
    }

    /// Whether the node is an unquoted `null`, `~` or nothing at all.
    pub(crate) fn is_null(&self, at: usize) -> bool {
        matches!(self.view(at), View::Scalar { text: "" | "~" | "null" | "Null" | "NULL", plain: true })
    }

    /// Positions of the items of a list; none for anything else.
    pub(crate) fn items(&self, at: usize) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let at = self.resolve(at);
        let end = if let Some(Shape::List { end }) = self.shape(at) { *end } else { 0 };
        let mut next = at + 1;
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let item = next;
                next = self.after(item);
                item
            })
        })
    }

    /// Keys and values of an object, those of `<<` merge keys after its own; none for anything else. A key that is no
    /// text comes as an error with its line.
    pub(crate) fn entries(&self, at: usize) -> Result<Vec<Entry<'_>>, Problem> {
        let mut entries = Vec::new();
        self.collect_entries(at, 0, &mut entries)?;
        Ok(entries)
    }

    /// The value of a key, its own before merged ones.
    pub(crate) fn entry(&self, at: usize, key: &str) -> Option<Entry<'_>> {
        self.entries(at).ok()?.into_iter().find(|e| e.key == key)
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn collect_entries<'t>(&'t self, at: usize, depth: usize, out: &mut Vec<Entry<'t>>) -> Result<(), Problem> {
        let at = self.resolve(at);
        let Some(Shape::Object { end, merges }) = self.shape(at) else { return Ok(()) };
        let merged_into = out.len();
        let mut merged = Vec::new();
        let mut key = at + 1;
        while key < *end {
            let value = self.after(key);
            let line = self.line(key);
            match self.view(key) {
                View::Scalar { text: "<<", plain: true } if *merges => merged.push((value, line)),
                View::Scalar { text, .. } => {
                    if depth == 0 || !out.iter().any(|e| e.key == text) {
                        out.push(Entry { key: text, line, value });
                    }
                }
                _ => return Err(problem(Some(line), "a key must be text, not a list or an object")),
            }
            key = self.after(value);
        }
        debug_assert!(merged_into <= out.len(), "entries are only added");
        if depth >= MAX_DEPTH {
            return Err(problem(Some(self.line(at)), "merge keys (<<) nest too deep"));
        }
        for (value, line) in merged {
            match self.view(value) {
                View::Object => self.collect_entries(value, depth + 1, out)?,
                View::List if self.items(value).all(|i| matches!(self.view(i), View::Object)) => {
                    for item in self.items(value) {
                        self.collect_entries(item, depth + 1, out)?;
                    }
                }
                _ => return Err(problem(Some(line), "a merge key (<<) takes an object or a list of objects")),
            }
        }
        Ok(())
    }

    fn shape(&self, at: usize) -> Option<&Shape<'a>> {
        self.nodes.get(at).map(|n| &n.shape)
    }

    fn resolve(&self, at: usize) -> usize {
        // An alias points backwards at a complete node, which is never an alias itself.
        if let Some(Shape::Alias(target)) = self.shape(at) { *target } else { at }
    }

    fn after(&self, at: usize) -> usize {
        match self.shape(at) {
            Some(Shape::List { end } | Shape::Object { end, .. }) => *end,
            _ => at + 1,
        }
    }
}

fn too_long() -> Problem {
    problem(None, format!("longer than {} MiB", MAX_TEXT >> 20))
}

fn problem(line: Option<u32>, reason: impl Into<String>) -> Problem {
    Problem { path: String::new(), line, reason: reason.into() }
}

#[derive(Default)]
struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    /// Open lists and objects, with the anchor each will have once it is complete.
    open: Vec<(usize, usize)>,
    /// Position by anchor; an anchor whose node is not complete yet is absent.
    anchors: Vec<Option<usize>>,
    documents: usize,
}

impl<'a> Builder<'a> {
    fn run<T: saphyr_parser::Input>(mut self, mut parser: Parser<'a, T>) -> Result<Tape<'a>, Problem> {
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|e| {
                problem(u32::try_from(e.marker().line()).ok(), format!("not YAML or JSON: {}", e.info()))
            })?;
            let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
            self.event(event, line)?;
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node { line: 1, shape: Shape::Object { end: 1, merges: false } });
        }
        self.nodes.shrink_to_fit();
        Ok(Tape { nodes: self.nodes })
    }

    fn event(&mut self, event: Event<'a>, line: u32) -> Result<(), Problem> {
        let at = self.nodes.len();
        let tag_is_known = |tag: &saphyr_parser::Tag| tag.is_yaml_core_schema() || tag.suffix.is_empty();
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(problem(Some(line), "a second document: one file holds one document"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = tag.as_ref().is_some_and(|t| matches!(t.suffix.as_str(), "str" | ""));
                if tag.is_some_and(|t| !tag_is_known(&t) || t.suffix == "binary") {
                    return Err(problem(Some(line), "tags (!) of one's own are not supported"));
                }
                let plain = style == ScalarStyle::Plain && !quoted;
                if plain && text == "<<" {
                    self.mark_merge();
                }
                self.nodes.push(Node { line, shape: Shape::Scalar { text, plain } });
                self.complete(anchor, at);
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag)
                if tag.as_ref().is_some_and(|t| !tag_is_known(t)) || self.open.len() >= MAX_DEPTH =>
            {
                let reason = if tag.is_some() && self.open.len() < MAX_DEPTH {
                    "tags (!) of one's own are not supported".to_owned()
                } else {
                    format!("nested deeper than {MAX_DEPTH} levels")
                };
                debug_assert!(anchor < usize::MAX, "anchors are counted from 1");
                return Err(problem(Some(line), reason));
            }
            Event::SequenceStart(anchor, _) => {
                self.nodes.push(Node { line, shape: Shape::List { end: at } });
                self.open.push((at, anchor));
            }
            Event::MappingStart(anchor, _) => {
                self.nodes.push(Node { line, shape: Shape::Object { end: at, merges: false } });
                self.open.push((at, anchor));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((start, anchor)) = self.open.pop() {
                    if let Some(Node { shape: Shape::List { end } | Shape::Object { end, .. }, .. }) =
                        self.nodes.get_mut(start)
                    {
                        *end = at;
                    }
                    self.complete(anchor, start);
                }
            }
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(anchor).copied().flatten() else {
                    return Err(problem(Some(line), "an alias (*) inside the node that it refers to"));
                };
                self.nodes.push(Node { line, shape: Shape::Alias(target) });
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => (),
        }
        Ok(())
    }

    fn complete(&mut self, anchor: usize, at: usize) {
        if anchor == 0 {
            return;
        }
        if self.anchors.len() <= anchor {
            self.anchors.resize(anchor + 1, None);
        }
        if let Some(slot) = self.anchors.get_mut(anchor) {
            *slot = Some(at);
        }
    }

    fn mark_merge(&mut self) {
        let Some((start, _)) = self.open.last() else { return };
        if let Some(Node { shape: Shape::Object { merges, .. }, .. }) = self.nodes.get_mut(*start) {
            *merges = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn keys(text: &str) -> Vec<(String, u32)> {
        let tape = Tape::read(text).unwrap();
        tape.entries(0).unwrap().iter().map(|e| (e.key.to_owned(), e.line)).collect()
    }

    #[test]
    fn objects_lists_and_lines() {
        let text = "a: 1\nb:\n- x\n- {c: d}\n# comment\ne: {}\n";
        assert_eq!(keys(text), [("a".to_owned(), 1), ("b".to_owned(), 2), ("e".to_owned(), 6)]);
        let tape = Tape::read(text).unwrap();
        let list = tape.entry(0, "b").unwrap().value;
        assert_eq!(tape.items(list).count(), 2);
        assert_eq!(keys("{\"a\": {\"b\": [1, 2]},\n \"c\": null}").len(), 2);
        assert_eq!(keys(""), []);
    }

    #[test]
    fn merge_keys_yield_to_own_keys() {
        let text = "base: &b {x: 1, y: 2}\nlist:\n  <<: *b\n  y: 3\n";
        let tape = Tape::read(text).unwrap();
        let list = tape.entry(0, "list").unwrap().value;
        let entries = tape.entries(list).unwrap();
        let of = |k: &str| tape.view(entries.iter().find(|e| e.key == k).unwrap().value);
        assert_eq!(entries.len(), 2);
        assert!(matches!(of("y"), View::Scalar { text: "3", .. }));
        assert!(matches!(of("x"), View::Scalar { text: "1", .. }));
    }

    #[test]
    fn refusals_have_a_line() {
        for (text, line) in [
            ("a: 1\nb: [", 2),
            ("a: &x\n  b: *x\n", 2),
            ("a: *nowhere\n", 1),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: !mine {b: 1}\n", 1),
        ] {
            let problem = Tape::read(text).unwrap_err();
            assert_eq!(problem.line.map(|l| l.min(line)), Some(line), "{text:?}: {problem}");
        }
        assert!(Tape::read(&"[".repeat(MAX_DEPTH + 1)).is_err());
    }
}
