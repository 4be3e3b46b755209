//! Header maps as guests see and change them.
//!
//! A guest sees pseudo-headers as ordinary entries, in front of the others. What it writes is checked by the rules that
//! hold for a client, and framing is not its business: a guest may take `content-length` away but not set it, so that no
//! second request can be smuggled into the body of the first.

use bytes::Bytes;
use weir_wasm::{MapType, Pairs, PairsBuffer, Status};

use crate::filter::StreamState;
use crate::http::one_line::{Of, add, join_lines};
use crate::http::{HeaderMap, Pseudo, RequestHead, ResponseHead};

/// Fields that say how a message is framed or what becomes of its connection.
const FRAMING: [&[u8]; 7] = [
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"upgrade",
    b"http2-settings",
];

/// A map that exists now.
pub(super) enum Fields<'a> {
    Request(&'a mut RequestHead),
    Response(&'a mut ResponseHead),
    Trailers(&'a mut HeaderMap),
}

impl<'a> Fields<'a> {
    /// `None` if there is no such map (yet).
    pub(super) fn of(state: &'a mut StreamState, map: MapType) -> Option<Self> {
        match map {
            MapType::RequestHeaders => Some(Self::Request(&mut state.request)),
            MapType::RequestTrailers => state.request_trailers.as_mut().map(Self::Trailers),
            MapType::ResponseHeaders => state.response.as_mut().map(Self::Response),
            MapType::ResponseTrailers => state.response_trailers.as_mut().map(Self::Trailers),
            _ => None,
        }
    }

    /// How many entries a guest sees.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Request(head) => PSEUDO_OF_REQUEST + head.headers.len(),
            Self::Response(head) => 1 + head.headers.len(),
            Self::Trailers(map) => map.len(),
        }
    }

    /// Writes the first value of `name` (any case) to the end of `out`.
    pub(super) fn value(&self, name: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
        let value = match self {
            Self::Request(head) => match Pseudo::of(name) {
                Some(which) => Some(&head.pseudo(which)[..]),
                None => head.headers.get(name),
            },
            Self::Response(head) if name == b":status" => {
                out.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
                return Ok(());
            }
            Self::Response(head) => head.headers.get(name),
            Self::Trailers(map) => map.get(name),
        };
        out.extend_from_slice(value.ok_or(Status::NotFound)?);
        Ok(())
    }

    /// All entries in order.
    pub(super) fn pairs(&self, pairs: &mut PairsBuffer) {
        match self {
            Self::Request(head) => {
                for which in Pseudo::ALL {
                    pairs.push(which.name().as_bytes(), head.pseudo(which));
                }
            }
            Self::Response(head) => pairs.push(b":status", itoa::Buffer::new().format(head.status).as_bytes()),
            Self::Trailers(_) => {}
        }
        for (name, value) in self.map().iter() {
            pairs.push(name, value);
        }
    }

    /// Adds a field behind the others, or to the one line that it has.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        if is_host(name) || name.starts_with(b":") {
            // There is exactly one of each already.
            return Err(Status::BadArgument);
        }
        check(name, value)?;
        match self {
            Self::Request(head) => add(&mut head.headers, Of::Request, name, value),
            Self::Response(head) => add(&mut head.headers, Of::Response, name, value),
            Self::Trailers(map) => map.append(name, value),
        }
        Ok(())
    }

    /// Replaces all fields of that name by one.
    pub(super) fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        match self {
            Self::Request(head) if is_host(name) || name.starts_with(b":") => set_request_pseudo(head, name, value),
            Self::Response(head) if name == b":status" => {
                head.status = status(value).ok_or(Status::BadArgument)?;
                Ok(())
            }
            _ => {
                check(name, value)?;
                self.map_mut().set(name, value);
                Ok(())
            }
        }
    }

    /// Removes all fields of that name. Pseudo-headers stay: a message without them is none.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<(), Status> {
        if name.starts_with(b":") || is_host(name) {
            return Err(Status::BadArgument);
        }
        self.map_mut().remove(name);
        Ok(())
    }

    /// Replaces everything, or nothing if one of the fields may not stand. Pseudo-headers that are not given stay;
    /// framing fields stay if they are given (with whatever value), else go.
    pub(super) fn set_all(&mut self, pairs: Pairs<'_>) -> Result<(), Status> {
        let mut fresh = HeaderMap::with_capacity(pairs.len(), 0);
        for (name, value) in pairs.iter() {
            if name.starts_with(b":") || is_host(name) {
                continue;
            }
            if is_framing(name) {
                if let Some(standing) = self.map().get(name)
                    && !fresh.contains(name)
                {
                    fresh.append(name, standing);
                }
                continue;
            }
            if !valid_name(name) || !valid_value(value) {
                return Err(Status::BadArgument);
            }
            fresh.append(name, value);
        }
        // As Envoy: another set of fields, and still the same message.
        fresh.set_original_names(self.map().original_names().cloned());
        match self {
            Self::Request(_) => join_lines(&mut fresh, Of::Request),
            Self::Response(_) => join_lines(&mut fresh, Of::Response),
            Self::Trailers(_) => {}
        }
        let pseudo = || pairs.iter().filter(|(name, _)| name.starts_with(b":") || is_host(name));
        match self {
            Self::Request(head) => {
                let mut changed = (*head).clone();
                for (name, value) in pseudo() {
                    set_request_pseudo(&mut changed, name, value)?;
                }
                changed.headers = fresh;
                **head = changed;
            }
            Self::Response(head) => {
                let mut code = head.status;
                for (name, value) in pseudo() {
                    code = (name == b":status").then(|| status(value)).flatten().ok_or(Status::BadArgument)?;
                }
                (head.status, head.headers) = (code, fresh);
            }
            Self::Trailers(map) => {
                if pseudo().next().is_some() {
                    return Err(Status::BadArgument);
                }
                **map = fresh;
            }
        }
        Ok(())
    }

    /// Bytes of names and values, pseudo-headers left aside.
    pub(super) fn byte_size(&self) -> usize {
        self.map().byte_size()
    }

    fn map(&self) -> &HeaderMap {
        match self {
            Self::Request(head) => &head.headers,
            Self::Response(head) => &head.headers,
            Self::Trailers(map) => map,
        }
    }

    fn map_mut(&mut self) -> &mut HeaderMap {
        match self {
            Self::Request(head) => &mut head.headers,
            Self::Response(head) => &mut head.headers,
            Self::Trailers(map) => map,
        }
    }
}

