//! Metrics that guests define.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::{MetricType, Status};
use crate::host::Host;
use crate::link::{HostCall, Imports};
use crate::memory::split;
use crate::state::State;

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, DEFINE.name(), define_metric::<H>)?;
    imports.define(ENV, INCREMENT.name(), increment::<H>)?;
    imports.define(ENV, RECORD.name(), record::<H>)?;
    imports.define(ENV, VALUE.name(), value::<H>)
}

const DEFINE: HostCall = HostCall::new("proxy_define_metric");
const INCREMENT: HostCall = HostCall::new("proxy_increment_metric").or(&[Status::NotFound, Status::BadArgument]);
const RECORD: HostCall = HostCall::new("proxy_record_metric").or(&[Status::NotFound]);
const VALUE: HostCall =
    HostCall::new("proxy_get_metric").or(&[Status::NotFound, Status::BadArgument]).otherwise(Status::NotFound);

fn define_metric<H: Host>(caller: Caller<'_, State<H>>, kind: u32, name: u32, len: u32, id_out: u32) -> Result<u32> {
    DEFINE.run(caller, |caller| {
        let (mut guest, state) = split(caller)?;
        let kind = MetricType::from_number(kind).ok_or(Status::BadArgument)?;
        // Without metrics the guest gets an id all the same: its SDK takes no other answer.
        guest.write_u32(id_out, 0)?;
        let id = state.host.define_metric(state.context, kind, guest.bytes(name, len)?)?;
        guest.write_u32(id_out, id)?;
        Ok(())
    })
}

fn increment<H: Host>(caller: Caller<'_, State<H>>, metric: u32, by: i64) -> Result<u32> {
    INCREMENT.run(caller, |caller| {
        let state = caller.data_mut();
        state.host.increment_metric(state.context, metric, by)?;
        Ok(())
    })
}

fn record<H: Host>(caller: Caller<'_, State<H>>, metric: u32, value: u64) -> Result<u32> {
    RECORD.run(caller, |caller| {
        let state = caller.data_mut();
        state.host.record_metric(state.context, metric, value)?;
        Ok(())
    })
}

fn value<H: Host>(caller: Caller<'_, State<H>>, metric: u32, out: u32) -> Result<u32> {
    VALUE.run(caller, |caller| {
        let (mut guest, state) = split(caller)?;
        let value = state.host.metric(state.context, metric)?;
        guest.write_u64(out, value)?;
        Ok(())
    })
}
