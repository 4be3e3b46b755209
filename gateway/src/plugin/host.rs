//! The gateway's side of an instance: where host calls of a guest end.
//!
//! Nothing here acts on a stream's course. What a guest asks for is noted in its [`Context`]; the filter takes the notes
//! when the callback has returned. Streams are borrowed for the length of one method.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use weir_wasm::{
    BufferEdit, BufferType, ContextId, Host, LocalResponse, LogLevel, MapType, Pairs, PairsBuffer, PropertyPath,
    Status, StreamType,
};

use super::context::{Context, Contexts, Phase};
use super::fields::{Fields, reply_headers};
use super::load::Identity;
use super::properties;
use crate::filter::{Answer, Failure, LocalReply, StreamState};
use crate::http::{BodyBuf, HeaderMap};
use crate::telemetry::metrics::{
    Scope,
    names::{Wasm, wasm},
};

/// The root context of every instance.
pub(super) const ROOT: ContextId = 1;

/// The gateway's side of one instance.
pub(super) struct Bridge {
    identity: Arc<Identity>,
    metrics: Scope<Wasm>,
    worker: usize,
    pub(super) contexts: Contexts,
    log_second: Instant,
    log_lines: usize,
}

impl Bridge {
    pub(super) fn new(identity: Arc<Identity>, metrics: Scope<Wasm>, worker: usize) -> Self {
        Self { identity, metrics, worker, contexts: Contexts::default(), log_second: Instant::now(), log_lines: 0 }
    }

    fn context(&mut self, id: ContextId) -> Result<&mut Context, Status> {
        self.contexts.get_mut(id).ok_or(Status::NotFound)
    }

    /// Runs `edit` on a map of fields that may be changed now; `size` tells how large it will be.
    fn edit_fields(
        &mut self,
        id: ContextId,
        map: MapType,
        size: impl FnOnce(&Fields<'_>) -> usize,
        edit: impl FnOnce(&mut Fields<'_>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let clears_route = self.identity.clears_route_on_write;
        let limit = self.identity.limits.field_bytes;
        let context = self.context(id).map_err(|_| Status::BadArgument)?;
        let mut state = context.stream.edit();
        let too_late = match map {
            MapType::RequestHeaders => state.request_left,
            MapType::ResponseHeaders => state.response_left,
            _ => false,
        };
        if too_late || context.phase == Phase::Log {
            return Err(Status::BadArgument);
        }
        // A guest makes trailers by writing to them when it was told the end of the body.
        match (map, context.phase) {
            (MapType::RequestTrailers, Phase::RequestBody { end: true }) => {
                state.request_trailers.get_or_insert_with(HeaderMap::new);
            }
            (MapType::ResponseTrailers, Phase::ResponseBody { end: true }) => {
                state.response_trailers.get_or_insert_with(HeaderMap::new);
            }
            _ => {}
        }
        let mut fields = Fields::of(&mut state, map).ok_or(Status::BadArgument)?;
        if size(&fields) > limit {
            drop(state);
            self.metrics.chunk(self.worker).inc(wasm::FIELDS_LIMIT_EXCEEDED);
            return Err(Status::BadArgument);
        }
        edit(&mut fields)?;
        if clears_route && map == MapType::RequestHeaders {
            state.clear_route_cache = true;
        }
        Ok(())
    }
}

impl Bridge {
    /// Whether one more line of this second may be written on behalf of the guest; one that may not is counted.
    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.log_second).as_secs() >= 1 {
            (self.log_second, self.log_lines) = (now, 0);
        }
        self.log_lines += 1;
        let allowed = self.log_lines <= self.identity.limits.log_lines_per_second;
        if !allowed {
            self.metrics.chunk(self.worker).inc(wasm::LOG_LINES_DROPPED);
        }
        allowed
    }

    /// The answer of a guest, unless it asks for something that cannot be sent.
    fn answer(&mut self, response: &LocalResponse<'_>, headers: HeaderMap) -> Answer {
        let limit = self.identity.limits.local_reply_bytes;
        let bytes = response.body.len();
        if bytes > limit {
            self.metrics.chunk(self.worker).inc(wasm::LOCAL_REPLY_LIMIT_EXCEEDED);
            if self.may_log() {
                tracing::warn!(
                    plugin = self.identity.name,
                    bytes,
                    limit,
                    "the plugin answered with a body beyond its limit (WEIR_LOCAL_REPLY_LIMIT); 500 is sent"
                );
            }
            return Answer::Failure(Failure::ReplyTooLarge);
        }
        let Some(status) = u16::try_from(response.status).ok().filter(|status| (200..=599).contains(status)) else {
            if self.may_log() {
                tracing::warn!(
                    plugin = self.identity.name,
                    status = response.status,
                    "the plugin answered with a status that is none; 500 is sent"
                );
            }
            return Answer::Failure(Failure::ReplyWithoutStatus);
        };
        Answer::from(LocalReply {
            status,
            headers,
            body: Bytes::copy_from_slice(response.body),
            details: details(response.details).into(),
            grpc_status: response.grpc_status,
        })
    }
}

