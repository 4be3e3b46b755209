//! `envoy.extensions.filters.http.wasm.v3`

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use weir_xds::pb;
use weir_xds::pb::core::async_data_source::Specifier as CodeSpecifier;
use weir_xds::pb::core::data_source::Specifier;
use weir_xds::pb::wasm::plugin_config::Vm;
use weir_xds::pb::wasm::{FailurePolicy as PbFailurePolicy, PluginConfig as PbPluginConfig, VmConfig};

use super::FilterConfig;
use crate::plugin::{FailurePolicy, HostLimits, Limits, LoadError, PluginConfig, Plugins, RestartBackoff};
use crate::snapshot::Problems;
use crate::snapshot::compile::json;

/// Largest module in bytes, as the sandbox has it.
const MAX_MODULE_BYTES: u64 = 64 << 20;

pub(super) fn compile(
    proto: &pb::wasm_filter::Wasm,
    plugins: &Plugins,
    problems: &mut Problems,
) -> Option<FilterConfig> {
    let Some(config) = &proto.config else {
        problems.push("config", "is required");
        return None;
    };
    let mut inner = Problems::new();
    let plugin = compile_plugin(config, &mut inner).and_then(|(config, code_path)| {
        let blamed = |error: &LoadError| if error.is_of_the_plugin() { code_path } else { "vm_config" };
        plugins.load(config).map_err(|error| inner.push(blamed(&error), error.to_string())).ok()
    });
    problems.nest("config", inner);
    plugin.map(FilterConfig::Wasm)
}

/// The plugin, and the path of what it is blamed on if it does not load.
fn compile_plugin(proto: &PbPluginConfig, problems: &mut Problems) -> Option<(PluginConfig, &'static str)> {
    let before = problems.len();
    let Some(Vm::VmConfig(vm)) = &proto.vm else {
        problems.push("vm_config", "is required: its code is what runs");
        return None;
    };
    let mut inner = Problems::new();
    let code = code(vm, &mut inner);
    let vm_configuration = configuration(vm.configuration.as_ref(), "configuration", &mut inner);
    let (environment, limits, host_limits) = environment(vm, &mut inner);
    if vm.allow_precompiled {
        inner.push("allow_precompiled", "precompiled code is not accepted: nothing could verify what it does");
    }
    if vm.capability_restriction_config.as_ref().is_some_and(|c| !c.allowed_capabilities.is_empty()) {
        inner.push("capability_restriction_config", "restricting capabilities is not supported");
    }
    problems.nest("vm_config", inner);

    #[allow(deprecated, reason = "still read, as Envoy does")]
    let (fail_open, capabilities) = (proto.fail_open, proto.capability_restriction_config.as_ref());
    if capabilities.is_some_and(|c| !c.allowed_capabilities.is_empty()) {
        problems.push("capability_restriction_config", "restricting capabilities is not supported");
    }
    let failure_policy = match PbFailurePolicy::try_from(proto.failure_policy) {
        Ok(PbFailurePolicy::Unspecified) if fail_open => FailurePolicy::Open,
        Ok(_) if fail_open => {
            problems.push("fail_open", "cannot be set beside failure_policy");
            FailurePolicy::Open
        }
        Ok(PbFailurePolicy::FailOpen) => FailurePolicy::Open,
        Ok(PbFailurePolicy::Unspecified | PbFailurePolicy::FailClosed | PbFailurePolicy::FailReload) => {
            FailurePolicy::Closed
        }
        Err(_) => {
            problems.push("failure_policy", format!("{} is not a policy", proto.failure_policy));
            FailurePolicy::Closed
        }
    };
    let restart = restart(proto, problems);
    let configuration = configuration(proto.configuration.as_ref(), "configuration", problems);
    if problems.len() != before {
        return None;
    }
    let (code, file) = code?;
    let blamed = if file.is_some() { "vm_config.code.local.filename" } else { "vm_config.code.local" };
    let config = PluginConfig {
        name: proto.name.clone(),
        root_id: proto.root_id.clone(),
        vm_id: vm.vm_id.clone(),
        code,
        file,
        vm_configuration: vm_configuration?,
        configuration: configuration?,
        environment,
        limits,
        host_limits,
        failure_policy,
        restart,
        stop_iteration_on_headers: proto.allow_on_headers_stop_iteration.is_some_and(|b| b.value),
    };
    Some((config, blamed))
}

