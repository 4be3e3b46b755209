//! `validate.rules` of single values. A reason reads on after the path: "must be …".

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use regex::Regex;

use crate::{
    schema::{self, Bound, Kind, Rule},
    time,
    wire::{self, Value},
};

/// The rules of how many items there are.
pub(super) fn check_count(count: usize, rules: &[Rule]) -> Result<(), String> {
    // Counts are far below what an i128 holds.
    let count = count as i128;
    if count == 0 && rules.iter().any(|r| matches!(r, Rule::IgnoreEmpty)) {
        return Ok(());
    }
    for rule in rules {
        match rule {
            Rule::MinItems(min) if count < *min => return Err(format!("must have at least {min} {}", items(*min))),
            Rule::MaxItems(max) if count > *max => return Err(format!("must have at most {max} {}", items(*max))),
            _ => (),
        }
    }
    Ok(())
}

/// The rules of a scalar.
pub(super) fn check_scalar(kind: Kind, value: Value<'_>, rules: &[Rule]) -> Result<(), String> {
    if let (Kind::String, Value::Len(bytes)) = (kind, value) {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        return check_text(text, rules);
    }
    if rules.is_empty() {
        return Ok(());
    }
    match (kind, value) {
        (Kind::Bytes, Value::Len(bytes)) => check_bytes(bytes, rules),
        // The casts read the bits as the type that the field declares.
        (Kind::Double, Value::Fixed64(bits)) => check_real(f64::from_bits(bits), rules),
        (Kind::Float, Value::Fixed32(bits)) => check_real(f32::from_bits(bits).into(), rules),
        (Kind::Enum(index), Value::Varint(n)) => check_enum(index, n as i32, rules),
        (Kind::Int32 | Kind::Int64, Value::Varint(n)) => check_integer((n as i64).into(), rules),
        (Kind::Sint32 | Kind::Sint64, Value::Varint(n)) => check_integer(wire::unzigzag(n).into(), rules),
        (Kind::Sfixed32, Value::Fixed32(n)) => check_integer((n as i32).into(), rules),
        (Kind::Sfixed64, Value::Fixed64(n)) => check_integer((n as i64).into(), rules),
        (_, Value::Varint(n) | Value::Fixed64(n)) => check_integer(n.into(), rules),
        (_, Value::Fixed32(n)) => check_integer(n.into(), rules),
        (_, Value::Len(_)) => Err("is malformed".to_owned()),
    }
}

/// The value of a field that is unset.
pub(super) fn default_of(kind: Kind) -> Value<'static> {
    match kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => Value::Len(&[]),
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Value::Fixed64(0),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Value::Fixed32(0),
        _ => Value::Varint(0),
    }
}

/// The rules of a google.protobuf.Duration, in its wire form.
pub(super) fn check_duration(bytes: &[u8], rules: &[Rule]) -> Result<(), String> {
    // Negative numbers stand in two's complement on the wire.
    let (seconds, nanos) = (wire::last_varint(bytes, 1) as i64, wire::last_varint(bytes, 2) as i64);
    let value = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    check_bounds(value, rules, |n| {
        let (seconds, nanos) = (n / 1_000_000_000, n % 1_000_000_000);
        time::render_duration(i64::try_from(seconds).unwrap_or(i64::MAX), i32::try_from(nanos).unwrap_or_default())
    })
}