fn check(name: &[u8], value: &[u8]) -> Result<(), Status> {
    let allowed = valid_name(name) && valid_value(value) && !is_framing(name);
    allowed.then_some(()).ok_or(Status::BadArgument)
}

/// Fields of an answer that a guest gives by itself.
pub(super) struct ReplyHeaders {
    pub(super) map: HeaderMap,
    /// So many that may not stand were left out.
    pub(super) refused: usize,
    /// Some of them because there were too many.
    pub(super) exceeded: bool,
}

/// Takes at most `limit` bytes of fields.
pub(super) fn reply_headers(pairs: Pairs<'_>, limit: usize) -> ReplyHeaders {
    let mut map = HeaderMap::new();
    let mut refused = 0;
    let mut bytes = 0;
    for (name, value) in pairs.iter() {
        bytes += name.len() + value.len();
        if bytes <= limit && valid_name(name) && valid_value(value) && !is_framing(name) {
            map.append(name, value);
        } else if !name.starts_with(b":") {
            // Pseudo-headers are dropped quietly, as in Envoy: the status stands beside the headers.
            refused += 1;
        }
    }
    ReplyHeaders { map, refused, exceeded: bytes > limit }
}

const PSEUDO_OF_REQUEST: usize = Pseudo::ALL.len();

