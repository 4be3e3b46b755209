//! What is wrong with a resource, and where in it.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Field path inside the resource, such as `virtual_hosts[1].domains`; empty for the resource itself.
    pub path: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.path, self.reason) }
    }
}

/// All that is wrong: compilation goes on after the first, so that an operator sees everything at once.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    wrong: Vec<Problem>,
    /// What is taken, and most likely not what its author means.
    warnings: Vec<Problem>,
}

impl Problems {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.wrong.push(Problem { path: path.into(), reason: reason.into() });
    }

    /// Adds what is no problem, and most likely not meant: it is told with the problems and refuses nothing.
    pub fn warn(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.warnings.push(Problem { path: path.into(), reason: reason.into() });
    }

    /// Adds those of a part, which stands at `prefix` in the whole.
    pub fn nest(&mut self, prefix: &str, inner: Self) {
        let nested = |p: Problem| {
            let path = if p.path.is_empty() || prefix.is_empty() || p.path.starts_with('[') {
                format!("{prefix}{}", p.path)
            } else {
                format!("{prefix}.{}", p.path)
            };
            Problem { path, reason: p.reason }
        };
        self.wrong.extend(inner.wrong.into_iter().map(nested));
        self.warnings.extend(inner.warnings.into_iter().map(nested));
    }

    /// Adds those of an element of a list; its path is only written if there is something to tell.
    pub fn nest_at(&mut self, field: &str, at: usize, inner: Self) {
        if !inner.is_silent() {
            self.nest(&format!("{field}[{at}]"), inner);
        }
    }

    /// Compiles a part, which stands at `path` in the whole.
    pub fn within<T>(&mut self, path: &str, compile: impl FnOnce(&mut Self) -> T) -> T {
        let mut inner = Self::new();
        let compiled = compile(&mut inner);
        self.nest(path, inner);
        compiled
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Whether there is nothing to tell at all.
    pub fn is_silent(&self) -> bool {
        self.wrong.is_empty() && self.warnings.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.wrong.len()
    }

    /// Takes out what was warned of.
    pub fn take_warnings(&mut self) -> Self {
        Self { wrong: std::mem::take(&mut self.warnings), warnings: Vec::new() }
    }

    /// The list.
    pub fn into_vec(self) -> Vec<Problem> {
        self.wrong
    }
}
