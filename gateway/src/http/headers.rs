//! Header fields in the order they came, duplicates kept, names in lower case.
//!
//! All bytes of a map lie in one arena, an entry is five numbers: filling a map from a parsed head costs two
//! allocations at most, and reading it touches two cache lines for a usual request. Names are lower-cased when they
//! enter, as HTTP/2 demands and as Envoy shows them to filters and sends them on. How they were spelled is remembered
//! beside the fields, where the configuration asks for it.

use std::sync::Arc;

use super::spelling::OriginalNames;

/// Header fields (or trailers) of one message.
#[derive(Clone, Default)]
pub struct HeaderMap {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Bytes of the arena that no entry points to any more.
    dead: usize,
    /// One bit for each name that was ever added, as a small Bloom filter: most names that are asked for are not there.
    seen: u64,
    /// A bit of `seen` was set twice.
    again: bool,
    original: Option<Arc<OriginalNames>>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// `tag` of the name: differs for nearly all pairs of names.
    tag: u32,
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
}

/// Length, first and last byte of a name in any case.
#[inline]
pub(super) fn tag(name: &[u8]) -> u32 {
    match (name.first(), name.last()) {
        (Some(first), Some(last)) => {
            ((name.len() as u32) << 16)
                | (u32::from(first.to_ascii_lowercase()) << 8)
                | u32::from(last.to_ascii_lowercase())
        }
        _ => 0,
    }
}

/// The bit of a name in `HeaderMap::seen`. The number was searched for: no two of the usual names share a bit.
#[inline]
fn bit(tag: u32) -> u64 {
    1 << (tag.wrapping_mul(0xA81A_A40B) >> 26)
}

impl HeaderMap {
    /// An empty map; allocates nothing.
    pub const fn new() -> Self {
        Self { arena: Vec::new(), entries: Vec::new(), dead: 0, seen: 0, again: false, original: None }
    }