impl Host for Bridge {
    fn has_context(&self, context: ContextId) -> bool {
        context == ROOT || self.contexts.contains(context)
    }

    fn header(&mut self, context: ContextId, map: MapType, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        let mut state = self.context(context)?.stream.edit();
        Fields::of(&mut state, map).ok_or(Status::NotFound)?.value(name, value)
    }

    fn headers(&mut self, context: ContextId, map: MapType, pairs: &mut PairsBuffer) -> Result<(), Status> {
        let mut state = self.context(context).map_err(|_| Status::BadArgument)?.stream.edit();
        Fields::of(&mut state, map).ok_or(Status::BadArgument)?.pairs(pairs);
        Ok(())
    }

    fn set_headers(&mut self, context: ContextId, map: MapType, pairs: Pairs<'_>) -> Result<(), Status> {
        let size = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.edit_fields(context, map, |_| size, |fields| fields.set_all(pairs))
    }

    fn add_header(&mut self, context: ContextId, map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status> {
        let more = name.len() + value.len();
        self.edit_fields(context, map, |fields| fields.byte_size() + more, |fields| fields.add(name, value))
    }

    fn replace_header(&mut self, context: ContextId, map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status> {
        let more = name.len() + value.len();
        self.edit_fields(context, map, |fields| fields.byte_size() + more, |fields| fields.replace(name, value))
    }

    fn remove_header(&mut self, context: ContextId, map: MapType, name: &[u8]) -> Result<(), Status> {
        self.edit_fields(context, map, |_| 0, |fields| fields.remove(name))
    }

    fn buffer_len(&mut self, context: ContextId, buffer: BufferType) -> Option<usize> {
        let context = self.contexts.get_mut(context)?;
        let mut state = context.stream.edit();
        Some(body(&mut state, context.phase, buffer)?.len())
    }

    fn buffer(
        &mut self,
        context: ContextId,
        buffer: BufferType,
        start: usize,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let context = self.context(context)?;
        let mut state = context.stream.edit();
        body(&mut state, context.phase, buffer).ok_or(Status::NotFound)?.copy_range(start, len, out);
        Ok(())
    }

    fn set_buffer(
        &mut self,
        context: ContextId,
        buffer: BufferType,
        edit: BufferEdit,
        bytes: &[u8],
    ) -> Result<(), Status> {
        let limit = self.identity.limits.body_bytes;
        let context = self.context(context).map_err(|_| Status::BadArgument)?;
        let mut state = context.stream.edit();
        let body = body(&mut state, context.phase, buffer).ok_or(Status::BadArgument)?;
        if body.len() + bytes.len() > limit {
            drop(state);
            self.metrics.chunk(self.worker).inc(wasm::BODY_LIMIT_EXCEEDED);
            return Err(Status::BadArgument);
        }
        let bytes = Bytes::copy_from_slice(bytes);
        match edit {
            BufferEdit::Append => body.push(bytes),
            BufferEdit::Prepend => body.prepend(bytes),
            BufferEdit::Replace(count) => {
                body.drain(count);
                body.prepend(bytes);
            }
        }
        drop(state);
        context.body_changed = true;
        Ok(())
    }

    fn property(&mut self, context: ContextId, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Result<(), Status> {
        let found = match self.contexts.get_mut(context) {
            Some(context) => properties::of_stream(&context.stream.get(), &self.identity, path, out),
            None => properties::of_plugin(&self.identity, path, out),
        };
        found.ok_or(Status::NotFound)
    }

    fn set_property(&mut self, context: ContextId, path: PropertyPath<'_>, value: &[u8]) -> Result<(), Status> {
        let limit = self.identity.limits.filter_state_bytes;
        let done = properties::set(&mut self.context(context)?.stream.edit().info, path, value, limit);
        done.inspect_err(|_| self.metrics.chunk(self.worker).inc(wasm::FILTER_STATE_LIMIT_EXCEEDED))
    }

    fn send_local_response(&mut self, id: ContextId, response: LocalResponse<'_>) -> Result<(), Status> {
        let headers = reply_headers(response.headers, self.identity.limits.field_bytes);
        let chunk = self.metrics.chunk(self.worker);
        chunk.add(wasm::CALLS_REFUSED, headers.refused as u64);
        chunk.add(wasm::FIELDS_LIMIT_EXCEEDED, headers.exceeded.into());
        // Only the first answer of a stream counts, and is worth a line.
        if self.context(id)?.answer.is_none() {
            let answer = self.answer(&response, headers.map);
            self.context(id)?.answer = Some(answer);
        }
        self.contexts.touch(id);
        Ok(())
    }

    fn continue_stream(&mut self, id: ContextId, stream: StreamType) -> Result<(), Status> {
        let context = self.context(id)?;
        match stream {
            StreamType::Request => context.resume_request = true,
            StreamType::Response => context.resume_response = true,
            StreamType::Downstream | StreamType::Upstream => return Err(Status::Unimplemented),
        }
        self.contexts.touch(id);
        Ok(())
    }

    fn close_stream(&mut self, id: ContextId, _stream: StreamType) -> Result<(), Status> {
        self.context(id)?.reset = true;
        self.contexts.touch(id);
        Ok(())
    }

    fn clear_route_cache(&mut self, context: ContextId) -> Result<(), Status> {
        self.context(context)?.stream.edit().clear_route_cache = true;
        Ok(())
    }

    fn log(&mut self, _context: ContextId, level: LogLevel, message: &[u8], cut: bool) {
        if level < self.log_level() {
            return;
        }
        if !self.may_log() {
            return;
        }
        let Identity { name, root_id, vm_id, log_message_bytes, .. } = &*self.identity;
        let (text, is_cut) = one_line(message, *log_message_bytes);
        if cut || is_cut {
            self.metrics.chunk(self.worker).inc(wasm::LOG_MESSAGES_CUT);
        }
        match level {
            LogLevel::Trace => tracing::trace!(target: TARGET, "wasm log {name} {root_id} {vm_id}: {text}"),
            LogLevel::Debug => tracing::debug!(target: TARGET, "wasm log {name} {root_id} {vm_id}: {text}"),
            LogLevel::Info => tracing::info!(target: TARGET, "wasm log {name} {root_id} {vm_id}: {text}"),
            LogLevel::Warn => tracing::warn!(target: TARGET, "wasm log {name} {root_id} {vm_id}: {text}"),
            LogLevel::Error | LogLevel::Critical => {
                tracing::error!(target: TARGET, "wasm log {name} {root_id} {vm_id}: {text}");
            }
        }
    }

    fn log_level(&self) -> LogLevel {
        use tracing::level_filters::LevelFilter;
        match LevelFilter::current() {
            LevelFilter::TRACE => LogLevel::Trace,
            LevelFilter::DEBUG => LogLevel::Debug,
            LevelFilter::INFO => LogLevel::Info,
            LevelFilter::WARN => LogLevel::Warn,
            _ => LogLevel::Error,
        }
    }

    fn call_foreign_function(
        &mut self,
        context: ContextId,
        name: &[u8],
        _arguments: &[u8],
        _out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        match name {
            b"clear_route_cache" => self.clear_route_cache(context),
            _ => Err(Status::NotFound),
        }
    }

    fn table_denied(&mut self) {
        self.metrics.chunk(self.worker).inc(wasm::TABLE_LIMIT_REACHED);
    }

    fn refused(&mut self, _call: &'static str, _status: Status) {
        self.metrics.chunk(self.worker).inc(wasm::CALLS_REFUSED);
    }
}

const TARGET: &str = "weir::wasm";

/// `\u{10ffff}`
const LONGEST_ESCAPE: usize = 10;

/// The body that a guest may read and change now.
fn body(state: &mut StreamState, phase: Phase, buffer: BufferType) -> Option<&mut BodyBuf> {
    match (buffer, phase) {
        (BufferType::RequestBody, Phase::RequestBody { .. } | Phase::RequestTrailers) => Some(&mut state.request_body),
        (BufferType::ResponseBody, Phase::ResponseBody { .. } | Phase::ResponseTrailers) => {
            Some(&mut state.response_body)
        }
        _ => None,
    }
}

/// What a guest says as text of one line of `max` bytes at most: it must not forge lines of the log, and escapes are
/// longer than what they stand for. Says whether something was left out.
fn one_line(raw: &[u8], max: usize) -> (Cow<'_, str>, bool) {
    let text = String::from_utf8_lossy(raw);
    if text.len() <= max && !text.contains(char::is_control) {
        return (text, false);
    }
    let mut cut = false;
    let mut line = String::with_capacity((text.len() + LONGEST_ESCAPE).min(max));
    for c in text.trim_end().chars() {
        if line.len() + LONGEST_ESCAPE > max {
            line.push_str("...");
            cut = true;
            break;
        }
        if c.is_control() && c != '\t' {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    (line.into(), cut)
}

/// As Envoy: blanks become underscores. Controls too, because details go into logs.
fn details(raw: &[u8]) -> String {
    const MAX: usize = 256;
    let text = String::from_utf8_lossy(raw);
    text.chars().take(MAX).map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_have_one_line_for_one_message() {
        for (raw, line) in [
            (&b"plain \xc3\xa4"[..], "plain \u{e4}"),
            (b"a panic\nat line\t1\n", "a panic\\nat line\t1"),
            (b"\x1b[31m\r\0\xff", "\\u{1b}[31m\\r\\u{0}\u{fffd}"),
        ] {
            assert_eq!(one_line(raw, 100), (line.into(), false));
        }
        for raw in [&[0; 8000][..], &[b'x'; 8000], &[0xff; 8000]] {
            let (line, cut) = one_line(raw, 1000);
            assert!(cut);
            assert!((990..=1000).contains(&line.len()) && line.ends_with("..."), "{} bytes", line.len());
        }
    }

    #[test]
    fn details_are_one_word() {
        assert_eq!(details(b"no such\tuser\n"), "no_such_user_");
        assert_eq!(details(&[b'x'; 1000]).len(), 256);
    }
}
