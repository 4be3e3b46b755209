//! RE2's pattern syntax in terms of the regex crate's.
//!
//! Both are linear-time and nearly the same language; a pattern that both accept must not mean two things, so every
//! point where they part is written out here: ASCII classes, literal braces, nested brackets and set operators that RE2
//! reads as characters, octal, `\C`, `\Q…\E`, `\<`, and what RE2 refuses.
//!
//! Envoy 1.40 runs RE2 in its Latin-1 mode: a character is a byte, in the pattern as in the text. So `.` is half an `é`,
//! and `é+` repeats its second byte. The translation is for the regex crate with `unicode(false)`.
//! Source: RE2's syntax page and its parser (re2/parse.cc), and asking Envoy.

use std::fmt::Write;

/// A pattern in the regex crate's syntax.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) pattern: String,
    /// What every text that it matches as a whole starts with; may be empty, may be less than all of that.
    pub(super) prefix: Vec<u8>,
}

/// The translation, or what RE2 has against the pattern, in its words.
pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let latin1: String = pattern.bytes().map(char::from).collect();
    let mut translator = Translator {
        rest: &latin1,
        out: String::with_capacity(pattern.len() + 16),
        depth: 0,
        repeated: None,
        prefix: Vec::new(),
        in_prefix: true,
        alternatives: false,
    };
    while !translator.rest.is_empty() {
        translator.item()?;
    }
    if translator.depth > 0 {
        return Err("missing closing )".to_owned());
    }
    let prefix = if translator.alternatives { Vec::new() } else { translator.prefix };
    Ok(Translated { pattern: translator.out, prefix })
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    depth: usize,
    /// Where the repetition that was just read starts: RE2 refuses to repeat it again.
    repeated: Option<&'a str>,
    prefix: Vec<u8>,
    /// Only plain characters have come so far.
    in_prefix: bool,
    /// There is a `|` outside of all groups.
    alternatives: bool,
}

impl<'a> Translator<'a> {
    fn item(&mut self) -> Result<(), String> {
        let start = self.rest;
        let Some(c) = self.next() else { return Ok(()) };
        match c {
            '*' | '+' | '?' => return self.repetition(start, &c.to_string()),
            '{' => match self.braces(start) {
                Some((low, high, text)) => {
                    if low > 1000 || high.is_some_and(|high| high > 1000 || high < low) {
                        return Err(format!("bad repetition size: {text}"));
                    }
                    return self.repetition(start, text);
                }
                None => self.literal('{'),
            },
            '(' => {
                self.in_prefix = false;
                self.open_group()?;
            }
            ')' => {
                self.depth = self.depth.checked_sub(1).ok_or("unexpected )")?;
                self.out.push(')');
            }
            '[' => {
                self.in_prefix = false;
                self.class(start)?;
            }
            '\\' => self.escape(start)?,
            // Where it stands it says nothing: the whole text has to match.
            '^' if self.out.is_empty() => self.out.push('^'),
            '.' | '^' | '$' | '|' => {
                self.in_prefix = false;
                self.alternatives |= c == '|' && self.depth == 0;
                self.out.push(c);
            }
            other => self.literal(other),
        }
        self.repeated = None;
        Ok(())
    }

    fn literal(&mut self, c: char) {
        push_character(&mut self.out, c);
        if self.in_prefix {
            // All characters are Latin-1.
            self.prefix.push(c as u8);
        }
    }

    fn repetition(&mut self, start: &'a str, text: &str) -> Result<(), String> {
        // What is repeated may be missing.
        if std::mem::take(&mut self.in_prefix) {
            self.prefix.pop();
        }
        if let Some(before) = self.repeated {
            let both = before.len() - self.rest.len();
            return Err(format!("bad repetition operator: {}", before.get(..both).unwrap_or(before)));
        }
        if self.out.is_empty() || self.out.ends_with(['(', '|']) {
            return Err(format!("no argument for repetition operator: {text}"));
        }
        self.out.push_str(text);
        if self.rest.starts_with('?') {
            self.next();
            self.out.push('?');
        }
        self.repeated = Some(start);
        Ok(())
    }

