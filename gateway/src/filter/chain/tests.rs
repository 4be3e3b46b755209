//! The behaviour of the chain as a table: scripted filters, what is fed in, and the trace of what happens.
//!
//! A script is a list of `event:action`, one entry used up per callback (without one: continue). Events: `qh qb qt` for the
//! request's headers, body, trailers, `sh sb st` for the response's. Actions: `c` continue, `s` stop, `B` stop (all) and
//! buffer, `W` stop (all) and watermark, `n` stop without buffering, a number: answer with that status. Behind it: `+text`
//! adds body, `=text` replaces the body, `+T` makes trailers, `!q` / `!s` asks to resume the request / response, `!c` for a
//! call-out, `!t` for a timer that is due, `!n` for none. Events beside the messages: `1x` an interim response, `call` the
//! end of a call-out, `tick` a timer.
//!
//! Input: `H` request headers, `D:text` body, `T` trailers, the same in small letters for the response, a final `.` for the
//! end; `go:NAME:q` resumes; `1xx` is an interim response, `done:NAME` the end of a call-out, `ring` the time for timers. In the trace, what leaves is `>H >D(text) >T` and `<h <d(text) <t`.

#![allow(clippy::unwrap_used)]

mod ends;
mod events;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;
use crate::filter::testing::{stream, text};
use crate::filter::{DataAction, HeadersAction, LocalReply, StreamState, TrailersAction};
use crate::http::{HeaderMap, ResponseHead};
use crate::upstream::{CallFailed, CallResult};

type Trace = Rc<RefCell<Vec<String>>>;

struct Scripted {
    name: String,
    id: FilterId,
    wants: Wants,
    steps: VecDeque<(String, String)>,
    trace: Trace,
}

const ALL: Wants = Wants {
    request_body: true,
    request_trailers: true,
    informational: true,
    response_headers: true,
    response_body: true,
    response_trailers: true,
    log: true,
};

impl Scripted {
    /// `name headers-only? event:action …`
    fn new(index: usize, script: &str, trace: &Trace) -> Self {
        let mut words = script.split_whitespace();
        let name = words.next().unwrap().to_owned();
        let mut wants = ALL;
        let mut steps = VecDeque::new();
        for word in words {
            match word.split_once(':') {
                Some((event, action)) => steps.push_back((event.to_owned(), action.to_owned())),
                None => wants = Wants::default(),
            }
        }
        Self { name, id: FilterId(index), wants, steps, trace: Rc::clone(trace) }
    }

    /// Notes the event and takes its next step: the action's first word.
    fn step(&mut self, stream: &Stream, event: &str, shown: &str) -> String {
        self.trace.borrow_mut().push(format!("{}.{event}{shown}", self.name));
        let Some(at) = self.steps.iter().position(|(e, _)| e == event) else { return "c".into() };
        let action = self.steps.remove(at).unwrap().1;
        let first = action.split(['+', '=', '!']).next().unwrap_or_default().to_owned();
        let mut rest = &action[first.len()..];
        while let Some(kind) = rest.chars().next() {
            let tail = &rest[1..];
            let len = tail.find(['+', '=', '!']).unwrap_or(tail.len());
            let text = &tail[..len];
            let request = event.starts_with('q');
            let mut state = stream.edit();
            match (kind, text) {
                ('+', "T") if request => state.request_trailers = Some(HeaderMap::new()),
                ('+', "T") => state.response_trailers = Some(HeaderMap::new()),
                ('+' | '=', _) => {
                    let body = if request { &mut state.request_body } else { &mut state.response_body };
                    if kind == '=' {
                        body.take();
                    }
                    body.push(Bytes::copy_from_slice(text.as_bytes()));
                }
                ('!', _) => {
                    drop(state);
                    let effect = match text {
                        "q" => Effect::ResumeRequest,
                        "s" => Effect::ResumeResponse,
                        "c" => Effect::Call(CallId(7), Box::new(events::call_out())),
                        "t" => Effect::Timer(Some(Instant::now())),
                        "n" => Effect::Timer(None),
                        status => Effect::Respond(reply(status)),
                    };
                    stream.request_effect(self.id, effect);
                }
                _ => panic!("script: {rest}"),
            }
            rest = &tail[len..];
        }
        first
    }

    fn headers(&mut self, stream: &Stream, event: &str, end: bool) -> HeadersAction {
        match self.step(stream, event, dot(end)).as_str() {
            "c" => HeadersAction::Continue,
            "s" => HeadersAction::StopIteration,
            "B" => HeadersAction::StopAllAndBuffer,
            "W" => HeadersAction::StopAllAndWatermark,
            status => HeadersAction::Respond(reply(status)),
        }
    }

