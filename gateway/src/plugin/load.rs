//! From a plugin's configuration to a plugin that may be given traffic.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use sha2::{Digest, Sha256};
use weir_wasm::{AbiVersion, Engine, EngineError, EngineSettings, Exports, Module, PluginSettings, StartError};

use super::config::{HostLimits, PluginConfig};
use super::host::Bridge;
use super::properties::Node;
use crate::telemetry::metrics::{
    Registry, Scope,
    names::{Wasm, wasm},
};

/// All plugins of the process. Equal ones (same code and configuration) are loaded once for as long as a snapshot has
/// them; a module is compiled once for as long as a plugin runs it.
#[derive(Debug)]
pub struct Plugins {
    registry: Arc<Registry>,
    node: Arc<Node>,
    settings: EngineSettings,
    /// Made for the first plugin: without one the gateway pays nothing for the sandbox.
    engine: OnceLock<Engine>,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    modules: HashMap<[u8; 32], (Module, Vec<Weak<Plugin>>)>,
    plugins: HashMap<[u8; 32], Weak<Plugin>>,
}

/// Why a plugin cannot be used; the running one, if there is one, goes on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No sandbox on this machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The module cannot be used.
    #[error(transparent)]
    Module(#[from] weir_wasm::LoadError),
    /// It did not start with this configuration.
    #[error("the plugin does not start: {0}")]
    Start(#[from] StartError),
}

impl LoadError {
    /// Whether the module or its configuration is to blame, and not the machine.
    pub fn is_of_the_plugin(&self) -> bool {
        !matches!(self, Self::Engine(_) | Self::Start(StartError::Addresses(_)))
    }
}

/// A plugin that has started once, with success. Snapshots hold it: with the last of them its instances go.
pub struct Plugin {
    pub(super) core: Arc<Core>,
}

/// What workers make their instances from. They hold this and not the plugin, so that it is known when no snapshot has
/// it any more.
pub(super) struct Core {
    pub(super) id: u64,
    pub(super) config: PluginConfig,
    pub(super) identity: Arc<Identity>,
    pub(super) inner: weir_wasm::Plugin<Bridge>,
    pub(super) exports: Exports,
    pub(super) metrics: Scope<Wasm>,
}

/// What a guest can ask about itself.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) root_id: String,
    pub(super) vm_id: String,
    pub(super) node: Arc<Node>,
    /// ABI 0.1.0: a write to request headers chooses the route again.
    pub(super) clears_route_on_write: bool,
    pub(super) limits: HostLimits,
    /// Longest message that it may log, as it is written, in bytes.
    pub(super) log_message_bytes: usize,
}

impl Plugins {
    /// No plugin yet. `node` is what guests read as `node`.
    pub fn new(registry: Arc<Registry>, node: Node, settings: EngineSettings) -> Arc<Self> {
        Arc::new(Self { registry, node: Arc::new(node), settings, engine: OnceLock::new(), loaded: Mutex::default() })
    }

    /// Compiles, and rehearses start and configuration. It takes long: never call it on a worker.
    pub fn load(&self, config: PluginConfig) -> Result<Arc<Plugin>, LoadError> {
        let key = config.key();
        if let Some(plugin) = self.lock().plugins.get(&key).and_then(Weak::upgrade) {
            return Ok(plugin);
        }
        let module = self.module(&config)?;
        let metrics = self.registry.scope(Wasm, config.name.as_str());
        let identity = Arc::new(Identity {
            name: config.name.clone(),
            root_id: config.root_id.clone(),
            vm_id: config.vm_id.clone(),
            node: Arc::clone(&self.node),
            clears_route_on_write: module.abi_version() == AbiVersion::V0_1_0,
            limits: config.host_limits,
            log_message_bytes: config.limits.log_message_bytes,
        });
        let settings = PluginSettings {
            name: config.name.clone(),
            vm_configuration: config.vm_configuration.clone(),
            configuration: config.configuration.clone(),
            environment: config.environment.clone(),
            limits: config.limits.clone(),
        };
        let inner = weir_wasm::Plugin::new(&module, settings)?;
        if !inner.unknown_imports().is_empty() {
            let imports = inner.unknown_imports().join(", ");
            tracing::warn!(target: "config", plugin = config.name, imports, "these host functions do not exist here; a call of one is a trap");
        }
        let rehearsal = inner.start(Bridge::new(Arc::clone(&identity), metrics.clone(), CONTROL))?;
        let exports = rehearsal.exports();
        drop(rehearsal);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let core = Arc::new(Core { id, config, identity, inner, exports, metrics });
        let plugin = Arc::new(Plugin { core });
        let mut loaded = self.lock();
        loaded.sweep();
        loaded.plugins.insert(key, Arc::downgrade(&plugin));
        let users = loaded.modules.entry(module.digest()).or_insert_with(|| (module, Vec::new()));
        users.1.push(Arc::downgrade(&plugin));
        Ok(plugin)
    }

    fn module(&self, config: &PluginConfig) -> Result<Module, LoadError> {
        let digest: [u8; 32] = Sha256::digest(&config.code).into();
        if let Some((module, _)) = self.lock().modules.get(&digest) {
            return Ok(module.clone());
        }
        tracing::info!(target: "config", plugin = config.name, bytes = config.code.len(), "compiling a module");
        Ok(Module::new(self.engine()?, &config.code)?)
    }

    fn engine(&self) -> Result<&Engine, EngineError> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::new(&self.settings)?;
        Ok(self.engine.get_or_init(|| engine))
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    /// Forgets what no snapshot has any more.
    fn sweep(&mut self) {
        self.plugins.retain(|_, plugin| plugin.strong_count() > 0);
        self.modules.retain(|_, (_, users)| {
            users.retain(|plugin| plugin.strong_count() > 0);
            !users.is_empty()
        });
    }
}

impl Plugin {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.core.config.name
    }

    /// SHA-256 of its module.
    pub fn digest(&self) -> [u8; 32] {
        self.core.inner.module().digest()
    }

    /// The file that its module came from: when it changes, the plugin has to be loaded again.
    pub fn file(&self) -> Option<&Path> {
        self.core.config.file.as_deref()
    }

    /// Its configuration.
    pub fn config(&self) -> &PluginConfig {
        &self.core.config
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.core.config.name)
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}

/// The control thread's place among the workers in metrics.
const CONTROL: usize = 0;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What a start by a worker is counted as.
pub(super) fn count_start(metrics: &Scope<Wasm>, worker: usize, ok: bool) {
    let chunk = metrics.chunk(worker);
    chunk.inc(if ok { wasm::INSTANCES_CREATED } else { wasm::INSTANCES_FAILED });
}
