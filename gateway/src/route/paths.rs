//! From a path to the first route in order that matches it.
//!
//! Envoy tries routes one after the other and takes the first that matches. The index gives the same answer without
//! trying them all: each way of matching a path is a table whose entries list the ranks (positions) of routes, and only
//! routes whose path matches are looked at.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use regex::bytes::{RegexSet, RegexSetBuilder};
use smallvec::SmallVec;

use super::pattern::{Pattern, SIZE_LIMIT};
use super::radix::Radix;

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

/// Paths on their way into a [`PathIndex`]; ranks are given in growing order.
#[derive(Debug, Default)]
pub struct PathIndexBuilder {
    exact: [Lists; 2],
    prefix: [Lists; 2],
    separated: [Lists; 2],
    patterns: Vec<(Pattern, u32)>,
}

type Lists = HashMap<Box<[u8]>, List, RandomState>;

/// Ranks of routes with the same path.
#[derive(Debug, Default)]
struct List {
    ranks: Vec<u32>,
    /// The last one matches whatever the request: none behind it can be reached.
    closed: bool,
}

/// The routes of one virtual host by path. The second of each pair is for routes that ignore case.
#[derive(Debug, Default)]
pub struct PathIndex {
    exact: [HashMap<Box<[u8]>, Ranks, RandomState>; 2],
    prefix: [Radix; 2],
    /// What a prefix leads to: its routes, and those that want a slash or the end behind it.
    prefixes: Vec<[Ranks; 2]>,
    ranks: Vec<u32>,
    patterns: Vec<PatternSet>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ranks {
    start: u32,
    end: u32,
}

/// Patterns that are searched for together, in one pass over the path.
#[derive(Debug)]
struct PatternSet {
    set: RegexSet,
    ranks: Box<[u32]>,
}

impl PathIndexBuilder {
    /// Adds the route at `rank`. `unconditional` says that it has no condition beside its path.
    pub fn add(&mut self, path: PathMatch, case_sensitive: bool, rank: u32, unconditional: bool) {
        let fold = usize::from(!case_sensitive);
        let (lists, mut key) = match path {
            PathMatch::Exact(key) => (&mut self.exact, key),
            PathMatch::Prefix(key) => (&mut self.prefix, key),
            PathMatch::SeparatedPrefix(key) => (&mut self.separated, key),
            PathMatch::Regex(pattern) => return self.patterns.push((pattern, rank)),
        };
        if !case_sensitive {
            key.make_ascii_lowercase();
        }
        // `fold` is 0 or 1, an index of both halves.
        let list = lists[fold].entry(key).or_default();
        if !list.closed {
            list.ranks.push(rank);
            list.closed = unconditional;
        }
    }

    /// The finished index.
    pub fn build(self) -> PathIndex {
        let mut index = PathIndex::default();
        let [exact, exact_folded] = self.exact;
        index.exact = [index.place_exact(exact), index.place_exact(exact_folded)];
        let ([prefix, prefix_folded], [separated, separated_folded]) = (self.prefix, self.separated);
        index.prefix = [index.place_prefixes(prefix, separated), index.place_prefixes(prefix_folded, separated_folded)];
        add_sets(&self.patterns, SIZE_LIMIT, &mut index.patterns);
        index.patterns.sort_by_key(|set| set.ranks.first().copied());
        index.ranks.shrink_to_fit();
        index.prefixes.shrink_to_fit();
        index
    }
}

impl PathIndex {
    /// The lowest rank whose path matches `path` (no query in it) and for which `passes`. Allocates only if there are
    /// patterns and none of the other routes that match stands before them.
    #[inline]
    pub fn first(&self, path: &[u8], mut passes: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut best = u32::MAX;
        let mut consider = |ranks: Ranks| {
            for &rank in self.ranks.get(ranks.start as usize..ranks.end as usize).unwrap_or_default() {
                if rank >= best {
                    return;
                }
                if passes(rank) {
                    best = rank;
                    return;
                }
            }
        };
        let [exact, exact_folded] = &self.exact;
        if !exact.is_empty()
            && let Some(&ranks) = exact.get(path)
        {
            consider(ranks);
        }
        if !exact_folded.is_empty() {
            let mut lower: SmallVec<[u8; 256]> = SmallVec::from_slice(path);
            lower.make_ascii_lowercase();
            if let Some(&ranks) = exact_folded.get(lower.as_slice()) {
                consider(ranks);
            }
        }
        let mut reached = |value: u32, len: usize| {
            let Some(&[plain, separated]) = self.prefixes.get(value as usize) else { return };
            consider(plain);
            if path.get(len).is_none_or(|&next| next == b'/') {
                consider(separated);
            }
        };
        let [prefix, prefix_folded] = &self.prefix;
        prefix.prefixes(path, &mut reached);
        prefix_folded.prefixes_folded(path, &mut reached);
        for patterns in &self.patterns {
            if patterns.ranks.first().is_none_or(|&lowest| lowest >= best) {
                break;
            }
            for at in &patterns.set.matches(path) {
                match patterns.ranks.get(at) {
                    Some(&rank) if rank < best => {
                        if passes(rank) {
                            best = rank;
                            break;
                        }
                    }
                    _ => break,
                }
            }
        }
        (best != u32::MAX).then_some(best)
    }

