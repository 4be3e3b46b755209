//! HTTP filters: events in, effects out; and network filters ([`network`]), which stand below.
//!
//! A filter is a synchronous state machine. The chain calls it with an event; its answer says how to go on. Whatever else
//! it wants (a call-out, a timer, to go on later) it asks of the stream ([`Stream::request_effect`]), and the driver does
//! it when no callback is running.

pub mod answer;
pub mod buffer;
pub mod chain;
pub mod connection_limit;
pub mod header_mutation;
pub mod network;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;

pub use answer::{Answer, Failure, LocalReply};
pub use chain::{Chain, Direction, Out};
pub use stream::{CallId, Effect, FilterId, Stream, StreamState};

use crate::http::ResponseHead;
use crate::upstream::CallResult;

/// How to go on after headers (Envoy's `FilterHeadersStatus`).
#[derive(Debug)]
pub enum HeadersAction {
    /// To the next filter.
    Continue,
    /// Hold the headers; this filter still gets the body, and the headers go on when it continues from there.
    StopIteration,
    /// Hold everything here, keep the body up to the buffer limit (beyond it: [`Failure::BodyTooLarge`]).
    StopAllAndBuffer,
    /// Hold everything here, and stop reading the body at the buffer limit.
    StopAllAndWatermark,
    /// Answer now.
    Respond(Answer),
}

/// How to go on after a piece of body (Envoy's `FilterDataStatus`).
#[derive(Debug)]
pub enum DataAction {
    /// To the next filter, with all that is in the stream's body.
    Continue,
    /// Hold the body here up to the buffer limit (beyond it: [`Failure::BodyTooLarge`]).
    StopAndBuffer,
    /// Hold the body here, and stop reading at the buffer limit.
    StopAndWatermark,
    /// Go no further; the filter has taken what it wants of the new piece, which is dropped. What was held stays.
    StopNoBuffer,
    /// Answer now.
    Respond(Answer),
}

/// How to go on after trailers (Envoy's `FilterTrailersStatus`).
#[derive(Debug)]
pub enum TrailersAction {
    /// To the next filter.
    Continue,
    /// Hold the trailers here.
    Stop,
    /// Answer now.
    Respond(Answer),
}

/// Which events a filter wants; the others pass it at no cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Pieces of the request body.
    pub request_body: bool,
    /// Trailers of the request.
    pub request_trailers: bool,
    /// Heads of interim responses (1xx).
    pub informational: bool,
    /// Head of the response.
    pub response_headers: bool,
    /// Pieces of the response body.
    pub response_body: bool,
    /// Trailers of the response.
    pub response_trailers: bool,
    /// The end of the stream, with everything known.
    pub log: bool,
}

/// One filter on one stream. `end` says that nothing follows in this direction.
pub trait HttpFilter {
    /// What it wants to see beside the request's headers. Asked once, when the stream starts.
    fn wants(&self) -> Wants;

    /// The request's head came: `stream.request`.
    fn on_request_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction;

    /// A piece of the request's body came: `stream.request_body` has it, behind what was held here before.
    fn on_request_body(&mut self, _stream: &Stream, _end: bool) -> DataAction {
        DataAction::Continue
    }

    /// The request's trailers came: `stream.request_trailers`.
    fn on_request_trailers(&mut self, _stream: &Stream) -> TrailersAction {
        TrailersAction::Continue
    }

    /// An interim response (RFC 9110 section 15.2) is about to be passed on; it can be changed and not held (Envoy's
    /// `encode1xxHeaders`).
    fn on_informational(&mut self, _stream: &Stream, _head: &mut ResponseHead) {}

    /// The response's head came: `stream.response`.
    fn on_response_headers(&mut self, _stream: &Stream, _end: bool) -> HeadersAction {
        HeadersAction::Continue
    }

    /// A piece of the response's body came: `stream.response_body` has it, behind what was held here before.
    fn on_response_body(&mut self, _stream: &Stream, _end: bool) -> DataAction {
        DataAction::Continue
    }

    /// The response's trailers came: `stream.response_trailers`.
    fn on_response_trailers(&mut self, _stream: &Stream) -> TrailersAction {
        TrailersAction::Continue
    }

    /// A call-out that this filter asked for ([`Effect::Call`]) has ended. What follows from it is an effect, too.
    fn on_call_done(&mut self, _stream: &Stream, _call: CallId, _result: CallResult) {}

    /// The time that this filter had set ([`Effect::Timer`]) has come.
    fn on_timer(&mut self, _stream: &Stream) {}

    /// The stream has ended; everything of it is known.
    fn on_log(&mut self, _stream: &Stream) {}

    /// The stream goes away: give back what is held. Called exactly once, also after a reset. Call-outs that are under way
    /// end unheard.
    fn on_destroy(&mut self, _stream: &Stream) {}
}
