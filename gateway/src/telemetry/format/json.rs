//! JSON formats: the shape of an object, with format strings as its values.
//!
//! As in Envoy: keys are sorted; a value that is one operator keeps its type (numbers stay numbers, what is missing is
//! null); everything else is a string.

use serde_json::Value;

use super::{Format, FormatCx, FormatError, Operator, Piece};

/// A parsed JSON format.
#[derive(Clone, Debug)]
pub struct JsonFormat {
    root: Node,
    omit_empty: bool,
}

#[derive(Clone, Debug)]
enum Node {
    /// Keys are quoted, escaped and followed by a colon.
    Object(Vec<(Vec<u8>, Self)>),
    List(Vec<Self>),
    /// JSON text.
    Literal(Vec<u8>),
    /// One operator alone.
    Operator(Operator),
    /// Literals are escaped.
    Text(Format),
}

impl JsonFormat {
    /// Parses a format. With `omit_empty`, members without a value are left out.
    pub fn parse(shape: &Value, omit_empty: bool) -> Result<Self, FormatError> {
        Ok(Self { root: Node::parse(shape, omit_empty)?, omit_empty })
    }

    /// Appends the document, without a line end.
    pub fn render(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        if !self.root.write(cx, self.omit_empty, out) {
            out.extend_from_slice(b"{}");
        }
    }
}

impl Node {
    fn parse(shape: &Value, omit_empty: bool) -> Result<Self, FormatError> {
        Ok(match shape {
            Value::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by_key(|(key, _)| key.as_str());
                let member = |(key, value): (&String, &Value)| {
                    let mut name = key.clone().into_bytes();
                    escape_from(&mut name, 0);
                    Ok(([b"\"", name.as_slice(), b"\":"].concat(), Self::parse(value, omit_empty)?))
                };
                Self::Object(sorted.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::parse(item, omit_empty)).collect::<Result<_, _>>()?)
            }
            Value::String(text) => {
                let mut format = Format::parse(text)?.omit_empty(omit_empty);
                for piece in &mut format.pieces {
                    if let Piece::Literal(text) = piece {
                        escape_from(text, 0);
                    }
                }
                match <[Piece; 1]>::try_from(format.pieces) {
                    Ok([Piece::Operator(operator)]) => Self::Operator(operator),
                    Ok([Piece::Literal(text)]) => Self::Literal([b"\"", text.as_slice(), b"\""].concat()),
                    Err(pieces) => Self::Text(Format { pieces, omit_empty }),
                }
            }
            other => Self::Literal(other.to_string().into_bytes()),
        })
    }

    /// Appends the value; says whether there is one. With `omit_empty`, an object whose members all have none has none.
    fn write(&self, cx: &FormatCx<'_>, omit_empty: bool, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Object(members) => {
                out.push(b'{');
                let empty = out.len();
                for (name, value) in members {
                    write_member(name, value, cx, omit_empty, empty, out);
                }
                if omit_empty && out.len() == empty && !members.is_empty() {
                    out.pop();
                    return false;
                }
                out.push(b'}');
                true
            }
            Self::List(items) => {
                out.push(b'[');
                let empty = out.len();
                for item in items {
                    write_member(&[], item, cx, omit_empty, empty, out);
                }
                out.push(b']');
                true
            }
            Self::Literal(text) => {
                out.extend_from_slice(text);
                true
            }
            Self::Operator(operator) if operator.is_json() => operator.write_json(cx, out),
            Self::Operator(operator) => write_quoted(operator, cx, out),
            Self::Text(format) => {
                out.push(b'"');
                for piece in &format.pieces {
                    let start = out.len();
                    match piece {
                        Piece::Literal(text) => out.extend_from_slice(text),
                        Piece::Operator(operator) if operator.write(cx, out) => escape_from(out, start),
                        Piece::Operator(_) if format.omit_empty => {}
                        Piece::Operator(_) => out.push(b'-'),
                    }
                }
                out.push(b'"');
                true
            }
        }
    }
}

fn write_member(name: &[u8], value: &Node, cx: &FormatCx<'_>, omit_empty: bool, empty: usize, out: &mut Vec<u8>) {
    let start = out.len();
    if start > empty {
        out.push(b',');
    }
    out.extend_from_slice(name);
    if !value.write(cx, omit_empty, out) {
        if omit_empty {
            out.truncate(start);
        } else {
            out.extend_from_slice(b"null");
        }
    }
}

/// Appends an operator's value as a JSON string; says whether there is one.
pub(super) fn write_quoted(operator: &Operator, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(b'"');
    if !operator.write(cx, out) {
        out.truncate(start);
        return false;
    }
    escape_from(out, start + 1);
    out.push(b'"');
    true
}

/// Makes the inside of a JSON string of what stands in `out` from `start` on. Usually nothing needs an escape.
pub(super) fn escape_from(out: &mut Vec<u8>, start: usize) {
    let plain = |b: &u8| matches!(b, 0x20..0x80) && !matches!(b, b'"' | b'\\');
    if out.get(start..).unwrap_or_default().iter().all(plain) {
        return;
    }
    let raw = out.split_off(start);
    match std::str::from_utf8(&raw) {
        Ok(text) => text.bytes().for_each(|b| escape(b, out)),
        // As Envoy shows what is not UTF-8: every byte by itself.
        Err(_) => raw.iter().for_each(|b| if plain(b) { out.push(*b) } else { escape_long(*b, out) }),
    }
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        0..0x20 => return escape_long(byte, out),
        _ => return out.push(byte),
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn escape_long(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u00");
    out.extend([byte >> 4, byte & 0xf].map(|nibble| HEX[usize::from(nibble)]));
}
