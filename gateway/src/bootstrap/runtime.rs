//! What of Envoy's runtime counts here: the keys of its static layers that bound how many connections clients may have. The
//! others choose between ways of Envoy's own.

use std::collections::BTreeMap;

use weir_xds::{Bootstrap, Idle, Problem, pb};

use crate::proxy::limits::ConnectionLimits;
use pb::ValueKind;
use pb::bootstrap::runtime_layer::LayerSpecifier;

const OF_ALL: &str = "overload.global_downstream_max_connections";
const OF_LISTENER: (&str, &str) = ("envoy.resource_limits.listener.", ".connection_limit");

/// What the static layers say.
#[derive(Debug, Default)]
pub(crate) struct Runtime {
    /// How many connections clients may have.
    pub(crate) limits: ConnectionLimits,
    /// Limits that are no numbers.
    pub(crate) problems: Vec<Problem>,
    /// Keys that mean nothing here.
    pub(crate) idle: Option<Idle>,
}

/// Reads the static layers; a later layer overrides those before it.
pub(crate) fn runtime(bootstrap: &Bootstrap) -> Runtime {
    let mut runtime = Runtime::default();
    let (mut all, mut listeners) = (None, BTreeMap::new());
    let layers = bootstrap.proto.layered_runtime.iter().flat_map(|runtime| &runtime.layers);
    for (at, layer) in layers.enumerate() {
        let Some(LayerSpecifier::StaticLayer(layer)) = &layer.layer_specifier else { continue };
        let path = format!("layered_runtime.layers[{at}].static_layer");
        let mut keys = Vec::new();
        flatten("", layer, &mut keys);
        for (key, value) in keys {
            let listener = key.strip_prefix(OF_LISTENER.0).and_then(|rest| rest.strip_suffix(OF_LISTENER.1));
            if key != OF_ALL && listener.is_none() {
                count_idle(&mut runtime.idle, &path);
                continue;
            }
            match (number(value), listener) {
                (Some(limit), Some(name)) => drop(listeners.insert(name.to_owned(), limit)),
                (Some(limit), None) => all = Some(limit),
                (None, _) => {
                    let reason = format!("{key} must be a whole number of connections");
                    runtime.problems.push(Problem { path: path.clone(), line: None, reason });
                }
            }
        }
    }
    runtime.limits = ConnectionLimits::new(all, listeners);
    runtime
}

fn count_idle(idle: &mut Option<Idle>, path: &str) {
    match idle {
        Some(idle) => idle.count += 1,
        None => {
            *idle = Some(Idle {
                message: "envoy.config.bootstrap.v3.RuntimeLayer",
                field: "static_layer",
                path: path.to_owned(),
                line: None,
                reason: "of the runtime's keys only limits of connections count",
                count: 1,
            });
        }
    }
}

/// Keys may be written with dots, as maps in maps, or both.
fn flatten<'a>(prefix: &str, layer: &'a pb::Struct, keys: &mut Vec<(String, &'a ValueKind)>) {
    for (name, value) in &layer.fields {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match &value.kind {
            Some(ValueKind::StructValue(inner)) => flatten(&key, inner, keys),
            Some(kind) => keys.push((key, kind)),
            None => {}
        }
    }
}

fn number(value: &ValueKind) -> Option<u64> {
    match value {
        // A whole number that a double holds exactly.
        ValueKind::NumberValue(number) if *number >= 0.0 && number.fract() == 0.0 && *number < 9e15 => {
            Some(*number as u64)
        }
        ValueKind::StringValue(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_however_their_keys_are_written() {
        let text = r#"
layered_runtime:
  layers:
  - name: a
    static_layer:
      overload.global_downstream_max_connections: 5
      envoy: {resource_limits: {listener: {l: {connection_limit: 7}}}, reloadable_features: {a: true, b: false}}
  - {name: b, static_layer: {overload: {global_downstream_max_connections: "6"}}}
  - {name: c, static_layer: {envoy.resource_limits.listener.x.connection_limit: many}}
"#;
        let runtime = runtime(&weir_xds::read_bootstrap(text));
        assert_eq!(runtime.limits.told(), (Some(6), vec![("l".to_owned(), 7)]));
        assert_eq!(runtime.problems.len(), 1, "{:?}", runtime.problems);
        assert_eq!(runtime.problems[0].path, "layered_runtime.layers[2].static_layer");
        assert_eq!(runtime.idle.map(|idle| idle.count), Some(2));
    }
}
