//! What holds for every input, however hostile: `make soak` tries many more of them.
#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::http::{HeaderMap, KeyFormat, NameCase, PreserveCase, Version};

/// What parsers stumble over, in any order, beside any bytes.
fn wire(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let known = proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec());
    let other = proptest::collection::vec(any::<u8>(), 0..4);
    proptest::collection::vec(prop_oneof![9 => known, 1 => other], 0..24).prop_map(|pieces| pieces.concat())
}

const HEADS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "GET http://a.b:80/c HTTP/1.0\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 \r\n",
    "host: a\r\n",
    "Host: b:1\r\n",
    "content-length: 5\r\n",
    "Content-Length: 5, 5\r\n",
    "content-length: +5\r\n",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "connection: close, x-a\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\n",
    "x-a: 1\r\n",
    "x-a: \t2 \r\n",
    "x-b:\r\n",
    "expect: 100-continue\r\n",
    "te: trailers\r\n",
    " folded\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    ":",
    " ",
];

const CHUNKS: &[&str] = &[
    "0\r\n",
    "\r\n",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "1\r\n",
    "a",
    "ffffffffffffffff\r\n",
    "10000000000000000\r\n",
    "x-t: 1\r\n",
    "-1\r\n",
    " 5\r\n",
    "0x5\r\n",
    "\n",
    "\r",
    "00000005\r\nhello\r\n",
];

/// All that a decoder makes of these pieces: data, trailers, whether it ended, or why not.
fn decoded(mut decoder: BodyDecoder, pieces: &[&[u8]]) -> (Vec<u8>, usize, bool, Option<BodyError>) {
    let (mut buf, mut data, mut fields) = (BytesMut::new(), Vec::new(), 0);
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf, HeadLimits::default()) {
                Ok(Some(BodyEvent::Data(piece))) => data.extend_from_slice(&piece),
                Ok(Some(BodyEvent::Trailers(trailers))) => {
                    fields = trailers.len();
                    return (data, fields, true, None);
                }
                Ok(Some(BodyEvent::End)) => return (data, fields, true, None),
                Ok(None) => break,
                Err(error) => return (data, fields, false, Some(error)),
            }
        }
    }
    (data, fields, false, None)
}

/// Cut at these places, as a network may do it.
fn cut<'a>(bytes: &'a [u8], places: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn key_format() -> impl Strategy<Value = KeyFormat> {
    let others = prop_oneof![Just(NameCase::Lower), Just(NameCase::Proper)];
    let preserve = (others, any::<bool>()).prop_map(|(others, reason_phrase)| PreserveCase { others, reason_phrase });
    prop_oneof![Just(KeyFormat::Lower), Just(KeyFormat::ProperCase), preserve.prop_map(KeyFormat::PreserveCase)]
}

