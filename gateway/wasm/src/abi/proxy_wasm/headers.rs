//! Header and trailer maps.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::{AbiVersion, MapType, Status};
use crate::host::{ContextId, Host};
use crate::link::{Fault, HostCall, Imports};
use crate::memory::{Gift, give, split};
use crate::pairs::Pairs;
use crate::state::State;

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, VALUE.name(), value::<H>)?;
    imports.define(ENV, PAIRS.name(), pairs::<H>)?;
    imports.define(ENV, SIZE.name(), size::<H>)?;
    imports.define(ENV, SET.name(), set::<H>)?;
    imports.define(ENV, ADD.name(), add::<H>)?;
    imports.define(ENV, REPLACE.name(), replace::<H>)?;
    imports.define(ENV, REMOVE.name(), remove::<H>)
}

const VALUE: HostCall = HostCall::new("proxy_get_header_map_value").or(&[Status::NotFound]).otherwise(Status::NotFound);
const PAIRS: HostCall = HostCall::new("proxy_get_header_map_pairs");
const SIZE: HostCall = HostCall::new("proxy_get_header_map_size");
const SET: HostCall = HostCall::new("proxy_set_header_map_pairs");
const ADD: HostCall = HostCall::new("proxy_add_header_map_value");
const REPLACE: HostCall = HostCall::new("proxy_replace_header_map_value");
const REMOVE: HostCall = HostCall::new("proxy_remove_header_map_value");

fn value<H: Host>(
    caller: Caller<'_, State<H>>,
    map: u32,
    name: u32,
    name_len: u32,
    at_out: u32,
    len_out: u32,
) -> Result<u32> {
    VALUE.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        state.scratch.clear();
        let name = guest.bytes(name, name_len)?;
        match state.host.header(state.context, map_type(map)?, name, &mut state.scratch) {
            // To guests of ABI 0.1.0 a field that is not there is an empty one.
            Err(Status::NotFound) if state.abi == AbiVersion::V0_1_0 => state.scratch.clear(),
            other => other?,
        }
        give(caller, Gift::Bytes, at_out, len_out)
    })
}

fn pairs<H: Host>(caller: Caller<'_, State<H>>, map: u32, at_out: u32, len_out: u32) -> Result<u32> {
    PAIRS.run(caller, |caller| {
        collect(caller, map)?;
        give(caller, Gift::Pairs, at_out, len_out)
    })
}

fn size<H: Host>(caller: Caller<'_, State<H>>, map: u32, out: u32) -> Result<u32> {
    SIZE.run(caller, |caller| {
        collect(caller, map)?;
        let (mut guest, state) = split(caller)?;
        guest.write_u32(out, u32::try_from(state.pairs.byte_size()).unwrap_or(u32::MAX))?;
        Ok(())
    })
}

/// A map that does not exist in this phase is an empty one, as in Envoy.
fn collect<H: Host>(caller: &mut Caller<'_, State<H>>, map: u32) -> Result<(), Fault> {
    let state = caller.data_mut();
    state.pairs.clear();
    let result = map_type(map).and_then(|map| state.host.headers(state.context, map, &mut state.pairs));
    if let Err(status) = result {
        state.pairs.clear();
        state.refused(PAIRS.name(), status);
    }
    Ok(())
}

fn set<H: Host>(caller: Caller<'_, State<H>>, map: u32, pairs: u32, len: u32) -> Result<u32> {
    SET.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        // Envoy takes what it cannot read for an empty map, and drops all headers.
        let pairs = Pairs::parse(guest.bytes(pairs, len)?).ok_or(Status::ParseFailure)?;
        state.host.set_headers(state.context, map_type(map)?, pairs)?;
        Ok(())
    })
}

fn add<H: Host>(caller: Caller<'_, State<H>>, map: u32, name: u32, nl: u32, value: u32, vl: u32) -> Result<u32> {
    ADD.run(caller, |caller| change(caller, map, (name, nl), (value, vl), H::add_header))
}

fn replace<H: Host>(caller: Caller<'_, State<H>>, map: u32, name: u32, nl: u32, value: u32, vl: u32) -> Result<u32> {
    REPLACE.run(caller, |caller| change(caller, map, (name, nl), (value, vl), H::replace_header))
}

fn change<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    map: u32,
    name: (u32, u32),
    value: (u32, u32),
    change: impl FnOnce(&mut H, ContextId, MapType, &[u8], &[u8]) -> Result<(), Status>,
) -> Result<(), Fault> {
    let (guest, state) = split(caller)?;
    let name = guest.bytes(name.0, name.1)?;
    let value = guest.bytes(value.0, value.1)?;
    change(&mut state.host, state.context, map_type(map)?, name, value)?;
    Ok(())
}

fn remove<H: Host>(caller: Caller<'_, State<H>>, map: u32, name: u32, name_len: u32) -> Result<u32> {
    REMOVE.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        state.host.remove_header(state.context, map_type(map)?, guest.bytes(name, name_len)?)?;
        Ok(())
    })
}

fn map_type(number: u32) -> Result<MapType, Status> {
    MapType::from_number(number).ok_or(Status::BadArgument)
}
