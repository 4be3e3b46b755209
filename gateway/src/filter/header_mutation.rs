//! `envoy.filters.http.header_mutation`: changes headers and trailers on their way.

use std::sync::Arc;

use super::{HeadersAction, HttpFilter, Stream, StreamState, TrailersAction, Wants};
use crate::http::HeaderMap;
use crate::http::one_line::{Of, add};
use crate::route::StringMatcher;
use crate::telemetry::format::{Format, FormatCx};

/// Changes at one level: of the filter itself, or of a route, virtual host or route configuration.
#[derive(Debug, Default)]
pub struct HeaderMutations {
    /// `request_mutations`
    pub request: Vec<HeaderMutation>,
    /// `response_mutations`
    pub response: Vec<HeaderMutation>,
    /// `request_trailers_mutations`
    pub request_trailers: Vec<HeaderMutation>,
    /// `response_trailers_mutations`
    pub response_trailers: Vec<HeaderMutation>,
}

/// One change.
#[derive(Debug)]
pub enum HeaderMutation {
    /// Adds or replaces a field.
    Append(Append),
    /// Removes all fields of this name (in lower case).
    Remove(Box<[u8]>),
    /// Removes all fields whose name matches.
    RemoveMatching(StringMatcher),
}

/// A field to add or to replace.
#[derive(Debug)]
pub struct Append {
    /// In lower case; no pseudo-header.
    pub name: Box<[u8]>,
    /// Its value, with command operators.
    pub value: Format,
    /// What becomes of fields of that name.
    pub action: AppendAction,
    /// Also if the value is empty (`keep_empty_value`).
    pub keep_empty: bool,
}

/// `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAction {
    /// Behind those that are there.
    AppendIfExistsOrAdd,
    /// Only if there is none.
    AddIfAbsent,
    /// In place of those that are there.
    OverwriteIfExistsOrAdd,
    /// In place of those that are there, if there are any.
    OverwriteIfExists,
}

/// The filter on one stream: the levels that apply, in the order in which they do.
#[derive(Debug)]
pub struct HeaderMutationFilter {
    levels: smallvec::SmallVec<[Arc<HeaderMutations>; 2]>,
}

impl HeaderMutationFilter {
    /// Levels in the order in which they apply.
    pub fn new(levels: impl IntoIterator<Item = Arc<HeaderMutations>>) -> Self {
        Self { levels: levels.into_iter().collect() }
    }
}

impl HttpFilter for HeaderMutationFilter {
    fn wants(&self) -> Wants {
        let any = |part: fn(&HeaderMutations) -> &Vec<HeaderMutation>| self.levels.iter().any(|l| !part(l).is_empty());
        Wants {
            request_trailers: any(|l| &l.request_trailers),
            response_headers: any(|l| &l.response),
            response_trailers: any(|l| &l.response_trailers),
            ..Wants::default()
        }
    }

    fn on_request_headers(&mut self, stream: &Stream, _end: bool) -> HeadersAction {
        let state = &mut *stream.edit();
        for mutation in self.levels.iter().flat_map(|level| &level.request) {
            apply(mutation, state, |state| Target::Request(&mut state.request.headers));
        }
        HeadersAction::Continue
    }

    fn on_request_trailers(&mut self, stream: &Stream) -> TrailersAction {
        let state = &mut *stream.edit();
        for mutation in self.levels.iter().flat_map(|level| &level.request_trailers) {
            apply(mutation, state, |state| Target::Trailers(state.request_trailers.as_mut()));
        }
        TrailersAction::Continue
    }

    fn on_response_headers(&mut self, stream: &Stream, _end: bool) -> HeadersAction {
        let state = &mut *stream.edit();
        for mutation in self.levels.iter().flat_map(|level| &level.response) {
            apply(mutation, state, |state| Target::Response(state.response.as_mut().map(|head| &mut head.headers)));
        }
        HeadersAction::Continue
    }

    fn on_response_trailers(&mut self, stream: &Stream) -> TrailersAction {
        let state = &mut *stream.edit();
        for mutation in self.levels.iter().flat_map(|level| &level.response_trailers) {
            apply(mutation, state, |state| Target::Trailers(state.response_trailers.as_mut()));
        }
        TrailersAction::Continue
    }
}

enum Target<'a> {
    Request(&'a mut HeaderMap),
    Response(Option<&'a mut HeaderMap>),
    Trailers(Option<&'a mut HeaderMap>),
}

impl<'a> Target<'a> {
    fn fields(self) -> Option<&'a mut HeaderMap> {
        match self {
            Target::Request(map) => Some(map),
            Target::Response(map) | Target::Trailers(map) => map,
        }
    }
}

fn apply<'s>(
    mutation: &HeaderMutation,
    state: &'s mut StreamState,
    target: impl FnOnce(&'s mut StreamState) -> Target<'s>,
) {
    match mutation {
        HeaderMutation::Remove(name) => {
            if let Some(map) = target(state).fields() {
                map.remove(name);
            }
        }
        HeaderMutation::RemoveMatching(matcher) => {
            if let Some(map) = target(state).fields() {
                map.retain(|name, _| !matcher.is_match(name));
            }
        }
        HeaderMutation::Append(append) => {
            let mut value = Vec::new();
            append.value.render(&cx(state), &mut value);
            if value.is_empty() && !append.keep_empty {
                return;
            }
            let (map, of) = match target(state) {
                Target::Request(map) => (Some(map), Some(Of::Request)),
                Target::Response(map) => (map, Some(Of::Response)),
                Target::Trailers(map) => (map, None),
            };
            if let Some(map) = map {
                append.write(map, of, &value);
            }
        }
    }
}

impl Append {
    fn write(&self, map: &mut HeaderMap, of: Option<Of>, value: &[u8]) {
        match (self.action, of) {
            (AppendAction::AppendIfExistsOrAdd, Some(of)) => add(map, of, &self.name, value),
            (AppendAction::AppendIfExistsOrAdd, None) => map.append(&self.name, value),
            (AppendAction::AddIfAbsent, _) if map.contains(&self.name) => {}
            (AppendAction::AddIfAbsent, _) => map.append(&self.name, value),
            (AppendAction::OverwriteIfExists, _) if !map.contains(&self.name) => {}
            (AppendAction::OverwriteIfExists | AppendAction::OverwriteIfExistsOrAdd, _) => map.set(&self.name, value),
        }
    }
}

fn cx(state: &StreamState) -> FormatCx<'_> {
    FormatCx {
        request: Some(&state.request),
        response: state.response.as_ref(),
        request_trailers: state.request_trailers.as_ref(),
        response_trailers: state.response_trailers.as_ref(),
        ..FormatCx::new(&state.info)
    }
}
