//! Writes the schema of Envoy's API as static tables: message, field, enum and rule, as `src/schema.rs` declares them.
//!
//! The envoy-types package ships, beside its prost types, the descriptors they were generated from, options included.
//! Prost types know neither field names nor `validate.rules`; a descriptor pool at run time costs 17 MB. So both are
//! settled here, and the gateway starts with read-only tables that cost nothing until they are looked at.

#[path = "build/descriptors.rs"]
mod descriptors;
#[path = "build/rules.rs"]
mod rules;
#[path = "build/tables.rs"]
mod tables;

use std::{env, error::Error, fs, path::PathBuf};

/// What is taken besides everything in `envoy.extensions`: the resources, what carries them, and how they are shown.
const ROOTS: &[&str] = &[
    "envoy.admin.v3.BootstrapConfigDump",
    "envoy.admin.v3.ClustersConfigDump",
    "envoy.admin.v3.EndpointsConfigDump",
    "envoy.admin.v3.ListenersConfigDump",
    "envoy.admin.v3.RoutesConfigDump",
    "envoy.admin.v3.SecretsConfigDump",
    "envoy.config.bootstrap.v3.Bootstrap",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.core.v3.TypedExtensionConfig",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.FilterConfig",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.ScopedRouteConfiguration",
    "envoy.service.discovery.v3.DiscoveryResponse",
    "envoy.service.discovery.v3.Resource",
    "envoy.service.runtime.v3.Runtime",
    "google.protobuf.Empty",
    "udpa.type.v1.TypedStruct",
    "xds.type.v3.TypedStruct",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let pool = descriptors::pool()?;
    let extensions = pool.all_messages().filter(|m| m.package_name().starts_with("envoy.extensions."));
    let mut roots: Vec<_> = extensions.collect();
    for name in ROOTS {
        roots.push(pool.get_message_by_name(name).ok_or_else(|| format!("{name} is not among the descriptors"))?);
    }
    let text = tables::render(&pool, roots)?;
    let file = PathBuf::from(env::var("OUT_DIR")?).join("schema.rs");
    fs::write(file, text)?;
    Ok(())
}
