//! Counters that are found by what they count: a status, a cipher suite, a version of TLS.

use super::names::{Cluster, ClusterSsl, Http, ListenerHttp, ListenerSsl};
use super::scope::{Chunk, Counter, Kind, Metric};
use crate::telemetry::TlsInfo;

impl Http {
    /// `downstream_rq_<class>xx` of a status from 100 to 599.
    pub fn class(status: u16) -> Option<Counter<Self>> {
        use super::names::http::*;
        by_class(
            status,
            [DOWNSTREAM_RQ_1XX, DOWNSTREAM_RQ_2XX, DOWNSTREAM_RQ_3XX, DOWNSTREAM_RQ_4XX, DOWNSTREAM_RQ_5XX],
        )
    }
}

impl ListenerHttp {
    /// `downstream_rq_<class>xx` of a status from 100 to 599.
    pub fn class(status: u16) -> Option<Counter<Self>> {
        use super::names::listener_http::*;
        by_class(
            status,
            [DOWNSTREAM_RQ_1XX, DOWNSTREAM_RQ_2XX, DOWNSTREAM_RQ_3XX, DOWNSTREAM_RQ_4XX, DOWNSTREAM_RQ_5XX],
        )
    }
}

fn by_class<K>(status: u16, classes: [Counter<K>; 5]) -> Option<Counter<K>> {
    classes.get(usize::from(status / 100).wrapping_sub(1)).copied()
}

impl Chunk<'_, Cluster> {
    /// Counts a response as Envoy does: by code, by class and in all, once plainly and once for its origin
    /// (`x-envoy-internal`).
    pub fn response(self, status: u16, internal: bool) {
        use super::names::cluster::*;
        let plain = [UPSTREAM_RQ_1XX, UPSTREAM_RQ_2XX, UPSTREAM_RQ_3XX, UPSTREAM_RQ_4XX, UPSTREAM_RQ_5XX];
        let (origin, codes, completed) = if internal {
            (
                [
                    INTERNAL_UPSTREAM_RQ_1XX,
                    INTERNAL_UPSTREAM_RQ_2XX,
                    INTERNAL_UPSTREAM_RQ_3XX,
                    INTERNAL_UPSTREAM_RQ_4XX,
                    INTERNAL_UPSTREAM_RQ_5XX,
                ],
                INTERNAL_UPSTREAM_RQ,
                INTERNAL_UPSTREAM_RQ_COMPLETED,
            )
        } else {
            (
                [
                    EXTERNAL_UPSTREAM_RQ_1XX,
                    EXTERNAL_UPSTREAM_RQ_2XX,
                    EXTERNAL_UPSTREAM_RQ_3XX,
                    EXTERNAL_UPSTREAM_RQ_4XX,
                    EXTERNAL_UPSTREAM_RQ_5XX,
                ],
                EXTERNAL_UPSTREAM_RQ,
                EXTERNAL_UPSTREAM_RQ_COMPLETED,
            )
        };
        self.inc(UPSTREAM_RQ_COMPLETED);
        self.inc(completed);
        for class in [by_class(status, plain), by_class(status, origin)].into_iter().flatten() {
            self.inc(class);
        }
        self.status(UPSTREAM_RQ, status);
        self.status(codes, status);
    }

    /// Counts a response that the client does not get, for the request is tried again.
    pub fn retried_response(self, status: u16) {
        use super::names::cluster::*;
        let classes = [
            RETRY_UPSTREAM_RQ_1XX,
            RETRY_UPSTREAM_RQ_2XX,
            RETRY_UPSTREAM_RQ_3XX,
            RETRY_UPSTREAM_RQ_4XX,
            RETRY_UPSTREAM_RQ_5XX,
        ];
        self.inc(RETRY_UPSTREAM_RQ_COMPLETED);
        if let Some(class) = by_class(status, classes) {
            self.inc(class);
        }
        self.status(RETRY_UPSTREAM_RQ, status);
    }
}

macro_rules! negotiated {
    ($($kind:ident)*) => {$(
        impl Chunk<'_, $kind> {
            /// Counts what a handshake settled.
            pub fn negotiated(self, info: &TlsInfo) {
                for (group, name) in
                    [("ciphers.", info.cipher), ("versions.", info.version), ("curves.", info.curve), ("sigalgs.", info.signature)]
                {
                    let of = |metric: &Metric| metric.name.strip_prefix(group) == Some(name);
                    if let Some(at) = $kind::TABLE.counters.iter().position(of) {
                        self.inc(Counter::at(at as u16));
                    }
                }
            }
        }
    )*};
}

negotiated!(ListenerSsl ClusterSsl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_agree() {
        assert_eq!(Http::TABLE.counters.last().map(|m| m.name), Some("rs_too_large"));
    }
}
