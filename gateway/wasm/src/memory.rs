//! The only place where guest memory is touched. Every pointer and length is the guest's word, and checked here.

use wasmtime::{Caller, Extern};

use crate::abi::Status;
use crate::host::Host;
use crate::link::Fault;
use crate::state::{Phase, State};
use crate::trap::{HostTrap, TrapKind};

/// A guest's linear memory, borrowed for a moment: it may move when guest code runs.
pub(crate) struct GuestMemory<'a>(&'a mut [u8]);

impl GuestMemory<'_> {
    /// `len` bytes at `at`.
    #[inline]
    pub(crate) fn bytes(&self, at: u32, len: u32) -> Result<&[u8], Status> {
        let start = at as usize;
        self.0.get(start..start.saturating_add(len as usize)).ok_or(Status::InvalidMemoryAccess)
    }

    /// As [`Self::bytes`], to write to.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8], Status> {
        let start = at as usize;
        self.0.get_mut(start..start.saturating_add(len as usize)).ok_or(Status::InvalidMemoryAccess)
    }

    /// Copies `bytes` to `at`.
    #[inline]
    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Status> {
        let len = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        self.bytes_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a number; it need not be aligned.
    #[inline]
    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Status> {
        self.write(at, &value.to_le_bytes())
    }

    /// Writes a number; it need not be aligned.
    #[inline]
    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Status> {
        self.write(at, &value.to_le_bytes())
    }

    /// Reads a number; it need not be aligned.
    #[inline]
    pub(crate) fn read_u32(&self, at: u32) -> Result<u32, Status> {
        let bytes = self.bytes(at, 4)?.first_chunk().ok_or(Status::InvalidMemoryAccess)?;
        Ok(u32::from_le_bytes(*bytes))
    }
}

/// The guest's memory and the host's state, side by side.
#[inline]
pub(crate) fn split<'a, H: Host>(
    caller: &'a mut Caller<'_, State<H>>,
) -> Result<(GuestMemory<'a>, &'a mut State<H>), Fault> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        // The module's start section runs: its exports are there, but nobody could look them up yet.
        None => match caller.get_export("memory") {
            Some(Extern::Memory(memory)) => memory,
            _ => return Err(HostTrap::new(TrapKind::HostCall, "the module exports no memory").into()),
        },
    };
    let (bytes, state) = memory.data_and_store_mut(caller);
    Ok((GuestMemory(bytes), state))
}

/// Which of the host's buffers goes to the guest.
#[derive(Clone, Copy)]
pub(crate) enum Gift {
    /// [`State::scratch`]
    Bytes,
    /// [`State::pairs`]
    Pairs,
}

/// Gives a buffer to the guest: memory from the guest's own allocator, filled, its place and length written to where the
/// guest wants them. Nothing of the host is borrowed while the allocator runs. Nothing to give is a null pointer.
pub(crate) fn give<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    gift: Gift,
    at_out: u32,
    len_out: u32,
) -> Result<(), Fault> {
    let state = caller.data();
    let size = match gift {
        Gift::Bytes => state.scratch.len(),
        Gift::Pairs => state.pairs.byte_size(),
    };
    let len = u32::try_from(size).map_err(|_| Status::InternalFailure)?;
    let at = if len == 0 { 0 } else { allocate(caller, len)? };
    let (mut guest, state) = split(caller)?;
    if len > 0 {
        let target = guest.bytes_mut(at, len)?;
        match gift {
            // No host call that the allocator may make writes there; if one did, this is no place to panic.
            Gift::Bytes if target.len() != state.scratch.len() => return Err(Status::InternalFailure.into()),
            Gift::Bytes => target.copy_from_slice(&state.scratch),
            Gift::Pairs => state.pairs.copy_to(target),
        }
    }
    guest.write_u32(at_out, at)?;
    guest.write_u32(len_out, len)?;
    Ok(())
}

fn allocate<H: Host>(caller: &mut Caller<'_, State<H>>, len: u32) -> Result<u32, Fault> {
    let state = caller.data_mut();
    let Some(allocate) = state.allocate.clone() else {
        return Err(HostTrap::new(TrapKind::HostCall, "the module has no allocator").into());
    };
    let phase = std::mem::replace(&mut state.phase, Phase::Allocating);
    let at = allocate.call(&mut *caller, len);
    caller.data_mut().phase = phase;
    match at? {
        0 => Err(Status::InvalidMemoryAccess.into()),
        at => Ok(at),
    }
}
