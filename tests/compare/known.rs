//! Differences that are known, each with its reason. Those that begin with "to mend" are defects of Weir, small enough to live
//! with for a while; the others are meant. One that is gone must be taken off the list: the comparison fails until it is.

/// Where (the test's name), which case, in what parts, and why it differs. Of several cases of one name some may, if it ends
/// with `~`. Parts are separated by commas, and named as a difference is reported: `status`, `header NAME`, `body`, `trailer NAME`,
/// `connection`, `upstream`, `log FIELD`; `answer` and `log` stand for all of them. Everything else is compared.
pub(crate) const KNOWN: &[(&str, &str, &str, &str)] = &[
    (
        "forwarded::at_the_edge_of_internal_clients",
        "a wish for hedging~",
        "upstream",
        "there is no hedging: a try ends at its own limit, so that is what the endpoint is told",
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
        "a body after 204",
        "answer, log",
        "the answer is complete at its head; what follows is never used, and the connection is closed",
    ),
    ("connection::upgrades", "websocket", "log cluster", NO_CLUSTER),
    ("connection::upgrades", "an unknown protocol", "log cluster", NO_CLUSTER),
    ("connection::upgrades", "TLS/1.0", "log cluster", NO_CLUSTER),
    ("connection::upgrades", "a POST that upgrades", "log cluster", NO_CLUSTER),
    ("connection::upgrades", "early data after an upgrade", "log cluster", NO_CLUSTER),
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
    ("http2::pseudo_headers", "a star", "status", "404 instead of a reset; it reaches nobody"),
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
    ("paths::escaped_slashes_refused", "/a%2Fb", "log path", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%2fb/../c", "log path", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%5Cb", "log path", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%5cb", "log path", PATH_AS_IT_CAME),
    ("wasm::traps", "with the request's body", "connection, header connection", END_OF_BODY),
];

const HEAD_CHUNKED: &str = "the answer to HEAD says nothing of a transfer coding, which RFC 9110 section 9.3.2 allows";
const NO_CLUSTER: &str = "refused before the route is chosen, so the log names no cluster";
const WHOLE_HEAD_LOGGED: &str = "the refused head could be read, so the log shows it";
const DETAILS: &str = "another word for the same refusal in the log";
const PATH_AS_IT_CAME: &str = "the log shows the refused path as it came";
const END_OF_BODY: &str =
    "Envoy is told the end of a body after the body, so it answers an unfinished request and closes";

/// What a known difference allows.
pub(crate) struct Known {
    pub(crate) parts: Vec<&'static str>,
    /// Each case of the name differs.
    pub(crate) always: bool,
}

impl Known {
    /// Whether one of its parts is this one.
    pub(crate) fn allows(&self, part: &str) -> bool {
        self.parts.iter().any(|allowed| covers(allowed, part))
    }
}

/// Whether `allowed` names `part`, or a group that it belongs to.
pub(crate) fn covers(allowed: &str, part: &str) -> bool {
    let first = part.split(' ').next().unwrap_or_default();
    let answer = matches!(first, "status" | "header" | "body" | "trailer");
    allowed == part || (allowed == "log" && first == "log") || (allowed == "answer" && answer)
}

/// How a case may differ, if it may. Tests run in threads of their names.
pub(crate) fn known(case: &str) -> Option<Known> {
    let thread = std::thread::current();
    let test = thread.name()?.strip_prefix("cases::")?;
    let found = KNOWN.iter().find(|(of, name, _, _)| *of == test && name.trim_end_matches('~') == case)?;
    Some(Known { parts: found.2.split(',').map(str::trim).collect(), always: !found.1.ends_with('~') })
}