/// The rules of a text.
pub(super) fn check_text(text: &str, rules: &[Rule]) -> Result<(), String> {
    if rules.is_empty() || text.is_empty() && ignores_empty(rules) {
        return Ok(());
    }
    let strict = !rules.iter().any(|r| matches!(r, Rule::Lenient));
    // Lengths of text are far below what an i128 holds.
    let chars = || text.chars().count() as i128;
    let bytes = text.len() as i128;
    for rule in rules {
        match rule {
            Rule::MinChars(1) | Rule::MinBytes(1) if text.is_empty() => return Err("must not be empty".to_owned()),
            Rule::MinChars(min) if chars() < *min => return Err(format!("must have at least {min} characters")),
            Rule::MaxChars(max) if chars() > *max => return Err(format!("must have at most {max} characters")),
            Rule::MinBytes(min) if bytes < *min => return Err(format!("must have at least {min} bytes")),
            Rule::MaxBytes(max) if bytes > *max => return Err(format!("must have at most {max} bytes")),
            Rule::Prefix(p) if !text.starts_with(p) => return Err(format!("must start with {p:?}")),
            Rule::Suffix(s) if !text.ends_with(s) => return Err(format!("must end with {s:?}")),
            Rule::Text(list) if !list.contains(&text) => return Err(format!("must be one of {}", list.join(", "))),
            Rule::HeaderName if !is_header_name(text, strict) => {
                return Err(format!("must be a header name, not {text:?}"));
            }
            Rule::HeaderValue if !is_header_value(text, strict) => {
                return Err("must be a header value: no control characters".to_owned());
            }
            Rule::Pattern(pattern) if !matches(pattern, text) => return Err(format!("must match {pattern}")),
            _ => (),
        }
    }
    Ok(())
}

fn check_bytes(bytes: &[u8], rules: &[Rule]) -> Result<(), String> {
    if bytes.is_empty() && ignores_empty(rules) {
        return Ok(());
    }
    // Lengths are far below what an i128 holds.
    let len = bytes.len() as i128;
    for rule in rules {
        match rule {
            Rule::MinBytes(min) if len < *min => return Err(format!("must have at least {min} bytes")),
            Rule::MaxBytes(max) if len > *max => return Err(format!("must have at most {max} bytes")),
            Rule::Prefix(p) if !bytes.starts_with(p.as_bytes()) => return Err(format!("must start with {p:?}")),
            Rule::Suffix(s) if !bytes.ends_with(s.as_bytes()) => return Err(format!("must end with {s:?}")),
            _ => (),
        }
    }
    Ok(())
}

fn check_enum(index: u16, number: i32, rules: &[Rule]) -> Result<(), String> {
    let r#enum = schema::enum_at(index);
    let is_defined = r#enum.value_name(number).is_some();
    if rules.iter().any(|r| matches!(r, Rule::Defined)) && !is_defined {
        return Err(format!("{number} is no value of {}", r#enum.name));
    }
    let named = |n: i128| match i32::try_from(n).ok().and_then(|n| r#enum.value_name(n)) {
        Some(name) => name.to_owned(),
        None => n.to_string(),
    };
    check_bounds(number.into(), rules, named)
}

fn check_integer(value: i128, rules: &[Rule]) -> Result<(), String> {
    if value == 0 && ignores_empty(rules) { Ok(()) } else { check_bounds(value, rules, |n| n.to_string()) }
}

fn check_bounds(value: i128, rules: &[Rule], show: impl Fn(i128) -> String) -> Result<(), String> {
    for rule in rules {
        match rule {
            Rule::Bound(side, bound) if !keeps(value.cmp(bound), *side) => {
                return Err(format!("must be {} {}, not {}", side_name(*side), show(*bound), show(value)));
            }
            Rule::In(list) if !list.contains(&value) => {
                let list: Vec<_> = list.iter().map(|n| show(*n)).collect();
                return Err(format!("must be one of {}, not {}", list.join(", "), show(value)));
            }
            Rule::NotIn(list) if list.contains(&value) => return Err(format!("must not be {}", show(value))),
            _ => (),
        }
    }
    Ok(())
}

fn check_real(value: f64, rules: &[Rule]) -> Result<(), String> {
    if value == 0.0 && ignores_empty(rules) {
        return Ok(());
    }
    for rule in rules {
        if let Rule::Real(side, bound) = rule
            && !value.partial_cmp(bound).is_some_and(|order| keeps(order, *side))
        {
            return Err(format!("must be {} {bound}, not {value}", side_name(*side)));
        }
    }
    Ok(())
}

fn keeps(order: std::cmp::Ordering, side: Bound) -> bool {
    match side {
        Bound::Above => order.is_gt(),
        Bound::AtLeast => order.is_ge(),
        Bound::AtMost => order.is_le(),
        Bound::Below => order.is_lt(),
    }
}

fn side_name(side: Bound) -> &'static str {
    match side {
        Bound::Above => "above",
        Bound::AtLeast => "at least",
        Bound::AtMost => "at most",
        Bound::Below => "below",
    }
}

fn items(count: i128) -> &'static str {
    if count == 1 { "item" } else { "items" }
}

