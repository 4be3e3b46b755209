//! JSON text as a tape, without lines: an eighth of the memory that the YAML scanner takes for it. What is no JSON, and
//! what has problems whose lines are asked for, is read by the scanner.

use std::{borrow::Cow, fmt};

use serde_json::de::{Deserializer, StrRead};

use super::{MAX_TEXT, Node, Shape, Tape, problem, too_long};
use crate::problem::Problem;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

impl<'a> Tape<'a> {
    /// Reads a JSON document; none if the text is not JSON. Lines are all 0.
    pub(crate) fn of_json(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_TEXT || !text.trim_ascii_start().starts_with('{') {
            return None;
        }
        Self::parse(text).ok()
    }

    /// Reads a text that must be JSON, with the line and the column of what is not.
    pub(crate) fn of_json_only(text: &'a str) -> Result<Self, Problem> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_TEXT {
            return Err(too_long());
        }
        Self::parse(text).map_err(|error| {
            let (line, column, told) = (error.line(), error.column(), error.to_string());
            let what = told.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&told);
            let reason = format!("not JSON, as the file's name says: {what}, at column {column}");
            problem(u32::try_from(line).ok(), reason)
        })
    }

    fn parse(text: &'a str) -> serde_json::Result<Self> {
        let mut nodes = Vec::new();
        let mut json = Deserializer::new(StrRead::new(text));
        Value(&mut nodes).deserialize(&mut json)?;
        json.end()?;
        nodes.shrink_to_fit();
        Ok(Self { nodes })
    }
}

/// The text with a blank in place of each comma behind the last part of a list or an object, which Envoy takes. Every
/// other byte stays in its place, and so do lines and columns.
pub(crate) fn without_trailing_commas(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // Where a comma stands that nothing but blanks has followed.
    let mut comma = None;
    // A comma without anything before it ends nothing.
    let mut something = false;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b',' => (comma, something) = (Some(at).filter(|_| something), false),
            b'}' | b']' => {
                if let Some(blank) = comma.take().and_then(|at| bytes.get_mut(at)) {
                    *blank = b' ';
                }
                something = true;
            }
            _ => {
                (comma, quoted) = (None, byte == b'"');
                something = !matches!(byte, b'{' | b'[');
            }
        }
    }
    // A comma and a blank are a byte each.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Appends the nodes of one value.
struct Value<'n, 'a>(&'n mut Vec<Node<'a>>);

impl<'a> Value<'_, 'a> {
    fn push(self, shape: Shape<'a>) {
        self.0.push(Node { line: 0, shape });
    }

    fn plain<E>(self, text: impl Into<Cow<'a, str>>) -> Result<(), E> {
        self.push(Shape::Scalar { text: text.into(), plain: true });
        Ok(())
    }

    fn quoted<E>(self, text: impl Into<Cow<'a, str>>) -> Result<(), E> {
        self.push(Shape::Scalar { text: text.into(), plain: false });
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Value<'_, 'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Value<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.plain(if value { "true" } else { "false" })
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.plain(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.plain(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.plain(value.to_string())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.plain("null")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.quoted(text.to_owned())
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<(), E> {
        self.quoted(text)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        let at = self.0.len();
        let nodes = self.0;
        nodes.push(Node { line: 0, shape: Shape::List { end: at } });
        while items.next_element_seed(Value(nodes))?.is_some() {}
        let shape = Shape::List { end: nodes.len() };
        close(nodes, at, shape)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut entries: A) -> Result<(), A::Error> {
        let at = self.0.len();
        let nodes = self.0;
        nodes.push(Node { line: 0, shape: Shape::Object { end: at, merges: false } });
        while entries.next_key_seed(Value(nodes))?.is_some() {
            entries.next_value_seed(Value(nodes))?;
        }
        let shape = Shape::Object { end: nodes.len(), merges: false };
        close(nodes, at, shape)
    }
}

/// Puts the shape that is known at the end of a list or an object where it began.
fn close<'a, E: Error>(nodes: &mut [Node<'a>], at: usize, shape: Shape<'a>) -> Result<(), E> {
    let node = nodes.get_mut(at).ok_or_else(|| E::custom("no beginning"))?;
    node.shape = shape;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tape::View;

    /// Both readers, node by node.
    fn same(text: &str) {
        let (json, yaml) = (Tape::of_json(text).unwrap(), Tape::read(text).unwrap());
        assert_eq!(json.len(), yaml.len(), "{text}");
        for at in 0..json.len() {
            match (json.view(at), yaml.view(at)) {
                (View::Scalar { text: a, plain }, View::Scalar { text: b, plain: also }) => {
                    assert_eq!((a, plain), (b, also), "{text}");
                }
                (View::List, View::List) => assert_eq!(json.items(at).count(), yaml.items(at).count(), "{text}"),
                (View::Object, View::Object) => {
                    assert_eq!(json.entries(at).unwrap().len(), yaml.entries(at).unwrap().len(), "{text}");
                }
                (a, b) => panic!("{text}: {a:?} and {b:?}"),
            }
        }
    }

    #[test]
    fn the_same_as_the_yaml_scanner() {
        same(
            r#"{"a": [1, -2, 1.5, true, false, null, "x", "", "~", "1"], "b": {"c": {}, "d": []}, "a": {"<<": {"x": 1}}}"#,
        );
        same("\u{feff} {\"a\\n\\u00e4\\\"\": \"\\t\\\\\",\n \"b\":\n [[], [{}]]}\n");
    }

    #[test]
    fn only_commas_that_end_something_are_taken_away() {
        for (text, clean) in [
            ("[1, 2,]", "[1, 2 ]"),
            ("{\"a\": {\"b\": [1,\n],\t}, }", "{\"a\": {\"b\": [1 \n] \t}  }"),
            ("{\"a,]\": \",}\\\",]\", \"b\\\\\": 1,}", "{\"a,]\": \",}\\\",]\", \"b\\\\\": 1 }"),
            ("[\"ä\",]", "[\"ä\" ]"),
        ] {
            assert_eq!(without_trailing_commas(text), clean);
            assert!(Tape::of_json_only(clean).is_ok(), "{clean}");
        }
        for text in ["[,]", "{,}", "[1,,]", "[1,,2]", ",", "[[,],]", "[1,", "\"a,]"] {
            assert!(Tape::of_json_only(&without_trailing_commas(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn surrogate_pairs_are_one_character() {
        let tape = Tape::of_json(r#"{"a": "\ud83d\ude00"}"#).unwrap();
        assert!(matches!(tape.view(2), View::Scalar { text: "\u{1f600}", plain: false }));
    }

    #[test]
    fn what_is_no_json_is_left_to_yaml() {
        for text in ["", "a: 1", "{a: 1}", "{\"a\": 1,}", "{\"a\": 1} x", "{\"a\": .5}", "# {}\n", "[1]"] {
            assert!(Tape::of_json(text).is_none(), "{text}");
        }
        assert!(Tape::of_json(&"{\"a\":".repeat(1000)).is_none());
    }
}
