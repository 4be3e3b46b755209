//! Every host call with pointers and lengths that lie: a status or a trap, never a panic and never a byte outside.

use crate::support::Arg::Number;
use crate::support::{BLOB, END, Probe};

/// Name and parameters of every call that takes any.
const CALLS: &[(&str, &str)] = &[
    ("proxy_log", "iii"),
    ("proxy_get_log_level", "i"),
    ("proxy_get_current_time_nanoseconds", "i"),
    ("proxy_set_tick_period_milliseconds", "i"),
    ("proxy_get_status", "iii"),
    ("proxy_get_property", "iiii"),
    ("proxy_set_property", "iiii"),
    ("proxy_get_buffer_bytes", "iiiii"),
    ("proxy_get_buffer_status", "iii"),
    ("proxy_set_buffer_bytes", "iiiii"),
    ("proxy_get_header_map_size", "ii"),
    ("proxy_get_header_map_pairs", "iii"),
    ("proxy_set_header_map_pairs", "iii"),
    ("proxy_get_header_map_value", "iiiii"),
    ("proxy_add_header_map_value", "iiiii"),
    ("proxy_replace_header_map_value", "iiiii"),
    ("proxy_remove_header_map_value", "iii"),
    ("proxy_continue_stream", "i"),
    ("proxy_close_stream", "i"),
    ("proxy_get_configuration", "ii"),
    ("proxy_send_local_response", "iiiiiiii"),
    ("proxy_http_call", "iiiiiiiiii"),
    ("proxy_grpc_call", "iiiiiiiiiiii"),
    ("proxy_grpc_stream", "iiiiiiiii"),
    ("proxy_grpc_send", "iiii"),
    ("proxy_grpc_cancel", "i"),
    ("proxy_grpc_close", "i"),
    ("proxy_set_effective_context", "i"),
    ("proxy_get_shared_data", "iiiii"),
    ("proxy_set_shared_data", "iiiii"),
    ("proxy_register_shared_queue", "iii"),
    ("proxy_resolve_shared_queue", "iiiii"),
    ("proxy_enqueue_shared_queue", "iii"),
    ("proxy_dequeue_shared_queue", "iii"),
    ("proxy_define_metric", "iiii"),
    ("proxy_increment_metric", "il"),
    ("proxy_record_metric", "il"),
    ("proxy_get_metric", "ii"),
    ("proxy_call_foreign_function", "iiiiii"),
];

const WASI_CALLS: &[(&str, &str)] = &[
    ("args_sizes_get", "ii"),
    ("args_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("random_get", "ii"),
    ("fd_write", "iiii"),
    ("fd_pwrite", "iiili"),
    ("fd_fdstat_get", "ii"),
    ("poll_oneoff", "iiii"),
];

/// Numbers that are wrong as a pointer, as a length, or as the sum of both.
const HOSTILE: [u64; 14] = [
    0,
    1,
    3,
    16,
    1024,
    BLOB as u64,
    END as u64 - 4,
    END as u64 - 1,
    END as u64,
    1 << 31,
    (1 << 31) - 1,
    u32::MAX as u64 - 3,
    u32::MAX as u64,
    u64::MAX,
];

#[test]
fn proxy_wasm_calls_survive_pointers_that_lie() {
    for (name, parameters) in CALLS {
        attack(Probe::env(name, parameters), parameters.len());
    }
}

#[test]
fn wasi_calls_survive_pointers_that_lie() {
    for (name, parameters) in WASI_CALLS {
        attack(Probe::new("wasi_snapshot_preview1", name, parameters), parameters.len());
    }
}

fn attack(mut probe: Probe, parameters: usize) {
    probe.host().request_headers = vec![("name".into(), "value".into())];
    // All the same; one that differs from the others; and a walk through the rest that is the same in every run.
    for all in HOSTILE {
        run(&mut probe, &vec![all; parameters]);
        for position in 0..parameters {
            for one in HOSTILE {
                let mut arguments = vec![all; parameters];
                arguments[position] = one;
                if all == 1024 || all == 0 {
                    run(&mut probe, &arguments);
                }
            }
        }
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..100 {
        let arguments: Vec<u64> = (0..parameters)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                HOSTILE[(random >> 33) as usize % HOSTILE.len()]
            })
            .collect();
        run(&mut probe, &arguments);
    }
}

/// A panic of the host would end the test; a trap is the guest's own end.
fn run(probe: &mut Probe, arguments: &[u64]) {
    let arguments: Vec<_> = arguments.iter().map(|number| Number(*number)).collect();
    let _ = probe.try_call(&arguments);
    probe.host().refused.clear();
    probe.host().events.clear();
}