    /// An empty map with room for `fields` fields of together `bytes` bytes of names and values.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { arena: Vec::with_capacity(bytes), entries: Vec::with_capacity(fields), ..Self::new() }
    }

    /// How many fields there are, duplicates counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all names and values together.
    pub fn byte_size(&self) -> usize {
        self.arena.len() - self.dead
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        (self.dead, self.seen, self.again, self.original) = (0, 0, false, None);
    }

    /// The names as the sender spelled them, if they are remembered.
    #[inline]
    pub fn original_names(&self) -> Option<&Arc<OriginalNames>> {
        self.original.as_ref()
    }

    /// Remembers how the sender spelled the names. They stay remembered when fields are replaced or removed.
    pub fn set_original_names(&mut self, names: Option<Arc<OriginalNames>>) {
        self.original = names;
    }

    /// The first value of `name` (any case).
    #[inline]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        let tag = tag(name);
        if self.seen & bit(tag) == 0 {
            return None;
        }
        self.entries
            .iter()
            .find(|e| e.tag == tag && self.name_of(e).eq_ignore_ascii_case(name))
            .map(|e| self.value_of(e))
    }

    /// The first value of `name` as text, if it is UTF-8.
    pub fn get_str(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// All values of `name` (any case), in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let tag = tag(name.as_bytes());
        self.entries
            .iter()
            .filter(move |e| e.tag == tag && self.name_of(e).eq_ignore_ascii_case(name.as_bytes()))
            .map(|e| self.value_of(e))
    }

    /// Whether a field of that name exists.
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.get(name).is_some()
    }

    /// Whether a name may be there twice; if not, it is not.
    #[inline]
    pub fn may_repeat(&self) -> bool {
        self.again
    }

    /// Names (lower case) that are there twice, each as often as it is there, and perhaps a few more.
    pub fn repeated(&self) -> impl Iterator<Item = &[u8]> {
        let mut tags: Vec<u32> = self.entries.iter().map(|e| e.tag).collect();
        tags.sort_unstable();
        let mut twice: Vec<u32> = tags.array_windows().filter(|[one, next]| one == next).map(|[one, _]| *one).collect();
        twice.dedup();
        self.entries.iter().filter(move |e| twice.binary_search(&e.tag).is_ok()).map(|e| self.name_of(e))
    }

    /// Names (lower case) and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|e| (self.name_of(e), self.value_of(e)))
    }

    /// Names that begin with `prefix` (lower case), in order. Other fields cost next to nothing.
    pub fn names_with<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
        let first = prefix.first().copied();
        let begins = move |e: &&Entry| first.is_none_or(|first| (e.tag >> 8) as u8 == first);
        self.entries.iter().filter(begins).map(|e| self.name_of(e)).filter(move |name| name.starts_with(prefix))
    }

    /// Adds a field behind the others. Syntax is not checked here: the codecs and the sandbox check what comes from
    /// outside. A map never grows beyond 4 GiB (limits are far below); a field that would is not added.
    #[inline]
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        if let Some(entry) = self.store(name.as_ref(), value.as_ref()) {
            let bit = bit(entry.tag);
            self.again |= self.seen & bit != 0;
            self.seen |= bit;
            self.entries.push(entry);
        }
    }

    /// Replaces all fields of that name by one, which stands where the first of them stood (or last if there was none).
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        match self.position(name) {
            None => self.append(name, value),
            Some(first) => {
                let Some(entry) = self.store(name, value) else { return };
                // `first` is a place in `entries`, which `store` leaves alone.
                self.bury(self.entries[first]);
                self.entries[first] = entry;
                self.remove_from(first + 1, name);
                self.compact_if_sparse();
            }
        }
    }

    /// Removes all fields of that name and says how many there were.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> usize {
        match self.position(name.as_ref()) {
            None => 0,
            Some(first) => {
                let removed = self.remove_from(first, name.as_ref());
                self.compact_if_sparse();
                removed
            }
        }
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let (arena, dead) = (&self.arena, &mut self.dead);
        self.entries.retain(|e| {
            let kept = keep(slice(arena, e.name, e.name_len), slice(arena, e.value, e.value_len));
            if !kept {
                *dead += (e.name_len + e.value_len) as usize;
            }
            kept
        });
        self.compact_if_sparse();
    }

    fn store(&mut self, name: &[u8], value: &[u8]) -> Option<Entry> {
        let start = u32::try_from(self.arena.len()).ok()?;
        let name_len = u32::try_from(name.len()).ok()?;
        let value_len = u32::try_from(value.len()).ok()?;
        start.checked_add(name_len)?.checked_add(value_len)?;
        self.arena.extend_from_slice(name);
        // The arena ended at `start` before it grew.
        self.arena[start as usize..].make_ascii_lowercase();
        self.arena.extend_from_slice(value);
        Some(Entry { tag: tag(name), name: start, name_len, value: start + name_len, value_len })
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        let tag = tag(name);
        if self.seen & bit(tag) == 0 {
            return None;
        }
        self.entries.iter().position(|e| e.tag == tag && self.name_of(e).eq_ignore_ascii_case(name))
    }

    fn remove_from(&mut self, start: usize, name: &[u8]) -> usize {
        let before = self.entries.len();
        let tag = tag(name);
        let mut kept = start;
        // `at` is below the length, which does not change here, and `kept` is never beyond `at`.
        for at in start..before {
            let entry = self.entries[at];
            if entry.tag == tag && self.name_of(&entry).eq_ignore_ascii_case(name) {
                self.bury(entry);
            } else {
                self.entries[kept] = entry;
                kept += 1;
            }
        }
        self.entries.truncate(kept);
        before - kept
    }

    fn bury(&mut self, entry: Entry) {
        self.dead += (entry.name_len + entry.value_len) as usize;
    }

    /// A filter that sets or removes a field again and again must not grow the arena without end.
    fn compact_if_sparse(&mut self) {
        if self.dead < 4096 || self.dead * 2 < self.arena.len() {
            return;
        }
        let mut fresh = Self::with_capacity(self.entries.len(), self.arena.len() - self.dead);
        for (name, value) in self.iter() {
            fresh.append(name, value);
        }
        fresh.original = self.original.take();
        *self = fresh;
    }

    #[inline]
    fn name_of(&self, entry: &Entry) -> &[u8] {
        slice(&self.arena, entry.name, entry.name_len)
    }

    #[inline]
    fn value_of(&self, entry: &Entry) -> &[u8] {
        slice(&self.arena, entry.value, entry.value_len)
    }
}

/// Entries point into the arena by construction (`store`), so the fallback is never taken.
#[inline]
fn slice(arena: &[u8], start: u32, len: u32) -> &[u8] {
    arena.get(start as usize..start as usize + len as usize).unwrap_or_default()
}

