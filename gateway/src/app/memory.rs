//! The allocator of the process, and how what it keeps is given back.

use std::ptr::null_mut;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Gives memory that has been freed back to the system. An update needs many times the memory of what it leaves; the
/// allocator would keep it for a while, and of what this thread freed a part for ever. Takes milliseconds: not for workers.
pub(super) fn give_back() {
    // 4096 stands for all arenas (MALLCTL_ARENAS_ALL).
    for action in [c"thread.tcache.flush", c"arena.4096.purge"] {
        // SAFETY: the name ends with a NUL, neither action reads or writes a value, and any thread may ask for them at any
        // time. What they say is not looked at: what is not given back now is given back later.
        unsafe { tikv_jemalloc_sys::mallctl(action.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
    }
}