    /// `n}`, `n,}` or `n,m}` behind a brace; anything else leaves the brace a character.
    fn braces(&mut self, start: &'a str) -> Option<(u32, Option<u32>, &'a str)> {
        let (inside, rest) = self.rest.split_once('}')?;
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        let (low, high) = match inside.split_once(',') {
            None => (number(inside)?, Some(number(inside)?)),
            Some((low, "")) => (number(low)?, None),
            Some((low, high)) => (number(low)?, Some(number(high)?)),
        };
        let text = start.get(..inside.len() + 2)?;
        self.rest = rest;
        Some((low, high, text))
    }

    fn open_group(&mut self) -> Result<(), String> {
        self.depth += 1;
        self.out.push('(');
        let Some(flags) = self.rest.strip_prefix('?') else { return Ok(()) };
        if flags.starts_with("P<") || flags.starts_with('<') && !flags.starts_with("<=") && !flags.starts_with("<!") {
            let name = self.rest.split_inclusive('>').next().unwrap_or_default();
            return self.take(name);
        }
        let end = flags.find([':', ')']);
        let known = |text: &str| text.bytes().all(|b| b"imsU-".contains(&b));
        match end {
            Some(end) if flags.get(..end).is_some_and(known) => {
                let text = self.rest.get(..end + 2).unwrap_or_default();
                if text.ends_with(')') {
                    self.depth -= 1;
                }
                self.take(text)
            }
            _ => {
                Err(format!("invalid perl operator: (?{}", flags.chars().next().map(String::from).unwrap_or_default()))
            }
        }
    }

    /// Copies `text`, which the rest starts with.
    fn take(&mut self, text: &str) -> Result<(), String> {
        self.rest = self.rest.get(text.len()..).unwrap_or_default();
        self.out.push_str(text);
        Ok(())
    }

