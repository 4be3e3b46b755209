//! Paths and hosts as the endpoint is to see them.

use bytes::{BufMut, Bytes, BytesMut};

use super::pattern::Substitution;
use crate::http::RequestHead;
use crate::http::head::split_query;

/// How a path is rewritten; the query stays.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// What the route matched is replaced.
    Prefix {
        /// How much of the path the route matched.
        matched: MatchedPart,
        /// What comes in its place.
        with: Bytes,
    },
    /// Every match in the path is replaced.
    Regex(Substitution),
}

/// How much of a path a route matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchedPart {
    /// Its first bytes, whatever their case.
    Prefix(Box<[u8]>),
    /// All of it.
    Whole,
}

impl PathRewrite {
    /// The path with its query, rewritten; `None` if it does not begin with what is to be replaced: it was matched without
    /// its path parameters, or a filter changed it and kept the route. Nor is a path rewritten to nothing, as in Envoy.
    pub fn apply(&self, path_and_query: &[u8]) -> Option<Bytes> {
        let (path, _) = split_query(path_and_query);
        match self {
            Self::Prefix { matched, with } => {
                let rest = match matched {
                    MatchedPart::Prefix(prefix) => rest_behind(prefix, path_and_query),
                    MatchedPart::Whole => path_and_query.get(path.len()..),
                };
                Some(join(with, rest?))
            }
            Self::Regex(substitution) => {
                let path_now = substitution.replace_all(path);
                let query = path_and_query.get(path.len()..).unwrap_or_default();
                (!path_now.is_empty()).then(|| join(&path_now, query))
            }
        }
    }
}

fn rest_behind<'a>(prefix: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let (start, rest) = path.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn join(start: &[u8], rest: &[u8]) -> Bytes {
    let mut whole = BytesMut::with_capacity(start.len() + rest.len());
    whole.put_slice(start);
    whole.put_slice(rest);
    whole.freeze()
}

/// Rewrites a request's path; `keep_original` leaves the old one in `x-envoy-original-path`.
pub fn rewrite_path(head: &mut RequestHead, rewrite: &PathRewrite, keep_original: bool) {
    let Some(path) = rewrite.apply(&head.path) else { return };
    if keep_original {
        head.headers.set("x-envoy-original-path", &head.path);
    }
    head.path = path;
}

/// Rewrites a request's authority. `append_forwarded` adds the old one to `x-forwarded-host` unless it is the last
/// there; `keep_original` leaves it in `x-envoy-original-host`.
pub fn rewrite_authority(head: &mut RequestHead, authority: Bytes, append_forwarded: bool, keep_original: bool) {
    if append_forwarded && !head.authority.is_empty() {
        let old = std::mem::take(&mut head.authority);
        let forwarded: Vec<&[u8]> = head.headers.get_all("x-forwarded-host").collect();
        let last = forwarded.last().and_then(|value| value.rsplit(|&b| b == b',').find(|part| !part.is_empty()));
        if last != Some(&old) {
            let mut list = forwarded.join(&b","[..]);
            if !list.is_empty() {
                list.push(b',');
            }
            list.extend_from_slice(&old);
            head.headers.set("x-forwarded-host", list);
        }
        head.authority = old;
    }
    if keep_original && !head.authority.is_empty() {
        head.headers.set("x-envoy-original-host", &head.authority);
    }
    head.authority = authority;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::matcher::tests::request;
    use super::*;

    #[test]
    fn paths() {
        let prefix = |prefix: &str, with: &'static str| PathRewrite::Prefix {
            matched: MatchedPart::Prefix(prefix.as_bytes().into()),
            with: Bytes::from_static(with.as_bytes()),
        };
        let whole = PathRewrite::Prefix { matched: MatchedPart::Whole, with: Bytes::from_static(b"/all") };
        let regex = PathRewrite::Regex(Substitution::parse("^/([^/]+)/", r"/x-\1/").unwrap());
        let nothing = PathRewrite::Regex(Substitution::parse("^/e.*$", "").unwrap());
        for (rewrite, path, want) in [
            (prefix("/old", "/new"), "/OLD/a?q=/old", "/new/a?q=/old"),
            (prefix("/old", "/"), "/old/a", "//a"),
            (prefix("/old/", "/"), "/old/", "/"),
            (prefix("/old", "/new"), "/old", "/new"),
            (prefix("/old", "/new"), "/ol", "/ol"),
            (whole.clone(), "/a/b?c=d", "/all?c=d"),
            (whole, "/a/b", "/all"),
            (regex.clone(), "/a/b?/c/d", "/x-a/b?/c/d"),
            (regex, "/a", "/a"),
            (nothing.clone(), "/e", "/e"),
            (nothing, "/e?x=1", "/e?x=1"),
        ] {
            assert_eq!(
                rewrite.apply(path.as_bytes()).as_deref().unwrap_or(path.as_bytes()),
                want.as_bytes(),
                "{rewrite:?} {path}"
            );
        }
    }

    #[test]
    fn the_old_host_is_kept_where_asked() {
        for (before, append, keep, forwarded, original) in [
            (&[][..], false, false, None, None),
            (&[], true, true, Some("a.com"), Some("a.com")),
            (&[("x-forwarded-host", "b.com")], true, false, Some("b.com,a.com"), None),
            (&[("x-forwarded-host", "b.com,a.com")], true, false, Some("b.com,a.com"), None),
            (&[("x-forwarded-host", "a.com,b.com")], false, true, Some("a.com,b.com"), Some("a.com")),
        ] {
            let mut head = request("GET", "/", before);
            rewrite_authority(&mut head, Bytes::from_static(b"new"), append, keep);
            assert_eq!(head.authority, "new");
            assert_eq!(head.headers.get_str("x-forwarded-host"), forwarded, "{before:?}");
            assert_eq!(head.headers.get_str("x-envoy-original-host"), original, "{before:?}");
        }
    }
}
