//! Reading the ClientHello before anything is decided: filter chains are chosen by what it asks for, and a connection
//! that is passed through must keep its bytes.
//!
//! Only server name and protocols are read (RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301); everything else is
//! rustls's business.

use std::sync::Arc;

/// Longest ClientHello that is read, in bytes with the heads of its records, unless the listener says less. One that says of
/// itself that it is longer counts as malformed, as in Envoy.
pub const MAX_CLIENT_HELLO: usize = 64 * 1024;

/// RFC 8446 section 5.1: 2^14, and the 256 that older versions allow on top.
const MAX_RECORD: usize = (1 << 14) + 256;
const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const CONTENT_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const TOO_LONG: &str = "the ClientHello is too long";
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_VERSIONS: u16 = 43;
const TLS13: &[u8] = &[3, 4];

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// A whole ClientHello.
    Tls(ClientHello),
    /// Not TLS, or not sound, and why.
    NotTls(&'static str),
    /// TLS so far; more bytes are needed.
    Incomplete,
}

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Lower-case, without a trailing dot.
    pub server_name: Option<Arc<str>>,
    /// It can speak TLS 1.3.
    pub tls13: bool,
    /// ProtocolNameList without its outer length, known to be well formed.
    protocols: Vec<u8>,
}

impl ClientHello {
    /// The application protocols that it offers, in its order of preference.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Reader(&self.protocols);
        std::iter::from_fn(move || rest.vector_u8())
    }
}

/// Reads a ClientHello as it arrives. Never consumes anything.
///
/// Each record is taken up once: a client may make 65,000 of one message, and send each by itself.
#[derive(Debug, Default)]
pub struct Inspector {
    /// How far the bytes are taken up, by whole records.
    taken: usize,
    /// What was in them, if the message was not whole in the first.
    message: Vec<u8>,
}

impl Inspector {
    /// Looks at what has arrived so far, from the first byte on: what it was shown before, and more.
    pub fn inspect(&mut self, bytes: &[u8]) -> Inspection {
        match self.body(bytes) {
            Ok(Some(body)) => parse(body),
            Ok(None) => Inspection::Incomplete,
            Err(reason) => Inspection::NotTls(reason),
        }
    }

    /// The body of the first handshake message, which may spread over several records.
    fn body<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
        let length = loop {
            let Some(fragment) = record(bytes.get(self.taken..).unwrap_or_default())? else {
                // As in Envoy what counts is what was sent for it.
                return if bytes.len() >= MAX_CLIENT_HELLO { Err(TOO_LONG) } else { Ok(None) };
            };
            if self.taken == 0
                && let Some((header, body)) = fragment.split_at_checked(HANDSHAKE_HEADER)
                && let Some(body) = body.get(..handshake_length(header)?)
            {
                return Ok(Some(body));
            }
            self.taken += RECORD_HEADER + fragment.len();
            self.message.extend_from_slice(fragment);
            if let Some((header, body)) = self.message.split_at_checked(HANDSHAKE_HEADER) {
                let length = handshake_length(header)?;
                if body.len() >= length {
                    break length;
                }
            }
        };
        Ok(self.message.get(HANDSHAKE_HEADER..HANDSHAKE_HEADER + length))
    }
}

/// Looks at these bytes only.
#[cfg(test)]
pub(super) fn inspect(bytes: &[u8]) -> Inspection {
    Inspector::default().inspect(bytes)
}

/// The content of the record that `bytes` starts with; `None` if it is not complete.
fn record(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    // Each byte is judged as soon as it is there, so that a client of another protocol is not waited for.
    if bytes.first().is_some_and(|kind| *kind != CONTENT_HANDSHAKE) {
        return Err("not a TLS handshake record");
    }
    if bytes.get(1).is_some_and(|major| *major != 3) {
        return Err("not a TLS version");
    }
    let Some(length) = bytes.get(3..RECORD_HEADER).and_then(|mut b| take_u16(&mut b)) else { return Ok(None) };
    if length == 0 || usize::from(length) > MAX_RECORD {
        return Err("a TLS record of an impossible length");
    }
    Ok(bytes.get(RECORD_HEADER..RECORD_HEADER + usize::from(length)))
}