    fn body(&mut self, stream: &Stream, event: &str, end: bool) -> DataAction {
        let text = {
            let state = stream.get();
            shown(if event == "qb" { &state.request_body } else { &state.response_body })
        };
        match self.step(stream, event, &format!("({text}){}", dot(end))).as_str() {
            "c" => DataAction::Continue,
            "B" => DataAction::StopAndBuffer,
            "W" => DataAction::StopAndWatermark,
            "n" => DataAction::StopNoBuffer,
            status => DataAction::Respond(reply(status)),
        }
    }

    fn trailers(&mut self, stream: &Stream, event: &str) -> TrailersAction {
        match self.step(stream, event, "").as_str() {
            "c" => TrailersAction::Continue,
            "s" => TrailersAction::Stop,
            status => TrailersAction::Respond(reply(status)),
        }
    }
}

impl HttpFilter for Scripted {
    fn wants(&self) -> Wants {
        self.wants
    }
    fn on_request_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction {
        self.headers(stream, "qh", end)
    }
    fn on_request_body(&mut self, stream: &Stream, end: bool) -> DataAction {
        self.body(stream, "qb", end)
    }
    fn on_request_trailers(&mut self, stream: &Stream) -> TrailersAction {
        self.trailers(stream, "qt")
    }
    fn on_response_headers(&mut self, stream: &Stream, end: bool) -> HeadersAction {
        self.headers(stream, "sh", end)
    }
    fn on_response_body(&mut self, stream: &Stream, end: bool) -> DataAction {
        self.body(stream, "sb", end)
    }
    fn on_response_trailers(&mut self, stream: &Stream) -> TrailersAction {
        self.trailers(stream, "st")
    }
    fn on_informational(&mut self, stream: &Stream, head: &mut ResponseHead) {
        self.step(stream, "1x", &format!("({})", head.status));
        head.status += 1;
    }
    fn on_call_done(&mut self, stream: &Stream, call: CallId, result: CallResult) {
        let ended = if result.is_ok() { "answered" } else { "failed" };
        self.step(stream, "call", &format!("({},{ended})", call.0));
    }
    fn on_timer(&mut self, stream: &Stream) {
        self.step(stream, "tick", "");
    }
    fn on_log(&mut self, stream: &Stream) {
        self.step(stream, "log", "");
    }
    fn on_destroy(&mut self, stream: &Stream) {
        self.step(stream, "destroy", "");
    }
}

fn reply(status: &str) -> Answer {
    LocalReply::new(status.parse().unwrap(), "why", "test").into()
}

fn named(answer: &Answer) -> String {
    match answer {
        Answer::Reply(reply) => reply.status.to_string(),
        Answer::Failure(failure) => format!("{failure:?}"),
    }
}

/// A body without blanks, which separate the words of a trace.
fn shown(body: &BodyBuf) -> String {
    text(body).replace(' ', "-")
}

fn dot(end: bool) -> &'static str {
    if end { "." } else { "" }
}

struct Driver {
    chain: Chain<Scripted>,
    names: Vec<String>,
    trace: Trace,
}

impl Driver {
    fn new(scripts: &[&str], limit: usize) -> Self {
        let trace = Trace::default();
        let stream = stream();
        stream.edit().buffer_limit = limit;
        let filters: Vec<_> = scripts.iter().enumerate().map(|(i, s)| Scripted::new(i, s, &trace)).collect();
        let names = filters.iter().map(|f| f.name.clone()).collect();
        Self { chain: Chain::new(stream, filters), names, trace }
    }

