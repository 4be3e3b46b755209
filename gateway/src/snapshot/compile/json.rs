//! `google.protobuf.Struct` as JSON.

use serde_json::Value;
use weir_xds::pb;

/// From here on a double does not tell whole numbers apart (2^53, about).
const EXACT: f64 = 9e15;

/// The object that a Struct stands for.
pub(super) fn object(shape: &pb::Struct) -> Value {
    Value::Object(shape.fields.iter().map(|(key, field)| (key.clone(), value(field))).collect())
}

fn value(proto: &pb::Value) -> Value {
    match &proto.kind {
        None | Some(pb::ValueKind::NullValue(_)) => Value::Null,
        Some(pb::ValueKind::BoolValue(flag)) => (*flag).into(),
        // Whole numbers without a fraction, as protobuf's JSON writes them.
        Some(pb::ValueKind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < EXACT => {
            (*number as i64).into()
        }
        Some(pb::ValueKind::NumberValue(number)) => (*number).into(),
        Some(pb::ValueKind::StringValue(text)) => text.clone().into(),
        Some(pb::ValueKind::StructValue(shape)) => object(shape),
        Some(pb::ValueKind::ListValue(list)) => list.values.iter().map(value).collect(),
    }
}