fn handshake_length(header: &[u8]) -> Result<usize, &'static str> {
    let [kind, a, b, c] = *header else { return Err("a handshake message without a header") };
    if kind != CLIENT_HELLO {
        return Err("the first message is no ClientHello");
    }
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if length > MAX_CLIENT_HELLO { Err(TOO_LONG) } else { Ok(length) }
}

fn parse(body: &[u8]) -> Inspection {
    match fields(body) {
        Ok(hello) => Inspection::Tls(hello),
        Err(reason) => Inspection::NotTls(reason),
    }
}

fn fields(body: &[u8]) -> Result<ClientHello, &'static str> {
    let mut hello = ClientHello::default();
    let mut body = Reader(body);
    let head = (|| {
        body.take(2 + 32)?; // legacy_version, random
        body.vector_u8()?; // legacy_session_id
        body.vector_u16()?; // cipher_suites
        body.vector_u8() // legacy_compression_methods
    })();
    head.ok_or("the ClientHello ends early")?;
    if body.0.is_empty() {
        return Ok(hello); // TLS 1.2 without extensions
    }
    let mut extensions = Reader(body.vector_u16().ok_or("the extensions end early")?);
    if !body.0.is_empty() {
        return Err("bytes after the extensions");
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or("an extension ends early")?;
        let data = extensions.vector_u16().ok_or("an extension ends early")?;
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = server_name(data)?,
            // What is malformed in it is rustls's to refuse.
            EXTENSION_VERSIONS => hello.tls13 = data.get(1..).unwrap_or_default().chunks(2).any(|one| one == TLS13),
            EXTENSION_ALPN => hello.protocols = protocols(data)?,
            _ => {}
        }
    }
    Ok(hello)
}

fn server_name(data: &[u8]) -> Result<Option<Arc<str>>, &'static str> {
    const BAD: &str = "a malformed server name";
    let mut data = Reader(data);
    let mut list = Reader(data.vector_u16().ok_or(BAD)?);
    let kind = list.u8().ok_or(BAD)?;
    let name = list.vector_u16().ok_or(BAD)?;
    if kind != 0 || !list.0.is_empty() || !data.0.is_empty() {
        return Err(BAD);
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() || name.len() > 255 || !name.iter().all(u8::is_ascii_graphic) {
        return Err(BAD);
    }
    Ok(std::str::from_utf8(name).ok().map(|name| name.to_ascii_lowercase().into()))
}

