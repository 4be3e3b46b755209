//! As much of WASI preview 1 as Envoy offers to filters: standard output goes to the log, clocks and random bytes work,
//! there are no files, sockets or arguments. Written by hand, as there is less to attack than in a whole WASI.

use wasmtime::{Caller, Result};

use crate::abi::{LogLevel, Status};
use crate::clock::realtime_ns;
use crate::host::Host;
use crate::link::{Fault, Imports};
use crate::memory::{GuestMemory, split};
use crate::state::State;

/// The names under which guests import it.
const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Most bytes of one `random_get`.
const RANDOM_BYTES: u32 = 64 << 10;

/// Most bytes that one write to standard output is read for.
const WRITE_BYTES: usize = 64 << 10;

/// Most pieces of one write.
const WRITE_PIECES: u32 = 1024;

/// Error numbers of WASI.
const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVALID: u32 = 28;
const NOENT: u32 = 44;
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;

pub(crate) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    for module in MODULES {
        offered(imports, module)?;
        absent(imports, module)?;
    }
    Ok(())
}

fn offered<H: Host>(imports: &mut Imports<'_, H>, module: &'static str) -> Result<()> {
    imports.define(module, "args_sizes_get", args_sizes::<H>)?;
    imports.define(module, "args_get", |_arguments: u32, _bytes: u32| SUCCESS)?;
    imports.define(module, "environ_sizes_get", environ_sizes::<H>)?;
    imports.define(module, "environ_get", environ::<H>)?;
    imports.define(module, "clock_res_get", clock_resolution::<H>)?;
    imports.define(module, "clock_time_get", clock_time::<H>)?;
    imports.define(module, "random_get", random::<H>)?;
    imports.define(module, "fd_write", write::<H>)?;
    imports.define(
        module,
        "fd_pwrite",
        |caller: Caller<'_, State<H>>, fd: u32, pieces: u32, count: u32, _at: u64, out: u32| {
            write(caller, fd, pieces, count, out)
        },
    )?;
    imports.define(module, "fd_fdstat_get", fdstat::<H>)?;
    imports.define(module, "poll_oneoff", poll::<H>)?;
    imports.define(module, "sched_yield", || SUCCESS)?;
    imports.define(module, "fd_close", |_fd: u32| SUCCESS)?;
    imports.define(module, "fd_seek", |_fd: u32, _offset: u64, _whence: u32, _out: u32| SUCCESS)?;
    // As in Envoy it returns, and the toolchain's code ends itself behind it.
    imports.define(module, "proc_exit", |mut caller: Caller<'_, State<H>>, code: u32| -> Result<()> {
        caller.data_mut().deadline.check()?;
        caller.data_mut().log(LogLevel::Error, format!("the guest called proc_exit({code})").as_bytes());
        Ok(())
    })
}

