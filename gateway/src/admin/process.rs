//! The process: readiness, version, log level, drain, end.

use std::time::UNIX_EPOCH;

use http::StatusCode;
use serde_json::json;

use super::Parts;
use super::query::Query;
use super::reply::Reply;
use crate::control::{Command, Drain, State};
use crate::telemetry::log::Level;

/// `/ready`: the state, and below it what is missing.
pub(super) fn ready(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    let state = admin.control.state();
    let mut text = format!("{}\n", state_name(admin));
    if state == State::Live {
        return Ok(Reply::text(text));
    }
    for (what, why) in admin.control.not_ready() {
        text.push_str(&format!("{what}: {why}\n"));
    }
    Err(Reply::status(StatusCode::SERVICE_UNAVAILABLE, text))
}

fn state_name(admin: &Parts) -> &'static str {
    let control = &admin.control;
    match control.state() {
        State::Initializing if control.is_starting() => "PRE_INITIALIZING",
        state => state.as_str(),
    }
}

/// `/server_info`
pub(super) fn server_info(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    let control = &admin.control;
    let (started, started_wall) = control.started();
    let uptime = format!("{}s", started.elapsed().as_secs());
    let since = started_wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let build = if cfg!(debug_assertions) { "DEBUG" } else { "RELEASE" };
    Ok(Reply::json(&json!({
        "version": format!("weir/{}/{build}/rustls", env!("CARGO_PKG_VERSION")),
        "state": state_name(admin),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "start_time_seconds": since,
        "hot_restart_version": "disabled",
        "command_line_options": {
            "concurrency": control.concurrency(),
            "log_level": control.log().level().as_str(),
            "restart_epoch": 0,
            "mode": "Serve",
        },
    })))
}

/// `/memory`, from the operating system's view.
pub(super) fn memory(_: &Parts, _: &Query) -> Result<Reply, Reply> {
    let memory = Memory::now();
    Ok(Reply::json(&json!({
        "allocated": memory.private.to_string(),
        "heap_size": memory.private.to_string(),
        "total_physical_bytes": memory.resident.to_string(),
    })))
}

/// Memory of the process, in bytes; zero where the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// In use, code and shared files included.
    pub(super) resident: u64,
    /// In use and of this process alone.
    pub(super) private: u64,
}

impl Memory {
    pub(super) fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Self { resident: kilobytes("VmRSS:"), private: kilobytes("RssAnon:") }
    }
}

/// `/logging`: shows the level, and changes it with `level=`.
pub(super) fn logging(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let log = admin.control.log();
    match query.value("level") {
        Some("") | None if query.is_empty() || query.has("level") => {}
        None => {
            return Err(Reply::bad_request(
                "error: unknown logger: Weir has one level for everything\n\nusage: /logging?level=<level>\n",
            ));
        }
        Some(text) => match text.parse::<Level>() {
            Ok(level) => {
                log.change(level);
                tracing::info!(target: "admin", %level, "log level changed");
            }
            Err(error) => {
                return Err(Reply::bad_request(format!("error: {error}\n\nusage: /logging?level=<level>\n")));
            }
        },
    }
    Ok(Reply::text(format!("active loggers:\n  weir: {}\n", log.level())))
}

/// `/drain_listeners`
pub(super) fn drain_listeners(admin: &Parts, query: &Query) -> Result<Reply, Reply> {
    let skip_exit = query.has("skip_exit");
    // As Envoy 1.40: skip_exit means graceful.
    let graceful = query.has("graceful") || skip_exit;
    let drain = Drain { graceful, inbound_only: query.has("inboundonly"), skip_exit };
    admin.control.ask(Command::DrainListeners(drain));
    Ok(Reply::done())
}

/// `/healthcheck/fail`
pub(super) fn health_fail(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    admin.control.fail_health(true);
    Ok(Reply::done())
}

/// `/healthcheck/ok`
pub(super) fn health_ok(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    admin.control.fail_health(false);
    Ok(Reply::done())
}

/// `/quitquitquit`
pub(super) fn quit(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    admin.control.ask(Command::Quit);
    Ok(Reply::done())
}

/// `/reopen_logs`
pub(super) fn reopen_logs(admin: &Parts, _: &Query) -> Result<Reply, Reply> {
    admin.control.ask(Command::ReopenLogs);
    Ok(Reply::done())
}

/// `/hot_restart_version`: Weir has none, and says so as Envoy does when it is switched off.
pub(super) fn hot_restart_version(_: &Parts, _: &Query) -> Result<Reply, Reply> {
    Ok(Reply::text("disabled"))
}
