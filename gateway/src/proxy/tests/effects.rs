//! What filters ask of the driver (call-outs, timers), and what it tells them beside messages.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::filter::{CallId, Effect, FilterId, HeadersAction, HttpFilter, LocalReply, Stream, Wants};
use crate::http::{HeaderMap, RequestHead, ResponseHead, Version};
use crate::upstream::{CallOut, CallResult};

/// Asks a cluster whether a request may pass, as an authorization filter does.
struct Asks {
    id: FilterId,
    cluster: &'static str,
    /// What became of the call-outs.
    told: Rc<RefCell<Vec<String>>>,
}

impl HttpFilter for Asks {
    fn wants(&self) -> Wants {
        Wants::default()
    }

    fn on_request_headers(&mut self, stream: &Stream, _end: bool) -> HeadersAction {
        let call = CallOut {
            cluster: self.cluster.into(),
            head: RequestHead {
                method: "GET".into(),
                scheme: "http".into(),
                authority: "auth".into(),
                path: "/may-it".into(),
                version: Version::Http11,
                headers: HeaderMap::new(),
            },
            body: Bytes::new(),
            trailers: None,
            timeout: Duration::from_secs(60),
            max_body: 100,
        };
        stream.request_effect(self.id, Effect::Call(CallId(7), Box::new(call)));
        HeadersAction::StopAllAndBuffer
    }

    fn on_call_done(&mut self, stream: &Stream, call: CallId, result: CallResult) {
        assert_eq!(call, CallId(7));
        let effect = match result {
            Ok(answer) if answer.head.status == 200 => {
                let body: Vec<u8> = answer.body.pieces().flat_map(|piece| piece.to_vec()).collect();
                stream.edit().request.headers.set("x-user", &body);
                Effect::ResumeRequest
            }
            Ok(_) => Effect::Respond(reply(403)),
            Err(error) => {
                self.told.borrow_mut().push(error.to_string());
                Effect::Respond(reply(500))
            }
        };
        stream.request_effect(self.id, effect);
    }

    fn on_destroy(&mut self, _stream: &Stream) {
        self.told.borrow_mut().push("destroyed".to_owned());
    }
}

fn reply(status: u16) -> crate::filter::Answer {
    LocalReply::new(status, "", "by_test").into()
}

async fn asking(cluster: &'static str) -> (Gateway, Rc<RefCell<Vec<String>>>) {
    let gateway = Gateway::new().await;
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let shared = Rc::clone(&told);
    gateway.worker.filters.scripts.add_http(move |id| Asks { id, cluster, told: Rc::clone(&shared) });
    (gateway, told)
}

#[tokio::test]
async fn a_request_waits_for_the_answer_to_its_call_out() {
    run(async {
        let (gateway, _told) = asking("c").await;
        let mut client = gateway.ask().await;
        let (authority, asked) = gateway.answer("200 OK", "carol").await;
        assert!(asked.starts_with("GET /may-it HTTP/1.1\r\n") && asked.contains("host: auth\r\n"), "{asked}");

        // The connection of the call-out went back to the pool, and takes the request itself.
        let mut authority = authority;
        let forwarded = read_until(&mut authority, "\r\n\r\n").await;
        assert!(forwarded.starts_with("GET / HTTP/1.1\r\n") && forwarded.contains("x-user: carol\r\n"), "{forwarded}");
        authority.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        assert!(read_until(&mut client, "\r\n\r\nhi").await.starts_with("HTTP/1.1 200 OK\r\n"));
    })
    .await;
}

#[tokio::test]
async fn what_a_call_out_answers_can_refuse_the_request() {
    run(async {
        let (gateway, _told) = asking("c").await;
        let mut client = gateway.ask().await;
        gateway.answer("401 Unauthorized", "").await;
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_call_out_that_fails_is_told() {
    run(async {
        let (gateway, told) = asking("nobody").await;
        let mut client = gateway.ask().await;
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert_eq!(told.borrow()[0], "no cluster is named nobody");
    })
    .await;
}

#[tokio::test]
async fn a_call_out_ends_with_its_stream() {
    run(async {
        let (gateway, told) = asking("c").await;
        let client = gateway.ask().await;
        let (mut authority, _) = gateway.endpoint.accept().await.unwrap();
        read_until(&mut authority, "\r\n\r\n").await;
        drop(client);
        // The end of the connection, which nobody else would close.
        assert_eq!(authority.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(*told.borrow(), ["destroyed"]);
    })
    .await;
}

/// Holds each request for a while.
struct Waits {
    id: FilterId,
    rang: Rc<Cell<u32>>,
}

const WAIT: Duration = Duration::from_millis(50);

impl HttpFilter for Waits {
    fn wants(&self) -> Wants {
        Wants::default()
    }

    fn on_request_headers(&mut self, stream: &Stream, _end: bool) -> HeadersAction {
        // The later word counts.
        stream.request_effect(self.id, Effect::Timer(Some(Instant::now())));
        stream.request_effect(self.id, Effect::Timer(Some(Instant::now() + WAIT)));
        HeadersAction::StopAllAndWatermark
    }

    fn on_timer(&mut self, stream: &Stream) {
        self.rang.set(self.rang.get() + 1);
        stream.request_effect(self.id, Effect::ResumeRequest);
    }
}

#[tokio::test]
async fn a_timer_wakes_the_filter_that_set_it() {
    run(async {
        let gateway = Gateway::new().await;
        let rang: Rc<Cell<u32>> = Rc::default();
        let shared = Rc::clone(&rang);
        gateway.worker.filters.scripts.add_http(move |id| Waits { id, rang: Rc::clone(&shared) });
        let began = Instant::now();
        let mut client = gateway.ask().await;
        gateway.answer("200 OK", "hi").await;
        assert!(began.elapsed() >= WAIT, "{:?}", began.elapsed());
        read_until(&mut client, "\r\n\r\nhi").await;
        assert_eq!(rang.get(), 1);
    })
    .await;
}

/// Marks interim responses.
struct Marks;

impl HttpFilter for Marks {
    fn wants(&self) -> Wants {
        Wants { informational: true, ..Wants::default() }
    }

    fn on_request_headers(&mut self, _stream: &Stream, _end: bool) -> HeadersAction {
        HeadersAction::Continue
    }

    fn on_informational(&mut self, _stream: &Stream, head: &mut ResponseHead) {
        head.headers.set("x-seen", head.status.to_string().as_bytes());
    }
}

#[tokio::test]
async fn filters_see_interim_responses() {
    run(async {
        let gateway = Gateway::new().await;
        gateway.worker.filters.scripts.add_http(|_| Marks);
        let mut client = gateway.ask().await;
        let (mut server, _) = gateway.endpoint.accept().await.unwrap();
        read_until(&mut server, "\r\n\r\n").await;
        server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let interim = read_until(&mut client, "\r\n\r\n").await;
        assert!(interim.starts_with("HTTP/1.1 100 ") && interim.contains("x-seen: 100\r\n"), "{interim}");
        server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        assert!(!read_until(&mut client, "\r\n\r\nhi").await.contains("x-seen"));
    })
    .await;
}
