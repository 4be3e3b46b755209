//! The command line: one file per verb. Where Envoy has a flag for it, it is spelled as there.

mod check;
mod run;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(run) => run.execute(),
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
    Run(run::Run),
    Check(check::Check),
    /// Prints the version
    Version,
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
