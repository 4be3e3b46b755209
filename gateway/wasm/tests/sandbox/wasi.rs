use weir_wasm::LogLevel;

use crate::support::Arg::{Bytes, Number, Out};
use crate::support::{BLOB, Probe};

const WASI: &str = "wasi_snapshot_preview1";

#[test]
fn standard_output_goes_to_the_log() {
    for module in [WASI, "wasi_unstable"] {
        let mut probe = Probe::new(module, "fd_write", "iiii");
        // The pieces are data behind the arguments: (where, how long) of "one", then of "two\n".
        let data = u64::from(BLOB) + 13 * 8;
        let mut bytes = Vec::new();
        for (offset, len) in [(16_u64, 3_u32), (19, 4)] {
            bytes.extend(((data + offset) as u32).to_le_bytes());
            bytes.extend(len.to_le_bytes());
        }
        bytes.extend(b"onetwo\n");
        for (fd, level) in [(1, LogLevel::Info), (2, LogLevel::Error)] {
            // `Bytes` makes two arguments; the second is the count of pieces only if it is 2: so pass them by hand.
            let answer = probe.call(&[Number(fd), Number(data), Number(2), Out(0), Bytes(&bytes)]);
            assert_eq!((answer.status, answer.number(0)), (0, 7));
            assert_eq!(probe.host().logs, [(level, b"onetwo".to_vec())]);
        }
        assert_eq!(probe.call(&[Number(3), Number(data), Number(2), Out(0)]).status, 8);
    }
}

#[test]
fn environment_is_that_of_the_plugin() {
    let mut probe = Probe::new(WASI, "environ_sizes_get", "ii");
    let answer = probe.call(&[Out(0), Out(1)]);
    assert_eq!((answer.number(0), answer.number(1)), (2, "ANIMAL=otter TREE=elm ".len() as u64));

    let mut probe = Probe::new(WASI, "environ_get", "ii");
    let answer = probe.call(&[Out(0), Out(4)]);
    assert_eq!(answer.status, 0);
    let strings: Vec<u8> = (4..7).flat_map(|n| answer.number(n).to_le_bytes()).collect();
    assert!(strings.starts_with(b"ANIMAL=otter\0TREE=elm\0"));
}

#[test]
fn clocks_and_random_bytes_work() {
    let mut probe = Probe::new(WASI, "clock_time_get", "ili");
    assert!(probe.call(&[Number(0), Number(0), Out(0)]).number(0) > 1_600_000_000_000_000_000);
    assert!(probe.call(&[Number(1), Number(0), Out(0)]).number(0) > 0);
    assert_eq!(probe.call(&[Number(2), Number(0), Out(0)]).status, 58);

    let mut probe = Probe::new(WASI, "random_get", "ii");
    let answer = probe.call(&[Out(0), Number(16)]);
    assert_ne!((answer.number(0), answer.number(1)), (0, 0));
    assert_eq!(probe.call(&[Number(0), Number(65537)]).status, 28);
}

#[test]
fn there_are_no_files() {
    assert_eq!(Probe::new(WASI, "fd_prestat_get", "ii").call(&[Number(3), Out(0)]).status, 8);
    let nothing = [Number(0); 9];
    assert_eq!(Probe::new(WASI, "path_open", "iiiiillii").call(&nothing).status, 44);
}
