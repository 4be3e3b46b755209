//! A parameter of the query in a format.

use crate::http::RequestHead;

/// Appends the first value of this parameter, decoded and cut to so many bytes; says whether there is one.
pub(super) fn write_param(request: &RequestHead, name: &str, cut: Option<usize>, out: &mut Vec<u8>) -> bool {
    let Some(query) = request.query() else { return false };
    let found = query.split(|byte| *byte == b'&').find_map(|pair| {
        // A place in `pair`, where memchr has found it.
        let at = memchr::memchr(b'=', pair);
        let (key, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        decoded(key).eq(name.bytes()).then_some(value)
    });
    let Some(value) = found else { return false };
    out.extend(decoded(value).take(cut.unwrap_or(usize::MAX)));
    true
}

/// As Envoy decodes: a plus stays, and so does a percent sign without two digits.
fn decoded(mut text: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (&first, rest) = text.split_first()?;
        if first == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
        {
            text = after;
            return Some((high << 4 | low) as u8);
        }
        text = rest;
        Some(first)
    })
}
