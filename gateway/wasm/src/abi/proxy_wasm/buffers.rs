//! Bodies, configurations and other buffers.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::{BufferType, Status};
use crate::host::{BufferEdit, Host};
use crate::link::{HostCall, Imports};
use crate::memory::{Gift, give, split};
use crate::state::{Phase, State};

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, READ.name(), read::<H>)?;
    imports.define(ENV, STATUS.name(), status::<H>)?;
    imports.define(ENV, WRITE.name(), write::<H>)?;
    imports.define(ENV, CONFIGURATION.name(), configuration::<H>)
}

const READ: HostCall = HostCall::new("proxy_get_buffer_bytes").or(&[Status::NotFound]).otherwise(Status::NotFound);
const STATUS: HostCall = HostCall::new("proxy_get_buffer_status").or(&[Status::NotFound]).otherwise(Status::NotFound);
const WRITE: HostCall = HostCall::new("proxy_set_buffer_bytes");
const CONFIGURATION: HostCall = HostCall::new("proxy_get_configuration");

fn read<H: Host>(
    caller: Caller<'_, State<H>>,
    buffer: u32,
    start: u32,
    max: u32,
    at_out: u32,
    len_out: u32,
) -> Result<u32> {
    READ.run(caller, |caller| {
        let buffer = BufferType::from_number(buffer).ok_or(Status::BadArgument)?;
        let end = start.checked_add(max).ok_or(Status::BadArgument)? as usize;
        let start = start as usize;
        let state = caller.data_mut();
        state.scratch.clear();
        let size = buffer_len(state, buffer).ok_or(Status::NotFound)?;
        // Past the end is no error: the guest gets nothing.
        let len = end.min(size).saturating_sub(start);
        if len > 0 {
            match own_buffer(&state.settings, state.phase, buffer) {
                Some(bytes) => state.scratch.extend(bytes.iter().skip(start).take(len)),
                None => state.host.buffer(state.context, buffer, start, len, &mut state.scratch)?,
            }
        }
        give(caller, Gift::Bytes, at_out, len_out)
    })
}

fn status<H: Host>(caller: Caller<'_, State<H>>, buffer: u32, len_out: u32, flags_out: u32) -> Result<u32> {
    STATUS.run(caller, |caller| {
        let buffer = BufferType::from_number(buffer).ok_or(Status::BadArgument)?;
        let (mut guest, state) = split(caller)?;
        let size = buffer_len(state, buffer).ok_or(Status::NotFound)?;
        guest.write_u32(len_out, u32::try_from(size).unwrap_or(u32::MAX))?;
        guest.write_u32(flags_out, 0)?;
        Ok(())
    })
}

fn write<H: Host>(caller: Caller<'_, State<H>>, buffer: u32, start: u32, size: u32, at: u32, len: u32) -> Result<u32> {
    WRITE.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        let bytes = guest.bytes(at, len)?;
        let Some(
            buffer @ (BufferType::RequestBody
            | BufferType::ResponseBody
            | BufferType::DownstreamData
            | BufferType::UpstreamData),
        ) = BufferType::from_number(buffer)
        else {
            // The others can only be read.
            return Err(Status::BadArgument.into());
        };
        let held = state.host.buffer_len(state.context, buffer).ok_or(Status::BadArgument)?;
        let edit = match (start as usize, size as usize) {
            (0, 0) => BufferEdit::Prepend,
            (0, size) => BufferEdit::Replace(size.min(held)),
            (start, _) if start >= held => BufferEdit::Append,
            // The specification has more; no proxy does it, and no SDK relies on it.
            _ => return Err(Status::BadArgument.into()),
        };
        state.host.set_buffer(state.context, buffer, edit, bytes)?;
        Ok(())
    })
}

/// ABI 0.1.0: the plugin's configuration.
fn configuration<H: Host>(caller: Caller<'_, State<H>>, at_out: u32, len_out: u32) -> Result<u32> {
    CONFIGURATION.run(caller, |caller| {
        let state = caller.data_mut();
        state.scratch.clear();
        let settings = &state.settings;
        let bytes = own_buffer(settings, state.phase, BufferType::PluginConfiguration).unwrap_or_default();
        state.scratch.extend_from_slice(bytes);
        give(caller, Gift::Bytes, at_out, len_out)
    })
}

fn buffer_len<H: Host>(state: &mut State<H>, buffer: BufferType) -> Option<usize> {
    match buffer {
        BufferType::VmConfiguration | BufferType::PluginConfiguration => {
            own_buffer(&state.settings, state.phase, buffer).map(<[u8]>::len)
        }
        _ => state.host.buffer_len(state.context, buffer),
    }
}

/// The buffers that this crate answers by itself.
fn own_buffer(settings: &crate::plugin::PluginSettings, phase: Phase, buffer: BufferType) -> Option<&[u8]> {
    match buffer {
        BufferType::VmConfiguration => Some(&settings.vm_configuration),
        BufferType::PluginConfiguration if phase == Phase::Configuring => Some(&settings.configuration),
        _ => None,
    }
}
