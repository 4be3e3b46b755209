//! What tests of filters need: a stream, and filters of their own in a worker that serves.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use super::network::NetworkFilter;
use super::{FilterId, HttpFilter, Stream};
use crate::http::{BodyBuf, HeaderMap, RequestHead, Version};
use crate::telemetry::{ConnectionInfo, StreamInfo};

/// `GET http://a/` from 127.0.0.1:1 to 127.0.0.1:2.
pub(crate) fn stream() -> Stream {
    let connection = ConnectionInfo {
        id: 7,
        remote: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:2".parse().unwrap(),
        tls: None,
        requested_server_name: None,
        listener: "l".into(),
        filter_chain: "".into(),
        accepted: Instant::now(),
        shaken: None,
        failure: None,
    };
    let request = RequestHead {
        method: "GET".into(),
        scheme: "http".into(),
        authority: "a".into(),
        path: "/".into(),
        version: Version::Http11,
        headers: HeaderMap::new(),
    };
    Stream::new(request, StreamInfo::new(Rc::new(connection), Version::Http11))
}

/// A body as text.
pub(crate) fn text(body: &BodyBuf) -> String {
    body.pieces().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

type Http = Box<dyn Fn(FilterId) -> Box<dyn HttpFilter>>;
type Network = Box<dyn Fn() -> Box<dyn NetworkFilter>>;

/// Filters that a worker has beside those that are configured.
#[derive(Default)]
pub(crate) struct Scripts {
    http: RefCell<Vec<Http>>,
    network: RefCell<Vec<Network>>,
}

impl Scripts {
    /// One more for each request.
    pub(crate) fn add_http<F: HttpFilter + 'static>(&self, new: impl Fn(FilterId) -> F + 'static) {
        self.http.borrow_mut().push(Box::new(move |id| Box::new(new(id))));
    }

    /// One more for each connection.
    pub(crate) fn add_network<F: NetworkFilter + 'static>(&self, new: impl Fn() -> F + 'static) {
        self.network.borrow_mut().push(Box::new(move || Box::new(new())));
    }

    /// For a request whose chain has so many already.
    pub(crate) fn http(&self, before: usize) -> Vec<Box<dyn HttpFilter>> {
        let scripts = self.http.borrow();
        scripts.iter().enumerate().map(|(at, new)| new(FilterId(before + at))).collect()
    }

    /// For a connection.
    pub(crate) fn network(&self) -> std::vec::IntoIter<Box<dyn NetworkFilter>> {
        let all: Vec<_> = self.network.borrow().iter().map(|new| new()).collect();
        all.into_iter()
    }
}
