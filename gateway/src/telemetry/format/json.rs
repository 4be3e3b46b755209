//! JSON formats: the shape of an object, with format strings as its values.
//!
//! As in Envoy: keys are sorted; a value that is one operator keeps its type (numbers stay numbers, what is missing is
//! null); everything else is a string.

use serde_json::Value;

use super::{Format, FormatCx, FormatError, Piece};

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
    Operator(super::Operator),
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
            out.extend_from_slice(b"null");
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
                    quote_from(&mut name, 0);
                    name.push(b':');
                    Ok((name, Self::parse(value, omit_empty)?))
                };
                Self::Object(sorted.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::parse(item, omit_empty)).collect::<Result<_, _>>()?)
            }
            Value::String(text) => {
                let mut format = Format::parse(text)?.omit_empty(omit_empty);
                match (format.pieces.pop(), format.pieces.is_empty()) {
                    (Some(Piece::Operator(operator)), true) => Self::Operator(operator),
                    (Some(Piece::Literal(mut text)), true) => {
                        quote_from(&mut text, 0);
                        Self::Literal(text)
                    }
                    (Some(last), _) => {
                        format.pieces.push(last);
                        Self::Text(format)
                    }
                    (None, _) => Self::Literal(b"\"\"".to_vec()),
                }
            }
            other => Self::Literal(other.to_string().into_bytes()),
        })
    }

    /// Appends the value; says whether there is one.
    fn write(&self, cx: &FormatCx<'_>, omit_empty: bool, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Object(members) => {
                out.push(b'{');
                let empty = out.len();
                for (name, value) in members {
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
                out.push(b'}');
                true
            }
            Self::List(items) => {
                out.push(b'[');
                let empty = out.len();
                for item in items {
                    let start = out.len();
                    if start > empty {
                        out.push(b',');
                    }
                    if !item.write(cx, omit_empty, out) {
                        if omit_empty {
                            out.truncate(start);
                        } else {
                            out.extend_from_slice(b"null");
                        }
                    }
                }
                out.push(b']');
                true
            }
            Self::Literal(text) => {
                out.extend_from_slice(text);
                true
            }
            Self::Operator(operator) if operator.is_json() => operator.write_json(cx, out),
            Self::Operator(operator) => {
                let start = out.len();
                operator.write(cx, out) && quote_from(out, start)
            }
            Self::Text(format) => {
                let start = out.len();
                format.render(cx, out);
                quote_from(out, start)
            }
        }
    }
}

/// Makes a JSON string of what stands in `out` from `start` on. Usually nothing needs an escape, and the text is moved
/// by one byte. Always true, for use in conditions.
pub(super) fn quote_from(out: &mut Vec<u8>, start: usize) -> bool {
    let plain =
        out.get(start..).unwrap_or_default().iter().all(|b| matches!(b, 0x20..0x7f) && !matches!(b, b'"' | b'\\'));
    if plain {
        out.insert(start, b'"');
        out.push(b'"');
        return true;
    }
    let raw = out.split_off(start);
    out.push(b'"');
    for chunk in raw.utf8_chunks() {
        chunk.valid().bytes().for_each(|b| escape(b, out));
        // Envoy shows bytes that are not UTF-8 in octal.
        for byte in chunk.invalid() {
            out.extend_from_slice(&[b'\\', b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
        }
    }
    out.push(b'"');
    true
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
        0..0x20 | 0x7f => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 0xf].map(|nibble| HEX[usize::from(nibble)]));
            return;
        }
        _ => return out.push(byte),
    };
    out.extend_from_slice(&[b'\\', short]);
}
