//! Joins a module's imports with the host calls.

use std::collections::HashSet;

use wasmtime::{Caller, ExternType, InstancePre, IntoFunc, Linker};

use crate::abi::{Status, proxy_wasm, wasi};
use crate::host::Host;
use crate::module::{LoadError, Module};
use crate::state::State;
use crate::trap::{HostTrap, TrapKind};

/// A module joined with the host calls of one kind of host.
pub(crate) struct Linked<H: Host> {
    pub(crate) pre: InstancePre<State<H>>,
    /// Imports that the host does not know: each traps when it is called.
    pub(crate) unknown: Vec<String>,
}

/// Links `module`. All host calls of all versions are offered: modules in the field mix them.
pub(crate) fn link<H: Host>(module: &Module) -> Result<Linked<H>, LoadError> {
    let mut imports = Imports { linker: Linker::new(module.engine().wasmtime()), names: HashSet::new(), module };
    proxy_wasm::define(&mut imports).map_err(LoadError::Link)?;
    wasi::define(&mut imports).map_err(LoadError::Link)?;
    let unknown = imports.trap_unknown().map_err(LoadError::Link)?;
    let pre = imports.linker.instantiate_pre(module.wasmtime()).map_err(LoadError::Link)?;
    Ok(Linked { pre, unknown })
}

/// The host calls that exist.
pub(crate) struct Imports<'a, H: Host> {
    linker: Linker<State<H>>,
    names: HashSet<(&'static str, &'static str)>,
    module: &'a Module,
}

impl<H: Host> Imports<'_, H> {
    /// Offers a host call.
    pub(crate) fn define<P, R>(
        &mut self,
        module: &'static str,
        name: &'static str,
        call: impl IntoFunc<State<H>, P, R>,
    ) -> wasmtime::Result<()> {
        self.names.insert((module, name));
        self.linker.func_wrap(module, name, call).map(drop)
    }

    /// Whether the module imports this function as one that returns nothing.
    pub(crate) fn is_imported_without_result(&self, module: &str, name: &str) -> bool {
        self.module.wasmtime().imports().any(|import| {
            import.module() == module
                && import.name() == name
                && matches!(import.ty(), ExternType::Func(ty) if ty.results().len() == 0)
        })
    }

    fn trap_unknown(&mut self) -> wasmtime::Result<Vec<String>> {
        let mut unknown = Vec::new();
        for import in self.module.wasmtime().imports() {
            if self.names.contains(&(import.module(), import.name())) {
                continue;
            }
            if let ExternType::Func(ty) = import.ty() {
                let name = format!("{}.{}", import.module(), import.name());
                let message = format!("called {name}, which this host does not offer");
                if !unknown.contains(&name) {
                    self.linker.func_new(import.module(), import.name(), ty, move |_, _, _| {
                        Err(HostTrap::new(TrapKind::HostCall, message.clone()).into())
                    })?;
                    unknown.push(name);
                }
            }
        }
        Ok(unknown)
    }
}

/// Why a host call did not do what it was asked for.
pub(crate) enum Fault {
    /// The guest is told.
    Status(Status),
    /// The guest ends.
    Trap(wasmtime::Error),
}

impl From<Status> for Fault {
    #[inline]
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<HostTrap> for Fault {
    fn from(trap: HostTrap) -> Self {
        Self::Trap(trap.into())
    }
}

/// A host call of proxy-wasm: its name, and which answers an SDK survives.
pub(crate) struct HostCall {
    name: &'static str,
    /// Statuses that SDKs take for an answer; others make the public Rust SDK trap.
    survivable: &'static [Status],
    /// What the guest is told instead of any other status.
    otherwise: Status,
    /// May be called while the module starts and by its allocator.
    unrestricted: bool,
}

impl HostCall {
    /// A call that SDKs expect to succeed always.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, survivable: &[], otherwise: Status::Ok, unrestricted: false }
    }

    /// Statuses that SDKs survive.
    pub(crate) const fn or(mut self, survivable: &'static [Status]) -> Self {
        self.survivable = survivable;
        self
    }

    /// What the guest is told for a status it would not survive. Without this: `Ok`.
    pub(crate) const fn otherwise(mut self, status: Status) -> Self {
        self.otherwise = status;
        self
    }

    /// May be called at any time.
    pub(crate) const fn unrestricted(mut self) -> Self {
        self.unrestricted = true;
        self
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the call and answers.
    #[inline]
    pub(crate) fn run<H: Host>(
        &self,
        mut caller: Caller<'_, State<H>>,
        call: impl FnOnce(&mut Caller<'_, State<H>>) -> Result<(), Fault>,
    ) -> wasmtime::Result<u32> {
        caller.data_mut().deadline.check()?;
        if !self.unrestricted && caller.data().phase.is_restricted() {
            let message = format!("called {} while the module starts or its allocator runs", self.name);
            return Err(HostTrap::new(TrapKind::HostCall, message).into());
        }
        match call(&mut caller) {
            Ok(()) => Ok(Status::Ok as u32),
            Err(fault) => self.fail(&mut caller, fault),
        }
    }

    #[cold]
    fn fail<H: Host>(&self, caller: &mut Caller<'_, State<H>>, fault: Fault) -> wasmtime::Result<u32> {
        match fault {
            Fault::Trap(error) => Err(error),
            Fault::Status(status) if self.survivable.contains(&status) => Ok(status as u32),
            Fault::Status(status) => {
                caller.data_mut().refused(self.name, status);
                // A guest whose pointers are wrong is broken already, and Envoy tells it so.
                let told = if status == Status::InvalidMemoryAccess { status } else { self.otherwise };
                Ok(told as u32)
            }
        }
    }
}
