//! `weir run`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::check;
use crate::app::{self, AppError, Settings};
use crate::bootstrap::{Config, node};
use crate::source::Finding;
use crate::telemetry::log::{self, Level, LineFormat};

/// How long the end waits for the last lines of the log to be taken.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs the gateway
///
/// On SIGTERM /ready says 503 at once. Listeners go on, telling each connection that it ends, until
/// none has come for a second, at most for 10 s or a third of the drain time; then they close, and
/// the process ends after its connections have ended, at the latest after the drain time. On SIGINT
/// listeners close at once. A second signal ends it without waiting. SIGUSR1 opens access log files
/// anew.
///
/// Examples:
///   weir run -c bootstrap.yaml
///   weir run -c bootstrap.yaml --concurrency 2 --log-level debug --log-format json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Run {
    /// Envoy v3 bootstrap, YAML or JSON; `-` for standard input
    #[arg(short = 'c', long = "config-path", value_name = "FILE", required_unless_present = "config_yaml")]
    config_path: Option<PathBuf>,
    /// The bootstrap itself; beside a file it is merged into that one and overrides it
    #[arg(long, value_name = "YAML")]
    config_yaml: Option<String>,
    /// Worker threads [default: one for each core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,
    /// trace, debug, info, warning, error, critical or off
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "info")]
    log_level: Level,
    /// What log lines look like: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LineFormat,
    /// File that the address of the admin interface is written to, for an admin on port 0
    #[arg(long, value_name = "FILE")]
    admin_address_path: Option<PathBuf>,
    /// How long connections may go on after SIGTERM, and listeners after /drain_listeners?graceful
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    drain_time_s: u64,
    /// Id of this node, instead of the bootstrap's
    #[arg(long, value_name = "ID")]
    service_node: Option<String>,
    /// Cluster of this node, instead of the bootstrap's
    #[arg(long, value_name = "NAME")]
    service_cluster: Option<String>,
    /// Taken for Envoy's sake; has no meaning here
    #[arg(long, value_name = "ID", hide = true)]
    base_id: Option<u64>,
}

impl Run {
    pub(super) fn execute(self) -> ExitCode {
        let config = match (self.config_path, self.config_yaml) {
            (None, Some(text)) => Config::inline(text),
            (Some(path), over) => match Config::read(path) {
                Ok(config) => config.with(over),
                Err(reason) => return fail(&reason),
            },
            (None, None) => return fail("no configuration: give one with -c FILE"),
        };
        if !config.findings_of_over().is_empty() {
            return refuse(&config, Vec::new());
        }
        let bootstrap = config.bootstrap();
        let Ok(admin) = config.admin(&bootstrap) else { return refuse(&config, Vec::new()) };
        let log = match log::start(self.log_level, self.log_format) {
            Ok(log) => log,
            Err(error) => return fail(&format!("cannot start the log: {error}")),
        };
        let node = node(&bootstrap, self.service_cluster, self.service_node);
        let bytes = bootstrap.bytes.clone();
        let (sources, limits) = config.sources(bootstrap);
        let settings = Settings {
            node,
            bootstrap: bytes,
            sources,
            limits,
            concurrency: self.concurrency.map_or_else(cores, usize::from),
            log: log.clone(),
            admin,
            admin_address_path: self.admin_address_path,
            drain_time: Duration::from_secs(self.drain_time_s),
        };
        let ended = app::run(settings);
        log.flush(LAST_LINES);
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(AppError::Configuration(findings)) => refuse(&config, findings),
            Err(error) => fail(&error.to_string()),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Says what `weir check` says: everything, also what alone would not keep the gateway from starting.
///
/// `told` is what the start came upon. A check may not: nobody reads a FIFO, or files could not be opened for want of
/// descriptors, of which a check needs fewer.
fn refuse(config: &Config, told: Vec<Finding>) -> ExitCode {
    // What the log says of it was said already.
    let quiet = tracing::subscriber::NoSubscriber::default();
    let mut findings = tracing::subscriber::with_default(quiet, || check::check(config)).findings;
    let place = |finding: &Finding| (Arc::clone(&finding.file), finding.problem.path.clone());
    let known: HashSet<_> = findings.iter().map(place).collect();
    findings.extend(told.into_iter().filter(|finding| !known.contains(&place(finding))));
    for finding in &findings {
        eprintln!("{finding}");
    }
    let plural = if findings.len() == 1 { "" } else { "s" };
    fail(&format!("not started: {} problem{plural} in the configuration", findings.len()))
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("weir: {reason}");
    ExitCode::FAILURE
}
