//! From a format string to its pieces.

use super::operator::Operator;
use super::{FormatError, Piece};

/// Splits a format. An operator is `%NAME%`, `%NAME(parameter)%`, with `:LENGTH` before the last percent sign if its
/// value is cut; the parameter may contain percent signs.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        literal.extend_from_slice(before.as_bytes());
        let start = text.len() - behind.len() - 1;
        rest = behind;
        if let Some(after) = rest.strip_prefix('%') {
            literal.push(b'%');
            rest = after;
            continue;
        }
        let (command, after) = Command::read(rest).ok_or(FormatError::Syntax(start))?;
        let operator = Operator::parse(&command)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Operator(operator));
        rest = after;
    }
    literal.extend_from_slice(rest.as_bytes());
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// An operator as it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    pub(super) name: &'a str,
    pub(super) parameter: Option<&'a str>,
    pub(super) max_length: Option<usize>,
}

impl<'a> Command<'a> {
    /// Reads what stands behind an opening percent sign, up to and with the closing one.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let end = text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))?;
        let (name, mut rest) = text.split_at(end);
        if name.is_empty() {
            return None;
        }
        let mut parameter = None;
        if let Some(inside) = rest.strip_prefix('(') {
            let (inner, after) = inside.split_once(')')?;
            (parameter, rest) = (Some(inner), after);
        }
        let mut max_length = None;
        if let Some(after) = rest.strip_prefix(':') {
            let (digits, after) = after.split_at_checked(after.find(|c: char| !c.is_ascii_digit())?)?;
            max_length = Some(digits.parse().ok()?);
            rest = after;
        }
        Some((Self { name, parameter, max_length }, rest.strip_prefix('%')?))
    }

    pub(super) fn wrong(&self, reason: impl Into<String>) -> FormatError {
        FormatError::Parameter { operator: self.name.to_owned(), reason: reason.into() }
    }

    /// The parameter of an operator that must have one.
    pub(super) fn required(&self, what: &str) -> Result<&'a str, FormatError> {
        self.parameter.filter(|p| !p.is_empty()).ok_or_else(|| self.wrong(format!("needs a parameter: {what}")))
    }

    /// Checks that there is neither a parameter nor a length.
    pub(super) fn bare(&self) -> Result<(), FormatError> {
        if self.parameter.is_some_and(|p| !p.is_empty()) {
            return Err(self.wrong("takes no parameter"));
        }
        self.uncut()
    }

    /// Checks that there is no length.
    pub(super) fn uncut(&self) -> Result<(), FormatError> {
        if self.max_length.is_some() { Err(self.wrong("takes no length")) } else { Ok(()) }
    }
}
