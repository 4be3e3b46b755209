//! Access logs: one line for each request that passes the log's filter.
//!
//! A line is rendered into a buffer of the worker ([`LogBuffers`]); a full buffer, or one that is a second old, goes to
//! the writer's thread ([`Sinks`]). A worker never waits for a disk or a pipe: when the writer cannot keep up, whole
//! buffers are dropped, and counted.

mod buffer;
mod filter;
mod sink;

use std::sync::Arc;

pub use buffer::LogBuffers;
pub use filter::{Comparator, Comparison, Fraction, HeaderTest, LogFilter};
pub use sink::{Sink, SinkError, Sinks, Target};

use super::format::{Format, FormatCx, JsonFormat};

/// A configured access log.
#[derive(Debug)]
pub struct AccessLog {
    /// What a line looks like.
    pub format: LogFormat,
    /// Which requests are logged; all, if there is none.
    pub filter: Option<LogFilter>,
    /// Where lines go.
    pub sink: Arc<Sink>,
}

/// What a line looks like.
#[derive(Debug)]
pub enum LogFormat {
    /// The text as it is: a line end is part of the format.
    Text(Format),
    /// One JSON document and a line end.
    Json(JsonFormat),
}

impl AccessLog {
    /// Writes a line if the filter lets the request through.
    pub fn log(&self, cx: &FormatCx<'_>, buffers: &mut LogBuffers) {
        if self.filter.as_ref().is_some_and(|filter| !filter.passes(cx)) {
            return;
        }
        buffers.append(&self.sink, |out| match &self.format {
            LogFormat::Text(format) => format.render(cx, out),
            LogFormat::Json(format) => {
                format.render(cx, out);
                out.push(b'\n');
            }
        });
    }
}

#[cfg(test)]
mod tests;
