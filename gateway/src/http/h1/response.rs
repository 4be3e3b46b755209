//! Reading the head of a response.

use std::mem::MaybeUninit;

use super::request::{STACK_FIELDS, original_names};
use super::{BodyDecoder, FramingFields, HeadError, HeadLimits, check_line_ends, field_bytes};
use crate::http::one_line::{Of, join_lines};
use crate::http::{HeaderMap, PreserveCase, ResponseHead};

/// What a cluster accepts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseOptions {
    /// Size of the head, and of the trailers.
    pub limits: HeadLimits,
    /// How the head remembers its names, if it does.
    pub preserve_case: Option<PreserveCase>,
}

/// A response's head and how its connection goes on.
#[derive(Debug)]
pub struct ResponseStart {
    /// The head, without the hop-by-hop fields.
    pub head: ResponseHead,
    /// How to read the body; empty for 1xx.
    pub body: BodyDecoder,
    /// Bytes of the buffer that the head took.
    pub consumed: usize,
    /// Bytes of its fields ([`field_bytes`]).
    pub field_bytes: usize,
    /// The connection may carry another request when the body has ended.
    pub keep_alive: bool,
}

/// Reads a head from the front of `buf`; `Ok(None)` if it is not complete yet. `head_request` says that the request was
/// HEAD: its response has no body, whatever its fields say.
///
/// # Errors
/// The endpoint broke the protocol; the connection must be closed.
pub fn parse_response(
    buf: &[u8],
    head_request: bool,
    options: &ResponseOptions,
) -> Result<Option<ResponseStart>, HeadError> {
    let most = options.limits.most_fields(buf);
    if most <= STACK_FIELDS {
        // Not beyond the array: that was just asked.
        parse_into(buf, head_request, options, &mut [MaybeUninit::uninit(); STACK_FIELDS][..most])
    } else {
        parse_into(buf, head_request, options, &mut vec![MaybeUninit::uninit(); most])
    }
}

fn parse_into<'b>(
    buf: &'b [u8],
    head_request: bool,
    options: &ResponseOptions,
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<ResponseStart>, HeadError> {
    let limits = options.limits;
    // httparse skips empty lines: they were the end of something that nobody asked for.
    if matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Err(HeadError::CODEC);
    }
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, buf, fields);
    let consumed = match parsed {
        Ok(httparse::Status::Complete(consumed)) if consumed > limits.bytes => return Err(HeadError::TOO_LARGE),
        Ok(httparse::Status::Complete(consumed)) => consumed,
        Ok(httparse::Status::Partial) if buf.len() >= limits.bytes => return Err(HeadError::TOO_LARGE),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TOO_MANY),
        Err(_) => return Err(HeadError::CODEC),
    };
    // httparse consumes of `buf` and no more.
    check_line_ends(&buf[..consumed])?;
    let Some(status @ 100..=999) = response.code else { return Err(HeadError::CODEC) };

    let mut framing = FramingFields::default();
    let mut headers = HeaderMap::with_capacity(response.headers.len() + 8, consumed + 192);
    for field in response.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            14 if is("content-length") => {
                framing.content_length(field.value)?;
                headers.append(field.name, field.value);
            }
            17 if is("transfer-encoding") => framing.transfer_encoding(field.value),
            10 if is("connection") => framing.connection(field.value)?,
            10 if is("keep-alive") => {}
            7 if is("upgrade") => {}
            16 if is("proxy-connection") => framing.proxy_connection(field.value),
            _ => headers.append(field.name, field.value),
        }
    }
    for name in &framing.nominated {
        headers.remove(name);
    }
    join_lines(&mut headers, Of::Response);
    if let Some(preserve) = options.preserve_case {
        headers.set_original_names(Some(original_names(response.headers, reason(buf), preserve)));
    }

    framing.check_coding()?;
    if status == 204 || status < 200 {
        if framing.chunked {
            return Err(HeadError::bad("http1.transfer_encoding_not_allowed"));
        }
        if framing.length.is_some_and(|length| length > 0) {
            return Err(HeadError::bad("http1.content_length_not_allowed"));
        }
        headers.remove("content-length");
    }
    let body = body_of(&framing, status, head_request)?;
    if framing.chunked && framing.length.is_some() {
        return Err(HeadError::bad("http1.content_length_and_chunked_not_allowed"));
    }
    let persistent = if response.version == Some(1) { !framing.close } else { framing.keep_alive && !framing.close };
    let keep_alive = persistent && !matches!(body, BodyDecoder::UntilClose);
    let field_bytes = field_bytes(response.headers);
    Ok(Some(ResponseStart { head: ResponseHead { status, headers }, body, consumed, field_bytes, keep_alive }))
}