fn code(vm: &VmConfig, problems: &mut Problems) -> Option<(Bytes, Option<PathBuf>)> {
    let source = match vm.code.as_ref().and_then(|code| code.specifier.as_ref()) {
        Some(CodeSpecifier::Local(source)) => source,
        Some(CodeSpecifier::Remote(_)) => {
            problems.push("code.remote", "fetching modules is not supported: use code.local");
            return None;
        }
        None => {
            problems.push("code", "is required: use code.local");
            return None;
        }
    };
    match &source.specifier {
        Some(Specifier::Filename(name)) => {
            let path = PathBuf::from(name);
            match weir_xds::read_file(&path, MAX_MODULE_BYTES) {
                Ok(code) => Some((code.into(), Some(path))),
                Err(error) => {
                    problems.push("code.local.filename", format!("{name}: {error}"));
                    None
                }
            }
        }
        Some(Specifier::InlineBytes(code)) => Some((Bytes::copy_from_slice(code), None)),
        Some(Specifier::InlineString(code)) => Some((Bytes::copy_from_slice(code.as_bytes()), None)),
        Some(Specifier::EnvironmentVariable(_)) | None => {
            problems.push("code.local", "one of filename, inline_bytes and inline_string is required");
            None
        }
    }
}

/// As Envoy passes it on: a Struct as JSON, text and bytes without their wrapper, anything else as its bytes.
fn configuration(any: Option<&pb::Any>, path: &str, problems: &mut Problems) -> Option<Vec<u8>> {
    let Some(any) = any else { return Some(Vec::new()) };
    let result = match pb::type_name(any) {
        "google.protobuf.Struct" => {
            pb::unpack::<pb::Struct>(any).map(|value| json::object(&value).to_string().into_bytes())
        }
        "google.protobuf.StringValue" => {
            pb::unpack::<pb::google::protobuf::StringValue>(any).map(|value| value.value.into_bytes())
        }
        "google.protobuf.BytesValue" => pb::unpack::<pb::google::protobuf::BytesValue>(any).map(|value| value.value),
        _ => Ok(any.value.clone()),
    };
    result.map_err(|error| problems.push(path, error.to_string())).ok()
}

fn restart(proto: &PbPluginConfig, problems: &mut Problems) -> RestartBackoff {
    let default = RestartBackoff::default();
    let Some(backoff) = proto.reload_config.as_ref().and_then(|reload| reload.backoff.as_ref()) else { return default };
    let mut interval = |value: Option<&pb::Duration>, path: &str| -> Option<Duration> {
        let value = value?;
        match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
            (Ok(seconds), Ok(nanos)) if seconds > 0 || nanos >= 1_000_000 => Some(Duration::new(seconds, nanos)),
            _ => {
                problems.push(format!("reload_config.backoff.{path}"), "must be 0.001s or more");
                None
            }
        }
    };
    let base = interval(backoff.base_interval.as_ref(), "base_interval").unwrap_or(default.base);
    let max = interval(backoff.max_interval.as_ref(), "max_interval").unwrap_or_else(|| base.saturating_mul(10));
    if max < base {
        problems.push("reload_config.backoff.max_interval", "must not be less than base_interval");
    }
    RestartBackoff { base, max }
}

