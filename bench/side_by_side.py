"""Envoy and Weir on the same file, interleaved: processor time per request, and the ratio of it."""

import statistics

import gateway
import load
import machine


class Pair:
    """Both gateways, with a listener for each question, on processor 0."""

    def __init__(self, binaries, backend, plugin, certificates):
        self.gateways = {}
        for number, (kind, binary) in enumerate(binaries.items()):
            first = 19100 + 100 * number
            listeners = [
                gateway.listener("plain", first),
                gateway.listener("wasm", first + 1, filters=[gateway.wasm_filter(plugin)]),
                gateway.listener("tls", first + 2, transport=gateway.tls(certificates)),
            ]
            config = gateway.bootstrap(first, backend, listeners)
            self.gateways[kind] = (first, gateway.Gateway(kind, binary, config))
        for _, one in self.gateways.values():
            one.wait_ready()

    def round(self, listener, drive):
        """Microseconds of processor time per request, for each gateway."""
        times = {}
        for kind, (first, one) in self.gateways.items():
            before = machine.cpu_seconds(one.pid)
            done = drive(first + gateway.LISTENERS[listener])
            times[kind] = (machine.cpu_seconds(one.pid) - before) / done * 1e6
        return times

    def stop(self):
        for _, one in self.gateways.values():
            one.stop()


def measure(pair, rounds, seconds, handshakes):
    """Rows of (name, unit, Envoy's median, Weir's median, median ratio, goal)."""
    drives = {
        "plain": ("plain", lambda port: load.http1(port, seconds)),
        "http2": ("plain", lambda port: load.http2(port, seconds)),
        "tls": ("tls", lambda port: load.handshakes(handshakes, port, seconds)),
        "wasm": ("wasm", lambda port: load.http1(port, seconds)),
    }
    for listener, drive in drives.values():
        pair.round(listener, lambda port: load.http1(port, 1) if listener != "tls" else drive(port))
    results = {name: [] for name in drives}
    for number in range(rounds):
        for name, (listener, drive) in drives.items():
            results[name].append(pair.round(listener, drive))
        print(f"bench: round {number + 1} of {rounds}", flush=True)
    added = [{k: w[k] - p[k] for k in w} for w, p in zip(results["wasm"], results["plain"])]
    return [
        row("HTTP/1.1 request", results["plain"], 0.45),
        row("HTTP/2 request (downstream)", results["http2"], 0.60),
        row("full TLS 1.3 handshake", results["tls"], 0.65),
        row("added by one Wasm header filter", added, 0.35),
    ]


def row(name, rounds, goal):
    median = {kind: statistics.median(r[kind] for r in rounds) for kind in rounds[0]}
    ratios = [r["weir"] / r["envoy"] for r in rounds]
    return {"name": name, "unit": "us CPU", "envoy": median["envoy"], "weir": median["weir"],
            "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)], "goal": goal,
            "met": statistics.median(ratios) <= goal}
