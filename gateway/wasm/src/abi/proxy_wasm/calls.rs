//! Calls to other services and to functions of the proxy.
//!
//! gRPC is not offered yet: a guest is told that the call failed, which its SDK hands to the filter.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::Status;
use crate::host::{Host, HttpCall};
use crate::link::{HostCall, Imports};
use crate::memory::{Gift, give, split};
use crate::pairs::Pairs;
use crate::state::State;

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, HTTP_CALL.name(), http_call::<H>)?;
    imports.define(ENV, STATUS.name(), status::<H>)?;
    imports.define(ENV, FOREIGN.name(), foreign::<H>)?;
    imports.define(ENV, GRPC_CALL.name(), grpc_call::<H>)?;
    imports.define(ENV, GRPC_STREAM.name(), grpc_stream::<H>)?;
    imports.define(ENV, GRPC_SEND.name(), grpc_send::<H>)?;
    imports.define(ENV, GRPC_CANCEL.name(), |caller: Caller<'_, State<H>>, _id: u32| missing(&GRPC_CANCEL, caller))?;
    imports.define(ENV, GRPC_CLOSE.name(), |caller: Caller<'_, State<H>>, _id: u32| missing(&GRPC_CLOSE, caller))
}

const HTTP_CALL: HostCall = HostCall::new("proxy_http_call")
    .or(&[Status::BadArgument, Status::InternalFailure])
    .otherwise(Status::InternalFailure);
const STATUS: HostCall = HostCall::new("proxy_get_status");
const FOREIGN: HostCall = HostCall::new("proxy_call_foreign_function")
    .or(&[Status::NotFound, Status::BadArgument, Status::SerializationFailure, Status::InternalFailure])
    .otherwise(Status::InternalFailure);
const GRPC_CALL: HostCall = HostCall::new("proxy_grpc_call")
    .or(&[Status::ParseFailure, Status::InternalFailure])
    .otherwise(Status::InternalFailure);
const GRPC_STREAM: HostCall = HostCall::new("proxy_grpc_stream")
    .or(&[Status::ParseFailure, Status::InternalFailure])
    .otherwise(Status::InternalFailure);
const GRPC_SEND: HostCall =
    HostCall::new("proxy_grpc_send").or(&[Status::NotFound, Status::BadArgument]).otherwise(Status::NotFound);
const GRPC_CANCEL: HostCall = HostCall::new("proxy_grpc_cancel").otherwise(Status::NotFound);
const GRPC_CLOSE: HostCall = HostCall::new("proxy_grpc_close").otherwise(Status::NotFound);

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn http_call<H: Host>(
    caller: Caller<'_, State<H>>,
    cluster: u32,
    cluster_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout_ms: u32,
    id_out: u32,
) -> Result<u32> {
    HTTP_CALL.run(caller, |caller| {
        let (mut guest, state) = split(caller)?;
        // The id must have a place before anything is sent.
        guest.bytes_mut(id_out, 4)?;
        let call = HttpCall {
            cluster: guest.bytes(cluster, cluster_len)?,
            headers: Pairs::parse(guest.bytes(headers, headers_len)?).ok_or(Status::BadArgument)?,
            body: guest.bytes(body, body_len)?,
            trailers: Pairs::parse(guest.bytes(trailers, trailers_len)?).ok_or(Status::BadArgument)?,
            timeout_ms: Some(timeout_ms).filter(|ms| *ms <= i32::MAX as u32).ok_or(Status::BadArgument)?,
        };
        let id = state.host.http_call(state.context, call)?;
        guest.write_u32(id_out, id)?;
        Ok(())
    })
}

fn status<H: Host>(caller: Caller<'_, State<H>>, code_out: u32, at_out: u32, len_out: u32) -> Result<u32> {
    STATUS.run(caller, |caller| {
        let state = caller.data_mut();
        state.scratch.clear();
        let code = match state.host.call_status(state.context, &mut state.scratch) {
            Ok(code) => code,
            Err(status) => {
                // The SDK reads what it gets whatever the status: code 0 without a text.
                state.scratch.clear();
                state.refused(STATUS.name(), status);
                0
            }
        };
        split(caller)?.0.write_u32(code_out, code)?;
        give(caller, Gift::Bytes, at_out, len_out)
    })
}

fn foreign<H: Host>(
    caller: Caller<'_, State<H>>,
    name: u32,
    name_len: u32,
    arguments: u32,
    arguments_len: u32,
    at_out: u32,
    len_out: u32,
) -> Result<u32> {
    FOREIGN.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        let (name, arguments) = (guest.bytes(name, name_len)?, guest.bytes(arguments, arguments_len)?);
        state.scratch.clear();
        state.host.call_foreign_function(state.context, name, arguments, &mut state.scratch)?;
        // A guest that wants no result passes null.
        if at_out == 0 || len_out == 0 {
            return Ok(());
        }
        give(caller, Gift::Bytes, at_out, len_out)
    })
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn grpc_call<H: Host>(
    caller: Caller<'_, State<H>>,
    _service: u32,
    _service_len: u32,
    _name: u32,
    _name_len: u32,
    _method: u32,
    _method_len: u32,
    _metadata: u32,
    _metadata_len: u32,
    _message: u32,
    _message_len: u32,
    _timeout_ms: u32,
    _id_out: u32,
) -> Result<u32> {
    missing(&GRPC_CALL, caller)
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn grpc_stream<H: Host>(
    caller: Caller<'_, State<H>>,
    _service: u32,
    _service_len: u32,
    _name: u32,
    _name_len: u32,
    _method: u32,
    _method_len: u32,
    _metadata: u32,
    _metadata_len: u32,
    _id_out: u32,
) -> Result<u32> {
    missing(&GRPC_STREAM, caller)
}

fn grpc_send<H: Host>(caller: Caller<'_, State<H>>, _id: u32, _message: u32, _len: u32, _end: u32) -> Result<u32> {
    missing(&GRPC_SEND, caller)
}

fn missing<H: Host>(call: &HostCall, caller: Caller<'_, State<H>>) -> Result<u32> {
    call.run(caller, |_| Err(Status::Unimplemented.into()))
}
