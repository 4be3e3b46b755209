//! Regular expressions of a configuration: RE2's syntax and meaning (Envoy's `RegexMatcher`), run by the regex crate,
//! which is linear in time as RE2 is.

use std::sync::Arc;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::re2::{self, Translated};

/// Bytes that a compiled pattern may take: RE2's own default (`max_mem`).
pub const SIZE_LIMIT: usize = 8 << 20;

/// Why a pattern or a substitution cannot be used: the configuration's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not RE2's syntax.
    #[error("invalid regex '{pattern}': {reason}")]
    Syntax {
        /// As configured.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too large once compiled.
    #[error("regex '{pattern}' takes more than {limit} bytes when compiled: make its repetitions smaller")]
    TooLarge {
        /// As configured.
        pattern: String,
        /// In bytes.
        limit: usize,
    },
    /// The substitution is no text with `\0` to `\9` and `\\`.
    #[error("invalid substitution '{substitution}': a backslash stands before a digit (a group) or another backslash")]
    Substitution {
        /// As configured.
        substitution: String,
    },
    /// The substitution names a group that the pattern has not.
    #[error("substitution '{substitution}' uses group {group}, but regex '{pattern}' has {groups}")]
    Group {
        /// As configured.
        substitution: String,
        /// The group it asks for.
        group: usize,
        /// As configured.
        pattern: String,
        /// How many groups there are.
        groups: usize,
    },
}

/// A pattern that has to match the whole text.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Arc<str>,
    anchored: Arc<str>,
    prefix: Arc<[u8]>,
    regex: Regex,
}

impl Pattern {
    /// Compiles `pattern`.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let Translated { pattern: translated, prefix } = translate(pattern)?;
        let anchored = format!("^(?:{translated})$");
        let regex = compile(pattern, &anchored, SIZE_LIMIT)?;
        Ok(Self { source: pattern.into(), anchored: anchored.into(), prefix: prefix.into(), regex })
    }

    /// Whether all of `text` matches.
    #[inline]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The compiled form, for matchers that are not of routes.
    pub fn into_regex(self) -> Regex {
        self.regex
    }

    /// As configured.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What every text that matches starts with, as far as it is plain to see.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// In the regex crate's syntax, anchored at both ends.
    pub(super) fn anchored(&self) -> &str {
        &self.anchored
    }
}

/// A pattern and what to put in place of each of its matches (Envoy's `RegexMatchAndSubstitute`).
#[derive(Clone, Debug)]
pub struct Substitution {
    regex: Regex,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<[u8]>),
    Group(usize),
}

impl Substitution {
    /// Compiles `pattern`; in `substitution`, `\1` stands for its first group, `\0` for the whole match.
    pub fn parse(pattern: &str, substitution: &str) -> Result<Self, PatternError> {
        let regex = compile(pattern, &translate(pattern)?.pattern, SIZE_LIMIT)?;
        let parts = parse_parts(substitution)?;
        let groups = regex.captures_len() - 1;
        let highest = parts.iter().filter_map(|part| if let Part::Group(n) = part { Some(*n) } else { None }).max();
        match highest {
            Some(group) if group > groups => Err(PatternError::Group {
                substitution: substitution.to_owned(),
                group,
                pattern: pattern.to_owned(),
                groups,
            }),
            _ => Ok(Self { regex, parts: parts.into_boxed_slice() }),
        }
    }

    /// `text` with every match replaced.
    pub fn replace_all(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 32);
        let mut copied = 0;
        for captures in self.regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            out.extend_from_slice(text.get(copied..whole.start()).unwrap_or_default());
            self.expand(&captures, &mut out);
            copied = whole.end();
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        out
    }

    fn expand(&self, captures: &Captures<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Group(n) => out.extend_from_slice(captures.get(*n).map(|m| m.as_bytes()).unwrap_or_default()),
            }
        }
    }
}

fn parse_parts(substitution: &str) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let mut text = Vec::new();
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'\\') => text.push(b'\\'),
            Some(digit @ b'0'..=b'9') => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text).into_boxed_slice()));
                }
                parts.push(Part::Group(usize::from(digit - b'0')));
            }
            _ => return Err(PatternError::Substitution { substitution: substitution.to_owned() }),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into_boxed_slice()));
    }
    Ok(parts)
}

fn translate(pattern: &str) -> Result<Translated, PatternError> {
    re2::translate(pattern).map_err(|reason| PatternError::Syntax { pattern: pattern.to_owned(), reason })
}

fn compile(pattern: &str, translated: &str, limit: usize) -> Result<Regex, PatternError> {
    RegexBuilder::new(translated).unicode(false).size_limit(limit).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => PatternError::TooLarge { pattern: pattern.to_owned(), limit },
        other => PatternError::Syntax { pattern: pattern.to_owned(), reason: last_line(&other.to_string()) },
    })
}

/// The crate's message shows the (translated) pattern over several lines and says what is wrong in the last.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or(message).trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn substitutions() {
        for (pattern, substitution, text, want) in [
            ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
            ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
            ("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
            ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
            ("nothing", "x", "/a", "/a"),
            ("/a(b)?", r"[\1]", "/a/ab", "[][b]"),
            ("b*", "-", "abba", "-a-a-"),
            ("a", r"\\\0\0", "a", r"\aa"),
            ("^/old", "", "/old/x", "/x"),
        ] {
            let got = Substitution::parse(pattern, substitution).unwrap().replace_all(text.as_bytes());
            assert_eq!(String::from_utf8(got).unwrap(), want, "{pattern} {substitution} {text}");
        }
    }

    #[test]
    fn refusals_name_the_pattern_and_the_reason() {
        for (pattern, want) in [
            ("/a(", "invalid regex '/a(': missing closing )"),
            ("*", "invalid regex '*': no argument for repetition operator: *"),
            ("(?=x)", "invalid regex '(?=x)': invalid perl operator: (?="),
            (r"\q", r"invalid regex '\q': invalid escape sequence: \q"),
            ("a**", "invalid regex 'a**': bad repetition operator: **"),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap_err().to_string(), want);
        }
        let large = compile("a{1000}", "a{1000}", 1000).unwrap_err();
        assert!(matches!(large, PatternError::TooLarge { .. }), "{large}");
        let group = Substitution::parse("(a)", r"\2").unwrap_err();
        assert_eq!(group.to_string(), r"substitution '\2' uses group 2, but regex '(a)' has 1");
        assert!(Substitution::parse("a", r"\x").is_err());
        assert!(Substitution::parse("a", "\\").is_err());
    }
}
