//! `…_headers_to_add` and `…_headers_to_remove` into [`HeaderOps`].

use weir_xds::pb::core::HeaderValueOption;
use weir_xds::pb::core::header_value_option::HeaderAppendAction;

use super::HeaderOps;
use crate::route::header_ops::{AppendAction, SetHeader};
use crate::snapshot::Problems;

/// Operations on a request; problems stand under `request_headers_to_…`.
pub fn request(add: &[HeaderValueOption], remove: &[String], problems: &mut Problems) -> HeaderOps {
    compile(add, remove, ["request_headers_to_add", "request_headers_to_remove"], None, problems)
}

/// Operations on a response; problems stand under `response_headers_to_…`.
pub fn response(add: &[HeaderValueOption], remove: &[String], problems: &mut Problems) -> HeaderOps {
    of_response(add, remove, ["response_headers_to_add", "response_headers_to_remove"], problems)
}

/// Operations on a response; `fields` are the names of the two lists. What belongs to the connection is left out.
pub fn of_response(
    add: &[HeaderValueOption],
    remove: &[String],
    fields: [&str; 2],
    problems: &mut Problems,
) -> HeaderOps {
    compile(add, remove, fields, Some(framing), problems)
}

/// Whether a field of a response may be set: its framing and its connection are the codec's alone, as in Envoy. Two
/// framings in one head would split the response in two for the next proxy.
pub fn framing(name: &str) -> Framing {
    const CONNECTION: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    if CONNECTION.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        Framing::LeftOut
    } else if name.eq_ignore_ascii_case("content-length") {
        Framing::Refused("content-length is the codec's: another one would end the response elsewhere")
    } else {
        Framing::None
    }
}

/// What is said of a field that is left out of responses.
pub const OF_CONNECTION: &str = "has no effect: the field belongs to the connection, and is not added to responses";

/// What a field has to do with where a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    None,
    /// It belongs to the connection: it is not set, which is worth a warning.
    LeftOut,
    /// It cannot be set, and why.
    Refused(&'static str),
}

fn compile(
    add: &[HeaderValueOption],
    remove: &[String],
    fields: [&str; 2],
    framing: Option<fn(&str) -> Framing>,
    problems: &mut Problems,
) -> HeaderOps {
    if add.is_empty() && remove.is_empty() {
        return HeaderOps::default();
    }
    let [add_field, remove_field] = fields;
    let mut set = Vec::with_capacity(add.len());
    for (at, option) in add.iter().enumerate() {
        let mut inner = Problems::new();
        let name = option.header.as_ref().map(|header| header.key.as_str());
        match framing.zip(name).map(|(framing, name)| framing(name)) {
            Some(Framing::LeftOut) => inner.warn("header.key", OF_CONNECTION),
            Some(Framing::Refused(reason)) => inner.push("header.key", reason),
            Some(Framing::None) | None => set.extend(set_header(option, &mut inner)),
        }
        problems.nest_at(add_field, at, inner);
    }
    match HeaderOps::new(remove, set) {
        Ok(ops) => ops,
        Err(_) => {
            for (at, name) in remove.iter().enumerate() {
                if let Err(error) = HeaderOps::new(std::slice::from_ref(name), Vec::new()) {
                    problems.push(format!("{remove_field}[{at}]"), error.to_string());
                }
            }
            HeaderOps::default()
        }
    }
}

/// One `HeaderValueOption`.
pub fn set_header(option: &HeaderValueOption, problems: &mut Problems) -> Option<SetHeader> {
    let Some(header) = &option.header else {
        problems.push("header", "required: which field is set");
        return None;
    };
    let append = append_action(option, problems)?;
    let value = if header.raw_value.is_empty() {
        header.value.as_str()
    } else if !header.value.is_empty() {
        problems.push("header", "value and raw_value are both set; give one");
        return None;
    } else {
        match std::str::from_utf8(&header.raw_value) {
            Ok(text) => text,
            Err(_) => {
                problems.push("header.raw_value", "not UTF-8");
                return None;
            }
        }
    };
    match SetHeader::new(&header.key, value, append, option.keep_empty_value) {
        Ok(set) => Some(set),
        Err(error) => {
            problems.push("header", error.to_string());
            None
        }
    }
}

#[allow(deprecated)] // `append` is what older configurations have.
fn append_action(option: &HeaderValueOption, problems: &mut Problems) -> Option<AppendAction> {
    let action = HeaderAppendAction::try_from(option.append_action);
    let action = match action {
        Ok(HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendOrAdd,
        Ok(HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        Ok(HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteOrAdd,
        Ok(HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
        Err(_) => {
            problems.push("append_action", "unknown value");
            return None;
        }
    };
    match &option.append {
        None => Some(action),
        Some(_) if action != AppendAction::AppendOrAdd => {
            problems.push("append", "append and append_action are both set; give append_action only");
            None
        }
        Some(append) if append.value => Some(AppendAction::AppendOrAdd),
        Some(_) => Some(AppendAction::OverwriteOrAdd),
    }
}
