//! The routes of a large virtual host by path.
//!
//! Each way of matching a path is a table whose entries list the ranks (positions) of routes, and only routes whose path
//! matches are looked at.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use regex::bytes::{RegexSet, RegexSetBuilder};
use smallvec::SmallVec;

use super::paths::PathMatch;
use super::pattern::{Pattern, SIZE_LIMIT};
use super::radix::Radix;

/// Paths on their way into a [`PathIndex`]; ranks are given in growing order.
#[derive(Debug, Default)]
pub(super) struct PathIndexBuilder {
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
pub(super) struct PathIndex {
    exact: [HashMap<Box<[u8]>, Ranks, RandomState>; 2],
    prefix: [Radix; 2],
    /// What a prefix leads to: its routes, and those that want a slash or the end behind it.
    prefixes: Vec<[Ranks; 2]>,
    ranks: Vec<u32>,
    /// By what their matches start with: positions in `pattern_sets`.
    patterns: Radix,
    pattern_sets: Vec<Vec<PatternSet>>,
    /// The lowest rank of a pattern.
    first_pattern: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ranks {
    start: u32,
    end: u32,
}

/// Patterns whose matches start alike.
#[derive(Debug)]
enum PatternSet {
    One(Box<Pattern>, u32),
    /// Searched for together, in one pass over the path.
    Many(RegexSet, Box<[u32]>),
}

impl PathIndexBuilder {
    /// Adds the route at `rank`. `unconditional` says that it has no condition beside its path.
    pub(super) fn add(&mut self, path: PathMatch, case_sensitive: bool, rank: u32, unconditional: bool) {
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
    pub(super) fn build(self) -> PathIndex {
        let mut index = PathIndex::default();
        let [exact, exact_folded] = self.exact;
        index.exact = [index.place_exact(exact), index.place_exact(exact_folded)];
        let ([prefix, prefix_folded], [separated, separated_folded]) = (self.prefix, self.separated);
        index.prefix = [index.place_prefixes(prefix, separated), index.place_prefixes(prefix_folded, separated_folded)];
        index.place_patterns(self.patterns);
        index.ranks.shrink_to_fit();
        index.prefixes.shrink_to_fit();
        index
    }
}

impl PathIndex {
    /// The lowest rank whose path matches `path` (no query in it) and for which `passes`. Allocates only if there are
    /// several patterns that start as the path does, and no other route that matches stands before them.
    #[inline]
    pub(super) fn first(&self, path: &[u8], mut passes: impl FnMut(u32) -> bool) -> Option<u32> {
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
        if self.first_pattern < best {
            self.patterns.prefixes(path, |value, _| {
                for set in self.pattern_sets.get(value as usize).into_iter().flatten() {
                    if let Some(rank) = set.first(path, best, &mut passes) {
                        best = rank;
                    }
                }
            });
        }
        (best != u32::MAX).then_some(best)
    }

    fn place_patterns(&mut self, patterns: Vec<(Pattern, u32)>) {
        self.first_pattern = patterns.iter().map(|(_, rank)| *rank).min().unwrap_or(u32::MAX);
        let mut groups: HashMap<Box<[u8]>, Vec<(Pattern, u32)>, RandomState> = HashMap::default();
        for (pattern, rank) in patterns {
            groups.entry(pattern.prefix().into()).or_default().push((pattern, rank));
        }
        let mut keys = Vec::with_capacity(groups.len());
        for (prefix, group) in groups {
            keys.push((prefix, self.pattern_sets.len() as u32));
            let mut sets = Vec::new();
            add_sets(&group, SIZE_LIMIT, &mut sets);
            self.pattern_sets.push(sets);
        }
        self.patterns = Radix::build(keys);
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

impl PatternSet {
    /// The lowest rank below `best` whose pattern matches and for which `passes`.
    fn first(&self, path: &[u8], best: u32, mut passes: impl FnMut(u32) -> bool) -> Option<u32> {
        match self {
            Self::One(pattern, rank) => (*rank < best && pattern.is_match(path) && passes(*rank)).then_some(*rank),
            Self::Many(_, ranks) if ranks.first().is_none_or(|&lowest| lowest >= best) => None,
            Self::Many(set, ranks) => {
                let found = set.matches(path);
                let ranks = found.iter().filter_map(|at| ranks.get(at).copied());
                ranks.take_while(|&rank| rank < best).find(|&rank| passes(rank))
            }
        }
    }
}

/// One set of all patterns, or, if that grows too large to compile, sets of halves.
fn add_sets(patterns: &[(Pattern, u32)], limit: usize, sets: &mut Vec<PatternSet>) {
    if let [(pattern, rank)] = patterns {
        return sets.push(PatternSet::One(Box::new(pattern.clone()), *rank));
    }
    let built = RegexSetBuilder::new(patterns.iter().map(|(pattern, _)| pattern.anchored()))
        .unicode(false)
        .size_limit(limit.saturating_mul(2))
        .build();
    match built {
        Ok(set) => sets.push(PatternSet::Many(set, patterns.iter().map(|(_, rank)| *rank).collect())),
        Err(_) => {
            let (front, back) = patterns.split_at(patterns.len() / 2);
            add_sets(front, limit, sets);
            add_sets(back, limit, sets);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
        let patterns: Vec<_> = (0..40).map(|n| (Pattern::parse(&format!(".*/{n}/[a-z]{{9}}")).unwrap(), n)).collect();
        let mut sets = Vec::new();
        add_sets(&patterns, 4096, &mut sets);
        assert!(sets.len() > 1);
        let found: Vec<u32> = sets.iter().filter_map(|set| set.first(b"/39/abcdefghi", 99, |_| true)).collect();
        assert_eq!(found, [39]);
    }
}