    fn escape(&mut self, start: &'a str) -> Result<(), String> {
        let Some(c) = self.rest.chars().next() else { return Err("trailing \\".to_owned()) };
        self.in_prefix &=
            !matches!(c, 'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'b' | 'B' | 'A' | 'z' | 'C' | 'Q' | 'p' | 'P');
        match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                self.next();
                let (text, negated) = perl_class(c);
                let _ = write!(self.out, "[{}{text}]", if negated { "^" } else { "" });
            }
            'b' | 'B' | 'A' | 'z' => {
                self.next();
                let _ = write!(self.out, r"\{c}");
            }
            'C' => {
                self.next();
                self.out.push_str("(?s:.)");
            }
            'Q' => {
                self.next();
                let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                text.chars().for_each(|c| push_character(&mut self.out, c));
            }
            'p' | 'P' => self.unicode_class(start)?,
            _ => {
                let literal = self.character(start)?;
                self.literal(literal);
            }
        }
        Ok(())
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}` and their negations; the rest stands at the `p`.
    fn unicode_class(&mut self, start: &'a str) -> Result<(), String> {
        let mut negated = self.next() == Some('P');
        let name = match self.next() {
            Some('{') => {
                let Some((name, rest)) = self.rest.split_once('}') else {
                    return Err(format!("invalid character class range: {start}"));
                };
                self.rest = rest;
                name.to_owned()
            }
            Some(c) => c.to_string(),
            None => return Err(format!("invalid character class range: {start}")),
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                negated = !negated;
                name
            }
            None => name.as_str(),
        };
        let bad = || format!("invalid character class range: \\p{{{name}}}");
        if !name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_') {
            return Err(bad());
        }
        let class = regex::Regex::new(&format!(r"^\p{{{name}}}$")).map_err(|_| bad())?;
        let has = |byte: &u8| class.is_match(char::from(*byte).encode_utf8(&mut [0; 4])) != negated;
        // Nested brackets, so that it stands for itself inside of a class as well as outside, also if it is empty.
        self.out.push_str("[[^\\x00-\\xff]");
        (0..=255).filter(has).for_each(|byte| push_character(&mut self.out, char::from(byte)));
        self.out.push(']');
        Ok(())
    }

    /// An escape that stands for one character; the rest stands behind the backslash.
    fn character(&mut self, start: &'a str) -> Result<char, String> {
        let bad = |s: &Self| {
            let length = (start.len() - s.rest.len()).max(1);
            Err(format!("invalid escape sequence: {}", start.get(..length).unwrap_or(start)))
        };
        let Some(c) = self.next() else { return Err("trailing \\".to_owned()) };
        let code = match c {
            'a' => 0x07,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            'x' if self.rest.starts_with('{') => {
                let Some((digits, rest)) = self.rest.get(1..).and_then(|rest| rest.split_once('}')) else {
                    return bad(self);
                };
                self.rest = rest;
                u32::from_str_radix(digits, 16).unwrap_or(u32::MAX)
            }
            'x' => {
                let digits = self.rest.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let Some(digits) = digits else { return bad(self) };
                self.rest = self.rest.get(2..).unwrap_or_default();
                u32::from_str_radix(digits, 16).unwrap_or(u32::MAX)
            }
            // One digit alone would be a back-reference, which RE2 has not.
            '1'..='7' if !self.rest.starts_with(|c: char| ('0'..='7').contains(&c)) => return bad(self),
            '0'..='7' => {
                let mut code = u32::from(c) - u32::from('0');
                for _ in 0..2 {
                    if let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) {
                        self.next();
                        code = code * 8 + digit;
                    }
                }
                code
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
            _ => return bad(self),
        };
        u8::try_from(code).map_or_else(|_| bad(self), |byte| Ok(char::from(byte)))
    }

    /// A bracket expression; the rest stands behind the bracket.
    fn class(&mut self, start: &'a str) -> Result<(), String> {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.next();
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let item = self.rest;
            let Some(c) = self.rest.chars().next() else { return Err(format!("missing closing ]: {start}")) };
            if c == ']' && !first {
                self.next();
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                let name = self.rest.get(..end + 2).unwrap_or_default();
                if !is_posix_class(name) {
                    return Err(format!("invalid character class range: {name}"));
                }
                self.take(name)?;
                continue;
            }
            if c == '\\' {
                match self.rest.chars().nth(1) {
                    Some(p @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => {
                        self.rest = self.rest.get(2..).unwrap_or_default();
                        let (text, negated) = perl_class(p);
                        let _ = if negated { write!(self.out, "[^{text}]") } else { write!(self.out, "{text}") };
                        continue;
                    }
                    Some('p' | 'P') => {
                        self.next();
                        self.unicode_class(item)?;
                        continue;
                    }
                    _ => {}
                }
            }
            let low = self.class_character()?;
            push_character(&mut self.out, low);
            let mut ahead = self.rest.chars();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
                self.next();
                let high = self.class_character()?;
                if high < low {
                    let length = item.len() - self.rest.len();
                    return Err(format!("invalid character class range: {}", item.get(..length).unwrap_or(item)));
                }
                self.out.push('-');
                push_character(&mut self.out, high);
            }
        }
    }

    fn class_character(&mut self) -> Result<char, String> {
        let start = self.rest;
        match self.next() {
            Some('\\') => self.character(start),
            Some(c) => Ok(c),
            None => Err("missing closing ]".to_owned()),
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }
}

/// RE2's `\s` has no vertical tab.
fn perl_class(letter: char) -> (&'static str, bool) {
    let text = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r"\t\n\x0c\r\x20",
        _ => "0-9A-Za-z_",
    };
    (text, letter.is_ascii_uppercase())
}

fn is_posix_class(text: &str) -> bool {
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
        "word", "xdigit",
    ];
    let name = text.trim_start_matches("[:").trim_end_matches(":]");
    NAMES.contains(&name.strip_prefix('^').unwrap_or(name))
}

/// In a form that is itself and nothing else, inside and outside of a class.
fn push_character(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '/' {
        out.push(c);
    } else {
        let _ = write!(out, r"\x{:02x}", u32::from(c));
    }
}

#[cfg(test)]
mod tests;
