//! A stream for tests of filters.

#![allow(clippy::unwrap_used)]

use std::rc::Rc;
use std::time::Instant;

use super::Stream;
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
