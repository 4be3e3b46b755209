//! When a head or a trailer section that arrives in pieces is worth parsing.

use super::HeadLimits;

/// What has arrived of one head. Its sender may send a byte at a time, and must not have it parsed for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Bytes that were looked at.
    seen: usize,
    /// More than empty lines have come.
    begun: bool,
}

impl Arrival {
    /// Whether to parse `input`, which begins with the head: when the first of it is there (garbage is told early), and
    /// then only when an empty line has come, or as much as a head may have. Empty lines before it are none of its own.
    pub fn is_worth_parsing(&mut self, input: &[u8], limits: HeadLimits) -> bool {
        let before = std::mem::replace(&mut self.seen, input.len());
        if input.len() <= before {
            return false;
        }
        if input.len() >= limits.bytes {
            return true;
        }
        if !self.begun {
            self.begun = input.iter().skip(before).any(|byte| !matches!(byte, b'\r' | b'\n'));
            return self.begun || before == 0;
        }
        let new = |overlap: usize| input.get(before.saturating_sub(overlap)..).unwrap_or_default();
        memchr::memmem::find(new(3), b"\n\r\n").is_some() || memchr::memmem::find(new(1), b"\n\n").is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// After how many bytes it is to be parsed, if it comes in pieces of this length.
    fn parsed_at(head: &[u8], step: usize, limit: usize) -> Vec<usize> {
        let (mut arrival, limits) = (Arrival::default(), HeadLimits { bytes: limit, ..HeadLimits::default() });
        let ends = (step..head.len()).step_by(step).chain([head.len()]);
        ends.filter(|end| arrival.is_worth_parsing(&head[..*end], limits)).collect()
    }

    #[test]
    fn at_first_and_when_it_may_be_whole() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for step in 1..head.len() {
            let parsed = parsed_at(head, step, 1000);
            assert!(parsed.len() <= 2 && parsed[0] == step && parsed.last() == Some(&head.len()), "{step}: {parsed:?}");
        }
        assert_eq!(parsed_at(head, head.len(), 1000), [head.len()]);
        assert_eq!(parsed_at(b"a\nb\n\n", 1, 1000), [1, 5]);
        assert_eq!(parsed_at(b"abcdef", 2, 6), [2, 6]);
        assert_eq!(parsed_at(b"", 1, 1000), [0; 0]);
    }

    #[test]
    fn empty_lines_before_it_are_passed_over() {
        let lines = "\r\n".repeat(50);
        let head = format!("{lines}GET / HTTP/1.1\r\n\r\n");
        assert_eq!(parsed_at(head.as_bytes(), 1, 1000), [1, 101, head.len()]);
        assert_eq!(parsed_at(lines.as_bytes(), 1, 60)[..2], [1, 60]);
    }
}
