//! Differences that are known, each with its reason. Those that begin with "to mend" are defects of Weir, small enough to live
//! with for a while; the others are meant. One that is gone must be taken off the list: the comparison fails until it is.

/// Where (the test's name), which case, and why it differs. All cases of a test may differ if the name is empty; of several
/// cases of one name some may, if it ends with `~`.
pub(crate) const KNOWN: &[(&str, &str, &str)] = &[
    (
        "forwarded::at_the_edge_of_internal_clients",
        "a wish for hedging~",
        "there is no hedging: a try ends at its own limit, so that is what the endpoint is told",
    ),
    ("actions::redirects", "HEAD", HEAD_CHUNKED),
    ("connection::own_answers", "HEAD", HEAD_CHUNKED),
    ("local_replies::own_answers_as_configured", "HEAD~", HEAD_CHUNKED),
    ("responses::well_formed", "HEAD of chunks", HEAD_CHUNKED),
    ("responses::well_formed", "HEAD without a length", HEAD_CHUNKED),
    (
        "responses::well_formed",
        "hop-by-hop headers",
        "RFC 9110 section 7.6.1: fields that connection names end at this hop",
    ),
    (
        "responses::broken",
        "a body after 204",
        "the answer is complete at its head; what follows is never used, and the connection is closed",
    ),
    ("connection::upgrades", "websocket", NO_CLUSTER),
    ("connection::upgrades", "an unknown protocol", NO_CLUSTER),
    ("connection::upgrades", "TLS/1.0", NO_CLUSTER),
    ("connection::upgrades", "a POST that upgrades", NO_CLUSTER),
    ("connection::upgrades", "early data after an upgrade", NO_CLUSTER),
    (
        "framing::http_1_0",
        "HTTP/1.0 and chunks",
        "HTTP/1.0 has no transfer codings (RFC 9112 section 6.1): two parsers would not agree where the body ends",
    ),
    (
        "framing::http_1_0",
        "an absolute target where it is refused",
        "an absolute target is taken always, as RFC 9112 section 3.2.2 asks",
    ),
    ("http2::bodies", "trailers with a pseudo-header", "the h2 crate drops them; they reach nobody"),
    ("http2::pseudo_headers", "a path with a fragment", "the h2 crate drops the fragment; it reaches nobody"),
    ("http2::pseudo_headers", "a star", "404 instead of a reset; it reaches nobody"),
    ("limits::of_heads", "an underscore is refused", WHOLE_HEAD_LOGGED),
    ("malformed::bodies", "a coding with a vertical tab", DETAILS),
    ("malformed::bodies", "a trailer with a NUL", DETAILS),
    ("malformed::bodies", "a chunk without its line end", "what came before the error is counted as received"),
    ("malformed::heads", "an empty host", "an empty host names nobody; it is refused like a missing one"),
    ("malformed::heads", "a host with a space", WHOLE_HEAD_LOGGED),
    ("malformed::heads", "a host with a slash", WHOLE_HEAD_LOGGED),
    ("malformed::heads", "a host with an at sign", "user information has no place in a host (RFC 9110 section 4.2.4)"),
    ("malformed::heads", "a target without a slash", DETAILS),
    ("malformed::heads", "a control byte in the path", DETAILS),
    ("malformed::heads", "a DEL in the path", DETAILS),
    ("malformed::heads", "a control byte in a value", DETAILS),
    ("malformed::heads", "a DEL in a value", DETAILS),
    ("malformed::heads", "nonsense", DETAILS),
    ("options::schemes", "empty~", "an empty x-forwarded-proto says nothing, where Envoy finds no route with it"),
    ("paths::escaped_slashes_refused", "/a%2Fb", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%2fb/../c", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%5Cb", PATH_AS_IT_CAME),
    ("paths::escaped_slashes_refused", "/a%5cb", PATH_AS_IT_CAME),
    ("wasm::answers_by_itself", "", GUEST_DETAILS),
    ("wasm::bodies", "", GUEST_DETAILS),
    ("wasm::traps", "with the request's body", GUEST_DETAILS),
];

const HEAD_CHUNKED: &str = "the answer to HEAD says nothing of a transfer coding, which RFC 9110 section 9.3.2 allows";
const NO_CLUSTER: &str = "refused before the route is chosen, so the log names no cluster";
const WHOLE_HEAD_LOGGED: &str = "the refused head could be read, so the log shows it";
const DETAILS: &str = "another word for the same refusal in the log";
const PATH_AS_IT_CAME: &str = "the log shows the refused path as it came";
const GUEST_DETAILS: &str = "a guest that gives no details leaves none in the log, where Envoy writes an empty text";

/// Why a case may differ, if it may. Tests run in threads of their names.
pub(crate) fn reason(case: &str) -> Option<(&'static str, bool)> {
    let thread = std::thread::current();
    let test = thread.name()?.strip_prefix("cases::")?;
    let found =
        KNOWN.iter().find(|(of, name, _)| *of == test && (name.is_empty() || name.trim_end_matches('~') == case))?;
    Some((found.2, !found.1.is_empty() && !found.1.ends_with('~')))
}
