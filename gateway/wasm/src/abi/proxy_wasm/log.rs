//! Log, clock and timer.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::{LogLevel, Status};
use crate::host::Host;
use crate::link::{HostCall, Imports};
use crate::memory::split;
use crate::state::State;

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, LOG.name(), log::<H>)?;
    imports.define(ENV, LEVEL.name(), level::<H>)?;
    imports.define(ENV, TIME.name(), time::<H>)?;
    imports.define(ENV, TICK.name(), tick::<H>)?;
    // What C++ guests of emscripten import beside proxy-wasm.
    imports.define(ENV, "pthread_equal", |left: u32, right: u32| u32::from(left == right))?;
    imports.define(ENV, "emscripten_notify_memory_growth", |_memory: u32| ())
}

const LOG: HostCall = HostCall::new("proxy_log").unrestricted();
const LEVEL: HostCall = HostCall::new("proxy_get_log_level").unrestricted();
const TIME: HostCall = HostCall::new("proxy_get_current_time_nanoseconds").unrestricted();
const TICK: HostCall = HostCall::new("proxy_set_tick_period_milliseconds");

fn log<H: Host>(caller: Caller<'_, State<H>>, level: u32, message: u32, len: u32) -> Result<u32> {
    LOG.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        let level = LogLevel::from_number(level).ok_or(Status::BadArgument)?;
        state.log(level, guest.bytes(message, len)?);
        Ok(())
    })
}

fn level<H: Host>(caller: Caller<'_, State<H>>, out: u32) -> Result<u32> {
    LEVEL.run(caller, |caller| {
        let (mut guest, state) = split(caller)?;
        guest.write_u32(out, state.host.log_level() as u32)?;
        Ok(())
    })
}

fn time<H: Host>(caller: Caller<'_, State<H>>, out: u32) -> Result<u32> {
    TIME.run(caller, |caller| {
        let (mut guest, state) = split(caller)?;
        guest.write_u64(out, state.host.now())?;
        Ok(())
    })
}

fn tick<H: Host>(caller: Caller<'_, State<H>>, milliseconds: u32) -> Result<u32> {
    TICK.run(caller, |caller| {
        let state = caller.data_mut();
        state.host.set_tick_period(state.context, milliseconds)?;
        Ok(())
    })
}