/// What the guest sees, and the limits, which come by names that it does not see.
fn environment(vm: &VmConfig, problems: &mut Problems) -> (Vec<(String, String)>, Limits, HostLimits) {
    let (mut limits, mut host_limits) = (Limits::default(), HostLimits::default());
    let mut seen: Vec<(String, String)> = Vec::new();
    let Some(proto) = &vm.environment_variables else { return (seen, limits, host_limits) };
    for (at, name) in proto.host_env_keys.iter().enumerate() {
        if name.starts_with("WEIR_") || proto.key_values.contains_key(name) || seen.iter().any(|(n, _)| n == name) {
            let reason = format!("{name} is given twice, or is a name of the gateway's own");
            problems.push(format!("environment_variables.host_env_keys[{at}]"), reason);
        } else if let Ok(value) = std::env::var(name) {
            seen.push((name.clone(), value));
        }
    }
    let mut names: Vec<_> = proto.key_values.iter().collect();
    names.sort();
    for (name, value) in names {
        let path = || format!("environment_variables.key_values[{name:?}]");
        if name.starts_with("WEIR_") {
            if let Err(reason) = set_limit(&mut limits, &mut host_limits, name, value) {
                problems.push(path(), reason);
            }
        } else if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            problems.push(path(), "is not an environment variable");
        } else {
            seen.push((name.clone(), value.clone()));
        }
    }
    (seen, limits, host_limits)
}

fn set_limit(limits: &mut Limits, host: &mut HostLimits, name: &str, value: &str) -> Result<(), String> {
    match name {
        "WEIR_ISOLATION" if value == "shared" => {}
        "WEIR_ISOLATION" => return Err(format!("isolation {value:?} is not supported, only `shared` is")),
        "WEIR_MEMORY_LIMIT" => {
            limits.memory_bytes = bytes(value).ok_or_else(|| wants(BYTES))?;
            if limits.memory_bytes > Limits::MOST_MEMORY_BYTES {
                return Err("must be 1GiB or less".to_owned());
            }
        }
        "WEIR_CALLBACK_TIMEOUT" => limits.callback_cpu = time(value).ok_or_else(|| wants(TIME))?,
        "WEIR_START_TIMEOUT" => limits.start_cpu = time(value).ok_or_else(|| wants(TIME))?,
        "WEIR_TABLE_LIMIT" => {
            limits.table_elements = bytes(value).ok_or_else(|| wants(NUMBER))?;
            if limits.table_elements > Limits::MOST_TABLE_ELEMENTS {
                return Err(format!("must be {} or less", Limits::MOST_TABLE_ELEMENTS));
            }
        }
        "WEIR_BODY_LIMIT" => host.body_bytes = bytes(value).ok_or_else(|| wants(BYTES))?,
        "WEIR_FIELDS_LIMIT" => host.field_bytes = bytes(value).ok_or_else(|| wants(BYTES))?,
        "WEIR_FILTER_STATE_LIMIT" => host.filter_state_bytes = bytes(value).ok_or_else(|| wants(BYTES))?,
        "WEIR_LOCAL_REPLY_LIMIT" => host.local_reply_bytes = bytes(value).ok_or_else(|| wants(BYTES))?,
        "WEIR_LOG_LINES_PER_SECOND" => host.log_lines_per_second = bytes(value).ok_or_else(|| wants(NUMBER))?,
        "WEIR_LOG_MESSAGE_LIMIT" => limits.log_message_bytes = bytes(value).ok_or_else(|| wants(BYTES))?,
        _ => return Err(format!("{name} is not known; known are {LIMITS}")),
    }
    Ok(())
}

const LIMITS: &str = "WEIR_BODY_LIMIT, WEIR_CALLBACK_TIMEOUT, WEIR_FIELDS_LIMIT, WEIR_FILTER_STATE_LIMIT, WEIR_ISOLATION, \
                      WEIR_LOCAL_REPLY_LIMIT, WEIR_LOG_LINES_PER_SECOND, WEIR_LOG_MESSAGE_LIMIT, WEIR_MEMORY_LIMIT, \
                      WEIR_START_TIMEOUT and WEIR_TABLE_LIMIT";
const NUMBER: &str = "a number above 0";
const BYTES: &str = "bytes, such as 67108864, 512KiB or 64MiB";
const TIME: &str = "a time, such as 20ms or 1s";

fn wants(what: &str) -> String {
    format!("must be {what}")
}

fn bytes(text: &str) -> Option<usize> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit.trim_start() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

fn time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let amount = digits.parse::<u64>().ok().filter(|amount| *amount > 0)?;
    match unit {
        "ms" => Some(Duration::from_millis(amount)),
        "s" => Some(Duration::from_secs(amount)),
        _ => None,
    }
    .filter(|time| *time <= Duration::from_secs(60))
}
