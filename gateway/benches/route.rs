//! What it costs to find a route among 1,000, 10,000 and 100,000: the last of them, and a random one.
//!
//! Goal: the last of 100,000 paths, and of 100,000 hosts, within 1 microsecond.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use weir::http::{HeaderMap, RequestHead, Version};
use weir::route::table::{MatchOptions, RouteTableBuilder};
use weir::route::{Conditions, HostSpec, MatchInput, PathMatch, Pattern, RouteSpec, RouteTable};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

type Table = RouteTable<(), usize>;

fn request(authority: String, path: String) -> RequestHead {
    RequestHead {
        method: Bytes::from_static(b"GET"),
        scheme: Bytes::from_static(b"http"),
        authority: authority.into(),
        path: path.into(),
        version: Version::Http11,
        headers: HeaderMap::new(),
    }
}

fn host(routes: impl Iterator<Item = PathMatch>) -> HostSpec<(), usize> {
    let route = |(value, path)| RouteSpec { path, case_sensitive: true, conditions: Conditions::default(), value };
    HostSpec { value: (), routes: routes.enumerate().map(route).collect() }
}

/// One virtual host with `size` routes.
fn routes(size: usize, path: impl Fn(usize) -> PathMatch) -> Table {
    let mut builder = RouteTableBuilder::default();
    builder.add_domain("*", 0).expect("one domain");
    builder.build(vec![host((0..size).map(path))], MatchOptions::default())
}

/// `size` virtual hosts with one route each.
fn hosts(size: usize, domain: impl Fn(usize) -> String) -> Table {
    let mut builder = RouteTableBuilder::default();
    for at in 0..size {
        builder.add_domain(&domain(at), at).expect("unique domains");
    }
    let prefix = || [PathMatch::Prefix(b"/".as_slice().into())].into_iter();
    builder.build((0..size).map(|_| host(prefix())).collect(), MatchOptions::default())
}

fn measure(c: &mut Criterion, name: &str, table: impl Fn(usize) -> Table, request: impl Fn(usize) -> RequestHead) {
    let mut group = c.benchmark_group(name);
    for size in SIZES {
        let table = table(size);
        let last = request(size - 1);
        assert!(table.find(&MatchInput::new(&last, 0, None)).is_some(), "{name}");
        group.bench_with_input(BenchmarkId::new("last", size), &last, |b, head| {
            b.iter(|| black_box(table.find(&MatchInput::new(black_box(head), 0, None))));
        });
        // A random one is not in the caches: what a busy gateway sees.
        let many: Vec<RequestHead> = (0..4096).map(|n| request(n * 7919 % size)).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("random", size), |b| {
            b.iter(|| {
                turn = (turn + 1) % many.len();
                black_box(table.find(&MatchInput::new(black_box(&many[turn]), 0, None)))
            });
        });
    }
    group.finish();
}

fn lookups(c: &mut Criterion) {
    let text = |n: usize| format!("/service-{n}/v1/items");
    let bytes = |text: String| text.into_bytes().into_boxed_slice();
    let at = |n: usize| request("example.com".to_owned(), format!("{}/42?page=1", text(n)));
    measure(
        c,
        "exact path",
        |size| routes(size, |n| PathMatch::Exact(bytes(text(n)))),
        |n| request("example.com".to_owned(), format!("{}?page=1", text(n))),
    );
    measure(c, "prefix", |size| routes(size, |n| PathMatch::Prefix(bytes(text(n)))), at);
    measure(c, "separated prefix", |size| routes(size, |n| PathMatch::SeparatedPrefix(bytes(text(n)))), at);
    let name = |n: usize| format!("team-{n}.example.com");
    measure(c, "host", |size| hosts(size, name), |n| request(name(n), "/".to_owned()));
    measure(
        c,
        "wildcard host",
        |size| hosts(size, |n| format!("*.team-{n}.example.com")),
        |n| request(format!("www.{}", name(n)), "/".to_owned()),
    );
}

/// Patterns are searched for all at once, but not as fast as paths: fewer of them.
fn patterns(c: &mut Criterion) {
    let mut group = c.benchmark_group("regex");
    for size in [10, 100, 1_000] {
        let pattern = |n| Pattern::parse(&format!("/service-{n}/[^/]+/items/\\d+")).expect("valid");
        let table = routes(size, |n| PathMatch::Regex(pattern(n)));
        let last = request("example.com".to_owned(), format!("/service-{}/v1/items/42", size - 1));
        group.bench_with_input(BenchmarkId::new("last", size), &last, |b, head| {
            b.iter(|| black_box(table.find(&MatchInput::new(black_box(head), 0, None))));
        });
    }
    group.finish();
}

criterion_group!(benches, lookups, patterns);
criterion_main!(benches);
