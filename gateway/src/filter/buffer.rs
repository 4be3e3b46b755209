//! `envoy.filters.http.buffer`: holds a request until all of its body is there.

use super::{DataAction, HeadersAction, HttpFilter, Stream, TrailersAction, Wants};

/// The filter on one stream.
#[derive(Debug)]
pub struct BufferFilter {
    max_request_bytes: u32,
    active: bool,
}

impl BufferFilter {
    /// Requests with more body than `max_request_bytes` are refused ([`super::Failure::BodyTooLarge`]).
    pub fn new(max_request_bytes: u32) -> Self {
        Self { max_request_bytes, active: false }
    }

    /// The whole body is there: say how long it is, as its sender may not have known.
    fn announce_length(stream: &Stream) {
        let mut state = stream.edit();
        if !state.request.headers.contains("content-length") {
            let length = state.request_body.len();
            state.request.headers.set("content-length", itoa::Buffer::new().format(length));
        }
    }
}

impl HttpFilter for BufferFilter {
    fn wants(&self) -> Wants {
        Wants { request_body: true, request_trailers: true, ..Wants::default() }
    }

    fn on_request_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction {
        if end {
            return HeadersAction::Continue;
        }
        self.active = true;
        stream.edit().buffer_limit = usize::try_from(self.max_request_bytes).unwrap_or(usize::MAX);
        HeadersAction::StopIteration
    }

    fn on_request_body(&mut self, stream: &Stream, end: bool) -> DataAction {
        if !self.active {
            return DataAction::Continue;
        }
        if !end {
            return DataAction::StopAndBuffer;
        }
        Self::announce_length(stream);
        DataAction::Continue
    }

    fn on_request_trailers(&mut self, stream: &Stream) -> TrailersAction {
        if self.active {
            Self::announce_length(stream);
        }
        TrailersAction::Continue
    }
}
