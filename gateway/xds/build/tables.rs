//! Descriptors as the Rust text of static tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write,
};

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};

use crate::rules;

/// Renders everything reachable from `roots`.
pub(crate) fn render(pool: &DescriptorPool, roots: Vec<MessageDescriptor>) -> Result<String, Box<dyn Error>> {
    let reachable = Reachable::from(roots);
    let options = Options::of(pool)?;
    let mut text = String::new();
    writeln!(text, "pub(super) static MESSAGES: &[Message] = &[")?;
    for message in reachable.messages.values() {
        render_message(&mut text, message, &reachable, &options)?;
    }
    writeln!(text, "];\npub(super) static ENUMS: &[Enum] = &[")?;
    for r#enum in reachable.enums.values() {
        render_enum(&mut text, r#enum)?;
    }
    writeln!(text, "];")?;
    Ok(text)
}

/// Messages and enums by full name; the tables are in this order, and refer to each other by position.
#[derive(Default)]
struct Reachable {
    messages: BTreeMap<String, MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl Reachable {
    fn from(mut open: Vec<MessageDescriptor>) -> Self {
        let mut reachable = Self::default();
        while let Some(message) = open.pop() {
            if reachable.messages.insert(message.full_name().to_owned(), message.clone()).is_some() {
                continue;
            }
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(inner) if !reachable.messages.contains_key(inner.full_name()) => open.push(inner),
                    Kind::Enum(inner) => drop(reachable.enums.insert(inner.full_name().to_owned(), inner)),
                    _ => (),
                }
            }
        }
        reachable
    }

    fn kind(&self, kind: &Kind) -> String {
        match kind {
            Kind::Message(m) => {
                format!("Message({})", self.messages.keys().position(|n| n == m.full_name()).unwrap_or_default())
            }
            Kind::Enum(e) => {
                format!("Enum({})", self.enums.keys().position(|n| n == e.full_name()).unwrap_or_default())
            }
            Kind::String => "String".to_owned(),
            Kind::Bytes => "Bytes".to_owned(),
            // Scalars are spelled as in a .proto file.
            other => {
                let text = format!("{other:?}");
                text[..1].to_uppercase() + &text[1..]
            }
        }
    }
}

/// The options that are kept.
struct Options {
    rules: ExtensionDescriptor,
    required: ExtensionDescriptor,
    disabled: ExtensionDescriptor,
    sensitive: ExtensionDescriptor,
}

impl Options {
    fn of(pool: &DescriptorPool) -> Result<Self, Box<dyn Error>> {
        let find = |name: &str| pool.get_extension_by_name(name).ok_or_else(|| format!("no option {name}"));
        Ok(Self {
            rules: find("validate.rules")?,
            required: find("validate.required")?,
            disabled: find("validate.disabled")?,
            sensitive: find("udpa.annotations.sensitive")?,
        })
    }
}

fn render_message(
    text: &mut String,
    message: &MessageDescriptor,
    reachable: &Reachable,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let validated = message.options().get_extension(&options.disabled).as_bool() != Some(true);
    writeln!(text, "Message {{ name: {:?}, validated: {validated},", message.full_name())?;
    writeln!(text, "known: WellKnown::{}, fields: &[", well_known(message.full_name()))?;
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    // A proto3 `optional` is an explicit field, not a choice between one.
    let choices: Vec<_> = message.oneofs().filter(|o| !o.is_synthetic()).collect();
    for field in &fields {
        let shape = match field.cardinality() {
            _ if field.is_map() => "Map",
            Cardinality::Repeated => "Repeated",
            _ if field.supports_presence() => "Explicit",
            _ => "Implicit",
        };
        let oneof = field.containing_oneof().and_then(|o| choices.iter().position(|c| c.name() == o.name()));
        let field_options = field.options();
        let rules = match field_options.get_extension(&options.rules).as_message() {
            Some(rules) if field_options.has_extension(&options.rules) => {
                rules::render(rules).map_err(|e| format!("{}: {e}", field.full_name()))?
            }
            _ => "&[]".to_owned(),
        };
        let sensitive = field_options.get_extension(&options.sensitive).as_bool() == Some(true);
        writeln!(
            text,
            "Field {{ name: {:?}, number: {}, kind: Kind::{}, shape: Shape::{shape}, oneof: {oneof:?}, sensitive: \
             {sensitive}, rules: {rules} }},",
            field.name(),
            field.number(),
            reachable.kind(&field.kind()),
        )?;
    }
    write!(text, "], oneofs: &[")?;
    for choice in &choices {
        let required = choice.options().get_extension(&options.required).as_bool() == Some(true);
        write!(text, "Oneof {{ name: {:?}, required: {required} }},", choice.name())?;
    }
    writeln!(text, "] }},")?;
    Ok(())
}

fn render_enum(text: &mut String, r#enum: &EnumDescriptor) -> Result<(), Box<dyn Error>> {
    write!(text, "Enum {{ name: {:?}, values: &[", r#enum.full_name())?;
    let mut seen = BTreeSet::new();
    for value in r#enum.values() {
        if seen.insert(value.name().to_owned()) {
            write!(text, "({:?}, {}),", value.name(), value.number())?;
        }
    }
    writeln!(text, "] }},")?;
    Ok(())
}

/// Messages whose JSON form is not an object of their fields.
fn well_known(name: &str) -> &'static str {
    match name {
        "google.protobuf.Any" => "Any",
        "google.protobuf.Duration" => "Duration",
        "google.protobuf.FieldMask" => "FieldMask",
        "google.protobuf.ListValue" => "ListValue",
        "google.protobuf.Struct" => "Struct",
        "google.protobuf.Timestamp" => "Timestamp",
        "google.protobuf.Value" => "Value",
        "google.protobuf.BoolValue"
        | "google.protobuf.BytesValue"
        | "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int32Value"
        | "google.protobuf.Int64Value"
        | "google.protobuf.StringValue"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.UInt64Value" => "Wrapper",
        "udpa.type.v1.TypedStruct" | "xds.type.v3.TypedStruct" => "TypedStruct",
        _ => "No",
    }
}
