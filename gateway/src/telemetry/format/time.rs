//! Dates in log lines: strftime as Envoy has it (absl's, with `%f`, `%3f` and `%E3S` for fractions of a second), in UTC.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A parsed date format.
#[derive(Clone, Debug)]
pub(super) enum TimeFormat {
    /// `2026-11-22T15:30:29.008Z`
    Default,
    Parts(Vec<Part>),
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Literal(String),
    /// Handled by jiff's strftime.
    Calendar(String),
    /// Seconds since 1970.
    Epoch,
    /// That many digits of the fraction of the second.
    Fraction(usize),
    /// Seconds with that many digits of fraction.
    Seconds(usize),
    /// Seconds with as many digits as needed.
    SecondsFull,
}

/// What jiff prints as C does.
const CALENDAR: &[u8] = b"AaBbCDdeFGgHhIjklMmnPpRrSTtUuVWwXxYyZzc";

impl TimeFormat {
    /// Parses a format; an empty one is the default. Says what it does not know.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Default);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            literal.push_str(before);
            let (part, after) = specifier(behind)?;
            if let Part::Literal(text) = &part {
                literal.push_str(text);
            } else {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(part);
            }
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self::Parts(parts))
    }

    /// Appends a time, given as time since 1970.
    pub(super) fn write(&self, since_epoch: Duration, out: &mut Vec<u8>) {
        match self {
            Self::Default => write_default(since_epoch, out),
            Self::Parts(parts) => {
                let zoned = Timestamp::from_duration(since_epoch.try_into().unwrap_or_default())
                    .unwrap_or(Timestamp::MAX)
                    .to_zoned(TimeZone::UTC);
                parts.iter().for_each(|part| part.write(since_epoch, &zoned, out));
            }
        }
    }
}

impl Part {
    fn write(&self, since_epoch: Duration, zoned: &jiff::Zoned, out: &mut Vec<u8>) {
        let nanos = since_epoch.subsec_nanos();
        match self {
            Self::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Self::Calendar(format) => out.extend_from_slice(zoned.strftime(format).to_string().as_bytes()),
            Self::Epoch => out.extend_from_slice(itoa::Buffer::new().format(since_epoch.as_secs()).as_bytes()),
            Self::Fraction(digits) => write_fraction(nanos, *digits, out),
            Self::Seconds(digits) => {
                two(since_epoch.as_secs() % 60, out);
                if *digits > 0 {
                    out.push(b'.');
                    write_fraction(nanos, *digits, out);
                }
            }
            Self::SecondsFull => {
                two(since_epoch.as_secs() % 60, out);
                if nanos > 0 {
                    out.push(b'.');
                    write_fraction(nanos, 9, out);
                    while out.last() == Some(&b'0') {
                        out.pop();
                    }
                }
            }
        }
    }
}

fn specifier(text: &str) -> Result<(Part, &str), String> {
    let unknown = || format!("unknown date specifier %{}", text.chars().take(3).collect::<String>());
    let bytes = text.as_bytes();
    // Every arm has matched that many bytes, all of them ASCII.
    let behind = |length| text.get(length..).unwrap_or_default();
    let one = |part| Ok((part, behind(1)));
    match bytes {
        [b'%', ..] => one(Part::Literal("%".to_owned())),
        [b's', ..] => one(Part::Epoch),
        [b'f', ..] => one(Part::Fraction(9)),
        [digit @ b'1'..=b'9', b'f', ..] => Ok((Part::Fraction(usize::from(digit - b'0')), behind(2))),
        [b'E', digit @ b'0'..=b'9', b'S', ..] => Ok((Part::Seconds(usize::from(digit - b'0')), behind(3))),
        [b'E', digit @ b'0'..=b'9', b'f', ..] => Ok((Part::Fraction(usize::from(digit - b'0')), behind(3))),
        [b'E', b'*', b'S', ..] => Ok((Part::SecondsFull, behind(3))),
        [b'E', b'z', ..] => Ok((Part::Calendar("%:z".to_owned()), behind(2))),
        [b'E', b'4', b'Y', ..] => Ok((Part::Calendar("%Y".to_owned()), behind(3))),
        [letter, ..] if CALENDAR.contains(letter) => one(Part::Calendar(format!("%{}", *letter as char))),
        _ => Err(unknown()),
    }
}

/// Time since 1970; zero for a clock that stands before.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn write_default(since_epoch: Duration, out: &mut Vec<u8>) {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    out.extend_from_slice(itoa::Buffer::new().format(year).as_bytes());
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(day, out);
    out.push(b'T');
    two(seconds / 3600 % 24, out);
    out.push(b':');
    two(seconds / 60 % 60, out);
    out.push(b':');
    two(seconds % 60, out);
    out.push(b'.');
    write_fraction(since_epoch.subsec_nanos(), 3, out);
    out.push(b'Z');
}

/// Year, month and day of a count of days since 1970-01-01 (Hinnant's `civil_from_days`, for days after the epoch).
pub fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn two(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

fn write_fraction(nanos: u32, digits: usize, out: &mut Vec<u8>) {
    let mut left = nanos;
    let mut unit = 100_000_000;
    for _ in 0..digits.min(9) {
        out.push(b'0' + (left / unit) as u8);
        left %= unit;
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(format: &str, at: Duration) -> String {
        let mut out = Vec::new();
        TimeFormat::parse(format).unwrap().write(at, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What jiff cannot print would be a panic at the first line of a log.
    #[test]
    fn every_specifier_that_is_taken_is_written() {
        for letter in CALENDAR {
            let format = format!("%{}", *letter as char);
            assert!(!shown(&format, Duration::from_secs(1_795_361_429)).is_empty(), "{format}");
        }
    }

    #[test]
    fn formats() {
        let at = Duration::new(1_795_361_429, 8_153_000);
        for (format, text) in [
            ("", "2026-11-22T15:30:29.008Z"),
            ("%s.%3f %Y %f %9f %1f %6f", "1795361429.008 2026 008153000 008153000 0 008153"),
            ("%Y/%m/%dT%H:%M:%S%z %s", "2026/11/22T15:30:29+0000 1795361429"),
            ("%E3S %E*S %Ez 100%%", "29.008 29.008153 +00:00 100%"),
            ("%d/%b/%Y:%H:%M:%S %Z", "22/Nov/2026:15:30:29 UTC"),
            ("%b %e %H:%M:%S %a %j", "Nov 22 15:30:29 Sun 326"),
        ] {
            assert_eq!(shown(format, at), text, "{format}");
        }
        assert_eq!(shown("", Duration::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown("", Duration::from_secs(951_782_400)), "2000-02-29T00:00:00.000Z");
        assert!(TimeFormat::parse("%Q").is_err() && TimeFormat::parse("%").is_err());
    }
}
