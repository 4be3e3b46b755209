//! What is wrong with a configuration, and in which file.

use std::{fmt, sync::Arc};

use weir_xds::{Bootstrap, Idle, Kind, Lines, Problem};

/// A problem and the file it is in. Shown as compilers do: `file:line: path: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: Arc<str>,
    /// What is wrong.
    pub problem: Problem,
    /// The gateway does not start with it; otherwise it starts without the resource.
    pub is_fatal: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.problem.line {
            write!(f, ":{line}")?;
        }
        if !self.problem.path.is_empty() {
            write!(f, ": {}", self.problem.path)?;
        }
        write!(f, ": {}", self.problem.reason)
    }
}

/// How much a configuration holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    counts: Vec<(Kind, usize)>,
}

impl Summary {
    /// Counts resources.
    pub fn add(&mut self, kind: Kind, count: usize) {
        match self.counts.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, total)) => *total += count,
            None => {
                self.counts.push((kind, count));
                self.counts.sort_by_key(|(kind, _)| *kind);
            }
        }
    }

    /// Of the static resources of a bootstrap.
    pub fn of(bootstrap: &Bootstrap) -> Self {
        let mut summary = Self::default();
        for resource in &bootstrap.resources {
            summary.add(resource.kind, 1);
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counts.is_empty() {
            return f.write_str("no resources");
        }
        for (at, (kind, count)) in self.counts.iter().enumerate() {
            let (comma, plural) = (if at == 0 { "" } else { ", " }, if *count == 1 { "" } else { "s" });
            write!(f, "{comma}{count} {}{plural}", kind.word())?;
        }
        Ok(())
    }
}

/// The texts of a bootstrap.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// What to call it: its file.
    pub name: String,
    /// The file's text, or that of the command line.
    pub text: String,
    /// What is merged into it, and what to call that.
    pub over: Option<(String, String)>,
}

impl Texts {
    /// Problems of the bootstrap as findings, in the order of the lines; those found after it was read get theirs here.
    pub fn findings(&self, problems: Vec<Problem>) -> Vec<Finding> {
        let file: Arc<str> = Arc::from(self.name.as_str());
        let lines = Lines::new(&self.text);
        let over = self.over.as_ref().map(|(name, text)| (Arc::from(name.as_str()), Lines::new(text)));
        let mut findings: Vec<_> = problems
            .into_iter()
            .map(|mut problem| {
                let merged = over.as_ref().and_then(|(name, over)| Some((name, lines.merged(over, &problem.path)?)));
                if let Some((name, (path, line))) = merged {
                    // Other places that the reason names are those of both texts together.
                    if path != problem.path {
                        problem.reason.push_str(&format!(" (merged it is {})", problem.path));
                    }
                    let problem = Problem { path, line: Some(line), ..problem };
                    return Finding { file: Arc::clone(name), problem, is_fatal: true };
                }
                problem.line = problem.line.or_else(|| lines.line(&problem.path));
                Finding { file: Arc::clone(&file), problem, is_fatal: true }
            })
            .collect();
        findings.sort_by_key(|f| (f.file != file, f.problem.line));
        findings
    }

    /// The file of a field without effect, and its place in it.
    pub fn place(&self, idle: Idle) -> Option<(Arc<str>, Idle)> {
        let at = Problem { path: idle.path.clone(), line: idle.line, reason: String::new() };
        let Finding { file, problem, .. } = self.findings(vec![at]).pop()?;
        Some((file, Idle { path: problem.path, line: problem.line, ..idle }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_compilers_do() {
        let problem = Problem { path: "a.b".to_owned(), line: None, reason: "no".to_owned() };
        let texts = Texts { name: "x.yaml".to_owned(), text: "a:\n  b: 1\n".to_owned(), over: None };
        let findings = texts.findings(vec![problem]);
        assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>(), ["x.yaml:2: a.b: no"]);
        let mut summary = Summary::default();
        summary.add(Kind::Listener, 1);
        summary.add(Kind::Cluster, 2);
        assert_eq!(summary.to_string(), "1 listener, 2 clusters");
    }
}