fn set_request_pseudo(head: &mut RequestHead, name: &[u8], value: &[u8]) -> Result<(), Status> {
    let which = Pseudo::of(name).ok_or(Status::BadArgument)?;
    let valid = match which {
        // A tunnel is no request of a stream that is under way.
        Pseudo::Method => valid_name(value) && value != b"CONNECT",
        Pseudo::Path => matches!(value.first(), Some(b'/' | b'*')) && value.iter().all(u8::is_ascii_graphic),
        Pseudo::Scheme => matches!(value, b"http" | b"https"),
        Pseudo::Authority => {
            let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b',' | b'@');
            !value.is_empty() && value.iter().all(plain)
        }
    };
    if !valid {
        return Err(Status::BadArgument);
    }
    *head.pseudo_mut(which) = Bytes::copy_from_slice(value);
    Ok(())
}

fn status(value: &[u8]) -> Option<u16> {
    let code = std::str::from_utf8(value).ok()?.parse().ok()?;
    (value.len() == 3 && (200..=599).contains(&code)).then_some(code)
}

/// Envoy keeps `Host` as `:authority`, under both names.
fn is_host(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host")
}

fn is_framing(name: &[u8]) -> bool {
    FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

/// RFC 9110 section 5.6.2: a token.
fn valid_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// RFC 9110 section 5.5: no controls but the tab.
fn valid_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::http::{OriginalNames, PreserveCase, Version};

    fn head() -> RequestHead {
        RequestHead {
            method: "GET".into(),
            scheme: "http".into(),
            authority: "a.b".into(),
            path: "/p".into(),
            version: Version::Http11,
            headers: [("x", "1"), ("content-length", "5"), ("x", "2")].into_iter().collect(),
        }
    }

    fn read(fields: &Fields<'_>, name: &str) -> Option<String> {
        let mut out = Vec::new();
        fields.value(name.as_bytes(), &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    fn listed(fields: &Fields<'_>) -> String {
        let (mut buffer, mut raw) = (PairsBuffer::new(), Vec::new());
        fields.pairs(&mut buffer);
        buffer.write_to(&mut raw);
        let pairs = Pairs::parse(&raw).unwrap();
        assert_eq!(pairs.len(), fields.count());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        pairs.iter().map(|(n, v)| format!("{}={}", text(n), text(v))).collect::<Vec<_>>().join(" ")
    }

    fn wire(pairs: &[(&str, &str)]) -> Vec<u8> {
        let (mut buffer, mut raw) = (PairsBuffer::new(), Vec::new());
        pairs.iter().for_each(|(name, value)| buffer.push(name.as_bytes(), value.as_bytes()));
        buffer.write_to(&mut raw);
        raw
    }

    #[test]
    fn pseudo_headers_are_ordinary_entries() {
        let mut head = head();
        let mut fields = Fields::Request(&mut head);
        let all = ":authority=a.b :path=/p :method=GET :scheme=http x=1 content-length=5 x=2";
        assert_eq!(listed(&fields), all);
        assert_eq!(read(&fields, "X").as_deref(), Some("1"));
        assert_eq!(read(&fields, "Host").as_deref(), Some("a.b"));
        fields.replace(b":path", b"/other?q").unwrap();
        fields.replace(b"host", b"c.d:80").unwrap();
        assert_eq!(
            (read(&fields, ":path").unwrap(), read(&fields, ":authority").unwrap()),
            ("/other?q".into(), "c.d:80".into())
        );
        let mut response = ResponseHead::new(200);
        let mut fields = Fields::Response(&mut response);
        fields.replace(b":status", b"404").unwrap();
        fields.add(b"X-A", b"1").unwrap();
        assert_eq!(listed(&fields), ":status=404 x-a=1");
    }

    #[test]
    fn what_a_client_may_not_send_a_guest_may_not_write() {
        let mut head = head();
        let mut fields = Fields::Request(&mut head);
        let before = listed(&fields);
        for (name, value) in [
            ("", "v"),
            ("a b", "v"),
            ("a\r\nb", "v"),
            ("n:", "v"),
            ("x", "a\r\nevil: 1"),
            ("x", "a\0"),
            ("x", "\x7f"),
            ("content-length", "3"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "close"),
            ("upgrade", "h2c"),
            (":method", "GET /x"),
            (":method", ""),
            (":method", "CONNECT"),
            (":path", "no-slash"),
            (":path", "/a b"),
            (":path", "/a\r\n"),
            (":scheme", "ftp"),
            (":authority", ""),
            (":authority", "a/b"),
            (":unknown", "v"),
            (":status", "200"),
        ] {
            assert_eq!(fields.replace(name.as_bytes(), value.as_bytes()), Err(Status::BadArgument), "replace {name}");
            assert_eq!(fields.add(name.as_bytes(), value.as_bytes()), Err(Status::BadArgument), "add {name}");
        }
        assert_eq!(fields.remove(b":path"), Err(Status::BadArgument));
        assert_eq!(fields.remove(b"host"), Err(Status::BadArgument));
        assert_eq!(listed(&fields), before);
        fields.remove(b"Content-Length").unwrap();
        assert_eq!(read(&fields, "content-length"), None);
        let mut response = ResponseHead::new(200);
        let mut fields = Fields::Response(&mut response);
        for value in ["100", "600", "20", "+200", "2000", "x"] {
            assert_eq!(fields.replace(b":status", value.as_bytes()), Err(Status::BadArgument), "{value}");
        }
    }

    #[test]
    fn whole_maps_are_set_or_refused_as_one() {
        let mut head = head();
        let mut fields = Fields::Request(&mut head);
        for bad in [[("ok", "1"), ("n\n", "2")], [("ok", "1"), (":path", "x")], [("ok", "1"), (":what", "x")]] {
            assert_eq!(fields.set_all(Pairs::parse(&wire(&bad)).unwrap()), Err(Status::BadArgument));
        }
        assert_eq!(read(&fields, "ok"), None);
        let good = wire(&[(":path", "/new"), ("content-length", "99"), ("y", "1"), ("Y", "2")]);
        fields.set_all(Pairs::parse(&good).unwrap()).unwrap();
        assert_eq!(listed(&fields), ":authority=a.b :path=/new :method=GET :scheme=http content-length=5 y=1 y=2");
        fields.set_all(Pairs::parse(&wire(&[("z", "1")])).unwrap()).unwrap();
        assert_eq!(listed(&fields), ":authority=a.b :path=/new :method=GET :scheme=http z=1");
        let names = OriginalNames::new([&b"X-Y"[..]].into_iter(), b"", PreserveCase::default());
        head.headers.set_original_names(Some(Arc::new(names)));
        Fields::Request(&mut head).set_all(Pairs::parse(&wire(&[("x-y", "1")])).unwrap()).unwrap();
        assert!(head.headers.original_names().is_some(), "how its client spells names does not change");
        let mut trailers = HeaderMap::new();
        let mut fields = Fields::Trailers(&mut trailers);
        assert_eq!(fields.set_all(Pairs::parse(&wire(&[(":path", "/")])).unwrap()), Err(Status::BadArgument));
    }

    #[test]
    fn replies_keep_what_may_stand() {
        let raw = wire(&[("a", "1"), ("content-length", "9"), (":status", "200"), ("b", "x\n"), ("a", "2")]);
        let ReplyHeaders { map, refused, exceeded } = reply_headers(Pairs::parse(&raw).unwrap(), 1000);
        assert!(!exceeded && reply_headers(Pairs::parse(&raw).unwrap(), 10).exceeded);
        assert_eq!(map.iter().collect::<Vec<_>>(), [(&b"a"[..], &b"1"[..]), (b"a", b"2")]);
        assert_eq!(refused, 2);
    }
}
