//! Answers of HTTP/1 as they stood on the wire: names keep their case, order and duplicates.

/// A status line with its headers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The first line as it came.
    pub line: String,
    /// Headers in order, as they came.
    pub headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The first line as it came; empty on HTTP/2.
    pub line: String,
    /// Headers in order, as they came.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Trailers in order.
    pub trailers: Vec<(String, String)>,
    /// 1xx answers that came before.
    pub informational: Vec<Head>,
}

impl Response {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the answer says that the connection ends.
    pub fn says_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// What the start of a buffer is.
pub(crate) enum Parsed {
    /// A whole answer and its length.
    Whole(Response, usize),
    /// More bytes are needed.
    Partial,
    /// No answer.
    Broken(&'static str),
}

/// Takes the answer at the start of the buffer. `bodiless` for an answer to HEAD; `eof` when no more bytes come.
pub(crate) fn parse(buffer: &[u8], bodiless: bool, eof: bool) -> Parsed {
    let mut informational = Vec::new();
    let mut at = 0;
    let (head, start) = loop {
        let Some(length) = find_bytes(&buffer[at..], b"\r\n\r\n") else { return Parsed::Partial };
        let Some(head) = parse_head(&buffer[at..at + length]) else { return Parsed::Broken("no status line") };
        at += length + 4;
        if head.status >= 200 || head.status == 101 {
            break (head, at);
        }
        informational.push(head);
    };
    let chunked = find(&head.headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = find(&head.headers, "content-length").map(str::parse::<usize>);
    let mut response =
        Response { status: head.status, line: head.line, headers: head.headers, informational, ..Response::default() };
    let rest = &buffer[start..];
    if bodiless || matches!(response.status, 101 | 204 | 304) {
        return Parsed::Whole(response, start);
    }
    if chunked {
        return match parse_chunks(rest, &mut response) {
            Ok(Some(used)) => Parsed::Whole(response, start + used),
            Ok(None) => Parsed::Partial,
            Err(reason) => Parsed::Broken(reason),
        };
    }
    match length {
        Some(Err(_)) => Parsed::Broken("content-length is no number"),
        Some(Ok(length)) if rest.len() < length => Parsed::Partial,
        Some(Ok(length)) => {
            response.body = rest[..length].to_vec();
            Parsed::Whole(response, start + length)
        }
        None if eof => {
            response.body = rest.to_vec();
            Parsed::Whole(response, buffer.len())
        }
        None => Parsed::Partial,
    }
}

fn parse_head(bytes: &[u8]) -> Option<Head> {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let (line, fields) = text.split_once("\r\n").unwrap_or((&text, ""));
    let status = line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Head { status, line: line.into(), headers: parse_fields(fields) })
}

pub(crate) fn parse_fields(text: &str) -> Vec<(String, String)> {
    let lines = text.split("\r\n").filter(|line| !line.is_empty());
    lines.map(|line| line.split_once(':').unwrap_or((line, ""))).map(|(k, v)| (k.into(), v.trim().into())).collect()
}

fn parse_chunks(bytes: &[u8], response: &mut Response) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let Some(line) = find_bytes(&bytes[at..], b"\r\n") else { return Ok(None) };
        let text = str::from_utf8(&bytes[at..at + line]).map_err(|_| "chunk size is no text")?;
        let size = text.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| "chunk size is no number")?;
        at += line + 2;
        if size == 0 {
            // Trailers end with an empty line, which may be the first one.
            let Some(end) = find_bytes(&bytes[at - 2..], b"\r\n\r\n") else { return Ok(None) };
            let text: String = bytes[at - 2..at - 2 + end].iter().map(|&byte| char::from(byte)).collect();
            response.trailers = parse_fields(&text);
            return Ok(Some(at - 2 + end + 4));
        }
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        response.body.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
    }
}

pub(crate) fn find_bytes(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
