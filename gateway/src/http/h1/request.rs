//! Reading the head of a request.

use std::mem::MaybeUninit;
use std::sync::Arc;

use bytes::Bytes;

use super::{BodyDecoder, FramingFields, HeadError, HeadFault, HeadLimits, check_line_ends, field_bytes};
use crate::http::one_line::{Of, join_lines};
use crate::http::{HeaderMap, OriginalNames, PreserveCase, RequestHead, Version};

/// What a listener accepts.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestOptions {
    /// Size of the head.
    pub limits: HeadLimits,
    /// No absolute target of https: the connection is cleartext, and nobody in front of it is trusted to have ended TLS.
    pub refuse_https: bool,
    /// How the head remembers its names, if it does.
    pub preserve_case: Option<PreserveCase>,
}

/// A request's head and how its connection goes on.
#[derive(Debug)]
pub struct RequestStart {
    /// The head, without `host` and the hop-by-hop fields.
    pub head: RequestHead,
    /// How to read the body.
    pub body: BodyDecoder,
    /// Bytes of the buffer that the head took.
    pub consumed: usize,
    /// Bytes of its fields ([`field_bytes`]).
    pub field_bytes: usize,
    /// The client allows another request on this connection.
    pub keep_alive: bool,
    /// The client waits for a 100 (of HTTP/1.0 it means nothing).
    pub expect_continue: bool,
    /// The client asked for another protocol (`connection: upgrade` and `upgrade`).
    pub upgrade: bool,
    /// A `host` field was there, or an absolute target that names one.
    pub has_host: bool,
}

/// Most heads have fewer fields; a higher `max_headers_count` costs an allocation.
pub(super) const STACK_FIELDS: usize = 100;

/// Reads a head from the front of `buf`; `Ok(None)` if it is not complete yet.
///
/// # Errors
/// Says what a server answers, with Envoy's details. The connection must be closed after it.
pub fn parse_request(buf: &[u8], options: &RequestOptions) -> Result<Option<RequestStart>, HeadError> {
    let most = options.limits.most_fields(buf);
    if most <= STACK_FIELDS {
        // Not beyond the array: that was just asked.
        parse_into(buf, options, &mut [MaybeUninit::uninit(); STACK_FIELDS][..most])
    } else {
        parse_into(buf, options, &mut vec![MaybeUninit::uninit(); most])
    }
}

fn parse_into<'b>(
    buf: &'b [u8],
    options: &RequestOptions,
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<RequestStart>, HeadError> {
    let mut request = httparse::Request::new(&mut []);
    let consumed = match request.parse_with_uninit_headers(buf, fields) {
        Ok(httparse::Status::Complete(consumed)) if consumed > options.limits.bytes => {
            return Err(HeadError::TOO_LARGE);
        }
        Ok(httparse::Status::Complete(consumed)) => consumed,
        Ok(httparse::Status::Partial) if buf.len() >= options.limits.bytes => return Err(HeadError::TOO_LARGE),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TOO_MANY),
        Err(_) => {
            return Err(if buf.contains(&0) { HeadError::bad("http1.invalid_characters") } else { HeadError::CODEC });
        }
    };
    // httparse consumes of `buf` and no more.
    check_line_ends(&buf[..consumed])?;
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(HeadError::CODEC) };
    let version = if request.version == Some(1) { Version::Http11 } else { Version::Http10 };
    let known_method = method_bytes(method)?;

    let mut framing = FramingFields::default();
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 8, consumed + 192);
    let mut host: Option<&[u8]> = None;
    let mut upgrade = false;
    let mut expect_continue = false;
    for field in request.headers.iter() {
        match hop(field.name) {
            Hop::No => headers.append(field.name, field.value),
            Hop::Host if host.is_some() => return Err(HeadError::bad("http1.multiple_host_headers")),
            Hop::Host => host = Some(field.value),
            Hop::ContentLength => {
                framing.content_length(field.value)?;
                headers.append(field.name, field.value);
            }
            Hop::TransferEncoding => framing.transfer_encoding(field.value),
            Hop::Connection => framing.connection(field.value)?,
            // An offer of HTTP/2 may be passed over (RFC 9113 section 3.1), and is.
            Hop::Upgrade if field.value.eq_ignore_ascii_case(b"h2c") => {}
            Hop::Upgrade => {
                upgrade = true;
                headers.append(field.name, field.value);
            }
            Hop::Te => transfer_extensions(field.value, &mut headers),
            Hop::KeepAlive => {}
            Hop::ProxyConnection => framing.proxy_connection(field.value),
            Hop::Expect => {
                expect_continue = field.value.eq_ignore_ascii_case(b"100-continue") && !headers.contains(field.name);
                headers.append(field.name, field.value);
            }
        }
    }
    let upgrade = upgrade && framing.upgrade && version == Version::Http11;
    if !upgrade {
        headers.remove("upgrade");
    }
    for name in framing.nominated.iter().filter(|name| ***name != *b"te") {
        headers.remove(name);
    }
    join_lines(&mut headers, Of::Request);
    if let Some(preserve) = options.preserve_case {
        headers.set_original_names(Some(original_names(request.headers, b"", preserve)));
    }

    if !target.is_ascii() {
        return Err(HeadError::CODEC);
    }
    let body = body_of(&framing, version)?;
    let (scheme, authority, path) = split_target(target, method)?;
    if options.refuse_https && scheme.as_deref() == Some(b"https") {
        return Err(HeadError { fault: HeadFault::NotEncrypted, details: "http1.https_url_on_plaintext_connection" });
    }
    let keep_alive = if version == Version::Http11 { !framing.close } else { framing.keep_alive && !framing.close };
    let named = authority.or(host);
    Ok(Some(RequestStart {
        head: RequestHead {
            method: known_method,
            // Without one it is what x-forwarded-proto says once that is known to be right.
            scheme: scheme.unwrap_or_default(),
            authority: named.map(Bytes::copy_from_slice).unwrap_or_default(),
            path: Bytes::copy_from_slice(path),
            version,
            headers,
        },
        body,
        consumed,
        field_bytes: field_bytes(request.headers),
        keep_alive,
        expect_continue,
        upgrade,
        has_host: named.is_some(),
    }))
}

