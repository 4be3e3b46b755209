//! A byte radix tree over fixed keys: all keys that a text starts with, in one walk.
//!
//! The children of a node lie side by side, and their first bytes lie side by side in a second array, so that a step
//! down touches one run of bytes and one node.

use std::collections::VecDeque;

const NONE: u32 = u32::MAX;

/// An immutable map from byte strings to numbers.
#[derive(Debug, Default)]
pub struct Radix {
    nodes: Vec<Node>,
    /// First byte of each node's label.
    heads: Vec<u8>,
    /// All labels, one behind the other.
    labels: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    label: u32,
    label_len: u32,
    first_child: u32,
    children: u32,
    value: u32,
}

impl Radix {
    /// Builds the tree. Of equal keys the first in the list counts.
    pub fn build(mut keys: Vec<(Box<[u8]>, u32)>) -> Self {
        if keys.is_empty() {
            return Self::default();
        }
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        keys.dedup_by(|later, earlier| later.0 == earlier.0);
        let mut tree = Self::default();
        tree.push_node(&[]);
        // Level by level, so that siblings are neighbours: node, its keys, how many of their bytes it has consumed.
        let mut work = VecDeque::from([(0_usize, keys.as_slice(), 0_usize)]);
        while let Some((node, mut keys, depth)) = work.pop_front() {
            if let Some((first, rest)) = keys.split_first()
                && first.0.len() == depth
            {
                tree.set_value(node, first.1);
                keys = rest;
            }
            let first_child = tree.nodes.len();
            // Sorted keys with the same byte at `depth` are neighbours, and all of them are longer than `depth`.
            for group in keys.chunk_by(|a, b| a.0.get(depth) == b.0.get(depth)) {
                let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
                let end = common_prefix(&first.0, &last.0);
                let child = tree.push_node(first.0.get(depth..end).unwrap_or_default());
                work.push_back((child, group, end));
            }
            tree.set_children(node, first_child);
        }
        tree.nodes.shrink_to_fit();
        tree.heads.shrink_to_fit();
        tree.labels.shrink_to_fit();
        tree
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Calls `found(value, length)` for every key that `text` starts with, the shortest first.
    #[inline]
    pub fn prefixes(&self, text: &[u8], found: impl FnMut(u32, usize)) {
        self.walk(text.len(), |at| text.get(at).copied(), found);
    }

    /// The same for a tree of lower-case keys and text of any case (ASCII).
    #[inline]
    pub fn prefixes_folded(&self, text: &[u8], found: impl FnMut(u32, usize)) {
        self.walk(text.len(), |at| text.get(at).map(u8::to_ascii_lowercase), found);
    }

    /// The same for a tree of reversed lower-case keys, walked from the end of `text`.
    #[inline]
    pub fn suffixes_folded(&self, text: &[u8], found: impl FnMut(u32, usize)) {
        let last = text.len().wrapping_sub(1);
        self.walk(text.len(), |at| text.get(last.wrapping_sub(at)).map(u8::to_ascii_lowercase), found);
    }

    #[inline(always)]
    fn walk(&self, len: usize, byte: impl Fn(usize) -> Option<u8>, mut found: impl FnMut(u32, usize)) {
        let Some(mut node) = self.nodes.first() else { return };
        let mut depth = 0;
        loop {
            if node.value != NONE {
                found(node.value, depth);
            }
            if depth == len || node.children == 0 {
                return;
            }
            let first = node.first_child as usize;
            let Some(next) = byte(depth) else { return };
            let Some(heads) = self.heads.get(first..first + node.children as usize) else { return };
            let Some(child) = memchr::memchr(next, heads).and_then(|at| self.nodes.get(first + at)) else { return };
            let label_len = child.label_len as usize;
            let Some(label) = self.labels.get(child.label as usize..child.label as usize + label_len) else { return };
            if depth + label_len > len || !label.iter().enumerate().all(|(at, b)| byte(depth + at) == Some(*b)) {
                return;
            }
            depth += label_len;
            node = child;
        }
    }

    fn push_node(&mut self, label: &[u8]) -> usize {
        let start = self.labels.len();
        self.labels.extend_from_slice(label);
        self.heads.push(label.first().copied().unwrap_or_default());
        self.nodes.push(Node {
            label: number(start),
            label_len: number(label.len()),
            first_child: 0,
            children: 0,
            value: NONE,
        });
        self.nodes.len() - 1
    }

    fn set_value(&mut self, node: usize, value: u32) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.value = value;
        }
    }

    fn set_children(&mut self, node: usize, first: usize) {
        let count = number(self.nodes.len() - first);
        if let Some(node) = self.nodes.get_mut(node) {
            (node.first_child, node.children) = (number(first), count);
        }
    }
}

/// A configuration message is below 4 GiB, and so are the counts and sizes made of it.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NONE)
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(keys: &[&str]) -> Radix {
        let reversed = |k: &str| k.bytes().collect::<Vec<_>>().into_boxed_slice();
        Radix::build(keys.iter().zip(0..).map(|(k, i)| (reversed(k), i)).collect())
    }

    fn prefixes(tree: &Radix, text: &str) -> Vec<(u32, usize)> {
        let mut all = Vec::new();
        tree.prefixes(text.as_bytes(), |value, len| all.push((value, len)));
        all
    }

    #[test]
    fn finds_every_prefix_shortest_first() {
        let keys = ["/a/b", "/", "/a", "/a/bc", "", "/x", "/a/b", "/a/c/long/label"];
        let tree = tree(&keys);
        assert_eq!(prefixes(&tree, "/a/bcd"), [(4, 0), (1, 1), (2, 2), (0, 4), (3, 5)]);
        assert_eq!(prefixes(&tree, "/a/c/long/labe"), [(4, 0), (1, 1), (2, 2)]);
        assert_eq!(prefixes(&tree, "/a/c/long/label"), [(4, 0), (1, 1), (2, 2), (7, 15)]);
        assert_eq!(prefixes(&tree, ""), [(4, 0)]);
        assert_eq!(prefixes(&tree, "z"), [(4, 0)]);
        assert_eq!(prefixes(&Radix::default(), "/a"), []);
    }

    #[test]
    fn agrees_with_a_scan_over_all_keys() {
        let keys: Vec<String> = (0..500).map(|i| format!("/{}/{}", i % 37, i * 7919 % 101)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let tree = tree(&keys);
        for text in keys.iter().map(|k| format!("{k}0/more")) {
            let mut want: Vec<usize> = keys.iter().filter(|k| text.starts_with(**k)).map(|k| k.len()).collect();
            want.sort_unstable();
            want.dedup();
            let got: Vec<usize> = prefixes(&tree, &text).into_iter().map(|(_, len)| len).collect();
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn folds_case_and_reads_backwards() {
        let tree = tree(&["/ab"]);
        let mut hit = 0;
        tree.prefixes_folded(b"/ABc", |_, _| hit += 1);
        tree.suffixes_folded(b"xBA/", |_, len| hit += len);
        assert_eq!(hit, 4);
    }
}
