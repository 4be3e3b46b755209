//! What to do about what the system refuses.

use std::io;

/// In brackets, behind the system's own reason; nothing where there is nothing to say.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            " (the process may open no more files: raise `ulimit -n`; the gateway takes about 20, for each worker 4 and one \
             for each listener, for each connection of a client up to 2)"
        }
        Some(libc::ENFILE) => " (the machine may open no more files: raise fs.file-max)",
        _ => match error.kind() {
            io::ErrorKind::AddrInUse => " (another program listens there; stop it or choose another port)",
            io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
            io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
            _ => "",
        },
    }
}
