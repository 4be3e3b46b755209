//! From a path to the first route in order that matches it.
//!
//! Envoy tries routes one after the other and takes the first that matches. So does [`Paths`] for a few routes, which is
//! fastest and smallest; for more an index gives the same answer without trying them all.

use super::path_index::{PathIndex, PathIndexBuilder};
use super::pattern::Pattern;

/// Up to so many routes are tried one after the other.
const FEW: usize = 8;

/// How a route matches the path (without query).
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The path starts with these bytes: `/foo` matches `/foobar`.
    Prefix(Box<[u8]>),
    /// The path is these bytes.
    Exact(Box<[u8]>),
    /// The path is these bytes, or these bytes and a slash start it: `/foo` matches `/foo/bar` and not `/foobar`.
    SeparatedPrefix(Box<[u8]>),
    /// The whole path matches.
    Regex(Pattern),
}

/// The paths of a virtual host's routes.
#[derive(Debug)]
pub(super) enum Paths {
    Few(Box<[FewPath]>),
    Indexed(Box<PathIndex>),
}

/// A path as it is compared.
#[derive(Debug)]
pub(super) enum FewPath {
    Prefix(Box<[u8]>),
    Exact(Box<[u8]>),
    SeparatedPrefix(Box<[u8]>),
    PrefixFolded(Box<[u8]>),
    ExactFolded(Box<[u8]>),
    SeparatedPrefixFolded(Box<[u8]>),
    Regex(Box<Pattern>),
}

impl Paths {
    /// The paths of routes in order: whether their case counts, and whether they are the route's only condition.
    pub(super) fn new(routes: Vec<(PathMatch, bool, bool)>) -> Self {
        if routes.len() <= FEW {
            return Self::Few(routes.into_iter().map(|(path, sensitive, _)| FewPath::new(path, sensitive)).collect());
        }
        let mut index = PathIndexBuilder::default();
        for (rank, (path, sensitive, unconditional)) in (0..).zip(routes) {
            index.add(path, sensitive, rank, unconditional);
        }
        Self::Indexed(Box::new(index.build()))
    }

    /// The lowest rank whose path matches `path` (no query in it) and for which `passes`.
    #[inline]
    pub(super) fn first(&self, path: &[u8], mut passes: impl FnMut(u32) -> bool) -> Option<u32> {
        match self {
            Self::Few(paths) => (0..).zip(paths).find(|(rank, few)| few.matches(path) && passes(*rank)).map(|(r, _)| r),
            Self::Indexed(index) => index.first(path, passes),
        }
    }
}

impl FewPath {
    fn new(path: PathMatch, case_sensitive: bool) -> Self {
        match (path, case_sensitive) {
            (PathMatch::Prefix(key), true) => Self::Prefix(key),
            (PathMatch::Prefix(key), false) => Self::PrefixFolded(key),
            (PathMatch::Exact(key), true) => Self::Exact(key),
            (PathMatch::Exact(key), false) => Self::ExactFolded(key),
            (PathMatch::SeparatedPrefix(key), true) => Self::SeparatedPrefix(key),
            (PathMatch::SeparatedPrefix(key), false) => Self::SeparatedPrefixFolded(key),
            (PathMatch::Regex(pattern), _) => Self::Regex(Box::new(pattern)),
        }
    }

    #[inline]
    fn matches(&self, path: &[u8]) -> bool {
        let separated = |key: &[u8]| path.get(key.len()).is_none_or(|&next| next == b'/');
        let start = |key: &[u8]| path.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key));
        match self {
            Self::Prefix(key) => path.starts_with(key),
            Self::Exact(key) => *path == **key,
            Self::SeparatedPrefix(key) => path.starts_with(key) && separated(key),
            Self::PrefixFolded(key) => start(key),
            Self::ExactFolded(key) => path.eq_ignore_ascii_case(key),
            Self::SeparatedPrefixFolded(key) => start(key) && separated(key),
            Self::Regex(pattern) => pattern.is_match(path),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(text: &str) -> (PathMatch, bool) {
        let (kind, path) = text.split_once(' ').unwrap();
        let (kind, sensitive) = kind.strip_suffix('i').map_or((kind, true), |kind| (kind, false));
        let key = path.as_bytes().into();
        let path = match kind {
            "prefix" => PathMatch::Prefix(key),
            "path" => PathMatch::Exact(key),
            "separated" => PathMatch::SeparatedPrefix(key),
            "regex" => PathMatch::Regex(Pattern::parse(path).unwrap()),
            other => panic!("{other}"),
        };
        (path, sensitive)
    }

    /// The rule itself: one route after the other.
    fn scan(routes: &[(PathMatch, bool)], path: &str, passes: impl Fn(u32) -> bool) -> Option<u32> {
        (0..).zip(routes).find_map(|(rank, (kind, sensitive))| {
            let sensitive = *sensitive;
            let text = if sensitive { path.to_owned() } else { path.to_ascii_lowercase() };
            let key = |key: &[u8]| {
                let key = String::from_utf8(key.to_vec()).unwrap();
                if sensitive { key } else { key.to_ascii_lowercase() }
            };
            let matches = match kind {
                PathMatch::Prefix(k) => text.starts_with(&key(k)),
                PathMatch::Exact(k) => text == key(k),
                PathMatch::SeparatedPrefix(k) => text == key(k) || text.starts_with(&(key(k) + "/")),
                PathMatch::Regex(pattern) => pattern.is_match(path.as_bytes()),
            };
            (matches && passes(rank)).then_some(rank)
        })
    }

    #[test]
    fn the_first_in_order_wins_whatever_its_kind() {
        let routes = [
            "prefix /a/b/c/d",
            "path /exact",
            "separated /sep",
            "regex /re/[0-9]+",
            "prefixi /CASE",
            "pathi /Exact/I",
            "separatedi /Sep/I",
            "prefix /a/b",
            "prefix /sep",
            "path /a/b/c",
            "regex .*/end",
            "regex /re/.*/end",
            "prefix /a",
            "path /re/12",
            "prefix /",
            "prefix /never",
            "prefix ",
        ];
        let routes = routes.map(spec);
        let paths = [
            "/a/b/c/d/e",
            "/a/b/c",
            "/a/x",
            "/a",
            "/",
            "",
            "*",
            "/exact",
            "/exact/",
            "/sep",
            "/sep/",
            "/sep/x",
            "/separate",
            "/re/12",
            "/re/x",
            "/case/y",
            "/CASE",
            "/EXACT/i",
            "/sep/i",
            "/SEP/I/x",
            "/SEP/Ix",
            "/a/b/end",
            "/z/end",
            "/never",
        ];
        for conditional in [false, true] {
            let (mut indexed, mut few) = (PathIndexBuilder::default(), Vec::new());
            for (rank, (path, sensitive)) in (0..).zip(&routes) {
                indexed.add(path.clone(), *sensitive, rank, !conditional);
                few.push(FewPath::new(path.clone(), *sensitive));
            }
            let both = [Paths::Indexed(Box::new(indexed.build())), Paths::Few(few.into())];
            // Every single route switched off, and pairs, in the conditional case.
            for path in paths {
                for off in 0..if conditional { 256 } else { 1 } {
                    let passes = |rank: u32| !conditional || (rank != off % 16 && rank != off / 16);
                    let want = scan(&routes, path, passes);
                    for paths in &both {
                        assert_eq!(paths.first(path.as_bytes(), passes), want, "{path} {off} {paths:?}");
                    }
                }
            }
        }
    }
}
