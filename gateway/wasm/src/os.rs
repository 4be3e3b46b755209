//! The two things that the standard library does not offer: the CPU clock of a thread, and random bytes.

use std::time::Duration;

/// CPU time that this thread has used. A system call: asked only when a tick finds a guest running.
pub(crate) fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that lives through the call; the call writes nothing else. This clock exists on
    // every system we build for; if it failed, `time` would keep its zeros, and the wall limit would hold alone.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Fills `bytes` from the system's generator; false if it has none.
pub(crate) fn random(bytes: &mut [u8]) -> bool {
    // getentropy gives at most 256 bytes at once.
    bytes.chunks_mut(256).all(|chunk| {
        // SAFETY: pointer and length are those of `chunk`, which is borrowed through the call.
        unsafe { libc::getentropy(chunk.as_mut_ptr().cast(), chunk.len()) == 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let before = thread_cpu_time();
        while thread_cpu_time() - before < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn random_bytes_differ() {
        let (mut a, mut b) = ([0; 300], [0; 300]);
        assert!(random(&mut a) && random(&mut b));
        assert_ne!(a, b);
        assert_ne!(a[256..], [0; 44]);
    }
}
