//! Where the things under test lie: the gateway's binary, Envoy's, and the built plugins.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The `weir` binary: `WEIR_BIN`, or the one that was built beside this test.
///
/// # Panics
/// When there is none, with the command that builds it.
pub fn weir_binary() -> PathBuf {
    found(
        std::env::var_os("WEIR_BIN").map_or_else(|| build_folder().join("weir"), PathBuf::from),
        "cargo build -p weir",
    )
}

/// Envoy's binary: `ENVOY_BIN`, or the one that `make envoy` installed.
///
/// # Panics
/// When there is none, with the command that installs it.
pub fn envoy_binary() -> PathBuf {
    let installed = || repository().join("target/envoy/bin/envoy");
    found(std::env::var_os("ENVOY_BIN").map_or_else(installed, PathBuf::from), "make envoy")
}

/// The module of an example plugin, such as `header_tag`: from `WEIR_PLUGINS`, or from `target/plugins`.
///
/// # Panics
/// When it is not built, with the command that builds it.
pub fn plugin(name: &str) -> PathBuf {
    let folder = std::env::var_os("WEIR_PLUGINS").map_or_else(|| repository().join("target/plugins"), PathBuf::from);
    found(folder.join(format!("{name}.wasm")), "make plugins")
}

/// `target/debug` of the running test, whose executable is `target/debug/deps/NAME-HASH`.
fn build_folder() -> PathBuf {
    std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().to_owned()
}

fn found(path: PathBuf, command: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `{command}`", path.display());
    path
}
