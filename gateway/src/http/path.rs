//! The canonical path: computed once, before routing, and used by routes, filters and the forwarded request alike.
//!
//! As Envoy: escaped slashes first, then normalization (RFC 3986 section 6 as Chromium's URL library does it, which
//! Envoy uses), then merging of slashes. Only the path is touched, never the query.
//!
//! Stricter than Envoy in one point: a dot segment with parameters (`..;x`) is a dot segment also where its dots are
//! escaped. Envoy makes `/..;x/` of `/%2e%2e;x/`, which a server that drops parameters takes for `/../`.

use bytes::Bytes;

use super::head::split_query;

/// How paths are made canonical (fields of the HTTP connection manager).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// `normalize_path`: dot segments, backslashes, needless percent-encoding.
    pub normalize: bool,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub escaped_slashes: EscapedSlashes,
}

/// What becomes of `%2F` and `%5C` in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// 400.
    Reject,
    /// 307 to the path with slashes.
    UnescapeAndRedirect,
    /// They become slashes.
    UnescapeAndForward,
}

/// What a path became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanonicalPath {
    /// It was canonical.
    Unchanged,
    /// This is its canonical form.
    Changed(Bytes),
    /// The client is to come again with this one: 307.
    Redirect(Bytes),
    /// 400, `path_normalization_failed`.
    Reject,
}

/// The canonical form of `path` (with its query). A `#` anywhere is refused, as Envoy does: a fragment is not sent, and
/// servers disagree about what it would mean. Allocates only if the path changes.
pub fn canonical_path(path: &[u8], options: PathRules) -> CanonicalPath {
    if memchr::memchr(b'#', path).is_some() {
        return CanonicalPath::Reject;
    }
    let (start, _) = split_query(path);
    let mut canonical: Option<Vec<u8>> = None;
    let mut redirect = false;
    if options.escaped_slashes != EscapedSlashes::Keep
        && let Some(unescaped) = unescape_slashes(start)
    {
        match options.escaped_slashes {
            EscapedSlashes::Reject => return CanonicalPath::Reject,
            EscapedSlashes::UnescapeAndRedirect => redirect = true,
            EscapedSlashes::Keep | EscapedSlashes::UnescapeAndForward => {}
        }
        canonical = Some(unescaped);
    }
    if options.normalize {
        let current = canonical.as_deref().unwrap_or(start);
        if !is_normal(current) {
            match normalize(current) {
                Some(normal) => canonical = Some(normal),
                None => return CanonicalPath::Reject,
            }
        }
    }
    if options.merge_slashes
        && let Some(merged) = merge_slashes(canonical.as_deref().unwrap_or(start))
    {
        canonical = Some(merged);
    }
    let Some(mut canonical) = canonical else { return CanonicalPath::Unchanged };
    canonical.extend_from_slice(path.get(start.len()..).unwrap_or_default());
    if redirect {
        CanonicalPath::Redirect(canonical.into())
    } else if canonical == path {
        CanonicalPath::Unchanged
    } else {
        CanonicalPath::Changed(canonical.into())
    }
}

/// `%2F` to `/` and `%5C` to `\`, any case; `None` if there is neither.
fn unescape_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let escaped = |at: usize| match path.get(at..at + 3) {
        Some([b'%', b'2', b'F' | b'f']) => Some(b'/'),
        Some([b'%', b'5', b'C' | b'c']) => Some(b'\\'),
        _ => None,
    };
    let first = memchr::memchr_iter(b'%', path).find(|&at| escaped(at).is_some())?;
    let mut out = path.get(..first)?.to_vec();
    let mut at = first;
    while let Some(&byte) = path.get(at) {
        match escaped(at) {
            Some(slash) => {
                out.push(slash);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Some(out)
}

/// Runs of slashes to one; `None` if there is no run. A path of slashes only becomes `//`, as in Envoy.
fn merge_slashes(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(path, b"//")?;
    let mut out = Vec::with_capacity(path.len());
    if path.first() == Some(&b'/') {
        out.push(b'/');
    }
    for (at, part) in path.split(|&b| b == b'/').filter(|part| !part.is_empty()).enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(part);
    }
    if path.last() == Some(&b'/') {
        out.push(b'/');
    }
    Some(out)
}

/// What normalization does with a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stays as it is, escaped or not.
    Pass,
    /// Stays; escaped, it is unescaped (RFC 3986 section 2.3, unreserved).
    Unreserved,
    /// Is escaped.
    Escape,
}

