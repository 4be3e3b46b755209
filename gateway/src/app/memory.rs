//! The allocator of the process, and how what it keeps is given back.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory that this thread has freed back to the system. An update needs many times the memory of what it leaves;
/// the allocator would keep it for the next one, which may never come. Takes milliseconds: not for workers.
pub(super) fn give_back() {
    // SAFETY: it takes no pointers, touches memory that is free only, and may be called by any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
