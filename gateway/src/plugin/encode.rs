//! Values of properties in the form of proxy-wasm: text raw, numbers 8 bytes little-endian, booleans one byte, times i64
//! nanoseconds, maps as pairs.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use weir_wasm::PairsBuffer;

use crate::http::HeaderMap;

/// What a look-up gives: nothing (the property does not exist now), or that it was written.
pub(super) type Found = Option<()>;

pub(super) fn bytes(value: impl AsRef<[u8]>, out: &mut Vec<u8>) -> Found {
    out.extend_from_slice(value.as_ref());
    Some(())
}

pub(super) fn uint(value: u64, out: &mut Vec<u8>) -> Found {
    bytes(value.to_le_bytes(), out)
}

pub(super) fn boolean(value: bool, out: &mut Vec<u8>) -> Found {
    bytes([u8::from(value)], out)
}

pub(super) fn duration(value: Duration, out: &mut Vec<u8>) -> Found {
    bytes(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX).to_le_bytes(), out)
}

pub(super) fn time(value: SystemTime, out: &mut Vec<u8>) -> Found {
    duration(value.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(), out)
}

pub(super) fn address(value: SocketAddr, out: &mut Vec<u8>) -> Found {
    bytes(value.to_string(), out)
}

pub(super) fn map<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) -> Found {
    let mut pairs = PairsBuffer::new();
    fields.for_each(|(name, value)| pairs.push(name, value));
    pairs.write_to(out);
    Some(())
}

/// All values of a field, joined as Envoy does.
pub(super) fn field(headers: &HeaderMap, name: &[u8], out: &mut Vec<u8>) -> Found {
    let name = std::str::from_utf8(name).ok()?;
    let mut found = None;
    for value in headers.get_all(name) {
        if found.is_some() {
            out.push(b',');
        }
        out.extend_from_slice(value);
        found = Some(());
    }
    found
}

/// A JSON value below `path`.
pub(super) fn json<'a>(root: &Value, path: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Found {
    let mut value = root;
    for segment in path {
        let segment = std::str::from_utf8(segment).ok()?;
        value = match value {
            Value::Object(fields) => fields.get(segment)?,
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    json_value(value, out)
}

fn json_value(value: &Value, out: &mut Vec<u8>) -> Found {
    match value {
        Value::Null => Some(()),
        Value::Bool(value) => boolean(*value, out),
        Value::Number(value) => bytes(value.as_f64()?.to_le_bytes(), out),
        Value::String(value) => bytes(value, out),
        Value::Array(items) => {
            let encoded: Vec<_> = items.iter().filter_map(encoded).collect();
            map(encoded.iter().map(|item| (&item[..], &b""[..])), out)
        }
        Value::Object(fields) => {
            let encoded: Vec<_> = fields.iter().filter_map(|(name, value)| Some((name, encoded(value)?))).collect();
            map(encoded.iter().map(|(name, value)| (name.as_bytes(), &value[..])), out)
        }
    }
}

fn encoded(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    json_value(value, &mut out)?;
    Some(out)
}
