//! `validate.rules` of one field as the Rust text of a list of rules.

use prost_reflect::{DynamicMessage, Value};

/// Renders `&[Rule::…]`. A rule this crate does not know ends the build: none is dropped unseen.
pub(crate) fn render(rules: &DynamicMessage) -> Result<String, String> {
    let mut list = Vec::new();
    for (kind, value) in rules.fields() {
        let typed = value.as_message().ok_or("a rule that is not a message")?;
        for (rule, value) in typed.fields() {
            render_rule(kind.name(), rule.name(), value, &mut list)?;
        }
    }
    Ok(format!("&[{}]", list.join(", ")))
}

fn render_rule(kind: &str, rule: &str, value: &Value, list: &mut Vec<String>) -> Result<(), String> {
    let text = match (kind, rule) {
        (_, "required") => flag(value, "Rule::Required"),
        ("message", "skip") => flag(value, "Rule::Skip"),
        (_, "ignore_empty") => flag(value, "Rule::IgnoreEmpty"),
        ("enum", "defined_only") => flag(value, "Rule::Defined"),
        // Envoy compiles header rules with `strict: false` as another pattern; the flag is read with its rule.
        ("string", "strict") => flag_off(value, "Rule::Lenient"),
        ("string", "well_known_regex") => match value.as_enum_number() {
            Some(1) => "Rule::HeaderName".to_owned(),
            Some(2) => "Rule::HeaderValue".to_owned(),
            other => return Err(format!("well_known_regex {other:?}")),
        },
        ("string", "pattern") => format!("Rule::Pattern({})", string(value)?),
        ("string" | "bytes", "prefix") => format!("Rule::Prefix({})", string(value)?),
        ("string" | "bytes", "suffix") => format!("Rule::Suffix({})", string(value)?),
        ("string", "const") => format!("Rule::Text(&[{}])", string(value)?),
        ("string" | "any", "in") => format!("Rule::Text({})", strings(value)?),
        ("string", "min_len") => format!("Rule::MinChars({})", integer(value)?),
        ("string", "max_len") => format!("Rule::MaxChars({})", integer(value)?),
        ("string", "min_bytes") | ("bytes", "min_len") => format!("Rule::MinBytes({})", integer(value)?),
        ("string", "max_bytes") | ("bytes", "max_len") => format!("Rule::MaxBytes({})", integer(value)?),
        ("string", "len_bytes") | ("bytes", "len") => {
            list.push(format!("Rule::MinBytes({})", integer(value)?));
            format!("Rule::MaxBytes({})", integer(value)?)
        }
        ("repeated", "min_items") | ("map", "min_pairs") => format!("Rule::MinItems({})", integer(value)?),
        ("repeated", "max_items") | ("map", "max_pairs") => format!("Rule::MaxItems({})", integer(value)?),
        ("repeated", "unique") => flag(value, "Rule::Unique"),
        ("repeated", "items") => format!("Rule::Items({})", nested(value)?),
        ("map", "keys") => format!("Rule::Keys({})", nested(value)?),
        ("bool", "const") => format!("Rule::In(&[{}])", i32::from(value.as_bool() == Some(true))),
        ("float" | "double", "lt" | "lte" | "gt" | "gte") => {
            let bound = value.as_f64().or_else(|| value.as_f32().map(f64::from)).ok_or("a bound that is no number")?;
            format!("Rule::Real(Bound::{}, {bound:?})", bound_name(rule))
        }
        (_, "lt" | "lte" | "gt" | "gte") => format!("Rule::Bound(Bound::{}, {})", bound_name(rule), integer(value)?),
        (_, "const") => format!("Rule::In(&[{}])", integer(value)?),
        (_, "in") => format!("Rule::In({})", integers(value)?),
        (_, "not_in") => format!("Rule::NotIn({})", integers(value)?),
        _ => return Err(format!("the rule {kind}.{rule} is not known to build/rules.rs")),
    };
    if !text.is_empty() {
        list.push(text);
    }
    Ok(())
}

fn bound_name(rule: &str) -> &'static str {
    match rule {
        "lt" => "Below",
        "lte" => "AtMost",
        "gt" => "Above",
        _ => "AtLeast",
    }
}

fn flag(value: &Value, text: &str) -> String {
    if value.as_bool() == Some(true) { text.to_owned() } else { String::new() }
}

fn flag_off(value: &Value, text: &str) -> String {
    if value.as_bool() == Some(false) { text.to_owned() } else { String::new() }
}

fn nested(value: &Value) -> Result<String, String> {
    render(value.as_message().ok_or("rules of an item that are not a message")?)
}

fn string(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(format!("{text:?}")),
        Value::Bytes(bytes) => Ok(format!("{:?}", String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())?)),
        other => Err(format!("{other:?} is no string")),
    }
}

fn strings(value: &Value) -> Result<String, String> {
    let list = value.as_list().ok_or("no list of strings")?.iter().map(string).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("&[{}]", list.join(", ")))
}

/// Integers as they are, durations in nanoseconds.
fn integer(value: &Value) -> Result<i128, String> {
    Ok(match value {
        Value::I32(n) | Value::EnumNumber(n) => (*n).into(),
        Value::I64(n) => (*n).into(),
        Value::U32(n) => (*n).into(),
        Value::U64(n) => (*n).into(),
        Value::Message(duration) => {
            let part = |name| duration.get_field_by_name(name).map_or(0, |v| integer(&v).unwrap_or(0));
            part("seconds") * 1_000_000_000 + part("nanos")
        }
        other => return Err(format!("{other:?} is no integer")),
    })
}

fn integers(value: &Value) -> Result<String, String> {
    let list = value.as_list().ok_or("no list of integers")?.iter().map(integer).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("&[{}]", list.iter().map(i128::to_string).collect::<Vec<_>>().join(", ")))
}
