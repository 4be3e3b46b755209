//! From a request's host to its virtual host, as Envoy does it: the exact name, else the longest `*suffix`, else the
//! longest `prefix*`, else `*`.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::radix::Radix;

/// Names of hosts on their way into a [`HostIndex`].
#[derive(Debug, Default)]
pub struct HostIndexBuilder {
    exact: HashMap<Box<[u8]>, u32, RandomState>,
    suffixes: HashMap<Box<[u8]>, u32, RandomState>,
    prefixes: HashMap<Box<[u8]>, u32, RandomState>,
    any: Option<u32>,
}

/// Where a domain of a virtual host leads.
#[derive(Debug, Default)]
pub struct HostIndex {
    exact: HashMap<Box<[u8]>, u32, RandomState>,
    /// Keys reversed.
    suffixes: Radix,
    prefixes: Radix,
    any: Option<u32>,
}

/// The domain was given before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("duplicate domain: a domain may stand once in all virtual hosts of a route configuration")]
pub struct DuplicateDomain;

impl HostIndexBuilder {
    /// Adds a domain: `*`, `*suffix`, `prefix*` or a name; its case does not matter.
    pub fn add(&mut self, domain: &str, host: u32) -> Result<(), DuplicateDomain> {
        let domain = domain.to_ascii_lowercase();
        if domain == "*" {
            return self.any.replace(host).map_or(Ok(()), |_| Err(DuplicateDomain));
        }
        let (map, key) = if let Some(suffix) = domain.strip_prefix('*') {
            (&mut self.suffixes, suffix.bytes().rev().collect())
        } else if let Some(prefix) = domain.strip_suffix('*') {
            (&mut self.prefixes, prefix.bytes().collect::<Vec<u8>>())
        } else {
            (&mut self.exact, domain.into_bytes())
        };
        map.insert(key.into_boxed_slice(), host).map_or(Ok(()), |_| Err(DuplicateDomain))
    }

    /// The finished index.
    pub fn build(mut self) -> HostIndex {
        self.exact.shrink_to_fit();
        HostIndex {
            exact: self.exact,
            suffixes: Radix::build(self.suffixes.into_iter().collect()),
            prefixes: Radix::build(self.prefixes.into_iter().collect()),
            any: self.any,
        }
    }
}

impl HostIndex {
    /// The virtual host of `host` (any case; with or without port, but see [`without_port`]).
    #[inline]
    pub fn find(&self, host: &[u8]) -> Option<u32> {
        self.exact(host).or_else(|| self.wildcard(host)).or(self.any)
    }

    #[inline]
    fn exact(&self, host: &[u8]) -> Option<u32> {
        if self.exact.is_empty() {
            return None;
        }
        if !host.iter().any(u8::is_ascii_uppercase) {
            return self.exact.get(host).copied();
        }
        let mut lower: SmallVec<[u8; 256]> = SmallVec::from_slice(host);
        lower.make_ascii_lowercase();
        self.exact.get(lower.as_slice()).copied()
    }

    fn wildcard(&self, host: &[u8]) -> Option<u32> {
        // A star stands for at least one character.
        let mut longest = None;
        let mut keep = |value, len| {
            if len < host.len() {
                longest = Some(value);
            }
        };
        self.suffixes.suffixes_folded(host, &mut keep);
        if longest.is_none() {
            self.prefixes.prefixes_folded(host, |value, len| {
                if len < host.len() {
                    longest = Some(value);
                }
            });
        }
        longest
    }
}

/// The host without its `:port`. The colons of an IPv6 address in brackets are none.
pub fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr2(b':', b']', host) {
        Some(at) if host.get(at) == Some(&b':') => host.get(..at).unwrap_or(host),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn index(domains: &[&str]) -> HostIndex {
        let mut builder = HostIndexBuilder::default();
        for (domain, at) in domains.iter().zip(0..) {
            builder.add(domain, at).unwrap();
        }
        builder.build()
    }

    #[test]
    fn exact_then_longest_suffix_then_longest_prefix_then_any() {
        let domains =
            ["a.com", "*.a.com", "*-x.a.com", "a.*", "a.b.*", "*", "*.com", "UP.org", "a.com:8080", "*.net:81"];
        let index = index(&domains);
        for (host, want) in [
            ("a.com", "a.com"),
            ("A.COM", "a.com"),
            ("www.a.com", "*.a.com"),
            ("w-x.a.com", "*-x.a.com"),
            ("-x.a.com", "*.a.com"),
            (".a.com", "*.com"),
            (".com", "*"),
            ("b.com", "*.com"),
            ("a.org", "a.*"),
            ("a.b.org", "a.b.*"),
            ("a.b.", "a.*"),
            ("a.", "*"),
            ("up.ORG", "UP.org"),
            ("a.com:8080", "a.com:8080"),
            ("a.com:80", "a.*"),
            ("x.net:81", "*.net:81"),
            ("x.net", "*"),
            ("", "*"),
        ] {
            let got = index.find(host.as_bytes()).map(|at| domains[at as usize]);
            assert_eq!(got, Some(want), "{host}");
        }
    }

    #[test]
    fn without_a_default_an_unknown_host_has_none() {
        let index = index(&["a.com", "*.b.com"]);
        assert_eq!(index.find(b"c.com"), None);
        assert_eq!(index.find(b"b.com"), None);
        let long = format!("{}.b.com", "a".repeat(600));
        assert_eq!(index.find(long.to_ascii_uppercase().as_bytes()), Some(1));
    }

    #[test]
    fn a_domain_stands_once() {
        let mut builder = HostIndexBuilder::default();
        for domain in ["*", "a.com", "*.a.com", "a.*", "*a.*"] {
            assert_eq!(builder.add(domain, 0), Ok(()));
            assert_eq!(builder.add(&domain.to_uppercase(), 1), Err(DuplicateDomain), "{domain}");
        }
    }

    #[test]
    fn ports() {
        for (host, want) in [
            ("a.com:80", "a.com"),
            ("a.com", "a.com"),
            ("a.com:", "a.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(without_port(host.as_bytes()), want.as_bytes(), "{host}");
        }
    }
}