impl std::fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(n, v)| (String::from_utf8_lossy(n), String::from_utf8_lossy(v))))
            .finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut map = Self::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::PreserveCase;

    fn map() -> HeaderMap {
        [("Host", "a"), ("X-One", "1"), ("x-two", "2"), ("X-ONE", "3")].into_iter().collect()
    }

    fn listed(map: &HeaderMap) -> Vec<(String, String)> {
        map.iter().map(|(n, v)| (String::from_utf8_lossy(n).into(), String::from_utf8_lossy(v).into())).collect()
    }

    #[test]
    fn keeps_order_and_duplicates() {
        let map = map();
        assert_eq!(map.get("x-one"), Some(&b"1"[..]));
        assert_eq!(map.get_all("X-One").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(map.len(), 4);
        assert_eq!(map.byte_size(), 4 + 5 + 5 + 5 + 4);
        assert_eq!(map.get(""), None);
    }

    #[test]
    fn set_replaces_all_in_place() {
        let mut map = map();
        map.set("x-one", "9");
        map.set("new", "n");
        let expected = [("host", "a"), ("x-one", "9"), ("x-two", "2"), ("new", "n")];
        assert_eq!(listed(&map), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn remove_and_retain() {
        let mut map = map();
        assert_eq!(map.remove("X-one"), 2);
        assert_eq!(map.remove("x-one"), 0);
        map.retain(|n, _| n != b"host");
        assert_eq!(listed(&map), [("x-two".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn what_was_removed_costs_no_more_than_what_is_there() {
        let (long, mut map) = ("v".repeat(100_000), map());
        for _ in 0..100 {
            map.append("long", &long);
            assert_eq!(map.remove("long"), 1);
        }
        assert!(map.arena.capacity() < 1000, "{}", map.arena.capacity());
        for _ in 0..100 {
            map.append("long", &long);
            map.retain(|name, _| name != b"long");
        }
        assert!(map.arena.capacity() < 1000, "{}", map.arena.capacity());
        assert_eq!((map.len(), map.get("x-two")), (4, Some(&b"2"[..])));
        map.set("x-one", "9");
        assert_eq!(map.byte_size(), map.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>());
    }

    #[test]
    fn finds_names_that_are_there_twice() {
        let map = map();
        assert!(map.may_repeat());
        assert_eq!(map.repeated().collect::<Vec<_>>(), [b"x-one", b"x-one"]);
        let usual_of_requests = "accept user-agent accept-encoding accept-language content-type content-length cookie \
            authorization referer x-forwarded-for x-forwarded-proto x-request-id x-envoy-expected-rq-timeout-ms origin \
            cache-control traceparent te upgrade-insecure-requests x-forwarded-host";
        let usual_of_responses = "content-type content-length date server etag cache-control last-modified vary \
            x-envoy-upstream-service-time set-cookie location via age expires accept-ranges content-encoding \
            strict-transport-security x-content-type-options x-frame-options";
        for usual in [usual_of_requests, usual_of_responses] {
            let map: HeaderMap = usual.split_ascii_whitespace().map(|name| (name, "")).collect();
            assert!(!map.may_repeat());
            assert_eq!(map.repeated().count(), 0);
        }
    }

    #[test]
    fn how_names_were_spelled_outlives_the_fields() {
        let mut map = map();
        let names = map.iter().map(|(name, _)| name);
        let names = Arc::new(OriginalNames::new(names, b"", PreserveCase::default()));
        map.set_original_names(Some(Arc::clone(&names)));
        for i in 0..1000 {
            map.set("x-two", i.to_string().repeat(10));
        }
        map.remove("x-one");
        assert!(map.original_names().is_some_and(|kept| Arc::ptr_eq(kept, &names)));
        assert!(map.clone().original_names().is_some());
        map.clear();
        assert!(map.original_names().is_none());
    }

    #[test]
    fn repeated_sets_do_not_grow_the_arena() {
        let mut map = map();
        for i in 0..10_000 {
            map.set("x-two", i.to_string());
        }
        assert!(map.arena.len() < 16 * 1024, "{}", map.arena.len());
        assert_eq!(map.get("x-two"), Some(&b"9999"[..]));
        assert_eq!(map.get("host"), Some(&b"a"[..]));
    }
}
