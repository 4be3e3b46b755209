//! Envoy's `StringMatcher`: one test of a text.

use memchr::memmem::Finder;

use super::pattern::Pattern;

/// One test of a text.
#[derive(Clone, Debug)]
pub enum StringMatcher {
    /// The text is this.
    Exact(Box<[u8]>),
    /// The text starts with this.
    Prefix(Box<[u8]>),
    /// The text ends with this.
    Suffix(Box<[u8]>),
    /// The text contains this.
    Contains(Box<Finder<'static>>),
    /// The same, with ASCII case ignored; the text to find is in lower case.
    ExactFolded(Box<[u8]>),
    /// As `Prefix`, with case ignored.
    PrefixFolded(Box<[u8]>),
    /// As `Suffix`, with case ignored.
    SuffixFolded(Box<[u8]>),
    /// As `Contains`, with case ignored.
    ContainsFolded(Box<[u8]>),
    /// All of the text matches.
    Regex(Pattern),
}

impl StringMatcher {
    /// The text is `value`.
    pub fn exact(value: &str, ignore_case: bool) -> Self {
        if ignore_case { Self::ExactFolded(lower(value)) } else { Self::Exact(value.as_bytes().into()) }
    }

    /// The text starts with `value`.
    pub fn prefix(value: &str, ignore_case: bool) -> Self {
        if ignore_case { Self::PrefixFolded(lower(value)) } else { Self::Prefix(value.as_bytes().into()) }
    }

    /// The text ends with `value`.
    pub fn suffix(value: &str, ignore_case: bool) -> Self {
        if ignore_case { Self::SuffixFolded(lower(value)) } else { Self::Suffix(value.as_bytes().into()) }
    }

    /// The text contains `value`.
    pub fn contains(value: &str, ignore_case: bool) -> Self {
        if ignore_case {
            Self::ContainsFolded(lower(value))
        } else {
            Self::Contains(Box::new(Finder::new(value.as_bytes()).into_owned()))
        }
    }

    /// Whether `text` passes.
    #[inline]
    pub fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(value) => **value == *text,
            Self::Prefix(value) => text.starts_with(value),
            Self::Suffix(value) => text.ends_with(value),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::ExactFolded(value) => value.eq_ignore_ascii_case(text),
            Self::PrefixFolded(value) => text.get(..value.len()).is_some_and(|start| value.eq_ignore_ascii_case(start)),
            Self::SuffixFolded(value) => text
                .len()
                .checked_sub(value.len())
                .and_then(|at| text.get(at..))
                .is_some_and(|end| value.eq_ignore_ascii_case(end)),
            Self::ContainsFolded(value) => {
                value.is_empty() || text.windows(value.len()).any(|part| value.eq_ignore_ascii_case(part))
            }
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}

fn lower(value: &str) -> Box<[u8]> {
    value.to_ascii_lowercase().into_bytes().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_kind_with_and_without_case() {
        type Make = fn(&str, bool) -> StringMatcher;
        for (make, value, folded, yes, no) in [
            (StringMatcher::exact as Make, "aB", false, vec!["aB"], vec!["ab", "aBc", ""]),
            (StringMatcher::exact, "aB", true, vec!["ab", "AB"], vec!["abc", "a"]),
            (StringMatcher::prefix, "aB", false, vec!["aB", "aBc"], vec!["ab", "a"]),
            (StringMatcher::prefix, "aB", true, vec!["abC", "AB"], vec!["a", "b"]),
            (StringMatcher::suffix, "aB", false, vec!["aB", "xaB"], vec!["xab", "B"]),
            (StringMatcher::suffix, "aB", true, vec!["xab", "AB"], vec!["b", "abx"]),
            (StringMatcher::contains, "aB", false, vec!["xaBx", "aB"], vec!["xabx", ""]),
            (StringMatcher::contains, "aB", true, vec!["xabx", "AB"], vec!["xbax", "a"]),
            (StringMatcher::contains, "", true, vec!["", "a"], vec![]),
        ] {
            let matcher = make(value, folded);
            assert!(yes.iter().all(|text| matcher.is_match(text.as_bytes())), "{matcher:?}");
            assert!(!no.iter().any(|text| matcher.is_match(text.as_bytes())), "{matcher:?}");
        }
        assert!(StringMatcher::Regex(Pattern::parse("a+").unwrap()).is_match(b"aa"));
    }
}
