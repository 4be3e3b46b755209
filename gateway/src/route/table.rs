//! The table of a route configuration: virtual hosts by host, routes by path, the first in order that matches.

use super::hosts::{DuplicateDomain, HostIndex, HostIndexBuilder, without_port};
use super::matcher::{Conditions, MatchInput};
pub use super::paths::PathMatch;
use super::paths::Paths;

/// Virtual hosts carrying `H` and their routes carrying `R`.
#[derive(Debug)]
pub struct RouteTable<H, R> {
    index: HostIndex,
    hosts: Box<[Host<H, R>]>,
    options: MatchOptions,
}

/// How hosts and paths are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatchOptions {
    /// The port of a request's host does not count (`ignore_port_in_host_matching`).
    pub ignore_port: bool,
    /// What follows a `;` in a segment of a path does not count (`ignore_path_parameters_in_path_matching`).
    pub ignore_path_parameters: bool,
}

#[derive(Debug)]
struct Host<H, R> {
    value: H,
    paths: Paths,
    routes: Box<[Entry<R>]>,
}

#[derive(Debug)]
struct Entry<R> {
    conditions: Option<Box<Conditions>>,
    value: R,
}

/// A virtual host on its way into a table.
#[derive(Debug)]
pub struct HostSpec<H, R> {
    /// What it carries.
    pub value: H,
    /// Its routes in order.
    pub routes: Vec<RouteSpec<R>>,
}

/// A route on its way into a table.
#[derive(Debug)]
pub struct RouteSpec<R> {
    /// Which paths it takes.
    pub path: PathMatch,
    /// Whether the case of the path counts (patterns say so themselves).
    pub case_sensitive: bool,
    /// What else it asks.
    pub conditions: Conditions,
    /// What it carries.
    pub value: R,
}

/// Domains first, so that all duplicates are known before the table is built.
#[derive(Debug, Default)]
pub struct RouteTableBuilder {
    domains: HostIndexBuilder,
}

impl RouteTableBuilder {
    /// Gives a domain to the virtual host at position `host`.
    pub fn add_domain(&mut self, domain: &str, host: usize) -> Result<(), DuplicateDomain> {
        self.domains.add(domain, u32::try_from(host).unwrap_or(u32::MAX))
    }

    /// The finished table.
    pub fn build<H, R>(self, hosts: Vec<HostSpec<H, R>>, options: MatchOptions) -> RouteTable<H, R> {
        RouteTable { index: self.domains.build(), hosts: hosts.into_iter().map(Host::build).collect(), options }
    }
}

impl<H, R> Host<H, R> {
    fn build(spec: HostSpec<H, R>) -> Self {
        let mut paths = Vec::with_capacity(spec.routes.len());
        let mut routes = Vec::with_capacity(spec.routes.len());
        for route in spec.routes {
            let conditions = (!route.conditions.is_empty()).then(|| Box::new(route.conditions));
            paths.push((route.path, route.case_sensitive, conditions.is_none()));
            routes.push(Entry { conditions, value: route.value });
        }
        Self { value: spec.value, paths: Paths::new(paths), routes: routes.into_boxed_slice() }
    }
}

impl<H, R> RouteTable<H, R> {
    /// The position of the virtual host of `authority` (host and optional port).
    #[inline]
    pub fn find_host(&self, authority: &[u8]) -> Option<u32> {
        self.index.find(if self.options.ignore_port { without_port(authority) } else { authority })
    }

    /// The position of the first route of the virtual host at `host` that takes the request.
    #[inline]
    pub fn find_route(&self, host: u32, input: &MatchInput<'_>) -> Option<u32> {
        let host = self.hosts.get(host as usize)?;
        let mut path = input.head.path_only();
        let bare;
        if self.options.ignore_path_parameters && memchr::memchr(b';', path).is_some() {
            bare = without_parameters(path);
            path = &bare;
        }
        host.paths.first(path, |rank| {
            host.routes
                .get(rank as usize)
                .is_some_and(|route| route.conditions.as_ref().is_none_or(|conditions| conditions.pass(input)))
        })
    }

    /// Both in one step: what the virtual host and the route carry.
    pub fn find(&self, input: &MatchInput<'_>) -> Option<(&H, &R)> {
        let host = self.find_host(&input.head.authority)?;
        let route = self.find_route(host, input)?;
        Some((self.host(host)?, self.route(host, route)?))
    }