/// The reason phrase of a status line that was parsed: httparse gives none that is not ASCII.
fn reason(head: &[u8]) -> &[u8] {
    let rest = head.get(b"HTTP/1.1 200".len()..).unwrap_or_default();
    rest.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default()
}

/// RFC 9112 section 6.3.
fn body_of(framing: &FramingFields, status: u16, head_request: bool) -> Result<BodyDecoder, HeadError> {
    if head_request || status < 200 || status == 204 || status == 304 {
        return Ok(BodyDecoder::empty());
    }
    Ok(match (framing.chunked, framing.length) {
        (true, Some(_)) => return Err(HeadError::bad("http1.content_length_and_chunked_not_allowed")),
        (true, None) => BodyDecoder::chunked(),
        (false, Some(length)) => BodyDecoder::length(length),
        (false, None) => BodyDecoder::UntilClose,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    fn parse(raw: &str, head: bool) -> Result<Option<ResponseStart>, HeadError> {
        parse_response(raw.as_bytes(), head, &ResponseOptions::default())
    }

    #[test]
    fn bodies_by_status_and_fields() {
        let cases: [(&str, bool, &str, bool); 9] = [
            ("200 OK\r\ncontent-length: 0\r\nproxy-connection: Close", false, "Length(0)", false),
            ("200 OK\r\ncontent-length: 3", false, "Length(3)", true),
            ("200 OK\r\ncontent-length: 3", true, "Length(0)", true),
            ("200 OK\r\ntransfer-encoding: chunked", false, "Chunked", true),
            ("200 OK", false, "UntilClose", false),
            ("204 No\r\ncontent-length: 0", false, "Length(0)", true),
            ("304 Not\r\ncontent-length: 3", false, "Length(0)", true),
            ("100 Continue", false, "Length(0)", true),
            ("200 OK\r\ncontent-length: 0\r\nconnection: close", false, "Length(0)", false),
        ];
        for (rest, head, body, keep) in cases {
            let start = parse(&format!("HTTP/1.1 {rest}\r\n\r\n"), head).unwrap().unwrap();
            assert!(format!("{:?}", start.body).starts_with(body), "{rest:?}: {:?}", start.body);
            assert_eq!(start.keep_alive, keep, "{rest:?}");
        }
    }

    #[test]
    fn what_is_remembered_where_it_is_asked_for() {
        let remembered = |raw: &[u8], reason_phrase| {
            let preserve_case = Some(PreserveCase { reason_phrase, ..PreserveCase::default() });
            let options = ResponseOptions { preserve_case, ..ResponseOptions::default() };
            let head = parse_response(raw, false, &options).unwrap().unwrap().head;
            let names = Arc::clone(head.headers.original_names().unwrap());
            names.reason().map(|reason| String::from_utf8_lossy(reason).into_owned())
        };
        for (status, reason) in [
            ("200 So be it", Some("So be it")),
            ("200 \t So\tbe it ", Some("So\tbe it")),
            ("200 ", None),
            ("200", None),
        ] {
            let raw = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(remembered(raw.as_bytes(), true).as_deref(), reason, "{status:?}");
            assert_eq!(remembered(raw.as_bytes(), false), None);
        }
        assert_eq!(remembered(b"HTTP/1.1 200 \xff\r\n\r\n", true).as_deref(), Some("\u{fffd}"));
        assert!(
            parse("HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", false).unwrap().unwrap().head.headers.original_names().is_none()
        );
    }

    #[test]
    fn lies_are_refused() {
        for rest in [
            "200 OK\r\ncontent-length: 3\r\ncontent-length: 4",
            "200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked",
            "204 No\r\ncontent-length: 3",
            "204 No\r\ntransfer-encoding: chunked",
            "103 Hints\r\ncontent-length: 3",
            "099 X",
            "200 OK\r\na: b\nc: d",
        ] {
            assert!(parse(&format!("HTTP/1.1 {rest}\r\n\r\n"), false).is_err(), "{rest:?}");
        }
        assert!(parse("SSH-2.0-x\r\n", false).is_err());
        assert!(parse("\r\nHTTP/1.1 200 OK\r\n\r\n", false).is_err());
    }
}
