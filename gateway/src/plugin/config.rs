//! What is known of a plugin from its configuration, checked.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_wasm::Limits;

/// A plugin (`envoy.extensions.wasm.v3.PluginConfig`) as the gateway runs it.
#[derive(Clone, Debug)]
pub struct PluginConfig {
    /// Its name in logs, metrics and properties.
    pub name: String,
    /// Which of the module's plugins, if it has several (`root_id`).
    pub root_id: String,
    /// `vm_id`, shown to the guest as a property.
    pub vm_id: String,
    /// The module.
    pub code: Bytes,
    /// The file that the module came from.
    pub file: Option<PathBuf>,
    /// What `proxy_on_vm_start` reads.
    pub vm_configuration: Vec<u8>,
    /// What `proxy_on_configure` reads.
    pub configuration: Vec<u8>,
    /// Environment variables that the guest sees.
    pub environment: Vec<(String, String)>,
    /// What each instance may use.
    pub limits: Limits,
    /// What it may make the gateway hold or write.
    pub host_limits: HostLimits,
    /// What becomes of a stream whose guest failed.
    pub failure_policy: FailurePolicy,
    /// How fast a guest that fails again and again is started again.
    pub restart: RestartBackoff,
    /// "Pause" on headers still lets the body come (`allow_on_headers_stop_iteration`).
    pub stop_iteration_on_headers: bool,
}

/// What a guest may make the gateway hold or write, beside its own memory. What exceeds a limit is refused and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// Largest body that it may build up in a buffer, in bytes. Default 64 MiB.
    pub body_bytes: usize,
    /// Largest body of an answer of its own, in bytes; 500 is sent instead of a larger one. Default 1 MiB.
    pub local_reply_bytes: usize,
    /// Names and values of a map of fields that it writes to, in bytes. Default 128 KiB.
    pub field_bytes: usize,
    /// Filter state that guests may leave on one stream, in bytes. Default 256 KiB.
    pub filter_state_bytes: usize,
    /// Log lines per second of one instance. Default 1000.
    pub log_lines_per_second: usize,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            local_reply_bytes: 1 << 20,
            field_bytes: 128 << 10,
            filter_state_bytes: 256 << 10,
            log_lines_per_second: 1000,
        }
    }
}

/// What becomes of a stream whose guest failed (`failure_policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// It is answered by 503. `FAIL_RELOAD` is the same here: a failed instance is always replaced.
    Closed,
    /// The filter is left out.
    Open,
}

/// How long no instance is started after too many failures (`reload_config.backoff`): `base` at first, doubled while it
/// goes on, `max` at most. Finite, and ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartBackoff {
    /// Default 1 s, as in Envoy.
    pub base: Duration,
    /// Default ten times `base`.
    pub max: Duration,
}

impl Default for RestartBackoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), max: Duration::from_secs(10) }
    }
}

impl PluginConfig {
    /// Equal for plugins that behave the same: they are loaded once.
    pub(super) fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        for part in [&self.name, &self.root_id, &self.vm_id] {
            add(part.as_bytes());
        }
        add(&Sha256::digest(&self.code));
        add(self.file.as_deref().map_or(&[][..], |file| file.as_os_str().as_encoded_bytes()));
        add(&self.vm_configuration);
        add(&self.configuration);
        for (name, value) in &self.environment {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        let settings =
            (&self.limits, self.host_limits, self.failure_policy, self.restart, self.stop_iteration_on_headers);
        add(format!("{settings:?}").as_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PluginConfig {
        PluginConfig {
            name: "n".into(),
            root_id: "r".into(),
            vm_id: "v".into(),
            code: Bytes::from_static(b"code"),
            file: None,
            vm_configuration: b"a".to_vec(),
            configuration: b"b".to_vec(),
            environment: vec![("k".into(), "v".into())],
            limits: Limits::default(),
            host_limits: HostLimits::default(),
            failure_policy: FailurePolicy::Closed,
            restart: RestartBackoff::default(),
            stop_iteration_on_headers: false,
        }
    }

    #[test]
    fn every_part_counts_in_the_key() {
        let key = config().key();
        assert_eq!(key, config().key());
        let changes: [fn(&mut PluginConfig); 12] = [
            |c| c.name = "x".into(),
            |c| c.root_id = "x".into(),
            |c| c.vm_id = "x".into(),
            |c| c.code = Bytes::from_static(b"other"),
            |c| c.vm_configuration = b"x".to_vec(),
            |c| c.configuration = b"x".to_vec(),
            |c| c.environment = vec![("kv".into(), String::new())],
            |c| c.limits.memory_bytes = 1,
            |c| c.host_limits.local_reply_bytes = 1,
            |c| c.failure_policy = FailurePolicy::Open,
            |c| c.restart.base = Duration::from_secs(9),
            |c| c.stop_iteration_on_headers = true,
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = config();
            change(&mut changed);
            assert_ne!(changed.key(), key, "change {i}");
        }
        // Moving bytes from one part to its neighbour is a change too.
        let (mut a, mut b) = (config(), config());
        (a.vm_configuration, a.configuration) = (b"ab".to_vec(), b"".to_vec());
        (b.vm_configuration, b.configuration) = (b"".to_vec(), b"ab".to_vec());
        assert_ne!(a.key(), b.key());
    }
}
