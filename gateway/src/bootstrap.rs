//! What to start with: a bootstrap as the command line gives it, and what of it concerns the process itself.

mod runtime;

use std::{net::SocketAddr, path::PathBuf};

use prost::Message;
use weir_xds::{Bootstrap, MAX_FILE_BYTES, Problem, ReadError, pb, read_file, read_stream};

use crate::{
    plugin::{Locality, Node},
    proxy::limits::ConnectionLimits,
    source::{Finding, Sources, Texts},
};

use runtime::{Runtime, runtime};

/// What to call a configuration that came without a file.
const INLINE_NAME: &str = "--config-yaml";

/// A bootstrap as text: a file, or the command line itself (`--config-yaml`), which may also be merged into a file.
#[derive(Debug)]
pub(crate) struct Config(pub(crate) Texts);

impl Config {
    /// Of a file; `-` is standard input.
    pub(crate) fn read(path: PathBuf) -> Result<Self, String> {
        let name = path.display().to_string();
        // Who starts the gateway may hand it a pipe (`<(...)` of a shell), as Envoy allows: that is one of its own descriptors.
        let read = match &*name {
            "-" => read_stream(std::io::stdin().lock(), MAX_FILE_BYTES),
            _ if name.starts_with("/dev/fd/") || name == "/dev/stdin" => std::fs::File::open(path)
                .map_err(ReadError::from)
                .and_then(|stream| read_stream(stream, MAX_FILE_BYTES)),
            _ => read_file(&path, MAX_FILE_BYTES),
        };
        let bytes = read.map_err(|e| format!("{name}: cannot be read: {e}"))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self(Texts { name, text, over: None })),
            Err(e) => Err(format!("{name}: not UTF-8 after byte {}", e.utf8_error().valid_up_to())),
        }
    }

    /// Of the command line itself.
    pub(crate) fn inline(text: String) -> Self {
        Self(Texts { name: INLINE_NAME.to_owned(), text, over: None })
    }

    /// With a text of the command line merged into it, as Envoy does: what it says overrides.
    pub(crate) fn with(self, over: Option<String>) -> Self {
        Self(Texts { over: over.map(|text| (INLINE_NAME.to_owned(), text)), ..self.0 })
    }

    pub(crate) fn bootstrap(&self) -> Bootstrap {
        let over = self.0.over.as_ref().map(|(_, text)| text.as_str());
        weir_xds::read_bootstrap_file(&self.0.name, &self.0.text, over)
    }

    /// What is wrong with the form of the text that is merged into it.
    pub(crate) fn findings_of_over(&self) -> Vec<Finding> {
        let Some((name, text)) = self.0.over.clone() else { return Vec::new() };
        let problems = weir_xds::decode(&text, weir_xds::BOOTSTRAP).problems;
        Texts { name, text, over: None }.findings(problems)
    }

    /// Where its resources come from, and how many connections clients may have.
    pub(crate) fn sources(&self, mut bootstrap: Bootstrap) -> (Sources, ConnectionLimits) {
        let Runtime { limits, problems, idle } = runtime(&bootstrap);
        bootstrap.problems.extend(problems);
        bootstrap.idle.extend(idle);
        (Sources::new(self.0.clone(), bootstrap), limits)
    }

    /// Where the admin listens, if the bootstrap has one.
    pub(crate) fn admin(&self, bootstrap: &Bootstrap) -> Result<Option<SocketAddr>, Vec<Finding>> {
        let Some(address) = bootstrap.proto.admin.as_ref().and_then(|admin| admin.address.as_ref()) else {
            return Ok(None);
        };
        socket_address(address).map(Some).map_err(|reason| {
            let path = "admin.address.socket_address".to_owned();
            self.0.findings(vec![Problem { path, line: None, reason }])
        })
    }
}

/// What plugins and logs read of this node.
pub(crate) fn node(bootstrap: &Bootstrap, cluster: Option<String>, id: Option<String>) -> Node {
    let proto = bootstrap.proto.node.clone().unwrap_or_default();
    let metadata = proto.metadata.map(|m| weir_xds::to_json("google.protobuf.Struct", &m.encode_to_vec()));
    let locality = proto.locality.unwrap_or_default();
    Node {
        id: id.unwrap_or(proto.id),
        cluster: cluster.unwrap_or(proto.cluster),
        metadata: metadata.unwrap_or_default(),
        locality: Locality { region: locality.region, zone: locality.zone, sub_zone: locality.sub_zone },
    }
}

fn socket_address(address: &pb::core::Address) -> Result<SocketAddr, String> {
    use pb::core::{address::Address, socket_address::PortSpecifier};

    let Some(Address::SocketAddress(socket)) = &address.address else {
        return Err("must be an IP address and a port".to_owned());
    };
    let ip = socket.address.parse().map_err(|_| format!("{:?} is no IP address", socket.address))?;
    let port = match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(port).map_err(|_| format!("{port} is no port"))?,
        _ => 0,
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_command_line_overrides_the_file() {
        let file = "node: {id: a, cluster: b, metadata: {k: 1}}\nstatic_resources: {clusters: [{name: x}]}\n";
        let over = "node: {id: c}\nadmin: {}\nstatic_resources: {clusters: [{name: y}]}\n";
        let config = Config::inline(file.to_owned()).with(Some(over.to_owned()));
        let bootstrap = config.bootstrap();
        let proto = bootstrap.proto.node.clone().unwrap();
        assert_eq!((proto.id.as_str(), proto.cluster.as_str()), ("c", "b"));
        assert!(proto.metadata.is_some() && bootstrap.proto.admin.is_some());
        let names: Vec<_> = bootstrap.resources.iter().map(|r| (r.name.as_str(), r.path.as_str())).collect();
        assert_eq!(names, [("x", "static_resources.clusters[0]"), ("y", "static_resources.clusters[1]")]);
        assert_eq!(config.findings_of_over(), []);
        let config = Config::inline(file.to_owned()).with(Some("\nnodes: {}".to_owned()));
        let findings = config.findings_of_over();
        assert!(findings[0].to_string().starts_with("--config-yaml:2: nodes: unknown field"), "{findings:?}");
    }

    #[test]
    fn the_admin_address_and_the_node() {
        let config = Config::inline(
            "node: {id: a, cluster: b, metadata: {k: [1, x]}}\nadmin:\n  address: {socket_address: {address: \"::1\", port_value: 9901}}\n"
                .to_owned(),
        );
        let bootstrap = config.bootstrap();
        assert_eq!(config.admin(&bootstrap).unwrap().unwrap().to_string(), "[::1]:9901");
        let node = node(&bootstrap, Some("c".to_owned()), None);
        assert_eq!((node.id.as_str(), node.cluster.as_str()), ("a", "c"));
        assert_eq!(node.metadata["k"][1], "x");
        let config =
            Config::inline("admin:\n  address: {socket_address: {address: localhost, port_value: 1}}\n".to_owned());
        let findings = config.admin(&config.bootstrap()).unwrap_err();
        assert_eq!(
            findings[0].to_string(),
            "--config-yaml:2: admin.address.socket_address: \"localhost\" is no IP address"
        );
    }
}
