//! Scalars: text, numbers, booleans, enums and bytes.

use super::{Decoder, base64};
use crate::{
    problem::nearest,
    schema::{self, Kind},
    tape::View,
    wire,
};

/// A scalar as it stands on the wire.
enum Encoded<'t> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Text(&'t str),
    Bytes(Vec<u8>),
}

impl<'t> Decoder<'t> {
    /// Appends a scalar with its tag; the default only if `explicit`.
    pub(super) fn scalar_field(&mut self, kind: Kind, number: u32, at: usize, explicit: bool) {
        let View::Scalar { text, plain } = self.tape.view(at) else {
            return self.expected(kind_name(kind), at);
        };
        match encode(kind, text, plain) {
            Ok(value) => self.put_field(number, &value, explicit),
            Err(_) if self.secret => self.expected(kind_name(kind), at),
            Err(reason) => self.problem(reason),
        }
    }

    /// Appends the scalar that a map's key stands for, with its tag.
    pub(super) fn text_scalar_field(&mut self, kind: Kind, number: u32, text: &'t str) {
        match encode(kind, text, false) {
            Ok(value) => self.put_field(number, &value, true),
            Err(reason) => self.problem(reason),
        }
    }

    /// Appends a scalar without a tag, as packed fields hold it.
    pub(super) fn scalar(&mut self, kind: Kind, at: usize) {
        let View::Scalar { text, plain } = self.tape.view(at) else {
            return self.expected(kind_name(kind), at);
        };
        match encode(kind, text, plain) {
            Ok(Encoded::Varint(v)) => wire::put_varint(&mut self.out, v),
            Ok(Encoded::Fixed32(v)) => self.out.extend_from_slice(&v.to_le_bytes()),
            Ok(Encoded::Fixed64(v)) => self.out.extend_from_slice(&v.to_le_bytes()),
            // Text and bytes are never packed: the caller asks for numbers only.
            Ok(Encoded::Text(_) | Encoded::Bytes(_)) => (),
            Err(reason) => self.problem(reason),
        }
    }

    fn put_field(&mut self, number: u32, value: &Encoded<'_>, explicit: bool) {
        let out = &mut self.out;
        match value {
            Encoded::Varint(0) | Encoded::Fixed32(0) | Encoded::Fixed64(0) | Encoded::Text("") if !explicit => (),
            Encoded::Bytes(bytes) if bytes.is_empty() && !explicit => (),
            Encoded::Varint(v) => wire::put_varint_field(out, number, *v),
            Encoded::Fixed32(v) => {
                wire::put_tag(out, number, 5);
                out.extend_from_slice(&v.to_le_bytes());
            }
            Encoded::Fixed64(v) => {
                wire::put_tag(out, number, 1);
                out.extend_from_slice(&v.to_le_bytes());
            }
            Encoded::Text(text) => wire::put_bytes_field(out, number, text.as_bytes()),
            Encoded::Bytes(bytes) => wire::put_bytes_field(out, number, bytes),
        }
    }
}