/// How the sender spelled the names of a head, those that are not passed on with them: the gateway writes some of its own.
#[cold]
pub(super) fn original_names(
    fields: &[httparse::Header<'_>],
    reason: &[u8],
    preserve: PreserveCase,
) -> Arc<OriginalNames> {
    Arc::new(OriginalNames::new(fields.iter().map(|field| field.name.as_bytes()), reason, preserve))
}

/// As Envoy: `trailers` goes on, whatever else is said; an empty field stays.
#[cold]
fn transfer_extensions(value: &[u8], headers: &mut HeaderMap) {
    if value.split(|b| *b == b',').any(|word| word.trim_ascii() == b"trailers") {
        headers.set("te", b"trailers");
    } else if value.is_empty() && !headers.contains("te") {
        headers.append("te", b"");
    }
}

/// RFC 9112 section 6.3, without the repairs it allows.
fn body_of(framing: &FramingFields, version: Version) -> Result<BodyDecoder, HeadError> {
    framing.check_coding()?;
    match (framing.chunked, framing.length) {
        (true, Some(_)) => Err(HeadError::bad("http1.content_length_and_chunked_not_allowed")),
        (true, None) if version == Version::Http10 => Err(HeadError::bad("http1.transfer_encoding_not_allowed")),
        (true, None) => Ok(BodyDecoder::chunked()),
        (false, Some(length)) => Ok(BodyDecoder::length(length)),
        (false, None) => Ok(BodyDecoder::empty()),
    }
}

/// Origin form, absolute form (RFC 9112 section 3.2.2: its host wins over the field), `*` of OPTIONS, or the authority of CONNECT.
#[allow(clippy::type_complexity)] // three parts of one target, taken apart at once by the only caller
fn split_target<'t>(target: &'t str, method: &str) -> Result<(Option<Bytes>, Option<&'t [u8]>, &'t [u8]), HeadError> {
    let bytes = target.as_bytes();
    if method == "CONNECT" {
        let port = target.rsplit_once(':').map(|(_, port)| port);
        if !port.is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
            || bytes.contains(&b'/')
        {
            return Err(HeadError::bad("http1.invalid_url"));
        }
        return Ok((None, Some(bytes), b""));
    }
    if bytes.first() == Some(&b'/') || bytes == b"*" && method == "OPTIONS" {
        return Ok((None, None, bytes));
    }
    let bad = HeadError::bad("http1.invalid_url");
    let (scheme, rest) = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (&b"http"[..], rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (&b"https"[..], rest),
        _ => return Err(bad),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.as_bytes().split_at(end);
    if authority.is_empty() || !matches!(path.first(), None | Some(b'/')) {
        return Err(bad);
    }
    let path = if path.is_empty() { b"/" } else { path };
    Ok((Some(Bytes::from_static(scheme)), Some(authority), path))
}

/// Fields that matter to the connection and not to the message.
enum Hop {
    No,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Te,
    KeepAlive,
    ProxyConnection,
    Expect,
}

#[inline]
fn hop(name: &str) -> Hop {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 if is("te") => Hop::Te,
        4 if is("host") => Hop::Host,
        6 if is("expect") => Hop::Expect,
        7 if is("upgrade") => Hop::Upgrade,
        10 if is("connection") => Hop::Connection,
        10 if is("keep-alive") => Hop::KeepAlive,
        14 if is("content-length") => Hop::ContentLength,
        16 if is("proxy-connection") => Hop::ProxyConnection,
        17 if is("transfer-encoding") => Hop::TransferEncoding,
        _ => Hop::No,
    }
}

