//! The kinds of resource, and what can be told of one without decoding it.

use std::hash::{DefaultHasher, Hasher};

use prost::bytes::Bytes;

use crate::{idle::Idle, problem::Problem, schema::name_of_type_url, wire};

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `envoy.config.listener.v3.Listener`, of LDS.
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`, of RDS.
    Route,
    /// `envoy.config.cluster.v3.Cluster`, of CDS.
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`, of EDS.
    Endpoint,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`, of SDS.
    Secret,
    /// `envoy.config.core.v3.TypedExtensionConfig`, of ECDS.
    Extension,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Listener, Self::Route, Self::Cluster, Self::Endpoint, Self::Secret, Self::Extension];

    /// The full name of its message.
    pub fn message(self) -> &'static str {
        match self {
            Self::Listener => "envoy.config.listener.v3.Listener",
            Self::Route => "envoy.config.route.v3.RouteConfiguration",
            Self::Cluster => "envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// Its type URL, `type.googleapis.com/` and the name of its message.
    pub fn type_url(self) -> String {
        format!("type.googleapis.com/{}", self.message())
    }

    /// The kind of that type URL or message name.
    pub fn of_type_url(url: &str) -> Option<Self> {
        let name = name_of_type_url(url);
        Self::ALL.into_iter().find(|kind| kind.message() == name)
    }

    /// The name in an encoded resource; empty if it has none. Field 1 in every kind.
    pub fn name_of(self, bytes: &[u8]) -> &str {
        wire::last_text(bytes, 1)
    }

    /// The field's word for it, such as `listener`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Route => "route configuration",
            Self::Cluster => "cluster",
            Self::Endpoint => "cluster load assignment",
            Self::Secret => "secret",
            Self::Extension => "extension",
        }
    }
}

/// One resource in its wire form, with what is wrong with it so far.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it is.
    pub kind: Kind,
    /// Its name; empty where the author gave none.
    pub name: String,
    /// Its wire form; incomplete if there are problems.
    pub bytes: Bytes,
    /// Where it stands in its document, such as `static_resources.clusters[3]`; put it before problems found later.
    pub path: String,
    /// Version as the source states it; empty if it states none.
    pub version: String,
    /// What reading and checking it found, with paths from the top of the document.
    pub problems: Vec<Problem>,
    /// What is set in it and changes nothing, with paths from the top of the document.
    pub idle: Vec<Idle>,
}

impl Resource {
    /// A number that differs when the content does. Of this process only: do not store it.
    pub fn content_hash(&self) -> u64 {
        content_hash(&self.bytes)
    }
}

/// A number that differs when the content does. Of this process only: do not store it.
pub fn content_hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
