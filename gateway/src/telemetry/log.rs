//! The gateway's own log, to the standard error stream: Envoy's levels, as text or as one JSON object per line.

mod writer;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{self as output, FmtContext};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::metrics::Scope;
use super::metrics::names::Weir;
use writer::Lines;

/// How much is logged (`--log-level`, `/logging?level=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Everything.
    Trace,
    /// What happens to single requests and connections.
    Debug,
    /// What changes: configuration, listeners, start and end.
    Info,
    /// What somebody should look at.
    Warning,
    /// What does not work.
    Error,
    /// As [`Level::Error`]: Weir logs nothing that is more severe.
    Critical,
    /// Nothing.
    Off,
}

impl Level {
    /// All levels, from the most to the least talkative.
    pub const ALL: [Self; 7] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical, Self::Off];

    /// Envoy's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Off => "off",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
            Self::Error | Self::Critical => LevelFilter::ERROR,
            Self::Off => LevelFilter::OFF,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A level that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown log level {0:?}: it is one of trace, debug, info, warning, error, critical, off")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let name = if text == "warn" { "warning" } else { text };
        Self::ALL.into_iter().find(|level| level.as_str() == name).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// What a line looks like (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineFormat {
    /// `[2026-11-22 15:30:10.115][info][source] listener added name=main`
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LineFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("unknown log format {text:?}: it is text or json")),
        }
    }
}

/// Changes the level of a running process. Cloning shares it.
#[derive(Clone, Debug)]
pub struct LogControl {
    level: Arc<AtomicU8>,
    filter: Option<reload::Handle<LevelFilter, Registry>>,
    lines: Option<Lines>,
}

/// Starts the log of the process, which a thread of its own writes. If the process has a log already (a test starts
/// several gateways), that one stays, and the returned control only remembers a level.
///
/// # Errors
/// No thread, or no standard error stream.
pub fn start(level: Level, format: LineFormat) -> io::Result<LogControl> {
    let (filter, handle) = reload::Layer::new(level.filter());
    let lines = Lines::to_stderr()?;
    let writer = lines.clone();
    let layer = match format {
        LineFormat::Text => output::layer().event_format(TextLine).with_writer(move || writer.clone()).boxed(),
        LineFormat::Json => output::layer().json().flatten_event(true).with_writer(move || writer.clone()).boxed(),
    };
    let started = tracing_subscriber::registry().with(filter).with(layer).try_init().is_ok();
    let (filter, lines) = started.then_some((handle, lines)).unzip();
    Ok(LogControl { level: Arc::new(AtomicU8::new(level as u8)), filter, lines })
}

impl LogControl {
    /// A control of no log: for a gateway that runs inside another program.
    pub fn detached() -> Self {
        Self { level: Arc::new(AtomicU8::new(Level::Info as u8)), filter: None, lines: None }
    }

    /// Where lines are counted that find no room (`log_lines_dropped`).
    pub fn count_in(&self, scope: Scope<Weir>) {
        if let Some(lines) = &self.lines {
            lines.count_in(scope);
        }
    }

    /// Waits until all that was logged is written, at most that long.
    pub fn flush(&self, limit: Duration) {
        if let Some(lines) = &self.lines {
            lines.flush(limit);
        }
    }

    /// The level as it stands.
    pub fn level(&self) -> Level {
        Level::ALL.get(usize::from(self.level.load(Ordering::Relaxed))).copied().unwrap_or(Level::Info)
    }

    /// Changes the level.
    pub fn change(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
        if let Some(filter) = &self.filter {
            // It fails only when the process has no log any more.
            drop(filter.modify(|filter| *filter = level.filter()));
        }
    }
}

struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            tracing::Level::TRACE => "trace",
            tracing::Level::DEBUG => "debug",
            tracing::Level::INFO => "info",
            tracing::Level::WARN => "warning",
            tracing::Level::ERROR => "error",
        };
        let target = event.metadata().target();
        let target = target.strip_prefix("weir::").unwrap_or(target);
        let time = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S%.3f");
        let mut fields = String::new();
        cx.format_fields(Writer::new(&mut fields), event)?;
        write!(writer, "[{time}][{level}][{target}] ")?;
        // Names and values may come from outside: a line stays one line.
        for c in fields.chars() {
            if c.is_control() && c != '\t' {
                write!(writer, "{}", c.escape_default())?
            } else {
                writer.write_char(c)?
            }
        }
        writer.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = output::layer().event_format(TextLine).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "weir::source", name = "a\nb", "it\nsays");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("][warning][source] it\\nsays name=\"a\\nb\"\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn levels_have_envoys_names() {
        for level in Level::ALL {
            assert_eq!(level.as_str().parse::<Level>(), Ok(level));
        }
        assert_eq!("warn".parse::<Level>(), Ok(Level::Warning));
        assert!("loud".parse::<Level>().is_err());
        let control = LogControl::detached();
        control.change(Level::Critical);
        assert_eq!(control.level(), Level::Critical);
    }
}
