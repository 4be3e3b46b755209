//! A host that offers two maps and two bodies, and writes down what it is asked.

use weir_wasm::{
    BufferEdit, BufferType, ContextId, Host, LocalResponse, LogLevel, MapType, Pairs, PairsBuffer, PropertyPath,
    Status, StreamType,
};

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) contexts: Vec<ContextId>,
    pub(crate) request_headers: Vec<(String, String)>,
    pub(crate) request_body: Vec<u8>,
    pub(crate) logs: Vec<(LogLevel, Vec<u8>)>,
    pub(crate) responses: Vec<Response>,
    pub(crate) refused: Vec<(&'static str, Status)>,
    /// Everything else: what was asked, for which context.
    pub(crate) events: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) context: ContextId,
    pub(crate) status: u32,
    pub(crate) details: String,
    pub(crate) body: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) grpc_status: Option<u32>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn texts(pairs: Pairs<'_>) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
}

impl Recorder {
    fn map(&mut self, map: MapType) -> Result<&mut Vec<(String, String)>, Status> {
        match map {
            MapType::RequestHeaders => Ok(&mut self.request_headers),
            _ => Err(Status::BadArgument),
        }
    }
}

impl Host for Recorder {
    fn has_context(&self, context: ContextId) -> bool {
        self.contexts.contains(&context)
    }

    fn header(&mut self, _: ContextId, map: MapType, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        let map = self.map(map).map_err(|_| Status::NotFound)?;
        let (_, found) = map.iter().find(|(n, _)| n.as_bytes() == name).ok_or(Status::NotFound)?;
        value.extend_from_slice(found.as_bytes());
        Ok(())
    }

    fn headers(&mut self, _: ContextId, map: MapType, pairs: &mut PairsBuffer) -> Result<(), Status> {
        for (name, value) in self.map(map)? {
            pairs.push(name.as_bytes(), value.as_bytes());
        }
        Ok(())
    }

    fn set_headers(&mut self, _: ContextId, map: MapType, pairs: Pairs<'_>) -> Result<(), Status> {
        *self.map(map)? = texts(pairs);
        Ok(())
    }

    fn add_header(&mut self, _: ContextId, map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.map(map)?.push((text(name), text(value)));
        Ok(())
    }

    fn replace_header(&mut self, c: ContextId, map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.remove_header(c, map, name)?;
        self.add_header(c, map, name, value)
    }

    fn remove_header(&mut self, _: ContextId, map: MapType, name: &[u8]) -> Result<(), Status> {
        self.map(map)?.retain(|(n, _)| n.as_bytes() != name);
        Ok(())
    }

    fn buffer_len(&mut self, _: ContextId, buffer: BufferType) -> Option<usize> {
        (buffer == BufferType::RequestBody).then_some(self.request_body.len())
    }

    fn buffer(
        &mut self,
        _: ContextId,
        buffer: BufferType,
        start: usize,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        assert_eq!(buffer, BufferType::RequestBody);
        out.extend_from_slice(&self.request_body[start..start + len]);
        Ok(())
    }

    fn set_buffer(&mut self, _: ContextId, buffer: BufferType, edit: BufferEdit, bytes: &[u8]) -> Result<(), Status> {
        assert_eq!(buffer, BufferType::RequestBody);
        self.events.push(format!("{edit:?} {}", text(bytes)));
        Ok(())
    }

    fn property(&mut self, _: ContextId, path: PropertyPath<'_>, out: &mut Vec<u8>) -> Result<(), Status> {
        if path.segments().eq([&b"request"[..], b"path"]) {
            out.extend_from_slice(b"/here");
            return Ok(());
        }
        Err(Status::NotFound)
    }

    fn send_local_response(&mut self, context: ContextId, response: LocalResponse<'_>) -> Result<(), Status> {
        self.responses.push(Response {
            context,
            status: response.status,
            details: text(response.details),
            body: text(response.body),
            headers: texts(response.headers),
            grpc_status: response.grpc_status,
        });
        Ok(())
    }

    fn continue_stream(&mut self, context: ContextId, stream: StreamType) -> Result<(), Status> {
        self.events.push(format!("continue {stream:?} of {context}"));
        Ok(())
    }

    fn close_stream(&mut self, context: ContextId, stream: StreamType) -> Result<(), Status> {
        self.events.push(format!("close {stream:?} of {context}"));
        Ok(())
    }

    fn log(&mut self, _: ContextId, level: LogLevel, message: &[u8], _: bool) {
        self.logs.push((level, message.to_vec()));
    }

    fn refused(&mut self, call: &'static str, status: Status) {
        self.refused.push((call, status));
    }
}
