//! The wire form as protobuf JSON, with snake_case names, for people to read.

use serde_json::{Map, Number, Value as Json};

use crate::{
    decode::encode_base64,
    schema::{self, Field, Kind, Message, Shape, WellKnown, name_of_type_url},
    tape::MAX_DEPTH,
    time,
    wire::{self, Value},
};

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// A message of that type URL (or full name) as protobuf JSON, every Any in it expanded and every field that Envoy's
/// API marks as sensitive shown as `[redacted]`. What is no message of that type is shown in base64.
pub fn to_json(type_url: &str, bytes: &[u8]) -> Json {
    match schema::message(name_of_type_url(type_url)) {
        Some(message) => render(message, bytes, Shown::default()),
        None => opaque(bytes),
    }
}

/// The same with `@type`, as an Any of it is shown.
pub fn to_json_any(type_url: &str, bytes: &[u8]) -> Json {
    any(type_url, bytes, Shown::default())
}

#[derive(Clone, Copy, Default)]
struct Shown {
    secret: bool,
    depth: usize,
}

fn render(message: &'static Message, bytes: &[u8], shown: Shown) -> Json {
    if shown.depth > MAX_DEPTH {
        return opaque(bytes);
    }
    let shown = Shown { depth: shown.depth + 1, ..shown };
    // Seconds and nanoseconds are negative in two's complement.
    let number = |field| wire::last_varint(bytes, field) as i64;
    let nanos = || i32::try_from(number(2)).unwrap_or_default();
    match message.known {
        WellKnown::Any => any(wire::last_text(bytes, 1), wire::last_bytes(bytes, 2).unwrap_or_default(), shown),
        WellKnown::Duration => time::render_duration(number(1), nanos()).into(),
        WellKnown::Timestamp => time::render_timestamp(number(1), nanos()).into(),
        WellKnown::FieldMask => {
            let paths: Vec<_> = wire::fields(bytes).flatten().filter_map(|(_, v)| v.bytes()).collect();
            paths.into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",").into()
        }
        WellKnown::Wrapper => match message.fields.first() {
            Some(field) => {
                let value = wire::fields(bytes).flatten().filter(|(n, _)| *n == 1).map(|(_, v)| v).last();
                value.map_or_else(|| default_of(field.kind), |v| scalar(field.kind, v, shown))
            }
            None => Json::Null,
        },
        WellKnown::Struct => {
            let entries = wire::fields(bytes).flatten().filter_map(|(_, v)| v.bytes());
            let pair = |entry| {
                (wire::last_text(entry, 1).to_owned(), dynamic(wire::last_bytes(entry, 2).unwrap_or_default(), shown))
            };
            Json::Object(entries.map(pair).collect())
        }
        WellKnown::ListValue => {
            wire::fields(bytes).flatten().filter_map(|(_, v)| v.bytes()).map(|item| dynamic(item, shown)).collect()
        }
        WellKnown::Value => dynamic(bytes, shown),
        WellKnown::No | WellKnown::TypedStruct => Json::Object(object(message, bytes, shown)),
    }
}

fn any(url: &str, bytes: &[u8], shown: Shown) -> Json {
    let mut out = Map::new();
    if url.is_empty() {
        return Json::Object(out);
    }
    out.insert("@type".to_owned(), url.into());
    match schema::message(name_of_type_url(url)) {
        Some(message) if matches!(message.known, WellKnown::No | WellKnown::TypedStruct) => {
            out.extend(object(message, bytes, shown));
        }
        Some(message) => drop(out.insert("value".to_owned(), render(message, bytes, shown))),
        None => drop(out.insert("value".to_owned(), opaque(bytes))),
    }
    Json::Object(out)
}

fn object(message: &'static Message, bytes: &[u8], shown: Shown) -> Map<String, Json> {
    let mut out = Map::new();
    if shown.depth > MAX_DEPTH {
        return out;
    }
    for (number, value) in wire::fields(bytes).flatten() {
        let Some((_, field)) = message.field_by_number(number) else { continue };
        let shown = Shown { secret: shown.secret || field.sensitive, ..shown };
        match field.shape {
            Shape::Implicit | Shape::Explicit => drop(out.insert(field.name.to_owned(), one(field.kind, value, shown))),
            Shape::Repeated => {
                let list = out.entry(field.name).or_insert_with(|| Json::Array(Vec::new()));
                if let Json::Array(list) = list {
                    repeated(field, value, shown, list);
                }
            }
            Shape::Map => {
                let map = out.entry(field.name).or_insert_with(|| Json::Object(Map::new()));
                if let (Json::Object(map), Some(entry)) = (map, value.bytes()) {
                    map_entry(field, entry, shown, map);
                }
            }
        }
    }
    out
}

fn one(kind: Kind, value: Value<'_>, shown: Shown) -> Json {
    match (kind, value) {
        (Kind::Message(index), Value::Len(bytes)) => render(schema::message_at(index), bytes, shown),
        _ => scalar(kind, value, shown),
    }
}

