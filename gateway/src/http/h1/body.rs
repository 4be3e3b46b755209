//! Reading a body: by length, chunked, or until the connection closes.

use bytes::{Buf, Bytes, BytesMut};

use super::{Arrival, HeadLimits, check_line_ends};
use crate::http::HeaderMap;

/// Bytes of one chunk-size line with its extensions; longer ones are refused.
const CHUNK_LINE: usize = 1024;

/// Where reading of a body stands.
#[derive(Debug)]
pub enum BodyDecoder {
    /// So many bytes are still to come.
    Length(u64),
    /// `transfer-encoding: chunked` (RFC 9112 section 7.1).
    Chunked(Chunk),
    /// All until the peer closes; responses only.
    UntilClose,
}

/// Where reading of a chunked body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// At a chunk-size line.
    Size,
    /// So many bytes of the chunk are still to come.
    Data(u64),
    /// At the line end behind a chunk.
    DataEnd,
    /// At the trailer section, of which so much has arrived.
    Trailers(Arrival),
    /// All read.
    Done,
}

/// What reading gave.
#[derive(Debug)]
pub enum BodyEvent {
    /// A piece.
    Data(Bytes),
    /// The trailers; nothing follows.
    Trailers(HeaderMap),
    /// The end; nothing follows.
    End,
}

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A chunk line or its end is not of the form of RFC 9112 section 7.1.
    #[error("http1.codec_error")]
    Chunk,
    /// The trailer section is malformed.
    #[error("http1.codec_error")]
    Trailers,
    /// The trailer section is larger than a head may be.
    #[error("http1.headers_too_large")]
    TooLarge,
    /// The trailer section has more fields than a head may have.
    #[error("http1.too_many_headers")]
    TooMany,
    /// The peer closed before the end.
    #[error("the peer closed the connection before the end of the body")]
    Truncated,
}

impl BodyDecoder {
    /// No body.
    pub const fn empty() -> Self {
        Self::Length(0)
    }

    /// A body of so many bytes.
    pub const fn length(length: u64) -> Self {
        Self::Length(length)
    }

    /// A chunked body.
    pub const fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    /// Whether nothing is left to read.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// Takes the next event from the front of `buf`; `Ok(None)` if more bytes are needed. Pieces are as large as what
    /// is there; they share the buffer's memory.
    ///
    /// # Errors
    /// The peer broke the framing: nothing after it on this connection may be trusted.
    pub fn decode(&mut self, buf: &mut BytesMut, limits: HeadLimits) -> Result<Option<BodyEvent>, BodyError> {
        match self {
            Self::Length(0) => Ok(Some(BodyEvent::End)),
            Self::Length(left) => Ok(piece(buf, left)),
            Self::UntilClose if buf.is_empty() => Ok(None),
            Self::UntilClose => Ok(Some(BodyEvent::Data(buf.split().freeze()))),
            Self::Chunked(chunk) => decode_chunked(chunk, buf, limits),
        }
    }

    /// The peer closed: the end for [`Self::UntilClose`], otherwise an error.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if more was announced.
    pub fn closed(&mut self) -> Result<(), BodyError> {
        match self {
            Self::UntilClose => {
                *self = Self::Length(0);
                Ok(())
            }
            _ if self.is_done() => Ok(()),
            _ => Err(BodyError::Truncated),
        }
    }
}

fn piece(buf: &mut BytesMut, left: &mut u64) -> Option<BodyEvent> {
    if buf.is_empty() {
        return None;
    }
    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    *left -= take as u64;
    Some(BodyEvent::Data(buf.split_to(take).freeze()))
}

fn decode_chunked(chunk: &mut Chunk, buf: &mut BytesMut, limits: HeadLimits) -> Result<Option<BodyEvent>, BodyError> {
    loop {
        match chunk {
            Chunk::Size => {
                let Some((size, consumed)) = chunk_size(buf)? else { return Ok(None) };
                buf.advance(consumed);
                *chunk = if size == 0 { Chunk::Trailers(Arrival::default()) } else { Chunk::Data(size) };
            }
            Chunk::Data(left) => {
                let event = piece(buf, left);
                if *left == 0 {
                    *chunk = Chunk::DataEnd;
                }
                return Ok(event);
            }
            Chunk::DataEnd => {
                if buf.len() < 2 {
                    return if buf.first().is_none_or(|b| *b == b'\r') { Ok(None) } else { Err(BodyError::Chunk) };
                }
                if !buf.starts_with(b"\r\n") {
                    return Err(BodyError::Chunk);
                }
                buf.advance(2);
                *chunk = Chunk::Size;
            }
            Chunk::Trailers(arrival) => {
                // Most are empty.
                if buf.len() > 2 && !arrival.is_worth_parsing(buf, limits) {
                    return Ok(None);
                }
                let Some((trailers, consumed)) = trailer_section(buf, limits)? else { return Ok(None) };
                buf.advance(consumed);
                *chunk = Chunk::Done;
                return Ok(Some(if trailers.is_empty() { BodyEvent::End } else { BodyEvent::Trailers(trailers) }));
            }
            Chunk::Done => return Ok(Some(BodyEvent::End)),
        }
    }
}

