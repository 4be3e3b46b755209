//! The HTTP/1 wire format, the same code for both sides of the gateway. Pure: bytes in, values out.
//!
//! Strict where leniency lets two parsers disagree about where a message ends (RFC 9112 section 11.2): bare LF, folded
//! lines, bare CR, doubled length fields and length beside chunked are refused, never repaired.

mod arrival;
mod body;
mod encode;
#[cfg(test)]
mod properties;
mod request;
mod response;

use crate::http::HeaderMap;

pub use arrival::Arrival;
pub use body::{BodyDecoder, BodyError, BodyEvent};
pub use encode::{CHUNK_END, Framing, LAST_CHUNK, chunk_head, request_head, response_head, trailers};
pub use request::{RequestOptions, RequestStart, parse_request};
pub use response::{ResponseOptions, ResponseStart, parse_response};

/// How large a head (or a trailer section) may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes, default 60 KiB (`max_request_headers_kb`).
    pub bytes: usize,
    /// Fields, default 100 (`max_headers_count`).
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 60 * 1024, fields: 100 }
    }
}

impl HeadLimits {
    /// Room for as many fields as `buf` may have: one takes four bytes at least. A high limit alone costs nothing.
    fn most_fields(&self, buf: &[u8]) -> usize {
        self.fields.min((buf.len() / 4).max(request::STACK_FIELDS))
    }
}

/// Why a head was refused: who sent it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{details}")]
pub struct HeadError {
    /// What is wrong with it.
    pub fault: HeadFault,
    /// `%RESPONSE_CODE_DETAILS%`, in Envoy's words.
    pub details: &'static str,
}

/// What can be wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// It breaks the protocol.
    Malformed,
    /// It is larger than allowed, in bytes or fields.
    TooLarge,
    /// A transfer coding that is not known.
    UnknownCoding,
    /// An https target on a connection in the clear.
    NotEncrypted,
}

impl HeadError {
    const fn bad(details: &'static str) -> Self {
        Self { fault: HeadFault::Malformed, details }
    }

    const CODEC: Self = Self::bad("http1.codec_error");
    /// The head is larger than allowed.
    pub const TOO_LARGE: Self = Self { fault: HeadFault::TooLarge, details: "http1.headers_too_large" };
    /// The head has more fields than allowed.
    pub const TOO_MANY: Self = Self { fault: HeadFault::TooLarge, details: "http1.too_many_headers" };
}

/// Bytes of a head's fields as Envoy counts what it reads: names, values without the blanks about them, a colon and a line end;
/// a head without any has one that is empty.
fn field_bytes(fields: &[httparse::Header<'_>]) -> usize {
    const OF_FIELD: usize = b":\r\n".len();
    fields.iter().map(|field| field.name.len() + field.value.len() + OF_FIELD).sum::<usize>().max(OF_FIELD)
}

/// The same of a trailer section.
pub fn trailer_bytes(trailers: &HeaderMap) -> usize {
    trailers.byte_size() + trailers.len() * b":\r\n".len()
}

/// Finds the end of a head that httparse has accepted to be complete, and refuses what httparse lets pass: line ends
/// without CR.
fn check_line_ends(head: &[u8]) -> Result<(), HeadError> {
    for at in memchr::memchr_iter(b'\n', head) {
        if at == 0 || head[at - 1] != b'\r' {
            return Err(HeadError::CODEC);
        }
    }
    Ok(())
}

/// What the framing fields of a head say, gathered while its fields are read.
#[derive(Default)]
struct FramingFields {
    length: Option<u64>,
    chunked: bool,
    transfer_encoding: bool,
    /// A coding that this gateway does not speak, or `chunked` twice.
    unknown_coding: bool,
    /// `connection` has `close`.
    close: bool,
    /// `connection` has `keep-alive`.
    keep_alive: bool,
    /// `connection` has `upgrade`.
    upgrade: bool,
    /// Names that `connection` lists beside the ones above.
    nominated: Vec<Box<[u8]>>,
}

impl FramingFields {
    /// RFC 9110 section 8.6: digits only, once.
    fn content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let bad = HeadError::CODEC;
        if self.length.is_some() || value.is_empty() || value.len() > 19 {
            return Err(bad);
        }
        let mut length = 0u64;
        for digit in value {
            if !digit.is_ascii_digit() {
                return Err(bad);
            }
            length = length * 10 + u64::from(digit - b'0');
        }
        self.length = Some(length);
        Ok(())
    }

    /// RFC 9112 section 6.1: this gateway speaks `chunked` alone.
    fn transfer_encoding(&mut self, value: &[u8]) {
        self.unknown_coding |= self.transfer_encoding || !value.eq_ignore_ascii_case(b"chunked");
        self.transfer_encoding = true;
        self.chunked = true;
    }

    /// To be asked when all fields are read; as in Envoy a length beside it is the worse of two faults.
    fn check_coding(&self) -> Result<(), HeadError> {
        match (self.unknown_coding, self.length) {
            (false, _) => Ok(()),
            (true, Some(_)) => Err(HeadError::bad("http1.content_length_and_chunked_not_allowed")),
            (true, None) => {
                Err(HeadError { fault: HeadFault::UnknownCoding, details: "http1.invalid_transfer_encoding" })
            }
        }
    }

    /// No standard has it, and who sends it means what it says.
    fn proxy_connection(&mut self, value: &[u8]) {
        self.close |= value.split(|b| *b == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for token in value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty()) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if is_protected(token) {
                return Err(HeadError::bad("http1.connection_header_rejected"));
            } else if self.nominated.len() < 16 {
                self.nominated.push(token.to_ascii_lowercase().into());
            } else {
                return Err(HeadError::bad("http1.connection_header_rejected"));
            }
        }
        Ok(())
    }
}

/// Fields that a client must not have removed by naming them in `connection`.
fn is_protected(token: &[u8]) -> bool {
    const PROTECTED: [&[u8]; 6] =
        [b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"host", b"content-length"];
    token.starts_with(b":") || PROTECTED.iter().any(|name| token.eq_ignore_ascii_case(name))
}
