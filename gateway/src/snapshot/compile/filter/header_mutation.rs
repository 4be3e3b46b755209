//! `envoy.extensions.filters.http.header_mutation.v3`

use std::sync::Arc;

use weir_xds::pb;
use weir_xds::pb::core::HeaderValueOption;
use weir_xds::pb::core::header_value_option::HeaderAppendAction;
use weir_xds::pb::mutation_rules::header_mutation::Action;

use super::FilterConfig;
use super::per_route::RouteConfig;
use crate::filter::header_mutation::{Append, AppendAction, HeaderMutation, HeaderMutations};
use crate::snapshot::Problems;
use crate::snapshot::compile::route::header_ops::{Framing, OF_CONNECTION, framing};
use crate::snapshot::compile::route::matching::string_matcher;
use crate::telemetry::format::Format;

pub(super) fn compile(proto: &pb::header_mutation::HeaderMutation, problems: &mut Problems) -> Option<FilterConfig> {
    let mutations = Arc::new(mutations(proto.mutations.as_ref(), problems)?);
    Some(FilterConfig::HeaderMutation { mutations, most_specific_last: proto.most_specific_header_mutations_wins })
}

pub(super) fn compile_per_route(
    proto: &pb::header_mutation::HeaderMutationPerRoute,
    problems: &mut Problems,
) -> Option<RouteConfig> {
    mutations(proto.mutations.as_ref(), problems).map(Arc::new).map(RouteConfig::HeaderMutation)
}

fn mutations(proto: Option<&pb::header_mutation::Mutations>, problems: &mut Problems) -> Option<HeaderMutations> {
    let Some(proto) = proto else { return Some(HeaderMutations::default()) };
    let mut inner = Problems::new();
    if !proto.query_parameter_mutations.is_empty() {
        inner.push("query_parameter_mutations", "is not supported");
    }
    let mut list = |name: &str, protos: &[pb::mutation_rules::HeaderMutation], of_response: bool| -> Vec<_> {
        let compiled = protos.iter().enumerate().filter_map(|(at, proto)| {
            let mut problems = Problems::new();
            let one = mutation(proto, of_response, &mut problems);
            inner.nest(&format!("{name}[{at}]"), problems);
            one
        });
        compiled.collect()
    };
    let compiled = HeaderMutations {
        request: list("request_mutations", &proto.request_mutations, false),
        response: list("response_mutations", &proto.response_mutations, true),
        request_trailers: list("request_trailers_mutations", &proto.request_trailers_mutations, false),
        response_trailers: list("response_trailers_mutations", &proto.response_trailers_mutations, false),
    };
    let good = inner.is_empty();
    problems.nest("mutations", inner);
    good.then_some(compiled)
}

/// Compiles one; the framing and the connection `of_response`s are the codec's.
fn mutation(
    proto: &pb::mutation_rules::HeaderMutation,
    of_response: bool,
    problems: &mut Problems,
) -> Option<HeaderMutation> {
    match &proto.action {
        Some(Action::Remove(name)) => {
            if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
                problems.push("remove", format!("{name:?} cannot be removed: no message goes without it"));
                return None;
            }
            field_name(name, "remove", problems).map(HeaderMutation::Remove)
        }
        Some(Action::Append(option)) => {
            let mut inner = Problems::new();
            let name = option.header.as_ref().map(|header| header.key.as_str());
            let one = match name.filter(|_| of_response).map_or(Framing::None, framing) {
                Framing::LeftOut => {
                    inner.warn("header.key", OF_CONNECTION);
                    None
                }
                Framing::Refused(reason) => {
                    inner.push("header.key", reason);
                    None
                }
                Framing::None => append(option, &mut inner),
            };
            problems.nest("append", inner);
            one.map(HeaderMutation::Append)
        }
        Some(Action::RemoveOnMatch(on_match)) => match &on_match.key_matcher {
            Some(matcher) => {
                string_matcher(matcher, "remove_on_match.key_matcher", problems).map(HeaderMutation::RemoveMatching)
            }
            None => {
                problems.push("remove_on_match.key_matcher", "is required");
                None
            }
        },
        None => {
            problems.push("", "one of append, remove and remove_on_match is required");
            None
        }
    }
}

fn append(proto: &HeaderValueOption, problems: &mut Problems) -> Option<Append> {
    #[allow(deprecated, reason = "to refuse it")]
    if proto.append.is_some() {
        problems.push("append", "is not supported here: use append_action");
        return None;
    }
    let Some(header) = &proto.header else {
        problems.push("header", "is required");
        return None;
    };
    let action = match HeaderAppendAction::try_from(proto.append_action) {
        Ok(HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        Ok(HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        Ok(HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        Ok(HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
        Err(_) => {
            problems.push("append_action", format!("{} is not an action", proto.append_action));
            return None;
        }
    };
    // As Envoy: what a message is about is changed by routes.
    if header.key.starts_with(':') || header.key.eq_ignore_ascii_case("host") {
        problems.push("header.key", ":-prefixed or host headers may not be modified (use the route's rewrites)");
        return None;
    }
    let name = field_name(&header.key, "header.key", problems);
    let text = match (header.value.as_str(), std::str::from_utf8(&header.raw_value)) {
        (value, Ok("")) => Some(value),
        ("", Ok(raw)) => Some(raw),
        (_, Ok(_)) => {
            problems.push("header", "only one of value and raw_value may be set");
            None
        }
        (_, Err(_)) => {
            problems.push("header.raw_value", "must be UTF-8");
            None
        }
    };
    let value = text.and_then(|text| {
        if text.bytes().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
            problems.push("header.value", "must not hold line ends or NUL");
            return None;
        }
        Format::parse(text).map_err(|error| problems.push("header.value", error.to_string())).ok()
    });
    Some(Append { name: name?, value: value?.omit_empty(true), action, keep_empty: proto.keep_empty_value })
}

fn field_name(name: &str, path: &str, problems: &mut Problems) -> Option<Box<[u8]>> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        problems.push(path, format!("{name:?} is not a header name"));
        return None;
    }
    Some(name.to_ascii_lowercase().into_bytes().into_boxed_slice())
}
