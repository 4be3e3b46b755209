//! `weir check`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{INLINE_NAME, read_file};
use crate::source::{Finding, Summary, finding};

/// Checks configurations without running them: every problem in one go, with file, line and path
///
/// Exits with 1 if there is any problem.
///
/// Examples:
///   weir check bootstrap.yaml
///   weir check config/*.yaml
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    /// Envoy v3 bootstraps, YAML or JSON; `-` for standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["config_path", "config_yaml"])]
    files: Vec<PathBuf>,
    /// The same, spelled as for `weir run`
    #[arg(short = 'c', long = "config-path", value_name = "FILE")]
    config_path: Option<PathBuf>,
    /// The bootstrap itself instead of a file
    #[arg(long, value_name = "YAML")]
    config_yaml: Option<String>,
}

impl Check {
    pub(super) fn execute(self) -> ExitCode {
        let mut problems = 0;
        for path in self.files.into_iter().chain(self.config_path) {
            problems += match read_file(&path) {
                Ok(text) => report(&path.display().to_string(), &text),
                Err(reason) => {
                    println!("{reason}");
                    1
                }
            };
        }
        if let Some(text) = self.config_yaml {
            problems += report(INLINE_NAME, &text);
        }
        if problems == 0 {
            return ExitCode::SUCCESS;
        }
        println!("{problems} {}", if problems == 1 { "problem" } else { "problems" });
        ExitCode::FAILURE
    }
}

/// Prints what is wrong with one bootstrap, or what it holds; the number of problems.
fn report(name: &str, text: &str) -> usize {
    let (findings, summary) = check(name, text);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("{name}: OK: {summary}");
    }
    findings.len()
}

fn check(name: &str, text: &str) -> (Vec<Finding>, Summary) {
    let bootstrap = weir_xds::read_bootstrap(text);
    (finding::in_bootstrap(name, text, bootstrap.all_problems()), Summary::of(&bootstrap))
}
