//! What must be equal, as lines of text: everything but dates, times, made-up ids, and the ports of this run.

use serde_json::Value;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use weir_tests::{End, Kind, Response, Seen};

/// Everything that one gateway did with one case, as comparable lines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<String>,
    pub(crate) connection: String,
    pub(crate) upstream: Vec<String>,
    pub(crate) log: Vec<String>,
}

/// The names of this run that stand for ports and for the program.
pub(crate) struct Names {
    pub(crate) kind: Kind,
    pub(crate) ports: Vec<(SocketAddr, String)>,
    /// What Envoy calls a client on its own machine: not loopback, but the address by which others reach it.
    pub(crate) own_address: Option<IpAddr>,
    /// Whether reason phrases count.
    pub(crate) reasons: bool,
}

impl Names {
    pub(crate) fn answer(&self, answer: &Result<Response, End>) -> String {
        let response = match answer {
            Ok(response) => response,
            Err(end) => return format!("none: {}", self.end(end)),
        };
        let mut lines = Vec::new();
        for head in &response.informational {
            lines.push(self.status_line(&head.line));
            lines.extend(self.headers(&head.headers));
        }
        lines.push(if response.line.is_empty() {
            response.status.to_string()
        } else {
            self.status_line(&response.line)
        });
        lines.extend(self.headers(&response.headers));
        lines.push(format!("body {}", self.bytes(&response.body)));
        lines.extend(self.headers(&response.trailers).into_iter().map(|line| format!("trailer {line}")));
        lines.join("\n")
    }

    pub(crate) fn end(&self, end: &End) -> String {
        match end {
            // Whether the kernel turns a close into a reset depends on whether bytes were unread: a matter of timing.
            End::Closed(bytes) | End::Reset(bytes) if bytes.is_empty() => "closed".into(),
            End::Closed(bytes) | End::Reset(bytes) => format!("closed after {}", self.part(bytes)),
            End::Broken(reason, bytes) => format!("broken: {reason}: {}", self.part(bytes)),
            End::Silent(bytes) if bytes.is_empty() => "kept, silent".into(),
            End::Silent(bytes) => format!("kept, silent after {}", self.bytes(bytes)),
        }
    }

    fn status_line(&self, line: &str) -> String {
        if self.reasons { line.to_owned() } else { without_reason(line) }
    }

    /// Half an answer, whose head may be whole.
    fn part(&self, bytes: &[u8]) -> String {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { return self.bytes(bytes) };
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let fields = fields.split("\r\n").filter_map(|field| field.split_once(": "));
        let fields: Vec<_> = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        format!("{}\n{}\nand {}", without_reason(line), self.headers(&fields).join("\n"), self.bytes(rest.as_bytes()))
    }

    pub(crate) fn seen(&self, upstream: &str, seen: &Seen) -> String {
        let mut lines = vec![format!("upstream {upstream}: {}", seen.line())];
        lines.extend(self.headers(&seen.headers()));
        lines.push(format!("body {}", self.bytes(&seen.body)));
        lines.extend(seen.trailers.lines().map(|line| format!("trailer {line}")));
        lines.join("\n")
    }

    pub(crate) fn log(&self, line: &Value) -> String {
        let fields = line.as_object().into_iter().flatten().filter(|(name, _)| *name != "from");
        let shown = |name: &str, value: &Value| match name {
            "flags" => value.to_string().trim_matches('"').to_owned(),
            _ => self.text(&value.to_string()),
        };
        let mut fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {}", shown(name, value))).collect();
        fields.sort();
        fields.join("\n")
    }

    /// Sorted by name; headers of one name keep their order.
    fn headers(&self, headers: &[(String, String)]) -> Vec<String> {
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name, self.value(name, value))).collect();
        headers.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        headers.into_iter().map(|(name, value)| format!("  {name}: {value}")).collect()
    }

    fn value(&self, name: &str, value: &str) -> String {
        let own_name = if self.kind == Kind::Envoy { "envoy" } else { "weir" };
        match name.to_ascii_lowercase().as_str() {
            "date" | "x-envoy-upstream-service-time" => "*".into(),
            "server" if value == own_name || value == "envoy" => "(own name)".into(),
            "x-request-id" if is_uuid(value) => "(uuid)".into(),
            "x-forwarded-port" => self.text(&format!(":{value}")),
            "x-envoy-expected-rq-timeout-ms" => rounded_up(value),
            _ => self.text(value),
        }
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        if bytes.len() > 400 {
            return format!("({} bytes)", bytes.len());
        }
        format!("{:?}", self.text(&String::from_utf8_lossy(bytes)))
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (address, name) in &self.ports {
            text = text.replace(&format!(":{}", address.port()), &format!(":({name})"));
        }
        if let Some(own) = self.own_address {
            text = text.replace(&own.to_string(), "127.0.0.1");
        }
        text
    }
}

/// The address by which other machines reach this one. Nothing is sent to find out.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// RFC 9112 section 4: a client ignores the reason phrase.
fn without_reason(line: &str) -> String {
    line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")
}

/// To 100 ms, or to a second of many: before a retry some milliseconds have gone by, two back-offs may take a hundred.
fn rounded_up(milliseconds: &str) -> String {
    let round = |ms: u64| ms.next_multiple_of(if ms > 10_000 { 1000 } else { 100 });
    milliseconds.parse().map_or_else(|_| milliseconds.into(), |ms| round(ms).to_string())
}

fn is_uuid(value: &str) -> bool {
    let groups: Vec<_> = value.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && value.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