/// What has its fixed answer, "there is none".
fn absent<H: Host>(imports: &mut Imports<'_, H>, module: &'static str) -> Result<()> {
    imports.define(module, "fd_prestat_get", |_: u32, _: u32| BADF)?;
    imports.define(module, "fd_prestat_dir_name", |_: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "fd_filestat_get", |_: u32, _: u32| BADF)?;
    imports.define(module, "fd_fdstat_set_flags", |_: u32, _: u32| NOSYS)?;
    imports.define(module, "fd_fdstat_set_rights", |_: u32, _: u64, _: u64| NOTSUP)?;
    imports.define(module, "fd_read", |_: u32, _: u32, _: u32, _: u32| NOSYS)?;
    imports.define(module, "fd_pread", |_: u32, _: u32, _: u32, _: u64, _: u32| NOTSUP)?;
    imports.define(module, "fd_advise", |_: u32, _: u64, _: u64, _: u32| NOTSUP)?;
    imports.define(module, "fd_allocate", |_: u32, _: u64, _: u64| NOTSUP)?;
    imports.define(module, "fd_datasync", |_: u32| NOTSUP)?;
    imports.define(module, "fd_sync", |_: u32| NOTSUP)?;
    imports.define(module, "fd_tell", |_: u32, _: u32| NOTSUP)?;
    imports.define(module, "fd_filestat_set_size", |_: u32, _: u64| NOTSUP)?;
    imports.define(module, "fd_filestat_set_times", |_: u32, _: u64, _: u64, _: u32| NOTSUP)?;
    imports.define(module, "fd_readdir", |_: u32, _: u32, _: u32, _: u64, _: u32| NOTSUP)?;
    imports.define(module, "fd_renumber", |_: u32, _: u32| NOTSUP)?;
    imports
        .define(module, "path_open", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32| NOENT)?;
    imports.define(module, "path_create_directory", |_: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "path_remove_directory", |_: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "path_unlink_file", |_: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "path_filestat_get", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    imports
        .define(module, "path_filestat_set_times", |_: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| NOTSUP)?;
    imports.define(module, "path_link", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "path_readlink", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "path_rename", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "path_symlink", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "sock_accept", |_: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "sock_recv", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "sock_send", |_: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP)?;
    imports.define(module, "sock_shutdown", |_: u32, _: u32| NOTSUP)?;
    imports.define(module, "proc_raise", |_: u32| NOTSUP)
}

/// Runs a call on the guest's memory; wrong pointers are the guest's fault, and said so.
fn answer<H: Host>(
    mut caller: Caller<'_, State<H>>,
    call: impl FnOnce(&mut GuestMemory<'_>, &mut State<H>) -> Result<u32, Status>,
) -> Result<u32> {
    caller.data_mut().deadline.check()?;
    match split(&mut caller) {
        Ok((mut guest, state)) => Ok(call(&mut guest, state).unwrap_or(FAULT)),
        Err(Fault::Trap(error)) => Err(error),
        Err(Fault::Status(_)) => Ok(FAULT),
    }
}

fn args_sizes<H: Host>(caller: Caller<'_, State<H>>, count_out: u32, size_out: u32) -> Result<u32> {
    answer(caller, |guest, _| {
        guest.write_u32(count_out, 0)?;
        guest.write_u32(size_out, 0)?;
        Ok(SUCCESS)
    })
}

fn environ_sizes<H: Host>(caller: Caller<'_, State<H>>, count_out: u32, size_out: u32) -> Result<u32> {
    answer(caller, |guest, state| {
        let variables = &state.settings.environment;
        // Each is `name=value` and a NUL.
        let size: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        guest.write_u32(count_out, u32::try_from(variables.len()).unwrap_or(u32::MAX))?;
        guest.write_u32(size_out, u32::try_from(size).unwrap_or(u32::MAX))?;
        Ok(SUCCESS)
    })
}

fn environ<H: Host>(caller: Caller<'_, State<H>>, pointers: u32, bytes: u32) -> Result<u32> {
    answer(caller, |guest, state| {
        let (mut pointer, mut at) = (pointers, bytes);
        for (name, value) in &state.settings.environment {
            let variable = format!("{name}={value}\0");
            guest.write_u32(pointer, at)?;
            guest.write(at, variable.as_bytes())?;
            pointer = pointer.checked_add(4).ok_or(Status::InvalidMemoryAccess)?;
            // A string that was written into 32-bit memory has a 32-bit length.
            at = at.checked_add(variable.len() as u32).ok_or(Status::InvalidMemoryAccess)?;
        }
        Ok(SUCCESS)
    })
}

fn clock_resolution<H: Host>(caller: Caller<'_, State<H>>, _clock: u32, out: u32) -> Result<u32> {
    answer(caller, |guest, _| {
        guest.write_u64(out, 1)?;
        Ok(SUCCESS)
    })
}

fn clock_time<H: Host>(caller: Caller<'_, State<H>>, clock: u32, _precision: u64, out: u32) -> Result<u32> {
    answer(caller, |guest, state| {
        let now = match clock {
            0 => state.host.now(),
            1 => state.started.elapsed().as_nanos().try_into().unwrap_or_else(|_| realtime_ns()),
            _ => return Ok(NOTSUP),
        };
        guest.write_u64(out, now)?;
        Ok(SUCCESS)
    })
}

fn random<H: Host>(caller: Caller<'_, State<H>>, at: u32, len: u32) -> Result<u32> {
    answer(caller, |guest, _| {
        if len > RANDOM_BYTES {
            return Ok(INVALID);
        }
        Ok(if crate::os::random(guest.bytes_mut(at, len)?) { SUCCESS } else { NOSYS })
    })
}

fn write<H: Host>(caller: Caller<'_, State<H>>, fd: u32, pieces: u32, count: u32, written_out: u32) -> Result<u32> {
    answer(caller, |guest, state| {
        let level = match fd {
            1 => LogLevel::Info,
            2 => LogLevel::Error,
            _ => return Ok(BADF),
        };
        if count > WRITE_PIECES {
            return Ok(INVALID);
        }
        // Not `scratch`: the guest's allocator may write a line while something lies there to be given to the guest.
        let mut message = std::mem::take(&mut state.line);
        message.clear();
        let mut written = 0_u32;
        for piece in 0..count {
            let at = piece.checked_mul(8).and_then(|offset| pieces.checked_add(offset));
            let at = at.ok_or(Status::InvalidMemoryAccess)?;
            let len = guest.read_u32(at.checked_add(4).ok_or(Status::InvalidMemoryAccess)?)?;
            let bytes = guest.bytes(guest.read_u32(at)?, len)?;
            let room = WRITE_BYTES.saturating_sub(message.len());
            message.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            written = written.saturating_add(len);
        }
        guest.write_u32(written_out, written)?;
        let line = message.strip_suffix(b"\n").unwrap_or(&message);
        if !line.is_empty() {
            state.log(level, line);
        }
        state.line = message;
        Ok(SUCCESS)
    })
}

fn fdstat<H: Host>(caller: Caller<'_, State<H>>, fd: u32, out: u32) -> Result<u32> {
    answer(caller, |guest, _| {
        if fd != 1 && fd != 2 {
            return Ok(BADF);
        }
        // filetype 0, no flags, the right to write (bit 6), nothing to inherit.
        let stat = guest.bytes_mut(out, 24)?;
        stat.fill(0);
        if let Some(rights) = stat.get_mut(8) {
            *rights = 64;
        }
        Ok(SUCCESS)
    })
}

/// Nothing ever happens: Go's runtime asks, and goes on.
fn poll<H: Host>(
    caller: Caller<'_, State<H>>,
    _subscriptions: u32,
    _events: u32,
    _count: u32,
    happened_out: u32,
) -> Result<u32> {
    answer(caller, |guest, _| {
        guest.write_u32(happened_out, 0)?;
        Ok(SUCCESS)
    })
}
