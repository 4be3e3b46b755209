//! Times reading a bootstrap of many clusters: `cargo run --release --example load -- 10000`.

use std::{fmt::Write, time::Instant};

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let mut text = String::from("static_resources:\n  clusters:\n");
    for i in 0..count {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "  - name: outbound|8080||service-{i}.namespace.svc.cluster.local\n    type: STATIC\n    connect_timeout: 2s\n    \
             lb_policy: LEAST_REQUEST\n    circuit_breakers:\n      thresholds:\n      - max_connections: 4294967295\n        \
             max_pending_requests: 4294967295\n        max_requests: 4294967295\n    load_assignment:\n      \
             cluster_name: outbound|8080||service-{i}.namespace.svc.cluster.local\n      endpoints:\n      - lb_endpoints:\n        \
             - endpoint:\n            address:\n              socket_address:\n                address: 10.0.0.1\n                \
             port_value: 8080\n"
        );
    }
    let start = Instant::now();
    let bootstrap = weir_xds::read_bootstrap(&text);
    let took = start.elapsed();
    println!(
        "{} clusters, {} KiB, {} problems: {took:?}",
        bootstrap.resources.len(),
        text.len() >> 10,
        bootstrap.all_problems().len()
    );
}
