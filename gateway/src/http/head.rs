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

/// What a request says beside its fields (RFC 9113 section 8.3.1), under the name by which filters, formats and matchers
/// ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pseudo {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`, also asked for as `host`.
    Authority,
    /// `:path`
    Path,
}

impl Pseudo {
    /// All of them, in the order in which Envoy keeps those of HTTP/1 requests.
    pub const ALL: [Self; 4] = [Self::Authority, Self::Path, Self::Method, Self::Scheme];

    /// By its name; `host` in any case.
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            b":method" => Some(Self::Method),
            b":scheme" => Some(Self::Scheme),
            b":authority" => Some(Self::Authority),
            b":path" => Some(Self::Path),
            _ => name.eq_ignore_ascii_case(b"host").then_some(Self::Authority),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
        }
    }
}

impl RequestHead {
    /// The value of a pseudo-header.
    #[inline]
    pub fn pseudo(&self, which: Pseudo) -> &Bytes {
        match which {
            Pseudo::Method => &self.method,
            Pseudo::Scheme => &self.scheme,
            Pseudo::Authority => &self.authority,
            Pseudo::Path => &self.path,
        }
    }

    /// As [`Self::pseudo`], to be changed.
    pub fn pseudo_mut(&mut self, which: Pseudo) -> &mut Bytes {
        match which {
            Pseudo::Method => &mut self.method,
            Pseudo::Scheme => &mut self.scheme,
            Pseudo::Authority => &mut self.authority,
            Pseudo::Path => &mut self.path,
        }
    }

    /// Bytes of all names and values, pseudo-headers with them, as Envoy counts them.
    pub fn byte_size(&self) -> usize {
        let present = Pseudo::ALL.into_iter().filter(|which| !self.pseudo(*which).is_empty());
        let pseudo: usize = present.map(|which| which.name().len() + self.pseudo(which).len()).sum();
        pseudo + self.headers.byte_size()
    }

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

    /// Bytes of all names and values, the status (three digits) with them, as Envoy counts them.
    pub fn byte_size(&self) -> usize {
        b":status".len() + b"200".len() + self.headers.byte_size()
    }
}