    /// What the virtual host at this position carries.
    #[inline]
    pub fn host(&self, host: u32) -> Option<&H> {
        self.hosts.get(host as usize).map(|host| &host.value)
    }

    /// What a route carries.
    #[inline]
    pub fn route(&self, host: u32, route: u32) -> Option<&R> {
        self.hosts.get(host as usize)?.routes.get(route as usize).map(|route| &route.value)
    }

    /// All virtual hosts and their routes in order.
    pub fn iter(&self) -> impl Iterator<Item = (&H, impl Iterator<Item = &R>)> {
        self.hosts.iter().map(|host| (&host.value, host.routes.iter().map(|route| &route.value)))
    }
}

/// `/a;v=1/b;w=2` is `/a/b`.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|&b| b == b'/').map(|segment| segment.split(|&b| b == b';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::matcher::tests::request;
    use super::super::matcher::{Fraction, HeaderMatcher, HeaderTest};
    use super::super::string_matcher::StringMatcher;
    use super::*;

    fn route(value: &'static str, path: PathMatch, conditions: Conditions) -> RouteSpec<&'static str> {
        RouteSpec { path, case_sensitive: true, conditions, value }
    }

    fn prefix(text: &str) -> PathMatch {
        PathMatch::Prefix(text.as_bytes().into())
    }

    fn post() -> Conditions {
        let test = HeaderTest::Text(StringMatcher::exact("POST", false));
        Conditions { headers: [HeaderMatcher::new(":method", test, false, false)].into(), ..Conditions::default() }
    }

    fn table(options: MatchOptions) -> RouteTable<&'static str, &'static str> {
        let mut builder = RouteTableBuilder::default();
        builder.add_domain("a.com", 0).unwrap();
        builder.add_domain("*", 1).unwrap();
        let half = Conditions { fraction: Some(Fraction { numerator: 1, denominator: 100 }), ..Conditions::default() };
        let first = HostSpec {
            value: "first",
            routes: vec![
                route("post", prefix("/"), post()),
                route("some", prefix("/x"), half),
                route("exact", PathMatch::Exact(b"/x".as_slice().into()), Conditions::default()),
                route("rest", prefix("/"), Conditions::default()),
            ],
        };
        let second = HostSpec { value: "second", routes: vec![route("only", prefix("/only"), Conditions::default())] };
        builder.build(vec![first, second], options)
    }

    #[test]
    fn host_then_path_then_conditions() {
        let table = table(MatchOptions::default());
        for (method, authority, path, random, want) in [
            ("POST", "a.com", "/x", 0, Some(("first", "post"))),
            ("GET", "A.com", "/x?q=/y", 100, Some(("first", "some"))),
            ("GET", "a.com", "/x?q=/y", 101, Some(("first", "exact"))),
            ("GET", "a.com", "/xy", 7, Some(("first", "rest"))),
            ("GET", "a.com:80", "/only", 0, Some(("second", "only"))),
            ("GET", "b.com", "/other", 0, None),
        ] {
            let mut head = request(method, path, &[]);
            head.authority = authority.into();
            let found = table.find(&MatchInput::new(&head, random, None));
            assert_eq!(found.map(|(h, r)| (*h, *r)), want, "{method} {authority}{path}");
        }
    }

    #[test]
    fn ports_and_path_parameters_can_be_ignored() {
        let table = table(MatchOptions { ignore_port: true, ignore_path_parameters: true });
        for (path, want) in [("/x;v=1?q", "exact"), ("/x;?;", "exact"), ("/x;v=1/y?q", "rest"), ("/;v=1/x", "rest")] {
            let mut head = request("GET", path, &[]);
            head.authority = "a.com:80".into();
            assert_eq!(table.find(&MatchInput::new(&head, 101, None)).unwrap().1, &want, "{path}");
        }
        for (path, bare) in [("/a;v=1/b;w=2", "/a/b"), ("/a;/b", "/a/b"), (";/", "/"), ("/;v=1;w", "/"), ("/a/", "/a/")]
        {
            assert_eq!(without_parameters(path.as_bytes()), bare.as_bytes());
        }
    }
}