/// `chunk-size [ chunk-ext ] CRLF`: digits first, at most 15 of them, then nothing or an extension, perhaps behind blanks: old
/// servers fill the line up with them, and Envoy takes it.
fn chunk_size(buf: &[u8]) -> Result<Option<(u64, usize)>, BodyError> {
    let Some(end) = memchr::memchr(b'\n', buf.get(..CHUNK_LINE).unwrap_or(buf)) else {
        let digits = buf.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let plausible = digits > 0 || buf.is_empty();
        return if plausible && digits <= 15 && buf.len() < CHUNK_LINE { Ok(None) } else { Err(BodyError::Chunk) };
    };
    // A place in `buf`, where memchr has found it.
    let line = buf[..end].strip_suffix(b"\r").ok_or(BodyError::Chunk)?;
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 15 {
        return Err(BodyError::Chunk);
    }
    let (number, rest) = line.split_at(digits);
    let extension = rest.trim_ascii_start();
    if !matches!(extension, [] | [b';', ..]) || rest.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
        return Err(BodyError::Chunk);
    }
    let size =
        number.iter().fold(0u64, |size, digit| size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or(0)));
    Ok(Some((size, end + 1)))
}

#[cfg(test)]
thread_local! {
    /// Bytes of trailer sections that were parsed, as often as they were.
    static PARSED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn trailer_section(buf: &[u8], limits: HeadLimits) -> Result<Option<(HeaderMap, usize)>, BodyError> {
    if buf.starts_with(b"\r\n") {
        return Ok(Some((HeaderMap::new(), 2)));
    }
    #[cfg(test)]
    PARSED.set(PARSED.get() + buf.len());
    // Trailers are rare: they may cost an allocation.
    let mut fields = vec![httparse::EMPTY_HEADER; limits.most_fields(buf)];
    match httparse::parse_headers(buf, &mut fields) {
        Ok(httparse::Status::Complete((consumed, fields))) if consumed <= limits.bytes => {
            // httparse consumes of `buf` and no more.
            check_line_ends(&buf[..consumed]).map_err(|_| BodyError::Trailers)?;
            let allowed = fields.iter().filter(|f| !is_forbidden_trailer(f.name));
            Ok(Some((allowed.map(|f| (f.name, f.value)).collect(), consumed)))
        }
        Ok(httparse::Status::Partial) if buf.len() < limits.bytes => Ok(None),
        Ok(_) => Err(BodyError::TooLarge),
        Err(httparse::Error::TooManyHeaders) => Err(BodyError::TooMany),
        Err(_) => Err(BodyError::Trailers),
    }
}

/// RFC 9110 section 6.5.1: fields that frame, route or authenticate mean nothing behind the body, and trusting them there
/// is how requests are smuggled.
fn is_forbidden_trailer(name: &str) -> bool {
    const FORBIDDEN: [&str; 9] = [
        "transfer-encoding",
        "content-length",
        "host",
        "connection",
        "trailer",
        "te",
        "upgrade",
        "authorization",
        "expect",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Feeds `raw` in pieces of `step` bytes and collects the body and trailers.
    fn read(mut decoder: BodyDecoder, raw: &[u8], step: usize) -> Result<(Vec<u8>, usize, Vec<u8>), BodyError> {
        let (mut body, mut buf, mut trailers) = (Vec::new(), BytesMut::new(), 0);
        let mut pieces = raw.chunks(step);
        loop {
            match decoder.decode(&mut buf, HeadLimits::default())? {
                Some(BodyEvent::Data(data)) => body.extend_from_slice(&data),
                Some(BodyEvent::Trailers(map)) => trailers = map.len(),
                Some(BodyEvent::End) => {}
                None => match pieces.next() {
                    Some(piece) => buf.extend_from_slice(piece),
                    None => decoder.closed()?,
                },
            }
            if decoder.is_done() {
                buf.extend(pieces.flatten());
                return Ok((body, trailers, buf.to_vec()));
            }
        }
    }

    #[test]
    fn chunked_in_any_pieces() {
        let raw = b"3\r\nabc\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nT: 1\r\nContent-Length: 5\r\n\r\nnext";
        for step in 1..raw.len() {
            let (body, trailers, rest) = read(BodyDecoder::chunked(), raw, step).unwrap();
            assert_eq!((&body[..], trailers, &rest[..]), (&b"abc0123456789"[..], 1, &b"next"[..]), "step {step}");
        }
    }

    #[test]
    fn trailers_that_come_byte_by_byte_are_not_parsed_for_each() {
        let raw = format!("0\r\n{}\r\n", format!("x: {}\r\n", "x".repeat(900)).repeat(64));
        PARSED.set(0);
        let (_, trailers, _) = read(BodyDecoder::chunked(), raw.as_bytes(), 1).unwrap();
        assert_eq!(trailers, 64);
        assert!(PARSED.get() < raw.len() + 10, "{} bytes", PARSED.get());
    }

    #[test]
    fn length_and_close() {
        assert_eq!(read(BodyDecoder::length(3), b"abcdef", 2).unwrap(), (b"abc".to_vec(), 0, b"def".to_vec()));
        assert_eq!(read(BodyDecoder::UntilClose, b"abcdef", 4).unwrap().0, b"abcdef");
        assert_eq!(read(BodyDecoder::length(9), b"abc", 4), Err(BodyError::Truncated));
        assert_eq!(read(BodyDecoder::chunked(), b"3\r\nab", 4), Err(BodyError::Truncated));
    }

    #[test]
    fn bad_chunks() {
        for raw in [
            "x\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            "1 1\r\na\r\n",
            "1\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "1000000000000000\r\n",
            ";x\r\n",
            "1;\x01\r\na\r\n",
            "0\r\nbad\r\n\r\n",
            "0\r\nx: a\n\r\n",
            " 1\r\na\r\n",
        ] {
            assert!(
                matches!(
                    read(BodyDecoder::chunked(), raw.as_bytes(), 100),
                    Err(BodyError::Chunk | BodyError::Trailers)
                ),
                "{raw:?}"
            );
        }
        let long = format!("1;{}", "x".repeat(2000));
        assert_eq!(read(BodyDecoder::chunked(), long.as_bytes(), 100), Err(BodyError::Chunk));
    }
}