    fn feed(&mut self, input: &str) {
        let (word, end) = match input.strip_suffix('.') {
            Some(word) => (word, true),
            None => (input, false),
        };
        let (kind, body) = word.split_once(':').unwrap_or((word, ""));
        let piece = Bytes::copy_from_slice(body.as_bytes());
        let stream = self.chain.stream().clone();
        match kind {
            "H" => self.chain.request_headers(end),
            "D" => self.chain.request_body(piece, end),
            "T" => {
                stream.edit().request_trailers = Some(HeaderMap::new());
                self.chain.request_trailers();
            }
            "h" => {
                stream.edit().response = Some(ResponseHead::new(200));
                self.chain.response_headers(end);
            }
            "d" => self.chain.response_body(piece, end),
            "t" => {
                stream.edit().response_trailers = Some(HeaderMap::new());
                self.chain.response_trailers();
            }
            "go" => {
                let (name, direction) = body.split_once(':').unwrap();
                let id = FilterId(self.names.iter().position(|n| n == name).unwrap());
                self.chain.resume(id, if direction == "q" { Direction::Request } else { Direction::Response });
            }
            "1xx" => {
                let mut head = ResponseHead::new(100);
                self.chain.informational(&mut head);
                self.trace.borrow_mut().push(format!("<{}", head.status));
            }
            "done" => {
                let id = FilterId(self.names.iter().position(|n| n == body).unwrap());
                self.chain.call_done(id, CallId(7), Err(CallFailed::NoCluster("auth".into())));
            }
            "ring" => {
                let due = if self.chain.timer().is_some() { "due" } else { "none" };
                self.trace.borrow_mut().push(due.into());
                self.chain.ring(Instant::now());
            }
            "more" => {
                let more = |d| if self.chain.wants_more(d) { "more" } else { "full" };
                let line = format!("{}/{}", more(Direction::Request), more(Direction::Response));
                self.trace.borrow_mut().push(line);
            }
            "fail" => self.chain.respond(reply(body)),
            "log" => self.chain.log(),
            "destroy" => self.chain.destroy(),
            _ => panic!("input: {input}"),
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(out) = self.chain.next_out() {
            let line = match &out {
                Out::Headers(Direction::Request, end) => format!(">H{}", dot(*end)),
                Out::Headers(Direction::Response, end) => {
                    let status = self.chain.stream().get().response.as_ref().unwrap().status;
                    let shown = if status == 200 { String::new() } else { status.to_string() };
                    format!("<h{shown}{}", dot(*end))
                }
                Out::Data(Direction::Request, body, end) => format!(">D({}){}", shown(body), dot(*end)),
                Out::Data(Direction::Response, body, end) => format!("<d({}){}", shown(body), dot(*end)),
                Out::Trailers(Direction::Request) => ">T".into(),
                Out::Trailers(Direction::Response) => "<t".into(),
                Out::Respond(answer) => format!("reply{}", named(answer)),
                Out::RespondDirect(answer) => format!("direct{}", named(answer)),
                Out::Reset => "reset".into(),
                Out::Call(filter, id, call) => format!("ask{}:{}:{}", filter.0, id.0, call.cluster),
            };
            self.trace.borrow_mut().push(line);
            if let Out::Respond(answer) = out {
                let status = match answer {
                    Answer::Reply(reply) => reply.status,
                    Answer::Failure(_) => 500,
                };
                self.chain.stream().edit().response = Some(ResponseHead::new(status));
                self.chain.response_headers(false);
                self.drain();
                self.chain.response_body("why".into(), true);
            }
        }
    }
}

#[track_caller]
fn check_with(limit: usize, scripts: &[&str], inputs: &str, expected: &str) {
    let mut driver = Driver::new(scripts, limit);
    for input in inputs.split_whitespace() {
        driver.feed(input);
    }
    // What leaves is taken out after the callbacks of one input: each of the two has its own order.
    let trace = driver.trace.borrow().join(" ");
    let (calls, outs) = halves(&trace);
    let (expected_calls, expected_outs) = halves(expected);
    assert_eq!(calls, expected_calls, "callbacks\nscripts {scripts:?}\ninputs  {inputs}\nwhole   {trace}");
    assert_eq!(outs, expected_outs, "leaves\nscripts {scripts:?}\ninputs  {inputs}\nwhole   {trace}");
}

fn halves(trace: &str) -> (Vec<&str>, Vec<&str>) {
    trace.split_whitespace().partition(|word| word.as_bytes().get(1) == Some(&b'.'))
}

#[track_caller]
fn check(scripts: &[&str], inputs: &str, expected: &str) {
    check_with(StreamState::DEFAULT_BUFFER_LIMIT, scripts, inputs, expected);
}

#[test]
fn without_filters_everything_passes() {
    check(&[], "H D:ab D:. h d:x t", ">H >D(ab) >D(). <h <d(x) <t");
    check(&[], "H. h.", ">H. <h.");
}

#[test]
fn requests_go_in_order_and_responses_in_reverse() {
    check(
        &["a", "b"],
        "H D:1 D:2 T h d:x.",
        "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qb(2) b.qb(2) >D(2) a.qt b.qt >T b.sh a.sh <h b.sb(x). a.sb(x). <d(x).",
    );
}

#[test]
fn filters_that_want_headers_only_see_nothing_else() {
    check(&["a -"], "H D:1. h d:x.", "a.qh >H >D(1). <h <d(x).");
    check(&["a -", "b"], "H D:1. h.", "a.qh b.qh >H b.qb(1). >D(1). b.sh. <h.");
}

#[test]
fn stop_iteration_on_headers_still_sees_the_body() {
    check(&["a qh:s qb:B qb:c", "b"], "H D:1 D:2.", "a.qh a.qb(1) a.qb(12). b.qh >H b.qb(12). >D(12).");
    check(&["a qh:s", "b"], "H D:1 D:2.", "a.qh a.qb(1) b.qh >H b.qb(1) >D(1) a.qb(2). b.qb(2). >D(2).");
    check(&["a qh:s qb:B", "b"], "H D:1 T", "a.qh a.qb(1) a.qt b.qh >H b.qb(1) >D(1) b.qt >T");
    check(&["a qh:s", "b"], "H. go:a:q", "a.qh. b.qh. >H.");
    check(&["a qh:s qb:n qb:n", "b"], "H D:1 D:2. go:a:q", "a.qh a.qb(1) a.qb(2). b.qh >H b.qb(). >D().");
    // It does not want the body: that its body comes is as if it let it pass.
    check(&["a - qh:s", "b"], "H D:1.", "a.qh b.qh >H b.qb(1). >D(1).");
}

#[test]
fn stop_all_holds_everything_until_resumed() {
    check(&["a qh:W", "b"], "H D:1 D:2. go:a:q", "a.qh b.qh >H a.qb(12). b.qb(12). >D(12).");
    check(&["a qh:B", "b"], "H D:1 T go:a:q", "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qt b.qt >T");
    check(&["a qh:W", "b"], "H D:1 go:a:q D:2.", "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qb(2). b.qb(2). >D(2).");
    check(&["a qh:W", "b"], "H. go:a:q", "a.qh. b.qh. >H.");
    check(&["a qh:W", "b qh:W"], "H D:1. go:a:q go:b:q", "a.qh b.qh a.qb(1). >H b.qb(1). >D(1).");
    check(&["a qh:W qb:B", "b"], "H D:1. go:a:q go:a:q", "a.qh b.qh >H a.qb(1). b.qb(1). >D(1).");
    check(&["a qh:W qb:B", "b"], "H D:1 T go:a:q", "a.qh b.qh >H a.qb(1) a.qt b.qb(1) >D(1) b.qt >T");
    check(&["a sh:W", "b"], "H. h d:1 d:2. go:a:s", "a.qh. b.qh. >H. b.sh a.sh b.sb(1) b.sb(2). <h a.sb(12). <d(12).");
}

#[test]
fn resuming_what_is_not_stopped_does_nothing() {
    check(&["a"], "H go:a:q D:1. go:a:q", "a.qh >H a.qb(1). >D(1).");
    check(&["a qh:W"], "H. go:a:q go:a:q", "a.qh. >H.");
}

#[test]
fn a_resume_asked_for_inside_the_callback_happens_after_it() {
    check(&["a qh:W!q", "b"], "H.", "a.qh. b.qh. >H.");
    check(&["a qb:B!q", "b"], "H D:1.", "a.qh b.qh >H a.qb(1). b.qb(1). >D(1).");
    check(&["a sb:B!s"], "H. h d:1.", "a.qh. >H. a.sh <h a.sb(1). <d(1).");
}

#[test]
fn buffered_body_flows_as_one() {
    check(&["a qb:B qb:B", "b"], "H D:1 D:2 D:3.", "a.qh b.qh >H a.qb(1) a.qb(12) a.qb(123). b.qb(123). >D(123).");
    check(
        &["a qb:B", "b qb:B"],
        "H D:1 D:2 D:3.",
        "a.qh b.qh >H a.qb(1) a.qb(12) b.qb(12) a.qb(3). b.qb(123). >D(123).",
    );
    check(&["a qb:B", "b"], "H D:1. go:a:q", "a.qh b.qh >H a.qb(1). b.qb(1). >D(1).");
    check(&["a qb:B", "b"], "H D:1 go:a:q D:2.", "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qb(2). b.qb(2). >D(2).");
    check(&["a qb:B qt:s", "b"], "H D:1 T go:a:q", "a.qh b.qh >H a.qb(1) a.qt b.qb(1) >D(1) b.qt >T");
    check(&["a sb:B", "b"], "H. h d:1 d:2.", "a.qh. b.qh. >H. b.sh a.sh <h b.sb(1) a.sb(1) b.sb(2). a.sb(12). <d(12).");
}

#[test]
fn stop_without_buffering_drops_the_piece() {
    check(&["a qb:n", "b"], "H D:1 D:2.", "a.qh b.qh >H a.qb(1) a.qb(2). b.qb(2). >D(2).");
    check(&["a qb:B qb:n qb:c", "b"], "H D:1 D:2 D:3.", "a.qh b.qh >H a.qb(1) a.qb(12) a.qb(13). b.qb(13). >D(13).");
    check(&["a qb:n", "b"], "H D:1. go:a:q", "a.qh b.qh >H a.qb(1). b.qb(). >D().");
}

#[test]
fn two_holding_filters_do_not_mix() {
    check(&["a", "b qb:B"], "H D:1 go:b:q D:2.", "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qb(2). b.qb(2). >D(2).");
    // b resumes while a holds the end: no end goes out before a lets it go.
    check(
        &["a qb:c qb:B", "b qb:B"],
        "H D:1 D:2. go:b:q go:a:q",
        "a.qh b.qh >H a.qb(1) b.qb(1) a.qb(2). >D(1) b.qb(2). >D(2).",
    );
}

#[test]
fn trailers_stop_and_go_on() {
    check(&["a qt:s", "b"], "H D:1 T go:a:q", "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qt b.qt >T");
    check(&["a", "b st:s"], "H. h d:1 t go:b:s", "a.qh. b.qh. >H. b.sh a.sh <h b.sb(1) a.sb(1) <d(1) b.st a.st <t");
    check(&["a qh:s qt:s", "b"], "H T go:a:q", "a.qh a.qt b.qh >H b.qt >T");
}

#[test]
fn bodies_may_be_changed_and_added() {
    check(&["a qb:c=new", "b"], "H D:1.", "a.qh b.qh >H a.qb(1). b.qb(new). >D(new).");
    check(&["a qb:c+x", "b"], "H D:1 D:.", "a.qh b.qh >H a.qb(1) b.qb(1x) >D(1x) a.qb(). b.qb(). >D().");
    check(&["a qb:c qb:c+end", "b"], "H D:1 D:.", "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qb(). b.qb(end). >D(end).");
    // To a message without a body: the filters behind see no end in the headers.
    check(&["a qh:c+add", "b"], "H.", "a.qh. b.qh >H b.qb(add). >D(add).");
    check(&["a qh:c+add", "b qh:W"], "H. go:b:q", "a.qh. b.qh >H b.qb(add). >D(add).");
    check(&["a qh:s+add", "b"], "H. go:a:q", "a.qh. b.qh >H b.qb(add). >D(add).");
    check(&["a qh:W+add", "b"], "H. go:a:q", "a.qh. b.qh >H b.qb(add). >D(add).");
    check(&["a qh:c+add", "b"], "H D:1.", "a.qh b.qh >H a.qb(add1). b.qb(add1). >D(add1).");
    check(&["a", "b sh:c+add"], "H. h.", "a.qh. b.qh. >H. b.sh. a.sh <h a.sb(add). <d(add).");
    // In the trailers callback: the body goes before them.
    check(&["a qt:c+add", "b"], "H T", "a.qh b.qh >H a.qt b.qb(add) >D(add) b.qt >T");
    check(&["a qt:s+add", "b"], "H T go:a:q", "a.qh b.qh >H a.qt b.qb(add) >D(add) b.qt >T");
}

#[test]
fn trailers_may_be_made_at_the_end_of_the_body() {
    check(&["a qb:c+T", "b"], "H D:1.", "a.qh b.qh >H a.qb(1). b.qb(1) >D(1) b.qt >T");
    check(&["a", "b qb:c+T"], "H D:1.", "a.qh b.qh >H a.qb(1). b.qb(1). >D(1) >T");
    check(&["a qb:B+T", "b"], "H D:1. go:a:q", "a.qh b.qh >H a.qb(1). b.qb(1) >D(1) b.qt >T");
    check(&["a qb:c+T", "b qb:B"], "H D:1.", "a.qh b.qh >H a.qb(1). b.qb(1) b.qt >D(1) >T");
    check(&["a qb:c+T", "b qh:W"], "H D:1. go:b:q", "a.qh b.qh a.qb(1). >H b.qb(1) >D(1) b.qt >T");
    check(&["a qh:s qb:c+T", "b"], "H D:1.", "a.qh a.qb(1). b.qh >H b.qb(1) >D(1) b.qt >T");
    check(&["a qb:c+T", "b qh:s"], "H D:1.", "a.qh b.qh a.qb(1). b.qb(1) >H >D(1) b.qt >T");
    // Too early: they wait for the end of the body.
    check(&["a qb:c+T", "b"], "H D:1 D:2.", "a.qh b.qh >H a.qb(1) b.qb(1) >D(1) a.qb(2) b.qb(2) >D(2) a.qt b.qt >T");
}
