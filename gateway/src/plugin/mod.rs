//! From a plugin's configuration to running Wasm filters: the bridge to weir-wasm.
