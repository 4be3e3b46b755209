//! A request is checked, made canonical and told who its client is, before anything looks at it.

use super::connection::ConnectionContext;
use super::error::Cause;
use super::forwarded;
use super::request::Incoming;
use crate::http::path::{CanonicalPath, canonical_path};
use crate::http::{RequestHead, Version};
use crate::snapshot::connection_manager::{ConnectionManager, HostRules, Underscores};
use crate::telemetry::StreamInfo;
use crate::telemetry::metrics::Chunk;
use crate::telemetry::metrics::names::{Http, http, http1, http2};

/// The head as filters, router and endpoint will see it, and why it is refused, if it is.
pub(super) fn prepare(
    cx: &ConnectionContext,
    manager: &ConnectionManager,
    incoming: Incoming,
    info: &mut StreamInfo,
) -> (RequestHead, Option<Cause>) {
    let has_host = incoming.has_host;
    let mut head = incoming.head;
    let metrics = manager.scope.chunk(cx.worker.index);
    let refused = check(manager, &mut head, has_host)
        .or_else(|| underscores(manager, &mut head, cx.worker.index))
        .or_else(|| target(&head, metrics))
        .or_else(|| canonical(manager, &mut head, metrics));
    if refused.is_none() {
        canonical_host(&mut head, &manager.host, cx.info.local.port());
    }
    forwarded::apply(manager, &mut head, info, || cx.worker.clusters.random());
    (head, refused)
}

fn check(manager: &ConnectionManager, head: &mut RequestHead, has_host: bool) -> Option<Cause> {
    if head.version == Version::Http10 && !has_host {
        head.authority = manager.http1.default_host.clone();
    }
    if head.authority.is_empty() {
        return Some(Cause::MissingHost);
    }
    if !valid_authority(&head.authority) {
        return Some(Cause::InvalidHost);
    }
    None
}

fn underscores(manager: &ConnectionManager, head: &mut RequestHead, worker: usize) -> Option<Cause> {
    if manager.underscores == Underscores::Allow {
        return None;
    }
    let has_one = |(name, _): (&[u8], &[u8])| name.contains(&b'_');
    let count = head.headers.iter().filter(|field| has_one(*field)).count() as u64;
    if count == 0 {
        return None;
    }
    let refused = manager.underscores == Underscores::Reject;
    let (one, two) = (manager.codecs.0.chunk(worker), manager.codecs.1.chunk(worker));
    match (head.version == Version::Http2, refused) {
        (false, true) => one.inc(http1::REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS),
        (false, false) => one.add(http1::DROPPED_HEADERS_WITH_UNDERSCORES, count),
        (true, true) => two.inc(http2::REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS),
        (true, false) => two.add(http2::DROPPED_HEADERS_WITH_UNDERSCORES, count),
    }
    if refused {
        return Some(Cause::Underscore);
    }
    head.headers.retain(|name, _| !name.contains(&b'_'));
    None
}

fn target(head: &RequestHead, metrics: Chunk<'_, Http>) -> Option<Cause> {
    if head.method == "CONNECT" {
        return Some(Cause::NoRoute);
    }
    if head.path.first() != Some(&b'/') {
        metrics.inc(http::DOWNSTREAM_RQ_NON_RELATIVE_PATH);
        return Some(Cause::NotAPath);
    }
    None
}

fn canonical(manager: &ConnectionManager, head: &mut RequestHead, metrics: Chunk<'_, Http>) -> Option<Cause> {
    match canonical_path(&head.path, manager.path) {
        CanonicalPath::Unchanged => None,
        CanonicalPath::Changed(path) => {
            head.path = path;
            None
        }
        CanonicalPath::Redirect(path) => {
            metrics.inc(http::DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH);
            head.path = path.clone();
            Some(Cause::PathRedirect(path))
        }
        CanonicalPath::Reject => {
            metrics.inc(http::DOWNSTREAM_RQ_FAILED_PATH_NORMALIZATION);
            Some(Cause::BadPath)
        }
    }
}

/// Cuts what the listener says has no meaning in a host.
fn canonical_host(head: &mut RequestHead, rules: &HostRules, listener_port: u16) {
    if !(rules.strip_any_port || rules.strip_matching_port || rules.strip_trailing_dot) {
        return;
    }
    let (name, port) = split_port(&head.authority);
    let strip = rules.strip_any_port
        || rules.strip_matching_port && port == itoa::Buffer::new().format(listener_port).as_bytes();
    let name = match name.strip_suffix(b".") {
        Some(shorter) if rules.strip_trailing_dot => shorter,
        _ => name,
    };
    if strip || port.is_empty() {
        head.authority = head.authority.slice_ref(name);
    } else if name.len() + 1 + port.len() != head.authority.len() {
        head.authority = [name, b":", port].concat().into();
    }
}

/// Host and port; the port is empty if there is none. Understands `[::1]:80`.
fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    let colon = authority.iter().rposition(|b| *b == b':');
    match colon.and_then(|at| authority.split_at_checked(at)) {
        Some((name, [_, port @ ..])) if !port.is_empty() && port.iter().all(u8::is_ascii_digit) => (name, port),
        _ => (authority, b""),
    }
}

/// Characters that Envoy takes in an authority (RFC 3986 section 3.2, and a little more).
pub(super) fn valid_authority(authority: &[u8]) -> bool {
    authority.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (authority, name, port) in [
            ("a:80", "a", "80"),
            ("a", "a", ""),
            ("[::1]:8", "[::1]", "8"),
            ("[::1]", "[::1]", ""),
            ("a:", "a:", ""),
            ("a:x", "a:x", ""),
        ] {
            assert_eq!(split_port(authority.as_bytes()), (name.as_bytes(), port.as_bytes()), "{authority}");
        }
    }
}