fn ignores_empty(rules: &[Rule]) -> bool {
    rules.iter().any(|r| matches!(r, Rule::IgnoreEmpty))
}

/// The token of RFC 9110 with an optional colon before it; `strict: false` refuses NUL, CR and LF only.
fn is_header_name(text: &str, strict: bool) -> bool {
    if !strict {
        return !text.contains(['\0', '\r', '\n']);
    }
    let name = text.strip_prefix(':').unwrap_or(text);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&b))
}

fn is_header_value(text: &str, strict: bool) -> bool {
    if strict { !text.bytes().any(|b| b < 0x20 && b != b'\t' || b == 0x7f) } else { !text.contains(['\0', '\r', '\n']) }
}

/// The schema has a handful of patterns; each is compiled once.
fn matches(pattern: &'static str, text: &str) -> bool {
    type Compiled = HashMap<&'static str, Option<Arc<Regex>>>;
    static COMPILED: OnceLock<Mutex<Compiled>> = OnceLock::new();
    let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled.entry(pattern).or_insert_with(|| Regex::new(pattern).ok().map(Arc::new)).clone();
    drop(compiled);
    // A test compiles every pattern of the schema.
    regex.is_none_or(|r| r.is_match(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn patterns(rules: &'static [Rule], out: &mut Vec<&'static str>) {
        for rule in rules {
            match rule {
                Rule::Pattern(p) => out.push(p),
                Rule::Items(inner) | Rule::Keys(inner) => patterns(inner, out),
                _ => (),
            }
        }
    }

    #[test]
    fn every_pattern_of_the_schema_compiles() {
        let mut all = Vec::new();
        schema::messages().iter().flat_map(|m| m.fields).for_each(|f| patterns(f.rules, &mut all));
        assert!(!all.is_empty());
        for pattern in all {
            Regex::new(pattern).unwrap();
        }
    }

    #[test]
    fn texts() {
        let header = &[Rule::HeaderName][..];
        for (rules, text, ok) in [
            (header, "x-a", true),
            (header, ":path", true),
            (header, "x a", false),
            (header, "", false),
            (&[Rule::HeaderName, Rule::Lenient], "x a", true),
            (&[Rule::HeaderName, Rule::Lenient], "x\na", false),
            (&[Rule::MinChars(1)], "", false),
            (&[Rule::MinChars(3), Rule::IgnoreEmpty], "", true),
            (&[Rule::MaxChars(2)], "äöü", false),
            (&[Rule::MaxChars(3)], "äöü", true),
            (&[Rule::Text(&["a", "b"])], "c", false),
        ] {
            assert_eq!(check_text(text, rules).is_ok(), ok, "{rules:?} {text:?}");
        }
    }

    #[test]
    fn numbers_and_durations() {
        let above_zero = &[Rule::Bound(Bound::Above, 0)];
        assert!(check_duration(&[0x08, 1], above_zero).is_ok());
        assert_eq!(check_duration(&[], above_zero).unwrap_err(), "must be above 0s, not 0s");
        assert!(check_scalar(Kind::Uint32, Value::Varint(7), &[Rule::Bound(Bound::AtMost, 6)]).is_err());
        assert!(
            check_scalar(Kind::Double, Value::Fixed64(f64::NAN.to_bits()), &[Rule::Real(Bound::AtLeast, 0.0)]).is_err()
        );
        assert!(check_count(0, &[Rule::MinItems(1)]).is_err());
    }
}
