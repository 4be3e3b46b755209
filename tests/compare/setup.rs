//! The configuration that both gateways get.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use weir_tests::{Bootstrap, Hcm, cluster, merge, typed};

/// Listeners and clusters; the clusters `a`, `b` (an upstream each) and `refused` always exist.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    bootstrap: Bootstrap,
    /// The names of the listeners.
    pub(crate) listeners: Vec<&'static str>,
    /// Reason phrases are compared.
    pub(crate) reasons: bool,
}

/// Where the upstreams of one gateway listen.
pub(crate) type Ports = BTreeMap<&'static str, SocketAddr>;

impl Setup {
    pub(crate) fn new() -> Self {
        Self { bootstrap: Bootstrap::new(), listeners: Vec::new(), reasons: false }
    }

    /// One listener `main`.
    pub(crate) fn main(hcm: Hcm) -> Self {
        Self::new().listener("main", hcm)
    }

    /// Adds a listener. Errors close soon, so that a case needs not wait for the default second.
    pub(crate) fn listener(self, name: &'static str, hcm: Hcm) -> Self {
        self.listener_with(name, hcm, json!({}))
    }

    /// As [`Self::listener`], with these fields of the listener.
    pub(crate) fn listener_with(mut self, name: &'static str, hcm: Hcm, listener: Value) -> Self {
        let log = format!("access-{name}.log");
        let mut fields = json!({"access_log": [access_log(&log)]});
        if hcm.0.get("delayed_close_timeout").is_none() {
            fields["delayed_close_timeout"] = "0.1s".into();
        }
        let mut value = json!({"name": name, "filter_chains": [{"filters": [hcm.set(fields).filter_value()]}]});
        merge(&mut value, listener);
        self.bootstrap = self.bootstrap.listener_value(value);
        self.listeners.push(name);
        self
    }

    /// Reason phrases are compared, which clients ignore (RFC 9112 section 4).
    pub(crate) fn with_reasons(self) -> Self {
        Self { reasons: true, ..self }
    }

    /// The listener that was added last speaks TLS, as this `DownstreamTlsContext` says.
    pub(crate) fn tls(mut self, context: Value) -> Self {
        let config = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
        let listeners = self.bootstrap.0["static_resources"]["listeners"].as_array_mut().unwrap();
        listeners.last_mut().unwrap()["filter_chains"][0]["transport_socket"] =
            json!({"name": "envoy.transport_sockets.tls", "typed_config": config});
        self
    }

    /// Merges fields into the top level.
    pub(crate) fn set(mut self, fields: Value) -> Self {
        self.bootstrap = self.bootstrap.set(fields);
        self
    }

    /// Adds a cluster, in which `"$a"`, `"$b"` and `"$refused"` stand for ports.
    pub(crate) fn cluster(mut self, cluster: Value) -> Self {
        self.bootstrap = self.bootstrap.cluster_value(cluster);
        self
    }

    /// The bootstrap with these ports.
    pub(crate) fn bootstrap(&self, ports: &Ports) -> Bootstrap {
        let mut bootstrap = self.bootstrap.clone();
        for (name, address) in ports {
            bootstrap = bootstrap.cluster_value(cluster(name, &[*address]));
        }
        replace_ports(&mut bootstrap.0, ports);
        bootstrap
    }
}

/// The fields of the access log that are compared; `from` finds the case.
fn access_log(path: &str) -> Value {
    let fields = json!({
        "from": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "authority": "%REQ(:AUTHORITY)%",
        "protocol": "%PROTOCOL%",
        "code": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "termination": "%CONNECTION_TERMINATION_DETAILS%",
        "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "route": "%ROUTE_NAME%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "upstream": "%UPSTREAM_HOST%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    });
    let config = json!({"path": path, "log_format": {"json_format": fields}});
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", config),
    })
}

fn replace_ports(value: &mut Value, ports: &Ports) {
    match value {
        Value::String(text) => {
            if let Some(address) = text.strip_prefix('$').and_then(|name| ports.get(name)) {
                *value = address.port().into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| replace_ports(value, ports)),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace_ports(value, ports)),
        _ => {}
    }
}
