"""What needs no second gateway: instructions per request, memory, the cost of many clusters."""

import glob
import json
import os
import re
import statistics

import gateway
import load
import machine

FIRST = 19300


def measure(binary, backend):
    config = gateway.bootstrap(FIRST, backend, [gateway.listener("plain", FIRST)])
    rows = [instructions(binary, config)]
    base_rss, base_ready = base(binary, config)
    rows.append(limit("base RSS", "MB", base_rss / 1e6, 25))
    rows.append(limit("idle keep-alive connection", "KB", idle(binary, config) / 1024, 4))
    rows.extend(clusters(binary, backend, base_rss))
    rows.append({"name": "ready with one cluster", "unit": "s", "weir": base_ready})
    rows.extend(lookups())
    return rows


def limit(name, unit, value, goal):
    return {"name": name, "unit": unit, "weir": value, "goal": goal, "met": value <= goal}


def instructions(binary, config):
    """(Ir(6000) - Ir(2000)) / 4000, so that the start does not count."""
    counts = [callgrind(binary, config, requests) for requests in (2000, 6000)]
    return limit("user instructions per HTTP/1.1 request", "instructions", (counts[1] - counts[0]) / 4000, 30000)


def callgrind(binary, config, requests):
    out = f"target/callgrind.{requests}.out"
    before = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    # The pooling allocator reserves more address space than valgrind has.
    one = gateway.Gateway("weir", binary, config, before=before, env={"WEIR_WASM_ALLOCATION": "on-demand"})
    try:
        one.wait_ready(300)
        load.exactly(FIRST, requests)
    finally:
        one.stop()
    with open(out) as f:
        return int(re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M)[1])


def base(binary, config):
    """RSS when it has served one request, and seconds until ready: medians of five starts."""
    sizes, times = [], []
    for _ in range(5):
        one = gateway.Gateway("weir", binary, config)
        try:
            times.append(one.wait_ready())
            load.idle_connections(FIRST, 1)
            sizes.append(machine.rss_bytes(one.pid))
        finally:
            one.stop()
    return statistics.median(sizes), statistics.median(times)


def idle(binary, config, before=2000, count=4000):
    """What a further connection adds. The first ones are not counted: with them the allocator's pools grow to what the
    requests need, whatever becomes of the connections."""
    machine.allow_descriptors(2 * (before + count) + 1000)
    one = gateway.Gateway("weir", binary, config)
    try:
        one.wait_ready()
        held = load.idle_connections(FIRST, before)
        size = machine.rss_bytes(one.pid)
        held += load.idle_connections(FIRST, count)
        return (machine.rss_bytes(one.pid) - size) / count
    finally:
        one.stop()


def clusters(binary, backend, base_rss, count=10_000):
    many = [gateway.cluster(f"cluster-{n}", backend) for n in range(count)]
    config = gateway.bootstrap(FIRST, backend, [gateway.listener("plain", FIRST)], many)
    times, sizes = [], []
    for _ in range(5):
        one = gateway.Gateway("weir", binary, config)
        try:
            times.append(one.wait_ready())
            sizes.append(machine.rss_bytes(one.pid))
        finally:
            one.stop()
    each = (statistics.median(sizes) - base_rss) / count
    return [limit(f"{count} clusters: ready", "s", statistics.median(times), 0.5),
            limit(f"{count} clusters: each", "KB", each / 1024, 8)]


def lookups():
    """The medians of the criterion benchmark that `make bench` ran before."""
    folder = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "criterion")
    rows = []
    for file in sorted(glob.glob(f"{folder}/**/last/100000/new/estimates.json", recursive=True)):
        name = os.path.relpath(file, folder).split("/")[0]
        with open(file) as f:
            median = json.load(f)["median"]["point_estimate"] / 1000
        rows.append(limit(f"lookup of the last of 100,000 {name}", "us", median, 1))
    return rows
