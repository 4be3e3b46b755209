//! The paths of the admin interface.

use http::{Method, StatusCode};

use super::query::Query;
use super::reply::Reply;
use super::{Parts, certs, clusters, config_dump, listeners, process, stats};
use crate::snapshot::DumpEntry;

/// A path with what answers it.
struct Entry {
    path: &'static str,
    /// It changes something: POST only.
    changes: bool,
    help: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    answer: Answer,
}

/// What answers a path.
enum Answer {
    /// At once.
    Now(fn(&Parts, &Query) -> Result<Reply, Reply>),
    /// From what the publisher has, when it is not busy.
    FromDump(fn(&Parts, &Query, &[DumpEntry]) -> Result<Reply, Reply>),
}

const fn shows(path: &'static str, help: &'static str, answer: fn(&Parts, &Query) -> Result<Reply, Reply>) -> Entry {
    Entry { path, changes: false, help, parameters: &[], answer: Answer::Now(answer) }
}

const fn changes(path: &'static str, help: &'static str, answer: fn(&Parts, &Query) -> Result<Reply, Reply>) -> Entry {
    Entry { path, changes: true, help, parameters: &[], answer: Answer::Now(answer) }
}

impl Entry {
    const fn with(self, parameters: &'static [(&'static str, &'static str)]) -> Self {
        Self { parameters, ..self }
    }
}

const ENTRIES: &[Entry] = &[
    shows("/", "Admin home page", home),
    shows("/certs", "print certs on machine", certs::answer),
    shows("/clusters", "upstream cluster status", clusters::answer).with(&[
        ("filter", "Regular expression for filtering clusters by name"),
        ("format", "File format to use; One of (text, json)"),
    ]),
    Entry {
        path: "/config_dump",
        changes: false,
        help: "dump the configuration in force",
        parameters: &[
            ("resource", "The resource to dump, such as dynamic_listeners"),
            ("mask", "The fields to show, separated by commas"),
            ("name_regex", "Dump only what has a name that matches the regular expression as a whole"),
            ("include_eds", "Dump endpoints as well"),
        ],
        answer: Answer::FromDump(config_dump::answer),
    },
    changes("/drain_listeners", "drain listeners", process::drain_listeners).with(&[
        ("graceful", "Announce the end of connections for the drain time (--drain-time-s) before listeners close"),
        ("skip_exit", "With graceful: never close the listeners"),
        ("inboundonly", "Only listeners whose traffic_direction is INBOUND"),
    ]),
    changes("/healthcheck/fail", "cause the server to fail health checks", process::health_fail),
    changes("/healthcheck/ok", "cause the server to pass health checks", process::health_ok),
    shows("/help", "print out list of admin commands", |_, _| Ok(Reply::text(help()))),
    shows("/hot_restart_version", "print the hot restart compatibility version", process::hot_restart_version),
    shows("/listeners", "print listener info", listeners::answer)
        .with(&[("format", "File format to use; One of (text, json)")]),
    changes("/logging", "query/change logging levels", process::logging)
        .with(&[("level", "desired logging level; One of (trace, debug, info, warning, error, critical, off)")]),
    shows("/memory", "print current allocation/heap usage", process::memory),
    changes("/quitquitquit", "exit the server", process::quit),
    shows("/ready", "print server state, return 200 if LIVE, otherwise return 503", process::ready),
    changes("/reopen_logs", "reopen access logs", process::reopen_logs),
    changes("/reset_counters", "reset all counters to zero", stats::reset),
    shows("/server_info", "print server version/status information", process::server_info),
    shows("/stats", "print server stats", stats::answer).with(&[
        ("usedonly", "Only include stats that have been written since the start"),
        ("filter", "Regular expression for filtering stats"),
        ("invert_filter", "Only stats that the filter does not match"),
        ("format", "Format to use; One of (text, json, prometheus)"),
        ("type", "Stat types to include; One of (All, Counters, Histograms, Gauges, TextReadouts)"),
        ("histogram_buckets", "Histogram bucket display mode; One of (cumulative, disjoint, detailed, summary)"),
    ]),
    shows("/stats/prometheus", "print server stats in prometheus format", stats::prometheus).with(&[
        ("usedonly", "Only include stats that have been written since the start"),
        ("filter", "Regular expression for filtering stats"),
        ("invert_filter", "Only stats that the filter does not match"),
        ("histogram_buckets", "Histogram bucket display mode; One of (cumulative, summary)"),
    ]),
];

/// Answers a request.
pub(super) async fn answer(admin: &Parts, method: &Method, path: &str, query: &str) -> Reply {
    let Some(entry) = ENTRIES.iter().find(|entry| entry.path == path) else {
        return Reply::status(StatusCode::NOT_FOUND, format!("invalid path. {}", help()));
    };
    if entry.changes && method != Method::POST {
        return Reply::status(StatusCode::METHOD_NOT_ALLOWED, format!("Method {method} not allowed, POST required."));
    }
    if !(method == Method::GET || method == Method::HEAD || method == Method::POST) {
        return Reply::status(StatusCode::METHOD_NOT_ALLOWED, format!("Method {method} not allowed."));
    }
    let query = Query::parse(query);
    let reply = match entry.answer {
        Answer::Now(answer) => answer(admin, &query),
        Answer::FromDump(answer) => match admin.questions.dump().await {
            Some(entries) => answer(admin, &query, &entries),
            None => Err(Reply::status(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending\n")),
        },
    };
    reply.unwrap_or_else(|refusal| refusal)
}

fn help() -> String {
    let mut text = "admin commands are:\n".to_owned();
    for entry in ENTRIES {
        let post = if entry.changes { " (POST)" } else { "" };
        text.push_str(&format!("  {}{post}: {}\n", entry.path, entry.help));
        for (name, meaning) in entry.parameters {
            text.push_str(&format!("      {name}: {meaning}\n"));
        }
    }
    text
}

fn home(_: &Parts, _: &Query) -> Result<Reply, Reply> {
    let row = |entry: &Entry| match (entry.changes, entry.path) {
        (false, path) => {
            format!("<tr><td><a href=\"{}\">{path}</a></td><td>{}</td></tr>\n", relative(path), entry.help)
        }
        (true, path) => format!(
            "<tr><td><form action=\"{}\" method=\"post\"><button>{path}</button></form></td><td>{}</td></tr>\n",
            relative(path),
            entry.help
        ),
    };
    let rows: String = ENTRIES.iter().filter(|entry| entry.path != "/").map(row).collect();
    Ok(Reply::html(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Weir admin</title></head>\n<body>\n<h1>Weir {}</h1>\n\
         <table>\n{rows}</table>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )))
}

/// Relative to the home page, so that it works behind a path of a port-forwarder too.
fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}
