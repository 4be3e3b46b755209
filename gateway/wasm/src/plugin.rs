//! A module with its configuration: what instances are made from.

use std::fmt;
use std::sync::Arc;

use wasmtime::{Store, UpdateDeadline};

use crate::abi::AbiVersion;
use crate::callbacks::{Callbacks, export};
use crate::host::{ContextId, Host};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::link::{Linked, link};
use crate::module::{LoadError, Module};
use crate::state::State;
use crate::trap::{Callback, Trap};

/// What a plugin is told, and what it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginSettings {
    /// Its name in logs.
    pub name: String,
    /// What the guest reads in `proxy_on_vm_start`.
    pub vm_configuration: Vec<u8>,
    /// What the guest reads in `proxy_on_configure`.
    pub configuration: Vec<u8>,
    /// Environment variables that the guest sees.
    pub environment: Vec<(String, String)>,
    /// What each of its instances may use.
    pub limits: Limits,
}

/// A linked module with its configuration; shared by all threads, instances are made from it on each.
pub struct Plugin<H: Host> {
    module: Module,
    linked: Linked<H>,
    settings: Arc<PluginSettings>,
}

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An export is of another type than the ABI says.
    #[error("the export {name} has another type than proxy-wasm says: {reason}")]
    Export {
        /// Name of the export.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no room for it: its first memory is beyond the limit, or there are too many instances.
    #[error("no instance can be made: {0}")]
    Instantiate(String),
    /// The system has no addresses for it: a limit of the process, not a fault of the module.
    #[error(
        "the system refused addresses for an instance, which reserves (and does not use) 4 GiB of them: raise `ulimit -v` \
         (of a service: LimitAS=) ({0})"
    )]
    Addresses(String),
    /// Something every filter has is not there.
    #[error("the module does not export {0}")]
    Missing(&'static str),
    /// The guest answered "no" to its configuration.
    #[error(
        "{} returned false{}",
        callback.name(),
        guest_message.as_ref().map(|message| format!(": {message}")).unwrap_or_default()
    )]
    Refused {
        /// `VmStart` or `Configure`.
        callback: Callback,
        /// The last thing it logged at error level, if any.
        guest_message: Option<String>,
    },
    /// The guest trapped.
    #[error(transparent)]
    Trap(#[from] Trap),
}

impl<H: Host> Plugin<H> {
    /// Links a module. Imports that nobody knows are a warning: they trap when they are called.
    pub fn new(module: &Module, settings: PluginSettings) -> Result<Self, LoadError> {
        let linked = link(module)?;
        if !linked.unknown.is_empty() {
            tracing::warn!(
                plugin = settings.name,
                imports = linked.unknown.join(", "),
                "the plugin imports functions that this host does not offer: calling one will trap"
            );
        }
        Ok(Self { module: module.clone(), linked, settings: Arc::new(settings) })
    }

    /// What it was made with.
    pub fn settings(&self) -> &PluginSettings {
        &self.settings
    }

    /// The module it runs.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Imports that this host does not offer, as `module.name`.
    pub fn unknown_imports(&self) -> &[String] {
        &self.linked.unknown
    }

    /// Makes an instance on this thread and starts it: `_initialize`, then root context, `proxy_on_vm_start` and
    /// `proxy_on_configure`. Also a rehearsal of a new plugin before it gets traffic.
    pub fn start(&self, host: H) -> Result<Instance<H>, StartError> {
        let limits = &self.settings.limits;
        let engine = self.module.engine();
        let runner = engine.ticker().runner();
        let state = State::new(host, Arc::clone(&self.settings), self.module.abi_version(), runner.deadline());
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(|mut caller| {
            caller.data_mut().deadline.tick()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_epoch_deadline(1);
        store.data_mut().deadline.restart(limits.start_cpu);

        let running = runner.enter();
        let instance = self.linked.pre.instantiate(&mut store).map_err(|error| start_error(&mut store, &error))?;
        drop(running);

        let memory = instance.get_memory(&mut store, "memory").ok_or(StartError::Missing("memory"))?;
        // In this order, as Envoy does.
        let mut allocate = export(&mut store, &instance, "malloc")?;
        if allocate.is_none() {
            allocate = export(&mut store, &instance, "proxy_on_memory_allocate")?;
        }
        let Some(allocate) = allocate else {
            return Err(StartError::Missing("malloc or proxy_on_memory_allocate"));
        };
        let callbacks = Callbacks::resolve(&mut store, &instance)?;
        store.data_mut().memory = Some(memory);
        store.data_mut().allocate = Some(allocate);

        let mut instance = Instance::new(store, instance, callbacks, runner);
        instance.initialize()?;
        instance.on_context_create(Instance::<H>::ROOT, 0)?;
        instance.on_vm_start()?;
        instance.on_configure()?;
        Ok(instance)
    }

    /// The version of the ABI that the module declares.
    pub fn abi_version(&self) -> AbiVersion {
        self.module.abi_version()
    }

    /// The plugin's own context in every instance.
    pub const ROOT: ContextId = Instance::<H>::ROOT;
}

impl<H: Host> fmt::Debug for Plugin<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

fn start_error<H: Host>(store: &mut Store<State<H>>, error: &wasmtime::Error) -> StartError {
    let state = store.data_mut();
    // Guest code has a backtrace; what comes without one is the engine's own refusal.
    if error.downcast_ref::<wasmtime::WasmBacktrace>().is_some() {
        let denied = state.limiter.memory_denied;
        StartError::Trap(Trap::new(Callback::Start, error, denied, state.last_error.take()))
    } else if is_out_of_addresses(error) {
        StartError::Addresses(format!("{error:#}"))
    } else {
        StartError::Instantiate(format!("{error:#}"))
    }
}

/// The engine's own type of this error is not at hand: it is told by its words, which are the system's.
fn is_out_of_addresses(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string() == std::io::Error::from_raw_os_error(libc::ENOMEM).to_string()
}
