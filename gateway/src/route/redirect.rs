//! Where a redirect leads (Envoy's `RedirectAction`).

use bytes::Bytes;

use super::rewrite::PathRewrite;
use crate::http::RequestHead;

/// A redirect.
#[derive(Clone, Debug, Default)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308; 0 stands for none and is not sent.
    pub status: u16,
    /// Instead of the request's scheme.
    pub scheme: Option<Box<[u8]>>,
    /// Instead of the request's host.
    pub host: Option<Box<[u8]>>,
    /// Instead of the request's port.
    pub port: Option<u32>,
    /// Instead of the request's path.
    pub path: RedirectPath,
    /// Without the request's query.
    pub strip_query: bool,
}

/// What becomes of the path.
#[derive(Clone, Debug, Default)]
pub enum RedirectPath {
    /// It stays.
    #[default]
    Keep,
    /// It is replaced. With a query of its own the request's query goes; otherwise it stays (unless stripped).
    Replace(Box<[u8]>),
    /// It is rewritten as for an endpoint.
    Rewrite(PathRewrite),
}

impl Redirect {
    /// The value of `location`.
    pub fn location(&self, head: &RequestHead) -> Vec<u8> {
        let rewritten = match &self.path {
            RedirectPath::Rewrite(rewrite) => rewrite.apply(&head.path),
            RedirectPath::Keep | RedirectPath::Replace(_) => None,
        };
        self.location_of(head, rewritten.as_ref().unwrap_or(&head.path))
    }

    /// The request's path as this redirect rewrites it, for the log; `None` if it does not rewrite.
    pub fn rewritten_path(&self, head: &RequestHead) -> Option<Bytes> {
        match &self.path {
            RedirectPath::Rewrite(rewrite) => rewrite.apply(&head.path),
            RedirectPath::Keep | RedirectPath::Replace(_) => None,
        }
    }

    fn location_of(&self, head: &RequestHead, path: &[u8]) -> Vec<u8> {
        let scheme = self.scheme.as_deref().unwrap_or(&head.scheme);
        let mut location = Vec::with_capacity(scheme.len() + head.authority.len() + path.len() + 16);
        location.extend_from_slice(scheme);
        location.extend_from_slice(b"://");
        match &self.host {
            Some(host) => location.extend_from_slice(host),
            None => location.extend_from_slice(self.host_of(head, scheme)),
        }
        if let Some(port) = self.port {
            location.push(b':');
            location.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
        }
        let starts_with_slash = match &self.path {
            RedirectPath::Replace(new) => new.first() == Some(&b'/'),
            RedirectPath::Keep | RedirectPath::Rewrite(_) => path.first() == Some(&b'/'),
        };
        if !starts_with_slash {
            location.push(b'/');
        }
        match &self.path {
            RedirectPath::Replace(new) if new.contains(&b'?') => location.extend_from_slice(new),
            RedirectPath::Replace(new) => {
                location.extend_from_slice(new);
                if !self.strip_query {
                    location.extend_from_slice(query_of(path));
                }
            }
            _ if self.strip_query => {
                location.extend_from_slice(path.get(..path.len() - query_of(path).len()).unwrap_or(path));
            }
            _ => location.extend_from_slice(path),
        }
        location
    }

    /// The request's host, without its port if the redirect has another one, or if it is the default port of the
    /// client's scheme and the redirect changes the scheme.
    fn host_of<'a>(&self, head: &'a RequestHead, scheme: &[u8]) -> &'a [u8] {
        let host: &[u8] = &head.authority;
        let colon = match host.first() {
            Some(b'[') => memchr::memmem::rfind(host, b"]:").map(|at| at + 1),
            _ => memchr::memrchr(b':', host),
        };
        let Some((bare, port)) = colon.and_then(|at| host.split_at_checked(at)) else { return host };
        // The client's scheme, which differs from the request's if a proxy before us ended TLS.
        let client = head.headers.get("x-forwarded-proto").unwrap_or_default();
        let default_port = match client {
            b"https" => port == b":443",
            b"http" => port == b":80",
            _ => false,
        };
        if self.port.is_some() || scheme != client && default_port { bare } else { host }
    }
}

/// The query with its question mark; empty if there is none.
fn query_of(path: &[u8]) -> &[u8] {
    memchr::memchr(b'?', path).and_then(|at| path.get(at..)).unwrap_or_default()
}

/// Where a request over cleartext goes if its virtual host demands TLS.
pub fn https_location(head: &RequestHead) -> Vec<u8> {
    [b"https://", &head.authority[..], &head.path[..]].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::matcher::tests::request;
    use super::super::pattern::Substitution;
    use super::super::rewrite::MatchedPart;
    use super::*;

    fn replace(path: &str) -> RedirectPath {
        RedirectPath::Replace(path.as_bytes().into())
    }

    #[test]
    fn locations() {
        let none = Redirect::default;
        let https = || Redirect { scheme: Some(b"https".as_slice().into()), ..none() };
        let host = || Redirect { host: Some(b"b.com".as_slice().into()), ..none() };
        let prefix = PathRewrite::Prefix {
            matched: MatchedPart::Prefix(b"/old".as_slice().into()),
            with: Bytes::from_static(b"/new"),
        };
        let regex = PathRewrite::Regex(Substitution::parse("^/old/(.*)$", r"/x/\1").unwrap());
        for (redirect, authority, path, want) in [
            (https(), "a.com", "/p?q", "https://a.com/p?q"),
            (https(), "a.com:80", "/p", "https://a.com/p"),
            (https(), "a.com:8080", "/p", "https://a.com:8080/p"),
            (https(), "[::1]:80", "/p", "https://[::1]/p"),
            (https(), "[::1]", "/p", "https://[::1]/p"),
            (Redirect { port: Some(8443), ..https() }, "a.com:8080", "/p", "https://a.com:8443/p"),
            (host(), "a.com:80", "/p?q", "http://b.com/p?q"),
            (Redirect { port: Some(81), ..host() }, "a.com:80", "/p", "http://b.com:81/p"),
            (none(), "a.com:80", "/p", "http://a.com:80/p"),
            (Redirect { path: replace("/n"), ..none() }, "a.com", "/p?q", "http://a.com/n?q"),
            (Redirect { path: replace("/n?z"), ..none() }, "a.com", "/p?q", "http://a.com/n?z"),
            (Redirect { path: replace("/n?z"), strip_query: true, ..none() }, "a.com", "/p?q", "http://a.com/n?z"),
            (Redirect { path: replace("/n"), strip_query: true, ..none() }, "a.com", "/p?q", "http://a.com/n"),
            (Redirect { path: replace("n"), ..none() }, "a.com", "/p?q", "http://a.com/n?q"),
            (Redirect { path: replace("?z"), ..none() }, "a.com", "/p?q", "http://a.com/?z"),
            (Redirect { strip_query: true, ..host() }, "a.com", "/p?q", "http://b.com/p"),
            (Redirect { path: RedirectPath::Rewrite(prefix), ..none() }, "a.com", "/old/a?q", "http://a.com/new/a?q"),
            (Redirect { path: RedirectPath::Rewrite(regex), ..none() }, "a.com", "/old/a?q", "http://a.com/x/a?q"),
        ] {
            let mut head = request("GET", path, &[("x-forwarded-proto", "http")]);
            head.authority = authority.into();
            assert_eq!(String::from_utf8(redirect.location(&head)).unwrap(), want, "{redirect:?}");
        }
    }
}
