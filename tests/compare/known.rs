//! Differences that are known, each with its reason. Those that begin with "to mend" are defects of Weir, small enough to live
//! with for a while; the others are meant. One that is gone must be taken off the list: the comparison fails until it is.

/// Where (the test's name), which case, in what parts, and why it differs. Of several cases of one name some may, if it ends
/// with `~`. Parts are separated by commas, and named as a difference is reported: `status`, `header NAME`, `body`, `trailer NAME`,
/// `connection`, `upstream`, `log FIELD`; `answer` and `log` stand for all of them. Everything else is compared. A part with
/// `=` and a value is this in Weir's outcome (`-` if it is not there; a `*` ends the known part of it): where more than a detail
/// differs, that says what Weir does.
pub(crate) const KNOWN: &[(&str, &str, &str, &str)] = &[
    (
        "forwarded::at_the_edge_of_internal_clients",
        "a wish for hedging~",
        "upstream",
        "there is no hedging: a try ends at its own limit, so that is what the endpoint is told",
    ),
    (
        "limits::of_heads",
        "an underscore is refused over HTTP/2",
        "status = 400, answer, log code = 400, log",
        "answered and logged as over HTTP/1, so that both sides learn why; Envoy resets the stream and logs no head",
    ),
    (
        "client_certs::what_the_upstream_is_told",
        "line ends in a name~",
        "status = 200, answer, body, header content-length, header content-type, upstream, log code = 200, log",
        "a name with a control character is none, so that nobody is told of it and no matcher takes it; Envoy answers 503",
    ),
    (
        "http2::refused_heads_in_the_log",
        "too many fields",
        "log flags = DPE",
        "the client broke a limit, as over HTTP/1; Envoy says that the client has reset the stream, which it has not",
    ),
    (
        "http2::refused_heads_in_the_log",
        "too many fields before a body",
        "log flags = DPE",
        "the client broke a limit, as over HTTP/1; Envoy says that the client has reset the stream, which it has not",
    ),
    (
        "framing::requests",
        "a client's chunk longer than its size",
        r#"status = 400, answer, body, header connection, header content-length, header content-type,
           header x-envoy-upstream-service-time, connection = closed, upstream, log code = 400, log"#,
        "what is behind a chunk's size is no part of it; Envoy takes it for something else, and the next request may be in it",
    ),
    ("actions::redirects", "HEAD", "header transfer-encoding", HEAD_CHUNKED),
    ("connection::own_answers", "HEAD", "header transfer-encoding", HEAD_CHUNKED),
    ("local_replies::own_answers_as_configured", "HEAD~", "header transfer-encoding", HEAD_CHUNKED),
    ("responses::well_formed", "HEAD of chunks", "header transfer-encoding", HEAD_CHUNKED),
    ("responses::well_formed", "HEAD without a length", "header transfer-encoding", HEAD_CHUNKED),
    (
        "responses::well_formed",
        "hop-by-hop headers",
        "header x-hop",
        "RFC 9110 section 7.6.1: fields that connection names end at this hop",
    ),
    (
        "responses::broken",
        "a body until a reset",
        r#"status = none: closed after HTTP/1.1 200 | and "5\r\nhello\r\n", body = -, connection = closed,
           log flags = UPE, log details = "upstream_reset_after_response_started{protocol_error}""#,
        "RFC 9112 section 8: a body that ends by a reset is incomplete; Envoy takes it for its end",
    ),
    (
        "responses::broken",
        "a chunk longer than its size",
        r#"status = none: closed after HTTP/1.1 200 | and "3\r\nhel\r\n", body = -, connection = closed,
           log flags = UPE, log details = "upstream_reset_after_response_started{protocol_error}""#,
        "RFC 9112 section 7.1: the framing is broken; Envoy skips to the next line",
    ),
    ("responses::broken", "HTTP/1.2", BAD_GATEWAY, STATUS_LINE),
    ("responses::broken", "HTTP/2.0", BAD_GATEWAY, STATUS_LINE),
    (
        "responses::broken",
        "line ends without CR",
        BAD_GATEWAY,
        "RFC 9112 section 2.2: lines end by CRLF; who is lenient may see another end of the head than the next",
    ),
    ("responses::broken", "a status of two digits", BAD_GATEWAY_AND_KEPT, STATUS_LINE),
    ("responses::broken", "a status of four digits", BAD_GATEWAY, STATUS_LINE),
    (
        "responses::broken",
        "a status of 099",
        BAD_GATEWAY_AND_KEPT,
        "RFC 9110 section 15: a status below 100 is invalid; Envoy forwards it as 99",
    ),
    ("responses::broken", "101 that nobody asked for", BAD_GATEWAY, SWITCHED),
    ("responses::broken", "101 that nobody asked for, on a connection that stays", BAD_GATEWAY, SWITCHED),
    ("responses::broken", "101 without upgrade", BAD_GATEWAY, SWITCHED),
    ("responses::broken", "101 and more", BAD_GATEWAY, SWITCHED),
    ("responses::broken", "101 to a body", BAD_GATEWAY, SWITCHED),
    ("responses::broken", "101 before the body", BAD_GATEWAY, SWITCHED),
    ("responses::broken", "101 to an offer of h2c", BAD_GATEWAY, SWITCHED),
    (
        "responses::broken",
        "101 after 103",
        r#"status = 502, answer, log code = 502, log details = "upstream_reset_after_response_started{protocol_error}",
           log flags = UPE, log sent"#,
        SWITCHED,
    ),
    (
        "responses::broken",
        "101 to HEAD",
        r#"status = 502, answer, log code = 502, log details = "upstream_reset_before_response_started{protocol_error}",
           log flags = UPE"#,
        SWITCHED,
    ),
    ("responses::broken", "101 over HTTP/2", BAD_GATEWAY, SWITCHED),
    (
        "connection::http_2",
        "HTTP/1 where only HTTP/2 is",
        r#"status = none: closed after "\0\0\u{18}\u{4}*"#,
        "RFC 9113 section 3.4: a server may send its SETTINGS at once; Envoy closes without them",
    ),
    ("fields::expectations", "HTTP/1.0 accepted", "status = HTTP/1.0 200", CONTINUE),
    ("fields::expectations", "HTTP/1.0 accepted, no body", "status = HTTP/1.0 200", CONTINUE),
    (
        "fields::expectations",
        "a host that is none",
        "log authority, log details, log method, log path",
        WHOLE_HEAD_LOGGED,
    ),
    (
        "framing::http_1_0",
        "HTTP/1.0 and chunks",
        "answer, upstream, log",
        "HTTP/1.0 has no transfer codings (RFC 9112 section 6.1): two parsers would not agree where the body ends",
    ),
    (
        "framing::http_1_0",
        "an absolute target where it is refused",
        "answer, upstream, log",
        "an absolute target is taken always, as RFC 9112 section 3.2.2 asks",
    ),
    (
        "http2::bodies",
        "trailers with a pseudo-header",
        "status, upstream",
        "the h2 crate drops them; they reach nobody",
    ),
    (
        "http2::pseudo_headers",
        "a path with a fragment",
        "status, upstream",
        "the h2 crate drops the fragment; it reaches nobody",
    ),
    (
        "http2::bodies",
        "a priority on itself",
        "status = refused, upstream = -",
        "RFC 7540 section 5.3.1: a stream that depends on itself is an error; Envoy ignores priorities",
    ),
    (
        "http2::header_fields",
        "te in capitals",
        "status = refused, upstream = -",
        "the h2 crate takes `trailers` in lower case only",
    ),
    (
        "http2::pseudo_headers",
        "characters that are no URI's",
        "status = refused, upstream = -",
        "the HTTP/2 codec takes only URIs; HTTP/1 passes the same path",
    ),
    ("http2::pseudo_headers", "a star", "status", "404 instead of a reset; it reaches nobody"),
    (
        "limits::of_heads",
        "101 trailers",
        r#"status = 431, body = "Request Header Fields Too Large", header connection = close, connection = closed,
           answer, upstream = -, log code = 431, log details = "http1.too_many_headers", log flags = DPE, log sent"#,
        "trailers count as headers do, whether they are passed on or not",
    ),
    ("limits::of_heads", "an underscore is refused", "log authority, log method, log path", WHOLE_HEAD_LOGGED),
    ("malformed::bodies", "a coding with a vertical tab", "log details", DETAILS),
    ("malformed::bodies", "a trailer with a NUL", "log details", DETAILS),
    (
        "malformed::bodies",
        "a chunk without its line end",
        "log received",
        "what came before the error is counted as received",
    ),
    (
        "malformed::heads",
        "an empty host",
        "answer, connection, upstream, log",
        "an empty host names nobody; it is refused like a missing one",
    ),
    ("malformed::heads", "a host with a space", "log authority, log details, log method, log path", WHOLE_HEAD_LOGGED),
    ("malformed::heads", "a host with a slash", "log authority, log details, log method, log path", WHOLE_HEAD_LOGGED),
    (
        "malformed::heads",
        "a host with an at sign",
        "answer, connection, upstream, log",
        "user information has no place in a host (RFC 9110 section 4.2.4)",
    ),
    (
        "malformed::heads",
        "the preface of HTTP/2 over HTTP/1 framing",
        "status = none: kept*",
        "both answer with SETTINGS, each with its own values",
    ),
    ("malformed::heads", "a target without a slash", "log details", DETAILS),
    ("malformed::heads", "a control byte in the path", "log details", DETAILS),
    ("malformed::heads", "a DEL in the path", "log details", DETAILS),
    ("malformed::heads", "a control byte in a value", "log details", DETAILS),
    ("malformed::heads", "a DEL in a value", "log details", DETAILS),
    ("malformed::heads", "nonsense", "log details", DETAILS),
    (
        "options::schemes",
        "empty~",
        "answer, log",
        "an empty x-forwarded-proto says nothing, where Envoy finds no route with it",
    ),
    (
        "too_large::whoever_says_so",
        "HTTP/2 with a body beyond the limit",
        r#"status = 413, body = "Payload Too Large", answer, upstream = -, log"#,
        "a limit holds for every body; Envoy lets one through whose frame is its last one, too",
    ),
    ("paths::escaped_slashes_refused", "/a%2Fb", "log path", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%2fb/../c", "log path", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%5Cb", "log path", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%5cb", "log path", PATH_AS_IT_CAME),
];

const HEAD_CHUNKED: &str = "the answer to HEAD says nothing of a transfer coding, which RFC 9110 section 9.3.2 allows";
const BAD_GATEWAY: &str = r#"status = 502,
    body = "upstream connect error or disconnect/reset before headers. reset reason: protocol error", answer,
    log code = 502, log details = "upstream_reset_before_response_started{protocol_error}", log flags = UPE, log sent"#;
const BAD_GATEWAY_AND_KEPT: &str = r#"status = 502,
    body = "upstream connect error or disconnect/reset before headers. reset reason: protocol error", answer,
    connection = kept,
    log code = 502, log details = "upstream_reset_before_response_started{protocol_error}", log flags = UPE, log sent"#;
const STATUS_LINE: &str =
    "RFC 9112 section 4: a status has three digits and the version is HTTP/1; Envoy forwards what it read";
const SWITCHED: &str = "an endpoint may not switch to a protocol that nobody asked for (RFC 9110 section 15.2.2): what follows, and what the \
     client would make of it, is in no protocol that is known. Envoy passes the 101 on";
const CONTINUE: &str = "RFC 9110 section 15.2: a client of HTTP/1.0 does not know interim answers";
const WHOLE_HEAD_LOGGED: &str = "the refused head could be read, so the log shows it";
const DETAILS: &str = "another word for the same refusal in the log";
const PATH_AS_IT_CAME: &str = "the log shows the refused path as it came";

/// What a known difference allows.
pub(crate) struct Known {
    pub(crate) parts: Vec<Part>,
    /// Each case of the name differs.
    pub(crate) always: bool,
}

/// A part that differs, or a group of them.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// What it is in Weir's outcome, if that is said.
    pub(crate) value: Option<&'static str>,
}

impl Known {
    /// Whether one of its parts is this one.
    pub(crate) fn allows(&self, part: &str) -> bool {
        self.parts.iter().any(|allowed| allowed.covers(part))
    }
}

impl Part {
    /// Whether it names this part, or a group that it belongs to.
    pub(crate) fn covers(&self, part: &str) -> bool {
        let first = part.split(' ').next().unwrap_or_default();
        let answer = matches!(first, "status" | "header" | "body" | "trailer");
        self.name == part || (self.name == "log" && first == "log") || (self.name == "answer" && answer)
    }

    fn parse(text: &'static str) -> Self {
        match text.split_once('=') {
            Some((name, value)) => Self { name: name.trim(), value: Some(value.trim()) },
            None => Self { name: text.trim(), value: None },
        }
    }
}

/// How a case may differ, if it may. Tests run in threads of their names.
pub(crate) fn known(case: &str) -> Option<Known> {
    let thread = std::thread::current();
    let test = thread.name()?.strip_prefix("cases::")?;
    let found = KNOWN.iter().find(|(of, name, _, _)| *of == test && name.trim_end_matches('~') == case)?;
    Some(Known { parts: found.2.split(',').map(Part::parse).collect(), always: !found.1.ends_with('~') })
}