    fn place(&mut self, list: List) -> Ranks {
        let start = self.ranks.len() as u32;
        self.ranks.extend(list.ranks);
        Ranks { start, end: self.ranks.len() as u32 }
    }

    fn place_exact(&mut self, lists: Lists) -> HashMap<Box<[u8]>, Ranks, RandomState> {
        lists.into_iter().map(|(key, list)| (key, self.place(list))).collect()
    }

    fn place_prefixes(&mut self, plain: Lists, mut separated: Lists) -> Radix {
        let mut keys = Vec::with_capacity(plain.len() + separated.len());
        for (key, list) in plain {
            let both = [self.place(list), separated.remove(&key).map(|list| self.place(list)).unwrap_or_default()];
            keys.push((key, self.prefixes.len() as u32));
            self.prefixes.push(both);
        }
        for (key, list) in separated {
            let both = [Ranks::default(), self.place(list)];
            keys.push((key, self.prefixes.len() as u32));
            self.prefixes.push(both);
        }
        Radix::build(keys)
    }
}

/// One set of all patterns, or, if that grows too large to compile, sets of halves. A pattern by itself compiles:
/// `Pattern` was made that way.
fn add_sets(patterns: &[(Pattern, u32)], limit: usize, sets: &mut Vec<PatternSet>) {
    if patterns.is_empty() {
        return;
    }
    let built = RegexSetBuilder::new(patterns.iter().map(|(pattern, _)| pattern.anchored()))
        .size_limit(limit.saturating_mul(2))
        .build();
    match built {
        Ok(set) => sets.push(PatternSet { set, ranks: patterns.iter().map(|(_, rank)| *rank).collect() }),
        Err(_) if patterns.len() > 1 => {
            let (front, back) = patterns.split_at(patterns.len() / 2);
            add_sets(front, limit, sets);
            add_sets(back, limit, sets);
        }
        Err(_) => {}
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
    fn scan(routes: &[&str], path: &str, passes: impl Fn(u32) -> bool) -> Option<u32> {
        (0..).zip(routes).find_map(|(rank, route)| {
            let (kind, sensitive) = spec(route);
            let text = if sensitive { path.to_owned() } else { path.to_ascii_lowercase() };
            let key = |key: &[u8]| {
                let key = String::from_utf8(key.to_vec()).unwrap();
                if sensitive { key } else { key.to_ascii_lowercase() }
            };
            let matches = match kind {
                PathMatch::Prefix(k) => text.starts_with(&key(&k)),
                PathMatch::Exact(k) => text == key(&k),
                PathMatch::SeparatedPrefix(k) => text == key(&k) || text.starts_with(&(key(&k) + "/")),
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
            "prefix /a",
            "path /re/12",
            "prefix /",
            "prefix /never",
            "prefix ",
        ];
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
            let mut builder = PathIndexBuilder::default();
            for (rank, route) in (0..).zip(routes) {
                let (path, sensitive) = spec(route);
                builder.add(path, sensitive, rank, !conditional);
            }
            let index = builder.build();
            // Every single route switched off, and pairs, in the conditional case.
            for path in paths {
                for off in 0..if conditional { 256 } else { 1 } {
                    let passes = |rank: u32| !conditional || (rank != off % 16 && rank != off / 16);
                    assert_eq!(index.first(path.as_bytes(), passes), scan(&routes, path, passes), "{path} {off}");
                }
            }
        }
    }

    #[test]
    fn many_conditional_routes_of_one_path_keep_their_order() {
        let mut builder = PathIndexBuilder::default();
        for rank in 0..10 {
            builder.add(PathMatch::Prefix(b"/".as_slice().into()), true, rank, rank == 8);
        }
        let index = builder.build();
        assert_eq!(index.first(b"/x", |rank| rank >= 5), Some(5));
        assert_eq!(index.first(b"/x", |rank| rank == 8), Some(8));
        assert_eq!(index.first(b"/x", |rank| rank == 9), None, "hidden behind 8");
    }

    #[test]
    fn patterns_too_large_for_one_set_are_split() {
        let patterns: Vec<_> = (0..40).map(|n| (Pattern::parse(&format!("/{n}/[a-z]{{9}}")).unwrap(), n)).collect();
        let mut index = PathIndex::default();
        add_sets(&patterns, 4096, &mut index.patterns);
        assert!(index.patterns.len() > 1);
        assert_eq!(index.first(b"/39/abcdefghi", |_| true), Some(39));
    }
}
