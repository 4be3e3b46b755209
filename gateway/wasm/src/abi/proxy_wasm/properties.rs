//! Properties.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::Status;
use crate::host::{Host, PropertyPath};
use crate::link::{HostCall, Imports};
use crate::memory::{Gift, give, split};
use crate::state::State;

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, GET.name(), get::<H>)?;
    imports.define(ENV, SET.name(), set::<H>)
}

const GET: HostCall = HostCall::new("proxy_get_property")
    .or(&[Status::NotFound, Status::SerializationFailure, Status::InternalFailure])
    .otherwise(Status::NotFound);
const SET: HostCall = HostCall::new("proxy_set_property");

fn get<H: Host>(caller: Caller<'_, State<H>>, path: u32, len: u32, at_out: u32, len_out: u32) -> Result<u32> {
    GET.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        let path = PropertyPath::new(guest.bytes(path, len)?);
        state.scratch.clear();
        state.host.property(state.context, path, &mut state.scratch)?;
        give(caller, Gift::Bytes, at_out, len_out)
    })
}

fn set<H: Host>(caller: Caller<'_, State<H>>, path: u32, path_len: u32, value: u32, value_len: u32) -> Result<u32> {
    SET.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        let path = PropertyPath::new(guest.bytes(path, path_len)?);
        state.host.set_property(state.context, path, guest.bytes(value, value_len)?)?;
        Ok(())
    })
}
