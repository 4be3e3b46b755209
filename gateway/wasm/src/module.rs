//! A compiled module.

use sha2::{Digest, Sha256};
use wasmtime::ExternType;

use crate::abi::AbiVersion;
use crate::engine::Engine;

/// A compiled module; cheap to clone.
#[derive(Clone, Debug)]
pub struct Module {
    wasmtime: wasmtime::Module,
    engine: Engine,
    abi: AbiVersion,
    digest: [u8; 32],
}

/// Why bytes are no module that can be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Neither WebAssembly nor anything like it.
    #[error("this is no WebAssembly module (it does not start with \\0asm)")]
    NotWasm,
    /// Too large.
    #[error("the module has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes of the module.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not valid, or beyond the limits of the engine.
    #[error("the module cannot be compiled: {0:#}")]
    Compile(wasmtime::Error),
    /// No proxy-wasm filter.
    #[error(
        "the module exports no proxy_abi_version_0_1_0, _0_2_0 or _0_2_1{}: it is no proxy-wasm filter, or one of an \
         unknown version",
        found.as_ref().map(|name| format!(" (but {name})")).unwrap_or_default()
    )]
    Abi {
        /// A marker of another version.
        found: Option<String>,
    },
    /// Cannot be linked.
    #[error("the module cannot be linked: {0:#}")]
    Link(wasmtime::Error),
}

impl Module {
    /// Compiles. Takes about 1 ms for each KiB of a usual filter: never call it on a thread that serves.
    pub fn new(engine: &Engine, bytes: &[u8]) -> Result<Self, LoadError> {
        if !bytes.starts_with(b"\0asm") {
            return Err(LoadError::NotWasm);
        }
        let limit = engine.max_module_bytes();
        if bytes.len() > limit {
            return Err(LoadError::TooLarge { size: bytes.len(), limit });
        }
        let wasmtime = wasmtime::Module::from_binary(engine.wasmtime(), bytes).map_err(LoadError::Compile)?;
        let abi = abi_version(&wasmtime)?;
        Ok(Self { wasmtime, engine: engine.clone(), abi, digest: Sha256::digest(bytes).into() })
    }

    /// The version that the module declares.
    pub fn abi_version(&self) -> AbiVersion {
        self.abi
    }

    /// SHA-256 of the module's bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What the module needs, as `module.name`.
    pub fn imports(&self) -> impl Iterator<Item = String> {
        self.wasmtime.imports().map(|import| format!("{}.{}", import.module(), import.name()))
    }

    /// The functions that the module offers.
    pub fn exports(&self) -> impl Iterator<Item = &str> {
        self.wasmtime.exports().filter(|e| matches!(e.ty(), ExternType::Func(_))).map(|export| export.name())
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Module {
        &self.wasmtime
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

fn abi_version(module: &wasmtime::Module) -> Result<AbiVersion, LoadError> {
    let mut found = None;
    for export in module.exports() {
        match export.name() {
            "proxy_abi_version_0_1_0" => return Ok(AbiVersion::V0_1_0),
            "proxy_abi_version_0_2_0" => return Ok(AbiVersion::V0_2_0),
            "proxy_abi_version_0_2_1" => return Ok(AbiVersion::V0_2_1),
            name if name.starts_with("proxy_abi_version_") => found = Some(name.to_owned()),
            _ => {}
        }
    }
    Err(LoadError::Abi { found })
}
