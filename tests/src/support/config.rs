//! Bootstraps in a few words. A test states only what it is about; the rest is the shortest configuration that serves.

use serde_json::{Value, json};
use std::net::SocketAddr;

/// A bootstrap with an admin on port 0, to which a test adds listeners and clusters.
#[derive(Clone, Debug)]
pub struct Bootstrap(pub Value);

impl Default for Bootstrap {
    fn default() -> Self {
        Self::new()
    }
}

impl Bootstrap {
    /// Without listeners and clusters.
    pub fn new() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self(json!({
            "node": {"id": "test", "cluster": "tests"},
            "admin": {"address": socket_address(any)},
            "static_resources": {"listeners": [], "clusters": []},
        }))
    }

    /// One listener with this connection manager, and cluster `a` at this address.
    pub fn serving(hcm: Hcm, upstream: SocketAddr) -> Self {
        Self::new().listener("main", hcm).cluster("a", upstream)
    }

    /// Adds a cleartext listener on port 0.
    #[must_use]
    pub fn listener(self, name: &str, hcm: Hcm) -> Self {
        self.listener_value(json!({"name": name, "filter_chains": [{"filters": [hcm.filter_value()]}]}))
    }

    /// Adds a listener as written; its address is port 0 unless it has one.
    #[must_use]
    pub fn listener_value(mut self, mut listener: Value) -> Self {
        if listener.get("address").is_none() {
            listener["address"] = socket_address(SocketAddr::from(([127, 0, 0, 1], 0)));
        }
        self.0["static_resources"]["listeners"].as_array_mut().unwrap().push(listener);
        self
    }

    /// Adds a static cluster of one endpoint.
    #[must_use]
    pub fn cluster(self, name: &str, endpoint: SocketAddr) -> Self {
        self.cluster_value(cluster(name, &[endpoint]))
    }

    /// Adds a cluster as written.
    #[must_use]
    pub fn cluster_value(mut self, cluster: Value) -> Self {
        self.0["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
        self
    }

    /// Merges fields into the top level.
    #[must_use]
    pub fn set(mut self, fields: Value) -> Self {
        merge(&mut self.0, fields);
        self
    }
}

/// An HTTP connection manager; as made, it sends every path of every host to cluster `a`.
#[derive(Clone, Debug)]
pub struct Hcm(pub Value);

impl Default for Hcm {
    fn default() -> Self {
        Self::new()
    }
}

impl Hcm {
    /// Every path of every host goes to cluster `a`.
    pub fn new() -> Self {
        let hcm = json!({
            "stat_prefix": "test",
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({})),
            }],
            "route_config": {"name": "routes", "virtual_hosts": []},
        });
        Self(hcm).routes(json!([{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]))
    }

    /// One virtual host for all, with these routes.
    #[must_use]
    pub fn routes(self, routes: Value) -> Self {
        self.virtual_hosts(json!([{"name": "all", "domains": ["*"], "routes": routes}]))
    }

    /// These virtual hosts instead.
    #[must_use]
    pub fn virtual_hosts(mut self, hosts: Value) -> Self {
        self.0["route_config"]["virtual_hosts"] = hosts;
        self
    }

    /// Merges fields into the connection manager.
    #[must_use]
    pub fn set(mut self, fields: Value) -> Self {
        merge(&mut self.0, fields);
        self
    }

    /// Adds an HTTP filter before the router, after those added earlier.
    #[must_use]
    pub fn filter(mut self, name: &str, config: Value) -> Self {
        let filters = self.0["http_filters"].as_array_mut().unwrap();
        filters.insert(filters.len() - 1, json!({"name": name, "typed_config": config}));
        self
    }

    /// Adds a plugin of `target/plugins` before the router, configured with this text.
    #[must_use]
    pub fn wasm(self, module: &str, configuration: &str) -> Self {
        self.wasm_with(module, configuration, json!({}))
    }

    /// As [`Hcm::wasm`], with further fields of the plugin's configuration.
    #[must_use]
    pub fn wasm_with(self, module: &str, configuration: &str, fields: Value) -> Self {
        let mut config = json!({
            "name": module,
            "root_id": module,
            "vm_config": {
                "vm_id": module,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": super::plugin(module)}},
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
        });
        merge(&mut config, fields);
        let name = format!("wasm.{module}");
        self.filter(&name, typed("envoy.extensions.filters.http.wasm.v3.Wasm", json!({"config": config})))
    }

    /// The network filter that a filter chain holds.
    pub fn filter_value(self) -> Value {
        let name = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": typed(name, self.0)})
    }
}

/// A static cluster with these endpoints.
pub fn cluster(name: &str, endpoints: &[SocketAddr]) -> Value {
    let endpoints: Vec<_> = endpoints.iter().map(|&at| json!({"endpoint": {"address": socket_address(at)}})).collect();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    })
}

/// `envoy.config.core.v3.Address` of a socket.
pub fn socket_address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

/// A message as `google.protobuf.Any`.
pub fn typed(name: &str, mut message: Value) -> Value {
    message["@type"] = format!("type.googleapis.com/{name}").into();
    message
}

/// Puts `fields` over `into`: objects are merged, everything else is replaced, null removes.
pub fn merge(into: &mut Value, fields: Value) {
    match (into, fields) {
        (Value::Object(into), Value::Object(fields)) => {
            for (name, value) in fields {
                if value.is_null() {
                    into.remove(&name);
                } else {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (into, value) => *into = value,
    }
}
