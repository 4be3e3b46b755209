//! The form in which header maps cross the border: `count`, then `count` times two lengths, then every name and value
//! with a NUL behind it; all numbers u32 little-endian.

/// Largest map that is read from a guest, as in Envoy.
const MAX_BYTES: usize = 1 << 20;
/// Most entries that are read from a guest, as in Envoy.
const MAX_PAIRS: usize = 1024;

/// Names and values that a guest passed; checked as a whole when made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pairs<'a> {
    lengths: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Reads the wire form. `None` if it is not one: lengths that do not add up, a missing NUL, trailing bytes, more than
    /// 1 MiB or 1024 pairs. Empty maps come as nothing, as one zero byte, or as a count of 0.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        if raw.is_empty() || raw == [0] {
            return Some(Self::default());
        }
        if raw.len() > MAX_BYTES {
            return None;
        }
        let (count, rest) = raw.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count <= MAX_PAIRS)?;
        let (lengths, bytes) = rest.split_at_checked(count * 8)?;
        let pairs = Self { lengths, bytes };
        let mut left = bytes;
        for (name, value) in pairs.lengths() {
            left = after_nul(left, name)?;
            left = after_nul(left, value)?;
        }
        left.is_empty().then_some(pairs)
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.lengths.len() / 8
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.lengths.is_empty()
    }

    /// Names and values in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut left = self.bytes;
        self.lengths().map_while(move |(name, value)| {
            let (name_bytes, rest) = left.split_at_checked(name)?;
            let (value_bytes, rest) = rest.get(1..)?.split_at_checked(value)?;
            left = rest.get(1..)?;
            Some((name_bytes, value_bytes))
        })
    }

    fn lengths(self) -> impl Iterator<Item = (usize, usize)> {
        self.lengths.chunks_exact(8).map(|pair| {
            let (name, value) = pair.split_at(4);
            (number(name), number(value))
        })
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}

fn after_nul(bytes: &[u8], len: usize) -> Option<&[u8]> {
    match bytes.get(len..)?.split_first()? {
        (0, rest) => Some(rest),
        _ => None,
    }
}

/// Collects names and values for a guest. Kept between calls: after a while it allocates nothing.
#[derive(Debug, Default)]
pub struct PairsBuffer {
    count: u32,
    lengths: Vec<u8>,
    bytes: Vec<u8>,
}

impl PairsBuffer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair. One that no 32-bit guest could hold is left out.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let (Ok(name_len), Ok(value_len)) = (u32::try_from(name.len()), u32::try_from(value.len())) else { return };
        self.count += 1;
        self.lengths.extend_from_slice(&name_len.to_le_bytes());
        self.lengths.extend_from_slice(&value_len.to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.bytes.extend_from_slice(value);
        self.bytes.push(0);
    }

    /// Size of the wire form.
    pub fn byte_size(&self) -> usize {
        4 + self.lengths.len() + self.bytes.len()
    }

    /// Forgets the pairs and keeps the memory.
    pub fn clear(&mut self) {
        self.count = 0;
        self.lengths.clear();
        self.bytes.clear();
    }

    /// Writes the wire form to `target`, which has [`Self::byte_size`] bytes.
    pub(crate) fn copy_to(&self, target: &mut [u8]) {
        let parts = [&self.count.to_le_bytes()[..], &self.lengths, &self.bytes];
        let mut rest = target;
        for part in parts {
            let Some((head, tail)) = rest.split_at_mut_checked(part.len()) else { return };
            head.copy_from_slice(part);
            rest = tail;
        }
    }

    /// Writes the wire form to the end of `out` (properties that are maps are written so).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.lengths);
        out.extend_from_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn wire(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut buffer = PairsBuffer::new();
        for (name, value) in pairs {
            buffer.push(name.as_bytes(), value.as_bytes());
        }
        let mut out = Vec::new();
        buffer.write_to(&mut out);
        assert_eq!(out.len(), buffer.byte_size());
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let raw = wire(&[(":path", "/"), ("empty", ""), ("", "nameless")]);
        let read: Vec<_> = Pairs::parse(&raw).unwrap().iter().collect();
        assert_eq!(read, [(&b":path"[..], &b"/"[..]), (b"empty", b""), (b"", b"nameless")]);
    }

    #[test]
    fn layout_is_that_of_the_abi() {
        let expected = b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0";
        assert_eq!(wire(&[("a", "bc")]), expected);
    }

    #[test]
    fn empty_maps_have_three_forms() {
        for raw in [&b""[..], b"\0", b"\0\0\0\0"] {
            assert!(Pairs::parse(raw).unwrap().is_empty());
        }
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        let raw = wire(&[("name", "value"), ("x", "y")]);
        for end in 2..raw.len() {
            assert!(Pairs::parse(&raw[..end]).is_none(), "cut at {end}");
        }
        let mut longer = raw.clone();
        longer.push(0);
        assert!(Pairs::parse(&longer).is_none());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for (at, value) in [(0, u32::MAX), (0, 3), (4, u32::MAX), (8, u32::MAX), (4, 5), (8, 4)] {
            let mut raw = wire(&[("name", "value"), ("x", "y")]);
            raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(Pairs::parse(&raw).is_none(), "{value} at {at}");
        }
    }

    #[test]
    fn caps_hold() {
        let pair = ("n", "v");
        assert!(Pairs::parse(&wire(&vec![pair; MAX_PAIRS])).is_some());
        assert!(Pairs::parse(&wire(&vec![pair; MAX_PAIRS + 1])).is_none());
        let long = "x".repeat(MAX_BYTES);
        assert!(Pairs::parse(&wire(&[("n", &long)])).is_none());
    }
}