fn encode(kind: Kind, text: &str, plain: bool) -> Result<Encoded<'_>, String> {
    let wrong = || format!("expected {}, found {:?}", kind_name(kind), text.chars().take(40).collect::<String>());
    let int = |min: i128, max: i128| match integer(text, plain) {
        Some(n) if n >= min && n <= max => Ok(n),
        Some(n) => Err(format!("{n} is out of range: {min} to {max}")),
        None => Err(wrong()),
    };
    if plain && is_ambiguous(text) && !matches!(kind, Kind::String | Kind::Bytes | Kind::Bool) {
        return Err(ambiguous(text));
    }
    // The casts below keep the bits of a number whose range was just checked.
    Ok(match kind {
        Kind::String if plain && is_number_or_boolean(text) => {
            return Err(format!("expected a string, found {text}: a string like this needs quotes"));
        }
        Kind::String => Encoded::Text(text),
        Kind::Bytes => Encoded::Bytes(base64::decode(text).ok_or_else(|| "not base64".to_owned())?),
        Kind::Bool => Encoded::Varint(u64::from(boolean(text, plain).ok_or_else(wrong)?)),
        Kind::Int32 => Encoded::Varint(int(i32::MIN.into(), i32::MAX.into())? as u64),
        Kind::Int64 => Encoded::Varint(int(i64::MIN.into(), i64::MAX.into())? as u64),
        Kind::Uint32 => Encoded::Varint(int(0, u32::MAX.into())? as u64),
        Kind::Uint64 => Encoded::Varint(int(0, u64::MAX.into())? as u64),
        Kind::Sint32 => Encoded::Varint(wire::zigzag(int(i32::MIN.into(), i32::MAX.into())? as i64)),
        Kind::Sint64 => Encoded::Varint(wire::zigzag(int(i64::MIN.into(), i64::MAX.into())? as i64)),
        Kind::Fixed32 => Encoded::Fixed32(int(0, u32::MAX.into())? as u32),
        Kind::Fixed64 => Encoded::Fixed64(int(0, u64::MAX.into())? as u64),
        Kind::Sfixed32 => Encoded::Fixed32(int(i32::MIN.into(), i32::MAX.into())? as u32),
        Kind::Sfixed64 => Encoded::Fixed64(int(i64::MIN.into(), i64::MAX.into())? as u64),
        Kind::Float => {
            let value = real(text).ok_or_else(wrong)? as f32;
            if value.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) {
                return Err(format!("{text} is out of range"));
            }
            Encoded::Fixed32(value.to_bits())
        }
        Kind::Double => Encoded::Fixed64(real(text).ok_or_else(wrong)?.to_bits()),
        Kind::Enum(index) => {
            let r#enum = schema::enum_at(index);
            if r#enum.name == "google.protobuf.NullValue" && matches!(text, "" | "~" | "null") {
                return Ok(Encoded::Varint(0));
            }
            let number = || integer(text, plain).filter(|_| !text.contains('.')).and_then(|n| i32::try_from(n).ok());
            match r#enum.number(text).or_else(number) {
                Some(number) => Encoded::Varint(i64::from(number) as u64),
                None => return Err(unknown_enum_value(r#enum, text)),
            }
        }
        // Only scalars come here.
        Kind::Message(_) => return Err(wrong()),
    })
}

fn unknown_enum_value(r#enum: &'static schema::Enum, text: &str) -> String {
    let names = r#enum.values.iter().map(|(name, _)| *name);
    let shown: String = text.chars().take(40).collect();
    match nearest(text, names.clone()) {
        Some(near) => format!("{shown:?} is no value of {}; did you mean {near}?", r#enum.name),
        None if r#enum.values.len() > 12 => format!("{shown:?} is no value of {}", r#enum.name),
        None => {
            format!("{shown:?} is no value of {}: one of {}", r#enum.name, names.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What Envoy does not take for text without quotes: to YAML it is none, and whoever leaves them out may mean something
/// else. Floats it takes. Single letters, which to YAML 1.1 are booleans, are taken here.
fn is_number_or_boolean(text: &str) -> bool {
    let is_whole = || text.parse::<i64>().is_ok() || text.starts_with("0x") && integer(text, true).is_some();
    is_whole() || text.len() > 1 && boolean(text, true).is_some()
}

/// What YAML 1.1 reads as an octal number, and YAML 1.2 as a decimal one.
pub(super) fn is_ambiguous(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn ambiguous(text: &str) -> String {
    format!(
        "{text} is octal to some readers of YAML (Envoy's) and decimal to others: write it without the leading 0, or as 0x"
    )
}

/// A boolean. Unquoted `yes`, `on` and their like are booleans to Envoy's YAML reader.
pub(super) fn boolean(text: &str, plain: bool) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" if plain => Some(true),
        "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" if plain => Some(false),
        _ => None,
    }
}

/// A whole number: decimal, unquoted also hexadecimal, or a float without a fraction.
pub(super) fn integer(text: &str, plain: bool) -> Option<i128> {
    if let Ok(number) = text.parse::<i128>() {
        return Some(number);
    }
    if plain && let Some(hex) = text.strip_prefix("0x") {
        return i128::from_str_radix(hex, 16).ok();
    }
    let real =
        text.bytes().next().filter(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+')).and_then(|_| real(text))?;
    // Whole floats up to 2^63 are exact enough to be meant.
    (real.fract() == 0.0 && real.abs() < 9.3e18).then_some(real as i128)
}

/// A float, with the spellings of YAML and of protobuf's JSON for what is no finite number.
pub(super) fn real(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "Infinity" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" | "-Infinity" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" | "NaN" => return Some(f64::NAN),
        _ => (),
    }
    // Rust's own spellings of infinity are words here.
    let starts_as_number = text.bytes().find(|b| !matches!(b, b'+' | b'-' | b'.'))?.is_ascii_digit();
    text.parse().ok().filter(|v: &f64| starts_as_number && v.is_finite())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Bytes => "bytes in base64",
        Kind::Double | Kind::Float => "a number",
        Kind::Enum(index) => schema::enum_at(index).name,
        Kind::Message(_) => "an object",
        Kind::String => "a string",
        _ => "a whole number",
    }
}