fn class(byte: u8) -> Class {
    match byte {
        b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'_' | b'a'..=b'z' | b'~' => Class::Unreserved,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' | b'['
        | b']' | b'%' => Class::Pass,
        _ => Class::Escape,
    }
}

/// Whether normalization would change nothing. May say no for a path that is normal.
fn is_normal(path: &[u8]) -> bool {
    let stays = |at: usize| escaped(path, at).is_some_and(|value| value != 0 && class(value) != Class::Unreserved);
    path.first() == Some(&b'/')
        && !path.iter().any(|&b| class(b) == Class::Escape)
        && memchr::memchr_iter(b'%', path).all(stays)
        && memchr::memmem::find(path, b"/.").is_none()
}

/// `None` if the path has an escaped NUL.
fn normalize(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len() + 8);
    if !matches!(path.first(), Some(b'/' | b'\\')) {
        out.push(b'/');
    }
    let mut at = 0;
    // Where in `out` the last `%` stands that began no escape.
    let mut lone_percent: Option<usize> = None;
    while let Some(&byte) = path.get(at) {
        if let Some(len) = dot(path, at) {
            at += len;
            if out.last() != Some(&b'/') {
                out.push(b'.');
                continue;
            }
            // Behind a slash: `.` and `..` are segments if a slash or the end follows.
            let second = dot(path, at);
            if let Some(slash) = segment_end(path, at) {
                at += slash;
            } else if let Some((len, slash)) = second.and_then(|len| Some((len, segment_end(path, at + len)?))) {
                at += len + slash;
                out.pop();
                let parent = memchr::memrchr(b'/', &out).unwrap_or(0);
                out.truncate(parent);
                out.push(b'/');
                lone_percent = lone_percent.filter(|&percent| percent < out.len());
            } else {
                out.push(b'.');
            }
            continue;
        }
        match byte {
            b'\\' => out.push(b'/'),
            b'%' => match escaped(path, at) {
                Some(0) => return None,
                Some(value) if class(value) == Class::Unreserved => {
                    out.push(value);
                    at += 2;
                    if let Some(percent) = lone_percent.filter(|percent| percent + 3 >= out.len()) {
                        keep_apart(&mut out, percent, path.get(at + 1).copied());
                    }
                }
                Some(_) => {
                    out.extend_from_slice(path.get(at..at + 3).unwrap_or_default());
                    at += 2;
                }
                // No escape: left as it is.
                None => {
                    lone_percent = Some(out.len());
                    out.push(b'%');
                }
            },
            0 => return None,
            byte if class(byte) == Class::Escape => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                // Both halves of a byte are below 16.
                out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

/// Unescaping must not make an escape: `%%41` becomes `%A`, but `%%341` would become `%41`, so that its first `%` is
/// escaped. `out` ends with the byte just unescaped, one or two behind the `%` at `percent`; `next` comes behind it.
fn keep_apart(out: &mut Vec<u8>, percent: usize, next: Option<u8>) {
    let is_hex = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_hexdigit());
    let (first, second) = (out.get(percent + 1).copied(), out.get(percent + 2).copied());
    if is_hex(first) && is_hex(second.or(next)) {
        out.splice(percent + 1..percent + 1, *b"25");
    }
}

/// The length of a dot at `at`: `.` or `%2e`.
fn dot(path: &[u8], at: usize) -> Option<usize> {
    match path.get(at)? {
        b'.' => Some(1),
        b'%' if escaped(path, at) == Some(b'.') => Some(3),
        _ => None,
    }
}

/// Whether the name of a segment ends at `at`, and the length of its parameters and the slash behind it.
fn segment_end(path: &[u8], at: usize) -> Option<usize> {
    match path.get(at) {
        None => Some(0),
        Some(b'/' | b'\\') => Some(1),
        Some(b';') => {
            let rest = path.get(at..).unwrap_or_default();
            Some(memchr::memchr(b'/', rest).map_or(rest.len(), |slash| slash + 1))
        }
        Some(_) => None,
    }
}

/// The byte that `%xx` at `at` stands for.
fn escaped(path: &[u8], at: usize) -> Option<u8> {
    let digit = |at| path.get(at).and_then(|&b| char::from(b).to_digit(16));
    Some((digit(at + 1)? * 16 + digit(at + 2)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMALIZE: PathRules =
        PathRules { normalize: true, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };

    fn check(options: PathRules, path: &str, want: &str) {
        let got = match canonical_path(path.as_bytes(), options) {
            CanonicalPath::Unchanged => path.to_owned(),
            CanonicalPath::Changed(new) => {
                assert_ne!(new, path, "unchanged");
                String::from_utf8_lossy(&new).into_owned()
            }
            CanonicalPath::Redirect(new) => format!("307 {}", String::from_utf8_lossy(&new)),
            CanonicalPath::Reject => "400".to_owned(),
        };
        assert_eq!(got, want, "{path} {options:?}");
    }

    #[test]
    fn normalization() {
        for (path, want) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/../../a", "/a"),
            ("/a/...", "/a/..."),
            ("/a/.b/..c", "/a/.b/..c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a%2Eb", "/a.b"),
            ("/a//../b", "/a/b"),
            ("//a", "//a"),
            ("/a\\b\\..\\c", "/a/c"),
            ("/%41%7e%2d", "/A~-"),
            ("/%2f%5c%20%25%3f", "/%2f%5c%20%25%3f"),
            ("/%zz/%4", "/%zz/%4"),
            ("/a%00b", "400"),
            ("/a b\"<>`{|}^", "/a%20b%22%3C%3E%60%7B%7C%7D%5E"),
            ("/%%41", "/%A"),
            ("/%%300", "/%2500"),
            ("/%%30%30", "/%2500"),
            ("/%2%30", "/%2520"),
            ("/%%4%31", "/%%2541"),
            ("/%%%41", "/%%A"),
            ("/%4%%31", "/%4%1"),
            ("/%a%41", "/%25aA"),
            ("/%%2e/", "/%./"),
            ("/a/%2%65/b", "/a/%252e/b"),
            ("/%%2541", "/%%2541"),
            ("/%%30", "/%0"),
            ("/x%%41%42", "/x%25AB"),
            ("/a/..;x=1/b", "/b"),
            ("/a/.;x/b", "/a/b"),
            ("/a/b/..;x", "/a/"),
            ("/a/..;x?q;y", "/?q;y"),
            ("/a/..;%2f/b", "/b"),
            ("/a/..;x\\b", "/"),
            ("/a/...;x/b", "/a/...;x/b"),
            ("/a;p/..;q/b", "/b"),
            ("/a/%2e%2e;x/b", "/b"),
            ("/a/..%3bx/b", "/a/..%3bx/b"),
            ("/a/;x/../b", "/a/b"),
            ("/a;..", "/a;.."),
            ("/é", "/%C3%A9"),
            ("/a/..?b/../c", "/?b/../c"),
            ("/a?%41#", "400"),
            ("/a;b/../c=@:", "/c=@:"),
        ] {
            check(NORMALIZE, path, want);
        }
        check(PathRules::default(), "/a/../%41//b", "/a/../%41//b");
    }

    #[test]
    fn slashes() {
        let merge = PathRules { merge_slashes: true, ..PathRules::default() };
        for (path, want) in [
            ("/a//b///c", "/a/b/c"),
            ("//a", "/a"),
            ("/a//", "/a/"),
            ("/a?x//y", "/a?x//y"),
            ("/a/b", "/a/b"),
            ("//", "//"),
            ("///", "//"),
        ] {
            check(merge, path, want);
        }
        let with = |escaped_slashes| PathRules { normalize: true, merge_slashes: true, escaped_slashes };
        for (action, path, want) in [
            (EscapedSlashes::Keep, "/a%2Fb", "/a%2Fb"),
            (EscapedSlashes::Reject, "/a%2fb", "400"),
            (EscapedSlashes::Reject, "/a%5Cb", "400"),
            (EscapedSlashes::Reject, "/a?b%2Fc", "/a?b%2Fc"),
            (EscapedSlashes::UnescapeAndRedirect, "/a%2F..%5cb?q%2F", "307 /b?q%2F"),
            (EscapedSlashes::UnescapeAndForward, "/a%2F%2fb", "/a/b"),
            (EscapedSlashes::UnescapeAndForward, "/a/%2F..", "/a/"),
            (EscapedSlashes::UnescapeAndForward, "/a/../b", "/b"),
        ] {
            check(with(action), path, want);
        }
    }

    proptest::proptest! {
        /// A server behind sees no other path than the one that routes and filters saw, whatever it does with dots and slashes.
        #[test]
        fn canonical_paths_stay_as_they_are(
            segments in proptest::collection::vec(proptest::sample::select(SEGMENTS), 0..12),
            merge_slashes: bool,
            unescape: bool,
        ) {
            let path = format!("/{}", segments.concat());
            let escaped_slashes = if unescape { EscapedSlashes::UnescapeAndForward } else { EscapedSlashes::Keep };
            let rules = PathRules { normalize: true, merge_slashes, escaped_slashes };
            let CanonicalPath::Changed(once) = canonical_path(path.as_bytes(), rules) else { return Ok(()) };
            proptest::prop_assert_eq!(canonical_path(&once, rules), CanonicalPath::Unchanged, "{:?}", once);
            let (path, _) = split_query(&once);
            proptest::prop_assert!(path.split(|b| *b == b'/').all(|s| s != b"." && s != b".."), "{:?}", once);
        }
    }

    const SEGMENTS: &[&str] = &[
        "/", "//", ".", "..", "a", "%2e", "%2E", "%2f", "%5C", "\\", "%25", "%41", "%zz", "%", ";x", "?", "?/../", "~",
        "\u{e4}",
    ];
}
