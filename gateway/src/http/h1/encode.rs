//! Writing heads, chunks and trailers.

use crate::http::spelling::Spelling;
use crate::http::{HeaderMap, NameCase, RequestHead, ResponseHead, Version};

/// How the body that follows a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The head's own `content-length` says it, or there is no body.
    AsHead,
    /// `content-length: 0` is added.
    Zero,
    /// `transfer-encoding: chunked` is added.
    Chunked,
    /// The end of the connection ends the body.
    UntilClose,
}

/// The end of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk of a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes a request's head. `host` comes first, as Envoy writes it. `names` is how the connection spells names that the
/// request does not remember. Returns how many bytes its fields took.
pub fn request_head(head: &RequestHead, framing: Framing, names: NameCase, out: &mut Vec<u8>) -> usize {
    let path: &[u8] = if head.method == "CONNECT" { &head.authority } else { &head.path };
    out.reserve(head.headers.byte_size() + head.headers.len() * 4 + path.len() + head.authority.len() + 64);
    out.extend_from_slice(&head.method);
    out.push(b' ');
    out.extend_from_slice(path);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    let start = out.len() - b"host: ".len();
    out.extend_from_slice(&head.authority);
    out.extend_from_slice(b"\r\n");
    fields(&head.headers, out);
    framing_field(framing, out);
    spell(&head.headers, names, out, start);
    let fields = out.len() - start;
    out.extend_from_slice(b"\r\n");
    fields
}

/// Writes a response's head. `names` is
/// how the connection spells names that the response does not remember. Returns how many bytes its fields took.
pub fn response_head(
    head: &ResponseHead,
    version: Version,
    framing: Framing,
    names: NameCase,
    out: &mut Vec<u8>,
) -> usize {
    out.reserve(head.headers.byte_size() + head.headers.len() * 4 + 96);
    out.extend_from_slice(if version == Version::Http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
    out.push(b' ');
    match head.headers.original_names().and_then(|names| names.reason()) {
        Some(reason) => out.extend_from_slice(reason),
        None => out.extend_from_slice(reason(head.status).as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
    let start = out.len();
    fields(&head.headers, out);
    framing_field(framing, out);
    spell(&head.headers, names, out, start);
    let fields = out.len() - start;
    out.extend_from_slice(b"\r\n");
    fields
}

/// Writes the line before a chunk of `len` bytes (which must not be 0: that would end the body).
pub fn chunk_head(len: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let significant = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for at in (0..significant).rev() {
        out.push(DIGITS[(len >> (at * 4)) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk with trailers. Their names are in lower case whatever is configured, as Envoy's are. Returns how many
/// bytes they took.
pub fn trailers(trailers: &HeaderMap, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(b"0\r\n");
    let start = out.len();
    fields(trailers, out);
    let fields = out.len() - start;
    out.extend_from_slice(b"\r\n");
    fields
}

fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers.iter() {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// Spells the names of the lines from `start` on. The usual case is that they stand as they should, which costs a look.
#[inline]
fn spell(headers: &HeaderMap, names: NameCase, out: &mut [u8], start: usize) {
    match Spelling::of(headers.original_names().map(|names| &**names), names) {
        Spelling::Lower => {}
        spelling => spell_lines(spelling, out.get_mut(start..).unwrap_or_default()),
    }
}

#[cold]
fn spell_lines(spelling: Spelling<'_>, mut lines: &mut [u8]) {
    while let Some(end) = memchr::memchr(b'\n', lines) {
        let (line, rest) = lines.split_at_mut(end + 1);
        if let Some((name, _)) = memchr::memchr(b':', line).and_then(|colon| line.split_at_mut_checked(colon)) {
            spelling.apply(name);
        }
        lines = rest;
    }
}

fn framing_field(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Zero => out.extend_from_slice(b"content-length: 0\r\n"),
        Framing::AsHead | Framing::UntilClose => {}
    }
}

/// The reason phrase of a status in Envoy's words, which are those of the `http` crate but for a few.
fn reason(status: u16) -> &'static str {
    match status {
        203 => "Non-Authoritative Information",
        418 | 451 => "Unknown",
        599 => "Last Unassigned Server Error Code",
        _ => http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{NO_REQUEST, OriginalNames, PreserveCase};

    #[test]
    fn chunk_heads() {
        for (len, expected) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (255, "ff\r\n"), (65_536, "10000\r\n")] {
            let mut out = Vec::new();
            chunk_head(len, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn a_response_head() {
        let mut head = ResponseHead::new(404);
        head.headers.append("X-A", "1");
        let mut out = Vec::new();
        response_head(&head, Version::Http11, Framing::Zero, NameCase::Lower, &mut out);
        let expected = "HTTP/1.1 404 Not Found\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        out.clear();
        response_head(&ResponseHead::new(200), Version::Http10, Framing::AsHead, NameCase::Lower, &mut out);
        let expected = "HTTP/1.0 200 OK\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    fn remembering(names: &[&str], preserve: PreserveCase) -> HeaderMap {
        let mut fields: HeaderMap = [("x-id", "a:b"), ("x-new", "")].into_iter().collect();
        let names = names.iter().map(|name| name.as_bytes());
        fields.set_original_names(Some(Arc::new(OriginalNames::new(names, b"So be it", preserve))));
        fields
    }

    #[test]
    fn names_of_a_request_as_they_came() {
        let mut head =
            RequestHead { method: "PUT".into(), path: "/a:b".into(), authority: "c:1".into(), ..NO_REQUEST.clone() };
        head.headers = remembering(&["HOST", "X-ID", "Transfer-encoding"], PreserveCase::default());
        let mut out = b"before: 1\r\n".to_vec();
        request_head(&head, Framing::Chunked, NameCase::Proper, &mut out);
        let expected =
            "before: 1\r\nPUT /a:b HTTP/1.1\r\nHOST: c:1\r\nX-ID: a:b\r\nx-new: \r\nTransfer-encoding: chunked\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn names_of_a_response_as_configured() {
        let written = |head: &ResponseHead, names| {
            let mut out = Vec::new();
            response_head(head, Version::Http11, Framing::Zero, names, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        let mut head = ResponseHead::new(200);
        head.headers = [("x-id", "a:b")].into_iter().collect();
        let expected = "HTTP/1.1 200 OK\r\nX-Id: a:b\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(written(&head, NameCase::Proper), expected);
        let preserve = PreserveCase { others: NameCase::Proper, reason_phrase: true };
        head.headers = remembering(&["X-ID", "CONTENT-LENGTH"], preserve);
        let expected = "HTTP/1.1 200 So be it\r\nX-ID: a:b\r\nX-New: \r\nCONTENT-LENGTH: 0\r\n\r\n";
        assert_eq!(written(&head, NameCase::Lower), expected);
    }

    #[test]
    fn reasons_are_envoys() {
        for (status, phrase) in [
            (200, "OK"),
            (203, "Non-Authoritative Information"),
            (413, "Payload Too Large"),
            (418, "Unknown"),
            (451, "Unknown"),
            (499, "Unknown"),
            (599, "Last Unassigned Server Error Code"),
        ] {
            assert_eq!(reason(status), phrase, "{status}");
        }
    }
}
