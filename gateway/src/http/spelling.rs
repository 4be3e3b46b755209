//! How the names of fields are spelled on an HTTP/1 connection (`header_key_format`).
//!
//! Header maps hold names in lower case: all that looks at them inside sees them so. Only what is written to a
//! connection can be spelled otherwise, and only where the configuration asks for it are names remembered as they came.
//! What is remembered is what Envoy's formatters remember: of names that differ in case only the first, and also those
//! of fields that are gone by now, so that a field which is removed and added anew is spelled as the sender spelled it.

use std::cmp::Ordering;

use super::headers::tag;

/// How names are written that nobody remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCase {
    /// `content-type`
    #[default]
    Lower,
    /// `Content-Type`: a letter is a capital at the start and behind everything that is neither letter nor digit.
    Proper,
}

/// The formatter `envoy.http.stateful_header_formatters.preserve_case`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreserveCase {
    /// How the names are written that the message did not come with.
    pub others: NameCase,
    /// The reason phrase of a response goes on as it came.
    pub reason_phrase: bool,
}

/// `header_key_format` of one side of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// Lower case, unless the message remembers better.
    #[default]
    Lower,
    /// Proper case, unless the message remembers better.
    ProperCase,
    /// Messages that are read on this side remember their names, wherever they are written to.
    PreserveCase(PreserveCase),
}

impl KeyFormat {
    /// How names are written to this side in messages that remember none.
    pub fn written(self) -> NameCase {
        match self {
            Self::ProperCase => NameCase::Proper,
            Self::Lower | Self::PreserveCase(_) => NameCase::Lower,
        }
    }

    /// How messages remember their names that are read from this side, if they do.
    pub fn preserved(self) -> Option<PreserveCase> {
        match self {
            Self::PreserveCase(preserve) => Some(preserve),
            Self::Lower | Self::ProperCase => None,
        }
    }
}

/// The names of a message as its sender spelled them.
#[derive(Debug)]
pub struct OriginalNames {
    /// One behind the other.
    bytes: Vec<u8>,
    /// Sorted by tag, then by the name in lower case; none twice.
    places: Vec<Place>,
    others: NameCase,
    reason: Box<[u8]>,
}

/// Where a name lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u32,
    start: u32,
    end: u32,
}

impl OriginalNames {
    /// Remembers names, and the reason phrase if it is to go on.
    pub fn new<'n>(names: impl Iterator<Item = &'n [u8]>, reason: &[u8], preserve: PreserveCase) -> Self {
        let (mut bytes, mut places) = (Vec::with_capacity(256), Vec::with_capacity(16));
        for name in names {
            // A head is far smaller than 4 GiB.
            let start = bytes.len() as u32;
            bytes.extend_from_slice(name);
            places.push(Place { tag: tag(name), start, end: bytes.len() as u32 });
        }
        // Stable: of those that differ in case only, the first stays the first.
        places.sort_by(|one, other| one.tag.cmp(&other.tag).then_with(|| order(one.of(&bytes), other.of(&bytes))));
        places.dedup_by(|next, one| next.tag == one.tag && order(next.of(&bytes), one.of(&bytes)).is_eq());
        let reason = if preserve.reason_phrase { reason.trim_ascii().into() } else { Box::default() };
        Self { bytes, places, others: preserve.others, reason }
    }

    /// The reason phrase, if there is one to go on.
    pub fn reason(&self) -> Option<&[u8]> {
        (!self.reason.is_empty()).then_some(&*self.reason)
    }

    fn find(&self, name: &[u8]) -> Option<&[u8]> {
        let wanted = tag(name);
        let against = |place: &Place| place.tag.cmp(&wanted).then_with(|| order(place.of(&self.bytes), name));
        let found = self.places.binary_search_by(against).ok()?;
        self.places.get(found).map(|place| place.of(&self.bytes))
    }
}

impl Place {
    /// Places are made by `OriginalNames::new` of its bytes, so the fallback is never taken.
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// In lower case.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    if one.eq_ignore_ascii_case(other) {
        return Ordering::Equal;
    }
    one.iter().map(u8::to_ascii_lowercase).cmp(other.iter().map(u8::to_ascii_lowercase))
}

/// How the names of one message are written.
#[derive(Clone, Copy, Debug)]
pub enum Spelling<'m> {
    /// As header maps hold them.
    Lower,
    /// In proper case.
    Proper,
    /// As they came.
    Original(&'m OriginalNames),
}

impl<'m> Spelling<'m> {
    /// What the message remembers; if it remembers nothing, as the connection has it.
    #[inline]
    pub fn of(original: Option<&'m OriginalNames>, connection: NameCase) -> Self {
        match (original, connection) {
            (Some(names), _) => Self::Original(names),
            (None, NameCase::Lower) => Self::Lower,
            (None, NameCase::Proper) => Self::Proper,
        }
    }

    /// Spells a name anew that stands in lower case. No spelling changes its length.
    pub fn apply(self, name: &mut [u8]) {
        match self {
            Self::Lower => {}
            Self::Proper => proper(name),
            Self::Original(names) => match names.find(name) {
                // Of the same length: `find` finds nothing else.
                Some(original) if original.len() == name.len() => name.copy_from_slice(original),
                _ if names.others == NameCase::Proper => proper(name),
                _ => {}
            },
        }
    }
}

fn proper(name: &mut [u8]) {
    let mut begins = true;
    for byte in name {
        if begins {
            byte.make_ascii_uppercase();
        }
        begins = !byte.is_ascii_alphanumeric();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(spelling: Spelling<'_>, name: &str) -> String {
        let mut name = name.as_bytes().to_vec();
        spelling.apply(&mut name);
        String::from_utf8_lossy(&name).into_owned()
    }

    fn original(names: &[&str], preserve: PreserveCase) -> OriginalNames {
        OriginalNames::new(names.iter().map(|name| name.as_bytes()), b" So be it ", preserve)
    }

    #[test]
    fn proper_case() {
        for (lower, proper) in [
            ("content-type", "Content-Type"),
            ("te", "Te"),
            ("x_und-er.$score", "X_Und-Er.$Score"),
            ("1up-2nd", "1up-2nd"),
            ("foo$b#$are", "Foo$B#$Are"),
            ("", ""),
        ] {
            assert_eq!(spelled(Spelling::Proper, lower), proper);
        }
        assert_eq!(spelled(Spelling::Lower, "content-type"), "content-type");
    }

    #[test]
    fn names_are_spelled_as_they_came() {
        let long = format!("X-{}-Long", "a".repeat(300));
        let names = original(&["X-ID", "x-Foo", "X-foo", "TE", &long, "lower"], PreserveCase::default());
        let spelling = Spelling::of(Some(&names), NameCase::Proper);
        for name in ["X-ID", "x-Foo", "TE", &long, "lower"] {
            assert_eq!(spelled(spelling, &name.to_ascii_lowercase()), name);
        }
        assert_eq!(spelled(spelling, "x-other"), "x-other", "the connection has no say in it");
        assert_eq!(names.reason(), None);
    }

    #[test]
    fn what_did_not_come_is_spelled_as_configured() {
        let preserve = PreserveCase { others: NameCase::Proper, reason_phrase: true };
        let names = original(&["lower", "X-ID"], preserve);
        let spelling = Spelling::of(Some(&names), NameCase::Lower);
        assert_eq!(spelled(spelling, "x-other"), "X-Other");
        assert_eq!(spelled(spelling, "lower"), "lower");
        assert_eq!(names.reason(), Some(&b"So be it"[..]));
        assert_eq!(OriginalNames::new([].into_iter(), b" ", preserve).reason(), None);
    }
}