fn repeated(field: &'static Field, value: Value<'_>, shown: Shown, list: &mut Vec<Json>) {
    match (field.kind, value) {
        (Kind::Message(_) | Kind::String | Kind::Bytes, _) => list.push(one(field.kind, value, shown)),
        (kind, Value::Len(mut packed)) => {
            while let Some(number) = unpack(kind, &mut packed) {
                list.push(scalar(kind, number, shown));
            }
        }
        (kind, _) => list.push(scalar(kind, value, shown)),
    }
}

fn map_entry(field: &'static Field, entry: &[u8], shown: Shown, map: &mut Map<String, Json>) {
    let Kind::Message(index) = field.kind else { return };
    // A map's entry has two fields, key (1) and value (2), by definition.
    let [key_field, value_field] = schema::message_at(index).fields else { return };
    let (mut key, mut shown_value) = (String::new(), default_of(value_field.kind));
    for (number, value) in wire::fields(entry).flatten() {
        match number {
            1 => {
                key = match scalar(key_field.kind, value, Shown::default()) {
                    Json::String(text) => text,
                    other => other.to_string(),
                }
            }
            2 => shown_value = one(value_field.kind, value, shown),
            _ => (),
        }
    }
    map.insert(key, shown_value);
}

/// A google.protobuf.Value: null 1, number 2, string 3, bool 4, struct 5, list 6.
fn dynamic(bytes: &[u8], shown: Shown) -> Json {
    if shown.depth > MAX_DEPTH {
        return opaque(bytes);
    }
    let shown = Shown { depth: shown.depth + 1, ..shown };
    let Some((number, value)) = wire::fields(bytes).flatten().last() else { return Json::Null };
    match (number, value) {
        (2, v) => scalar(Kind::Double, v, shown),
        (3, v) => scalar(Kind::String, v, shown),
        (4, v) => scalar(Kind::Bool, v, shown),
        (5, Value::Len(inner)) => {
            schema::message("google.protobuf.Struct").map_or(Json::Null, |m| render(m, inner, shown))
        }
        (6, Value::Len(inner)) => {
            schema::message("google.protobuf.ListValue").map_or(Json::Null, |m| render(m, inner, shown))
        }
        _ => Json::Null,
    }
}

fn scalar(kind: Kind, value: Value<'_>, shown: Shown) -> Json {
    if shown.secret {
        return REDACTED.into();
    }
    // The casts read the bits as the type that the field declares.
    match (kind, value) {
        (Kind::String, Value::Len(bytes)) => String::from_utf8_lossy(bytes).into(),
        (Kind::Bytes, Value::Len(bytes)) => encode_base64(bytes).into(),
        (Kind::Bool, Value::Varint(n)) => (n != 0).into(),
        (Kind::Enum(index), Value::Varint(n)) => match schema::enum_at(index).value_name(n as i32) {
            Some(name) => name.into(),
            None => (n as i32).into(),
        },
        (Kind::Int32, Value::Varint(n)) => (n as i32).into(),
        (Kind::Uint32, Value::Varint(n)) => (n as u32).into(),
        (Kind::Sint32, Value::Varint(n)) => wire::unzigzag(n).into(),
        // 64 bits do not fit a JSON number: protobuf shows them as text.
        (Kind::Int64, Value::Varint(n)) => (n as i64).to_string().into(),
        (Kind::Uint64, Value::Varint(n)) => n.to_string().into(),
        (Kind::Sint64, Value::Varint(n)) => wire::unzigzag(n).to_string().into(),
        (Kind::Fixed32, Value::Fixed32(n)) => n.into(),
        (Kind::Sfixed32, Value::Fixed32(n)) => (n as i32).into(),
        (Kind::Fixed64, Value::Fixed64(n)) => n.to_string().into(),
        (Kind::Sfixed64, Value::Fixed64(n)) => (n as i64).to_string().into(),
        (Kind::Float, Value::Fixed32(n)) => real(f32::from_bits(n).into()),
        (Kind::Double, Value::Fixed64(n)) => real(f64::from_bits(n)),
        _ => Json::Null,
    }
}

/// Whole numbers without a fraction, as in the text they came from.
fn real(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        // Below 2^53 every whole float is that integer.
        return (value as i64).into();
    }
    Number::from_f64(value).map_or_else(|| value.to_string().into(), Json::Number)
}

fn default_of(kind: Kind) -> Json {
    match kind {
        Kind::String | Kind::Bytes => "".into(),
        Kind::Bool => false.into(),
        Kind::Message(_) => Json::Object(Map::new()),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => "0".into(),
        Kind::Enum(index) => schema::enum_at(index).value_name(0).into(),
        _ => 0.into(),
    }
}

fn unpack<'b>(kind: Kind, rest: &mut &'b [u8]) -> Option<Value<'b>> {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
            Some(Value::Fixed64(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?)))
        }
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
            Some(Value::Fixed32(u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?)))
        }
        _ => wire::varint(rest).map(Value::Varint),
    }
}

fn opaque(bytes: &[u8]) -> Json {
    encode_base64(bytes).into()
}
