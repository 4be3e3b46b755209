//! `weir check`.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use weir_xds::Idle;

use crate::{
    bootstrap::{Config, node},
    plugin::{EngineSettings, Plugins},
    snapshot::{Publisher, PublisherSettings},
    source::{Finding, Summary},
    telemetry::{access_log::Sinks, metrics::Registry},
};

/// Checks configurations without running them: every problem in one go, with file, line and path
///
/// Reads the files that they name, too: resources, certificates, modules. Exits with 1 if there is
/// any problem. Warnings are about what is most likely not meant, notes about fields that are set and
/// have no effect here: of each the first place.
///
/// Examples:
///   weir check bootstrap.yaml
///   weir check ingress.yaml egress.yaml
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    /// Envoy v3 bootstraps, YAML or JSON; `-` for standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["config_path", "config_yaml"])]
    files: Vec<PathBuf>,
    /// The same, spelled as for `weir run`
    #[arg(short = 'c', long = "config-path", value_name = "FILE")]
    config_path: Option<PathBuf>,
    /// The bootstrap itself; beside files it is merged into each of them
    #[arg(long, value_name = "YAML")]
    config_yaml: Option<String>,
}

impl Check {
    pub(super) fn execute(self) -> ExitCode {
        let files = self.files.into_iter().chain(self.config_path).map(Config::read);
        let mut configs: Vec<_> =
            files.map(|config| config.map(|config| config.with(self.config_yaml.clone()))).collect();
        if configs.is_empty() {
            configs.extend(self.config_yaml.clone().map(|text| Ok(Config::inline(text))));
        }
        let mut problems = 0;
        for config in configs {
            problems += match config {
                Ok(config) => report(&config),
                Err(reason) => {
                    println!("{reason}");
                    1
                }
            };
        }
        if problems == 0 {
            return ExitCode::SUCCESS;
        }
        println!("{problems} {}", if problems == 1 { "problem" } else { "problems" });
        ExitCode::FAILURE
    }
}

/// Prints what is wrong with one bootstrap, or what it holds; the number of problems.
fn report(config: &Config) -> usize {
    let Checked { findings, warnings, idle, summary } = check(config);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.iter().any(|finding| finding.problem.path == "resources") {
        println!("{}: this looks like a file of resources: check the bootstrap that names it", config.0.name);
    }
    for Finding { file, problem, .. } in &warnings {
        let at = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        println!("{file}{at}: {}: warning: {}", problem.path, problem.reason);
    }
    for (file, Idle { path, line, reason, count, .. }) in &idle {
        let at = line.map(|line| format!(":{line}")).unwrap_or_default();
        let more = if *count > 1 { format!(" (here and in {} more)", count - 1) } else { String::new() };
        println!("{file}{at}: {path}: note: has no effect: {reason}{more}");
    }
    if findings.is_empty() {
        println!("{}: OK: {summary}", config.0.name);
    }
    findings.len()
}

/// What is found in a configuration.
pub(super) struct Checked {
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// What is right and most likely not meant.
    warnings: Vec<Finding>,
    /// What is right and changes nothing here.
    idle: Vec<(Arc<str>, Idle)>,
    summary: Summary,
}

/// Loads everything as a start would, into a store that nobody serves from.
pub(super) fn check(config: &Config) -> Checked {
    let bootstrap = config.bootstrap();
    let registry = Registry::new(1);
    let node = node(&bootstrap, None, None);
    let plugins = Plugins::new(Arc::clone(&registry), node, EngineSettings::from_environment());
    let access_logs = Arc::new(Sinks::dry(&registry));
    let mut publisher = Publisher::new(PublisherSettings { registry, plugins, access_logs }, Arc::default());
    let mut findings = config.findings_of_over();
    // An address that is refused as it stands is not told again for what is missing from it.
    if !bootstrap.problems.iter().any(|problem| problem.path.starts_with("admin.address")) {
        findings.extend(config.admin(&bootstrap).err().unwrap_or_default());
    }
    let (mut sources, _) = config.sources(bootstrap);
    findings.extend(sources.load(&mut publisher));
    findings.extend_from_slice(sources.unready());
    findings.extend_from_slice(sources.lacking());
    // The bootstrap first, then its files.
    findings.sort_by_key(|f| (*f.file != *config.0.name, Arc::clone(&f.file), f.problem.line));
    let (warnings, idle) = (sources.warnings().to_vec(), sources.idle().to_vec());
    Checked { findings, warnings, idle, summary: sources.summary().clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::source::Texts;

    /// One of each kind of mistake, all told at once.
    #[test]
    fn mistakes_of_all_kinds_are_told_in_one_go() {
        let text = r#"
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {filename: /nowhere/cert.pem}
              private_key: {filename: /nowhere/key.pem}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            name: r
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {safe_regex: {regex: "("}}
                route: {cluster: nowhere}
  clusters:
  - name: a
    connect_timeout: 5 minutes
    unknown_field: 1
    outlier_detection: {}
"#;
        let config = Config(Texts { name: "x.yaml".to_owned(), text: text.to_owned(), over: None });
        let findings = check(&config).findings;
        let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let place = "static_resources.listeners[0].filter_chains[0]";
        for part in [
            "x.yaml:33: static_resources.clusters[0].connect_timeout: expected a duration".to_owned(),
            "x.yaml:34: static_resources.clusters[0].unknown_field: unknown field".to_owned(),
            "x.yaml:35: static_resources.clusters[0].outlier_detection: set, but not supported".to_owned(),
            format!("{place}.filters[0].typed_config.route_config.virtual_hosts[0].routes[0].match.safe_regex"),
            format!("{place}.filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.cluster"),
            "/nowhere/cert.pem".to_owned(),
        ] {
            assert!(told.iter().any(|line| line.contains(&part)), "{part}\n{told:#?}");
        }
    }
}
