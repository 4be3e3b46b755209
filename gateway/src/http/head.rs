//! The heads of a request and of a response, the same for HTTP/1 and HTTP/2.

use bytes::Bytes;

use super::headers::HeaderMap;

/// The protocol a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As `%PROTOCOL%` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// What a client asks for. The path is kept as the bytes that came (with its query), never as a parsed URI: Envoy
/// serves paths that `http::Uri` refuses.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `GET`, `POST`, …: upper case.
    pub method: Bytes,
    /// `http` or `https`.
    pub scheme: Bytes,
    /// Host and optional port: `:authority`, or the `Host` field, which is not among `headers`.
    pub authority: Bytes,
    /// Path and query, starting with `/` (or `*` for OPTIONS, empty for CONNECT).
    pub path: Bytes,
    /// The protocol it came in.
    pub version: Version,
    /// All fields but `Host`.
    pub headers: HeaderMap,
}

/// Nothing at all, for where no request could be read.
pub static NO_REQUEST: RequestHead = RequestHead {
    method: Bytes::new(),
    scheme: Bytes::new(),
    authority: Bytes::new(),
    path: Bytes::new(),
    version: Version::Http11,
    headers: HeaderMap::new(),
};

impl RequestHead {
    /// The path without its query.
    pub fn path_only(&self) -> &[u8] {
        split_query(&self.path).0
    }

    /// The query without its `?`, if there is one.
    pub fn query(&self) -> Option<&[u8]> {
        split_query(&self.path).1
    }

    /// Whether the method is HEAD: its response has no body.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// Cuts `path?query` at the first question mark.
pub fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', path) {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// All fields.
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// A head without fields.
    pub fn new(status: u16) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}