proptest! {
    /// Where we see one request, an endpoint sees the same one and nothing behind it: no request is smuggled.
    #[test]
    fn what_is_passed_on_is_one_request_again(bytes in wire(HEADS), format in key_format()) {
        let options = RequestOptions { preserve_case: format.preserved(), ..RequestOptions::default() };
        let Ok(Some(start)) = parse_request(&bytes, &options) else { return Ok(()) };
        prop_assert!(start.consumed <= bytes.len());
        // Neither is passed on.
        if start.upgrade || start.head.authority.is_empty() {
            return Ok(());
        }
        let framing = match start.body {
            BodyDecoder::Length(0) => Framing::AsHead,
            BodyDecoder::Length(_) => {
                prop_assert!(start.head.headers.contains("content-length"));
                Framing::AsHead
            }
            _ => Framing::Chunked,
        };
        let mut written = Vec::new();
        request_head(&start.head, framing, format.written(), &mut written);
        let again = parse_request(&written, &options).unwrap().unwrap();
        prop_assert_eq!(again.consumed, written.len());
        prop_assert_eq!(&again.head.method, &start.head.method);
        prop_assert_eq!(&again.head.path, &start.head.path);
        prop_assert_eq!(&again.head.authority, &start.head.authority);
        prop_assert_eq!(format!("{:?}", again.body), format!("{:?}", start.body));
        let fields = |headers: &HeaderMap| headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect::<Vec<_>>();
        prop_assert_eq!(fields(&again.head.headers), fields(&start.head.headers));
    }

    /// More bytes never change what was decided: no head is taken that a longer read would have refused, or the other way.
    #[test]
    fn a_head_is_decided_once(bytes in wire(HEADS), place in any::<proptest::sample::Index>()) {
        let prefix = &bytes[..place.index(bytes.len() + 1)];
        let options = RequestOptions::default();
        match (parse_request(prefix, &options), parse_request(&bytes, &options)) {
            (Ok(Some(early)), late) => prop_assert_eq!(late.unwrap().unwrap().consumed, early.consumed),
            (Err(early), late) => prop_assert_eq!(late.err().map(|error| error.fault), Some(early.fault)),
            (Ok(None), _) => {}
        }
        for head_request in [false, true] {
            let parse = |bytes| parse_response(bytes, head_request, &ResponseOptions::default());
            match (parse(prefix), parse(&bytes)) {
                (Ok(Some(early)), late) => prop_assert_eq!(late.unwrap().unwrap().consumed, early.consumed),
                (Err(_), late) => prop_assert!(late.is_err()),
                (Ok(None), _) => {}
            }
        }
    }

    /// How the network cuts a body says nothing about the body; only what is wrong with trailers may be told later, once
    /// they are whole.
    #[test]
    fn a_body_is_the_same_however_it_comes(bytes in wire(CHUNKS), places in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6)) {
        let pieces = cut(&bytes, &places);
        let (cut, whole) = (decoded(BodyDecoder::chunked(), &pieces), decoded(BodyDecoder::chunked(), &[&bytes]));
        let told_later = cut.3.is_none() && whole.3 == Some(BodyError::Trailers);
        prop_assert_eq!((&cut.0, cut.1, cut.2), (&whole.0, whole.1, whole.2));
        prop_assert!(cut.3 == whole.3 || told_later, "{:?} {:?}", cut.3, whole.3);
        let length = bytes.len() as u64 / 2;
        let (data, _, ended, _) = decoded(BodyDecoder::length(length), &pieces);
        prop_assert!(ended && data.len() as u64 == length);
    }

    /// What we write as chunks reads as what was to be written.
    #[test]
    fn chunks_read_as_they_were_written(body in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..6),
        value in "[ -~]{0,20}") {
        let mut written = Vec::new();
        for piece in &body {
            chunk_head(piece.len(), &mut written);
            written.extend_from_slice(piece);
            written.extend_from_slice(CHUNK_END);
        }
        let mut fields = HeaderMap::with_capacity(1, 64);
        fields.append("x-t", value.trim().as_bytes());
        trailers(&fields, &mut written);
        let (data, count, ended, error) = decoded(BodyDecoder::chunked(), &[&written]);
        prop_assert_eq!((data, count, ended, error), (body.concat(), 1, true, None));
    }

    /// What we write as an answer has one meaning.
    #[test]
    fn answers_read_as_they_were_written(status in 200u16..600, length in proptest::option::of(0u32..1000), close in any::<bool>()) {
        // It has no body, so that nobody writes these fields into it.
        prop_assume!(status != 204);
        let mut head = crate::http::ResponseHead::new(status);
        if let Some(length) = length {
            head.headers.append("content-length", length.to_string().as_bytes());
        }
        if close {
            head.headers.append("connection", "close");
        }
        let framing = if length.is_some() { Framing::AsHead } else { Framing::Chunked };
        let mut written = Vec::new();
        response_head(&head, Version::Http11, framing, NameCase::Lower, &mut written);
        let again = parse_response(&written, false, &ResponseOptions::default()).unwrap().unwrap();
        prop_assert_eq!((again.head.status, again.consumed, again.keep_alive), (status, written.len(), !close));
    }
}
