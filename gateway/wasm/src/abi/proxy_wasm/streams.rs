//! Answers, continuing, closing, and contexts.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::{Status, StreamType};
use crate::host::{Host, LocalResponse};
use crate::link::{Fault, HostCall, Imports};
use crate::memory::split;
use crate::pairs::Pairs;
use crate::state::State;

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, RESPOND.name(), respond::<H>)?;
    imports.define(ENV, CONTINUE.name(), resume::<H>)?;
    imports.define(ENV, CLOSE.name(), close::<H>)?;
    imports.define(ENV, CONTEXT.name(), set_effective_context::<H>)?;
    imports.define(ENV, DONE.name(), done::<H>)?;
    // ABI 0.1.0. Its text says that they return nothing; SDKs of the time import them with a status.
    if imports.is_imported_without_result(ENV, CONTINUE_REQUEST.name()) {
        imports
            .define(ENV, CONTINUE_REQUEST.name(), |caller: Caller<'_, State<H>>| continue_request(caller).map(drop))?;
    } else {
        imports.define(ENV, CONTINUE_REQUEST.name(), continue_request::<H>)?;
    }
    if imports.is_imported_without_result(ENV, CONTINUE_RESPONSE.name()) {
        imports.define(ENV, CONTINUE_RESPONSE.name(), |caller: Caller<'_, State<H>>| {
            continue_response(caller).map(drop)
        })?;
    } else {
        imports.define(ENV, CONTINUE_RESPONSE.name(), continue_response::<H>)?;
    }
    if imports.is_imported_without_result(ENV, CLEAR_ROUTE.name()) {
        imports.define(ENV, CLEAR_ROUTE.name(), |caller: Caller<'_, State<H>>| clear_route_cache(caller).map(drop))
    } else {
        imports.define(ENV, CLEAR_ROUTE.name(), clear_route_cache::<H>)
    }
}

const RESPOND: HostCall = HostCall::new("proxy_send_local_response");
const CONTINUE: HostCall = HostCall::new("proxy_continue_stream");
const CLOSE: HostCall = HostCall::new("proxy_close_stream");
const CONTEXT: HostCall =
    HostCall::new("proxy_set_effective_context").or(&[Status::BadArgument]).otherwise(Status::BadArgument);
const DONE: HostCall = HostCall::new("proxy_done");
const CONTINUE_REQUEST: HostCall = HostCall::new("proxy_continue_request");
const CONTINUE_RESPONSE: HostCall = HostCall::new("proxy_continue_response");
const CLEAR_ROUTE: HostCall = HostCall::new("proxy_clear_route_cache");

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn respond<H: Host>(
    caller: Caller<'_, State<H>>,
    status: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc_status: u32,
) -> Result<u32> {
    RESPOND.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        let response = LocalResponse {
            status,
            details: guest.bytes(details, details_len)?,
            body: guest.bytes(body, body_len)?,
            headers: Pairs::parse(guest.bytes(headers, headers_len)?).ok_or(Status::ParseFailure)?,
            // SDKs say -1 for none.
            grpc_status: Some(grpc_status).filter(|status| *status <= 16),
        };
        state.host.send_local_response(state.context, response)?;
        Ok(())
    })
}

fn resume<H: Host>(caller: Caller<'_, State<H>>, stream: u32) -> Result<u32> {
    CONTINUE.run(caller, |caller| continue_stream(caller, StreamType::from_number(stream)))
}

fn continue_request<H: Host>(caller: Caller<'_, State<H>>) -> Result<u32> {
    CONTINUE_REQUEST.run(caller, |caller| continue_stream(caller, Some(StreamType::Request)))
}

fn continue_response<H: Host>(caller: Caller<'_, State<H>>) -> Result<u32> {
    CONTINUE_RESPONSE.run(caller, |caller| continue_stream(caller, Some(StreamType::Response)))
}

fn continue_stream<H: Host>(caller: &mut Caller<'_, State<H>>, stream: Option<StreamType>) -> Result<(), Fault> {
    let state = caller.data_mut();
    state.host.continue_stream(state.context, stream.ok_or(Status::BadArgument)?)?;
    Ok(())
}

fn close<H: Host>(caller: Caller<'_, State<H>>, stream: u32) -> Result<u32> {
    CLOSE.run(caller, |caller| {
        let stream = StreamType::from_number(stream).ok_or(Status::BadArgument)?;
        let state = caller.data_mut();
        state.host.close_stream(state.context, stream)?;
        Ok(())
    })
}

fn clear_route_cache<H: Host>(caller: Caller<'_, State<H>>) -> Result<u32> {
    CLEAR_ROUTE.run(caller, |caller| {
        let state = caller.data_mut();
        state.host.clear_route_cache(state.context)?;
        Ok(())
    })
}

fn set_effective_context<H: Host>(caller: Caller<'_, State<H>>, context: u32) -> Result<u32> {
    CONTEXT.run(caller, |caller| {
        let state = caller.data_mut();
        if !state.host.has_context(context) {
            return Err(Status::BadArgument.into());
        }
        state.context = context;
        Ok(())
    })
}

fn done<H: Host>(caller: Caller<'_, State<H>>) -> Result<u32> {
    DONE.run(caller, |caller| {
        let state = caller.data_mut();
        state.host.done(state.context)?;
        Ok(())
    })
}
