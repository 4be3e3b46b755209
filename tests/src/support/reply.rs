//! What an upstream does when it has a request: a list of steps, well-formed or not.

use std::fmt::Write;
use std::time::Duration;

/// One thing that an upstream does with its connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Sends bytes.
    Bytes(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Does nothing until the gateway ends the connection.
    Stall,
}

/// A scripted answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
    trailers: Vec<(String, String)>,
    before: Vec<Step>,
    after: Vec<Step>,
    byte_by_byte: bool,
    raw: Option<Vec<u8>>,
    pub(crate) bodiless: bool,
    pub(crate) early: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
    None,
}

impl Reply {
    /// 200 with a text.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: "200 OK".into(),
            headers: Vec::new(),
            body: body.into(),
            framing: Framing::Length,
            trailers: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            byte_by_byte: false,
            raw: None,
            bodiless: false,
            early: false,
        }
    }

    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        let framing = if matches!(status, 204 | 304) { Framing::None } else { Framing::Length };
        Self { status: format!("{status} Status"), framing, ..Self::ok("") }
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::ok("") }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends the body in two chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Sends the body until the end of the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self.close()
    }

    /// Adds a trailer, which makes the body chunked.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.into(), value.into()));
        self.chunked()
    }

    /// Sends an informational answer before.
    #[must_use]
    pub fn informational(mut self, status: u16, headers: &str) -> Self {
        self.before.push(Step::Bytes(format!("HTTP/1.1 {status} Early\r\n{headers}\r\n").into_bytes()));
        self
    }

    /// Waits before answering.
    #[must_use]
    pub fn delayed(mut self, by: Duration) -> Self {
        self.before.push(Step::Pause(by));
        self
    }

    /// Does this after the answer.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.after.push(step);
        self
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Sends one byte at a time.
    #[must_use]
    pub fn byte_by_byte(mut self) -> Self {
        self.byte_by_byte = true;
        self
    }

    /// Answers when the head of the request has come, without waiting for its body.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Resets the connection instead of answering.
    pub fn reset() -> Self {
        Self::raw("").then(Step::Reset)
    }

    /// Closes the connection instead of answering.
    pub fn hang_up() -> Self {
        Self::raw("").close()
    }

    /// Never answers.
    pub fn never() -> Self {
        Self::raw("").then(Step::Stall)
    }

    /// The answer that a request asks for in its `x-upstream` header, of which the n-th of `|` parts counts for the n-th request:
    /// words separated by `;`, such as `status=503; body=hello; header=x-a:b; chunked; trailer=x-t:1; delay=100; early; close`.
    /// `raw=` takes bytes with `\r`, `\n`, `\t`, `\0` and `\s` (for `;`).
    ///
    /// # Panics
    /// On a word it does not know.
    pub fn scripted(script: &str, nth: usize) -> Self {
        let parts: Vec<_> = script.split('|').collect();
        let mut reply = Self::ok("hello\n");
        for word in parts[nth.min(parts.len() - 1)].split(';').map(str::trim).filter(|word| !word.is_empty()) {
            reply = reply.word(word);
        }
        reply
    }

    fn word(mut self, word: &str) -> Self {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "status" => {
                self.status = format!("{value} Status");
                if matches!(value, "204" | "304") {
                    self.framing = Framing::None;
                }
                self
            }
            "body" => Self { body: value.into(), ..self },
            "size" => Self { body: vec![b'x'; value.parse().unwrap()], ..self },
            "header" => {
                let (name, value) = value.split_once(':').unwrap();
                self.header(name, value)
            }
            "trailer" => {
                let (name, value) = value.split_once(':').unwrap();
                self.trailer(name, value)
            }
            "1xx" => self.informational(value.parse().unwrap(), "x-early: yes\r\n"),
            "delay" => self.delayed(Duration::from_millis(value.parse().unwrap())),
            "pause" => self.then(Step::Pause(Duration::from_millis(value.parse().unwrap()))),
            "more" => self.then(Step::Bytes(unescape(value))),
            "raw" => Self { raw: Some(unescape(value)), ..self },
            "chunked" => self.chunked(),
            "eof" => self.until_close(),
            "early" => self.early(),
            "dribble" => self.byte_by_byte(),
            "close" => self.close(),
            "reset" => self.then(Step::Reset),
            "stall" => self.then(Step::Stall),
            "nothing" => Self { raw: Some(Vec::new()), ..self },
            _ => panic!("x-upstream: unknown word {word:?}"),
        }
    }

    /// What to do, in order.
    pub fn steps(mut self) -> Vec<Step> {
        let bytes = self.raw.take().unwrap_or_else(|| self.encode());
        let mut steps = self.before;
        if self.byte_by_byte {
            steps.extend(bytes.iter().flat_map(|&byte| [Step::Bytes(vec![byte]), Step::Pause(Duration::ZERO)]));
        } else if !bytes.is_empty() {
            steps.push(Step::Bytes(bytes));
        }
        steps.extend(self.after);
        steps
    }

    fn encode(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        match self.framing {
            Framing::Length => {
                let _ = write!(head, "content-length: {}\r\n", self.body.len());
            }
            Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
            Framing::UntilClose | Framing::None => {}
        }
        head.push_str("\r\n");
        let mut bytes: Vec<u8> = head.chars().map(|c| c as u8).collect();
        match self.framing {
            _ if self.bodiless => {}
            Framing::None => {}
            Framing::Length | Framing::UntilClose => bytes.extend_from_slice(&self.body),
            Framing::Chunked => self.encode_chunks(&mut bytes),
        }
        bytes
    }

    fn encode_chunks(&self, bytes: &mut Vec<u8>) {
        for chunk in self.body.chunks(self.body.len().div_ceil(2).max(1)) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n");
        for (name, value) in &self.trailers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        let byte = match char {
            '\\' => match rest.next() {
                Some('r') => b'\r',
                Some('n') => b'\n',
                Some('t') => b'\t',
                Some('0') => 0,
                Some('s') => b';',
                other => panic!("unknown escape {other:?}"),
            },
            char => char as u8,
        };
        bytes.push(byte);
    }
    bytes
}
