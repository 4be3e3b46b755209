//! `weir version`.

use std::process::ExitCode;

/// Prints the version and what it was built for.
pub(super) fn execute() -> ExitCode {
    println!("weir {} ({} {})", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    ExitCode::SUCCESS
}
