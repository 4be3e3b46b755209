//! Network filters that read and change what passes on a connection.

use std::cell::RefCell;

use bytes::BytesMut;

use super::*;
use crate::filter::network::{Arrival, BytesAction, NetworkAction, NetworkFilter};

/// Expects a line before everything else, and turns letters about both ways.
#[derive(Default)]
struct Scrambles {
    greeted: bool,
    trace: Rc<RefCell<Vec<&'static str>>>,
}

impl NetworkFilter for Scrambles {
    fn wants_bytes(&self) -> bool {
        true
    }

    fn on_new_connection(&mut self, _arrival: &Arrival<'_>) -> NetworkAction {
        self.trace.borrow_mut().push("came");
        NetworkAction::Continue
    }

    fn on_data(&mut self, data: &mut BytesMut, end: bool) -> BytesAction {
        if end {
            self.trace.borrow_mut().push("ended");
        }
        if !self.greeted {
            let Some(line) = data.iter().position(|byte| *byte == b'\n') else { return BytesAction::Stop };
            if *data.split_to(line + 1) != b"hello\n"[..] {
                return BytesAction::Close;
            }
            self.greeted = true;
        }
        scramble(data);
        BytesAction::Continue
    }

    fn on_write(&mut self, data: &mut BytesMut, end: bool) -> BytesAction {
        if end {
            self.trace.borrow_mut().push("we end");
        }
        scramble(data);
        BytesAction::Continue
    }

    fn on_close(&mut self) {
        self.trace.borrow_mut().push("gone");
    }
}

fn scramble(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte ^= 0x20);
}

fn scrambled(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    scramble(&mut bytes);
    bytes
}

async fn scrambling() -> (Gateway, Rc<RefCell<Vec<&'static str>>>) {
    let gateway = Gateway::new().await;
    let trace: Rc<RefCell<Vec<&'static str>>> = Rc::default();
    let shared = Rc::clone(&trace);
    gateway.worker.filters.scripts.add_network(move || Scrambles { greeted: false, trace: Rc::clone(&shared) });
    (gateway, trace)
}

/// Reads a head and so many bytes of body behind it, of which only `x` is expected.
async fn read_message(from: &mut (impl AsyncReadExt + Unpin), body: usize, is_scrambled: bool) -> String {
    let mut read = Vec::new();
    loop {
        let mut plain = read.clone();
        if is_scrambled {
            scramble(&mut plain);
        }
        if let Some(head) = plain.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let mut rest = vec![0; head + 4 + body - plain.len()];
            from.read_exact(&mut rest).await.unwrap();
            if is_scrambled {
                scramble(&mut rest);
            }
            assert!(rest.iter().chain(&plain[head + 4..]).all(|byte| *byte == b'x'));
            return String::from_utf8(plain[..head].to_vec()).unwrap();
        }
        assert_ne!(from.read_buf(&mut read).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn the_protocol_sees_what_the_filters_let_through_and_the_client_too() {
    run(async {
        let (gateway, trace) = scrambling().await;
        let mut client = gateway.connect().await;
        // More than a socket takes at once, both ways, on a connection that is used again.
        let body = "x".repeat(3 << 20);
        for (greeting, method) in [("hello\n", "PUT"), ("", "POST")] {
            let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
            let (mut from_gateway, mut to_gateway) = client.split();
            let send = async {
                for piece in greeting.as_bytes().chunks(4) {
                    to_gateway.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                to_gateway.write_all(&scrambled(&head)).await.unwrap();
                to_gateway.write_all(&scrambled(&body)).await.unwrap();
            };
            let serve = async {
                let (mut server, _) = gateway.endpoint.accept().await.unwrap();
                let asked = read_message(&mut server, body.len(), false).await;
                assert!(asked.starts_with(&format!("{method} / HTTP/1.1\r\n")), "{asked}");
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                server.write_all(head.as_bytes()).await.unwrap();
                server.write_all(body.as_bytes()).await.unwrap();
            };
            let receive = read_message(&mut from_gateway, body.len(), true);
            let (_, _, answered) = tokio::join!(send, serve, receive);
            assert!(answered.starts_with("HTTP/1.1 200 OK\r\n"), "{answered}");
        }
        drop(client);
        while trace.borrow().len() < 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*trace.borrow(), ["came", "ended", "we end", "gone"]);
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_holds_bytes_is_asked_again_and_can_close() {
    run(async {
        let (gateway, trace) = scrambling().await;
        let mut client = gateway.connect().await;
        client.write_all(b"who").await.unwrap();
        client.write_all(b"ever\n").await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(*trace.borrow(), ["came", "gone"]);
    })
    .await;
}

/// Never has enough.
struct Hoards(Rc<RefCell<usize>>);

impl NetworkFilter for Hoards {
    fn wants_bytes(&self) -> bool {
        true
    }

    fn on_new_connection(&mut self, _arrival: &Arrival<'_>) -> NetworkAction {
        NetworkAction::Continue
    }

    fn on_data(&mut self, data: &mut BytesMut, _end: bool) -> BytesAction {
        *self.0.borrow_mut() = data.len();
        BytesAction::Stop
    }
}

#[tokio::test]
async fn a_filter_holds_no_more_than_a_connection_may() {
    const LIMIT: usize = 1 << 20;
    run(async {
        let gateway = Gateway::new().await;
        let held: Rc<RefCell<usize>> = Rc::default();
        let shared = Rc::clone(&held);
        gateway.worker.filters.scripts.add_network(move || Hoards(Rc::clone(&shared)));
        let client = gateway.connect().await;
        let (piece, mut sent, mut refused) = (vec![b'x'; 64 << 10], 0, 0);
        // What the sockets hold comes on top.
        while *held.borrow() < LIMIT || refused < 1000 {
            match client.try_write(&piece) {
                Ok(written) => (sent, refused) = (sent + written, 0),
                Err(_) => refused += 1,
            }
            tokio::task::yield_now().await;
            assert!(sent < 64 << 20);
        }
        assert!(*held.borrow() < LIMIT + (16 << 10), "{}", held.borrow());
    })
    .await;
}