/// Only methods that Envoy's HTTP/1 codec knows; anything else is an error, lower case included.
fn method_bytes(method: &str) -> Result<Bytes, HeadError> {
    const KNOWN: [&str; 34] = [
        "GET",
        "POST",
        "PUT",
        "HEAD",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "CONNECT",
        "TRACE",
        "ACL",
        "BIND",
        "CHECKOUT",
        "COPY",
        "LINK",
        "LOCK",
        "MERGE",
        "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL",
        "MOVE",
        "MSEARCH",
        "NOTIFY",
        "PROPFIND",
        "PROPPATCH",
        "PURGE",
        "REBIND",
        "REPORT",
        "SEARCH",
        "SOURCE",
        "SUBSCRIBE",
        "UNBIND",
        "UNLINK",
        "UNLOCK",
        "UNSUBSCRIBE",
    ];
    KNOWN
        .iter()
        .find(|known| **known == method)
        .map(|known| Bytes::from_static(known.as_bytes()))
        .ok_or(HeadError::bad("http1.codec_error"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(raw: &str) -> Result<Option<RequestStart>, HeadError> {
        parse_request(raw.as_bytes(), &RequestOptions::default())
    }

    fn refused(raw: &str) -> &'static str {
        parse(raw).unwrap_err().details
    }

    #[test]
    fn a_usual_request() {
        let raw = "GET /a?b HTTP/1.1\r\nHost: x.y:1\r\nX-A: 1\r\nTE: gzip\r\nConnection: x-b, keep-alive\r\nX-B: 2\r\n\r\nrest";
        let start = parse(raw).unwrap().unwrap();
        assert_eq!(&raw[start.consumed..], "rest");
        assert_eq!(
            (&start.head.method[..], &start.head.path[..], &start.head.authority[..]),
            (&b"GET"[..], &b"/a?b"[..], &b"x.y:1"[..])
        );
        assert_eq!(format!("{:?}", start.head.headers), r#"{"x-a": "1"}"#);
        assert!(start.keep_alive && start.has_host && !start.upgrade);
    }

    #[test]
    fn incomplete_heads_wait() {
        let raw = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n";
        for cut in 0..raw.len() {
            assert!(parse(&raw[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        assert!(parse(raw).unwrap().is_some());
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n");
        let cases = [
            ("content-length: 1\r\ntransfer-encoding: chunked", "http1.content_length_and_chunked_not_allowed"),
            ("content-length: 1\r\ncontent-length: 1", "http1.codec_error"),
            ("content-length: 1, 1", "http1.codec_error"),
            ("content-length: +1", "http1.codec_error"),
            ("content-length: 0x1", "http1.codec_error"),
            ("content-length:", "http1.codec_error"),
            ("content-length: 99999999999999999999", "http1.codec_error"),
            ("transfer-encoding: gzip, chunked", "http1.invalid_transfer_encoding"),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "http1.invalid_transfer_encoding"),
            ("x: a\r\n folded", "http1.codec_error"),
            ("x : a", "http1.codec_error"),
            (": a", "http1.codec_error"),
            ("x: a\rb", "http1.codec_error"),
            ("x: a\nb: c", "http1.codec_error"),
            ("x: a\0b", "http1.invalid_characters"),
            ("connection: x-forwarded-for", "http1.connection_header_rejected"),
            ("host: b", "http1.multiple_host_headers"),
        ];
        for (fields, details) in cases {
            assert_eq!(refused(&post(fields)), details, "{fields:?}");
        }
        assert_eq!(
            refused("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"),
            "http1.transfer_encoding_not_allowed"
        );
    }

    #[test]
    fn request_lines() {
        for raw in [
            "get / HTTP/1.1\r\n\r\n",
            "BREW / HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/3.0\r\n\r\n",
            "\x16\x03\x01",
        ] {
            assert_eq!(refused(raw), "http1.codec_error", "{raw:?}");
        }
        let start = parse("GET http://b/x?y HTTP/1.1\r\nhost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!((&start.head.authority[..], &start.head.path[..]), (&b"b"[..], &b"/x?y"[..]));
        let start = parse("CONNECT a:1 HTTP/1.1\r\nhost: b\r\n\r\n").unwrap().unwrap();
        assert_eq!((&start.head.authority[..], &start.head.path[..]), (&b"a:1"[..], &b""[..]));
        assert_eq!(refused("GET x HTTP/1.1\r\n\r\n"), "http1.invalid_url");
        assert_eq!(refused("GET * HTTP/1.1\r\n\r\n"), "http1.invalid_url");
    }

    #[test]
    fn limits() {
        let many = "a: b\r\n".repeat(101);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{many}\r\n")), "http1.too_many_headers");
        let large = "x".repeat(61 * 1024);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\na: {large}")), "http1.headers_too_large");
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\na: {large}\r\n\r\n")), "http1.headers_too_large");
    }
}
