//! What is wrong with a document, and where in it.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Field path from the top, such as `static_resources.listeners[0].name`; empty for the document itself.
    pub path: String,
    /// Line of the text, from 1, where one is known.
    pub line: Option<u32>,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)
    }
}

/// A path while it is walked: nothing is rendered before something is wrong.
#[derive(Debug, Default)]
pub(crate) struct Path<'a> {
    steps: Vec<Step<'a>>,
}

/// One step of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Field(&'static str),
    Index(usize),
    Key(&'a str),
    /// A key that is no field: `extra` beside the known ones.
    Unknown(&'a str),
}

impl<'a> Path<'a> {
    pub(crate) fn push(&mut self, step: Step<'a>) {
        self.steps.push(step);
    }

    pub(crate) fn pop(&mut self) {
        self.steps.pop();
    }

    pub(crate) fn depth(&self) -> usize {
        self.steps.len()
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Unknown(name) if at == 0 => f.write_str(name)?,
                Step::Unknown(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

/// The known word nearest to a misspelled one, if it is near enough to be meant.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_by(distance, text, known)
}

fn nearest_by<'a>(
    mut distance: impl FnMut(&str, &str) -> usize,
    text: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |s: &str| s.to_ascii_lowercase().replace(['_', '-'], "");
    let given = plain(text);
    let allowed = 1 + given.len() / 4;
    let ranked = known.into_iter().filter_map(|word| {
        let plain = plain(word);
        // Each letter too many is one to drop. Looking at the lengths first also bounds the work: the text may be megabytes.
        let is_within_reach = given.len().abs_diff(plain.len()) <= allowed;
        is_within_reach.then(|| (distance(&given, &plain), word))
    });
    ranked.filter(|(d, _)| *d <= allowed).min_by_key(|(d, _)| *d).map(|(_, word)| word)
}

/// How many letters to insert, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let value = (diagonal + usize::from(x != y)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = value;
            left = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        let known = ["connect_timeout", "load_assignment", "name"];
        assert_eq!(nearest("connect_timout", known), Some("connect_timeout"));
        assert_eq!(nearest("connectTimeOut", known), Some("connect_timeout"));
        assert_eq!(nearest("nam", ["type", "name"]), Some("name"));
        assert_eq!(nearest("entirely_else", known), None);
    }

    #[test]
    fn a_long_text_is_not_compared() {
        let known = ["name", "twenty_letters_and_four"];
        for (length, comparisons) in [(4, 1), (26, 1), (30, 0), (70_000, 0)] {
            let mut compared = 0;
            let count = |_: &str, _: &str| {
                compared += 1;
                usize::MAX
            };
            assert_eq!(nearest_by(count, &"x".repeat(length), known), None);
            assert_eq!(compared, comparisons, "{length}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, d) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("abc", "", 3)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