fn protocols(data: &[u8]) -> Result<Vec<u8>, &'static str> {
    const BAD: &str = "a malformed protocol list";
    let mut data = Reader(data);
    let list = data.vector_u16().ok_or(BAD)?;
    let mut names = Reader(list);
    while !names.0.is_empty() {
        if names.vector_u8().ok_or(BAD)?.is_empty() {
            return Err(BAD);
        }
    }
    if list.is_empty() || !data.0.is_empty() { Err(BAD) } else { Ok(list.to_vec()) }
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u16::from_be_bytes(*value))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        take_u16(&mut self.0)
    }

    fn vector_u8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn vector_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tls::testing;

    fn hello(name: &'static str, alpn: &[&str]) -> Vec<u8> {
        testing::client_hello(name, alpn)
    }

    fn in_records_of(size: usize, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in bytes[RECORD_HEADER..].chunks(size) {
            out.extend_from_slice(&bytes[..3]);
            out.extend_from_slice(&u16::try_from(chunk.len()).unwrap().to_be_bytes());
            out.extend_from_slice(chunk);
        }
        out
    }

    fn assert_read(bytes: &[u8], name: Option<&str>, alpn: &[&str]) {
        let Inspection::Tls(hello) = inspect(bytes) else { panic!("{:?}", inspect(bytes)) };
        assert_eq!(hello.server_name.as_deref(), name);
        assert_eq!(hello.alpn().collect::<Vec<_>>(), alpn.iter().map(|p| p.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn name_and_protocols_are_read() {
        assert_read(&hello("WWW.Example.com", &["h2", "http/1.1"]), Some("www.example.com"), &["h2", "http/1.1"]);
        assert_read(&hello("a", &[]), Some("a"), &[]);
        // An address is not sent as a server name.
        assert_read(&hello("127.0.0.1", &["h2"]), None, &["h2"]);
    }

    #[test]
    fn every_truncation_is_incomplete_and_every_tail_is_left_alone() {
        let whole = hello("example.com", &["h2"]);
        for end in 0..whole.len() {
            assert_eq!(inspect(&whole[..end]), Inspection::Incomplete, "{end} bytes");
        }
        let mut more = whole.clone();
        more.extend_from_slice(b"anything");
        assert_read(&more, Some("example.com"), &["h2"]);
    }

    #[test]
    fn a_hello_in_many_records_is_put_together() {
        let whole = hello("example.com", &["h2"]);
        for size in [1, 2, 3, 4, 5, 7, 100] {
            let split = in_records_of(size, &whole);
            assert_read(&split, Some("example.com"), &["h2"]);
            for end in 0..split.len() {
                assert_eq!(inspect(&split[..end]), Inspection::Incomplete, "{end} bytes in records of {size}");
            }
        }
    }

    #[test]
    fn each_record_is_taken_up_once() {
        let whole = in_records_of(1, &hello("example.com", &["h2"]));
        let mut inspector = Inspector::default();
        for end in 0..whole.len() {
            assert_eq!(inspector.inspect(&whole[..end]), Inspection::Incomplete);
            let records = end / (RECORD_HEADER + 1);
            assert_eq!((inspector.taken, inspector.message.len()), (records * (RECORD_HEADER + 1), records));
        }
        let Inspection::Tls(hello) = inspector.inspect(&whole) else { panic!("not read") };
        assert_eq!(hello.server_name.as_deref(), Some("example.com"));
    }

    #[test]
    fn what_is_sent_for_a_hello_is_bounded() {
        // The beginning of a message of 65,000 bytes, which alone would be let in.
        let endless: Vec<u8> =
            [1, 0, 0xfd, 0xe8].into_iter().chain([0; 20_000]).flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
        let mut inspector = Inspector::default();
        let last = (0..endless.len()).find(|end| inspector.inspect(&endless[..*end]) != Inspection::Incomplete);
        assert_eq!(last, Some(MAX_CLIENT_HELLO));
        assert_eq!(inspector.inspect(&endless[..MAX_CLIENT_HELLO]), Inspection::NotTls(TOO_LONG));
    }

    #[test]
    fn other_protocols_are_told_by_their_first_bytes() {
        for bytes in [&b"G"[..], b"GET / HTTP/1.1\r\n", b"\x16\x02", b"\x15\x03\x01", b"\x16\x03\x01\x00\x00"] {
            assert!(matches!(inspect(bytes), Inspection::NotTls(_)), "{bytes:?}");
        }
        assert_eq!(inspect(b""), Inspection::Incomplete);
        // A ServerHello where a ClientHello belongs, and one that announces 16 MB.
        assert!(matches!(inspect(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"), Inspection::NotTls(_)));
        assert!(matches!(inspect(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"), Inspection::NotTls(_)));
    }

    #[test]
    fn changed_bytes_never_panic() {
        let whole = hello("example.com", &["h2", "http/1.1"]);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                inspect(&bytes);
            }
        }
    }

    proptest::proptest! {
        /// Whatever comes first on a connection, and however it is cut into records.
        #[test]
        fn broken_hellos_are_told_from_unfinished_ones(
            changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 0..4),
            end: proptest::sample::Index,
            record in 1usize..400,
        ) {
            let mut bytes = in_records_of(record, &hello("a.example", &["h2", "http/1.1"]));
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let whole = inspect(&bytes);
            if let Inspection::Tls(hello) = &whole {
                proptest::prop_assert!(hello.alpn().count() <= bytes.len());
            }
            // More bytes never turn a refusal into a ClientHello.
            if matches!(inspect(&bytes[..end.index(bytes.len())]), Inspection::NotTls(_)) {
                proptest::prop_assert!(!matches!(whole, Inspection::Tls(_)));
            }
        }
    }
}
