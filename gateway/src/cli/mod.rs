//! The command line: one file per verb. Where Envoy has a flag for it, it is spelled as there.

mod check;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Check(check) => check.execute(),
        Verb::Version => version::execute(),
    }
}

/// A gateway for the edge of a service mesh: takes Envoy's v3 configuration, runs WebAssembly filters.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Check),
    /// Prints the version
    Version,
}

/// What to call a configuration that came without a file.
const INLINE_NAME: &str = "--config-yaml";

/// Reads a configuration file; `-` is standard input.
fn read_file(path: &std::path::Path) -> Result<String, String> {
    let read =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    read.map_err(|e| format!("{}: cannot be read: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
