//! Data and queues that instances share. Queues are not offered yet: nothing can be put into one.

use wasmtime::{Caller, Result};

use super::ENV;
use crate::abi::Status;
use crate::host::Host;
use crate::link::{HostCall, Imports};
use crate::memory::{Gift, give, split};
use crate::state::State;

pub(super) fn define<H: Host>(imports: &mut Imports<'_, H>) -> Result<()> {
    imports.define(ENV, GET.name(), get::<H>)?;
    imports.define(ENV, SET.name(), set::<H>)?;
    imports.define(ENV, REGISTER.name(), register::<H>)?;
    imports.define(
        ENV,
        RESOLVE.name(),
        |caller: Caller<'_, State<H>>, _vm: u32, _vm_len: u32, _name: u32, _name_len: u32, _id_out: u32| {
            missing(&RESOLVE, caller)
        },
    )?;
    imports.define(ENV, ENQUEUE.name(), |caller: Caller<'_, State<H>>, _id: u32, _bytes: u32, _len: u32| {
        missing(&ENQUEUE, caller)
    })?;
    imports.define(ENV, DEQUEUE.name(), |caller: Caller<'_, State<H>>, _id: u32, _at_out: u32, _len_out: u32| {
        missing(&DEQUEUE, caller)
    })
}

const GET: HostCall = HostCall::new("proxy_get_shared_data").or(&[Status::NotFound]).otherwise(Status::NotFound);
const SET: HostCall = HostCall::new("proxy_set_shared_data").or(&[Status::CasMismatch]);
const REGISTER: HostCall = HostCall::new("proxy_register_shared_queue");
const RESOLVE: HostCall =
    HostCall::new("proxy_resolve_shared_queue").or(&[Status::NotFound]).otherwise(Status::NotFound);
const ENQUEUE: HostCall =
    HostCall::new("proxy_enqueue_shared_queue").or(&[Status::NotFound]).otherwise(Status::NotFound);
const DEQUEUE: HostCall =
    HostCall::new("proxy_dequeue_shared_queue").or(&[Status::Empty, Status::NotFound]).otherwise(Status::NotFound);

fn get<H: Host>(
    caller: Caller<'_, State<H>>,
    key: u32,
    key_len: u32,
    at_out: u32,
    len_out: u32,
    cas_out: u32,
) -> Result<u32> {
    GET.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        state.scratch.clear();
        let cas = state.host.shared_data(guest.bytes(key, key_len)?, &mut state.scratch)?;
        split(caller)?.0.write_u32(cas_out, cas)?;
        give(caller, Gift::Bytes, at_out, len_out)
    })
}

fn set<H: Host>(caller: Caller<'_, State<H>>, key: u32, key_len: u32, value: u32, len: u32, cas: u32) -> Result<u32> {
    SET.run(caller, |caller| {
        let (guest, state) = split(caller)?;
        state.host.set_shared_data(guest.bytes(key, key_len)?, guest.bytes(value, len)?, cas)?;
        Ok(())
    })
}

fn register<H: Host>(caller: Caller<'_, State<H>>, _name: u32, _name_len: u32, id_out: u32) -> Result<u32> {
    REGISTER.run(caller, |caller| {
        // The SDK takes no other answer than an id.
        split(caller)?.0.write_u32(id_out, 0)?;
        Err(Status::Unimplemented.into())
    })
}

fn missing<H: Host>(call: &HostCall, caller: Caller<'_, State<H>>) -> Result<u32> {
    call.run(caller, |_| Err(Status::Unimplemented.into()))
}
