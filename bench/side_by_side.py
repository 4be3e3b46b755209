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
        "tls": ("tls", lambda port: load.handshakes(handshakes, port, seconds, "X25519")),
        "hybrid": ("tls", lambda port: load.handshakes(handshakes, port, seconds, "X25519MLKEM768")),
    }
    for listener, drive in [*drives.values(), ("wasm", drives["plain"][1])]:
        pair.round(listener, drive)
    results = {name: [] for name in [*drives, "added"]}
    for number in range(rounds):
        for name, (listener, drive) in drives.items():
            results[name].append(pair.round(listener, drive))
        results["added"].append(added(pair, seconds))
        print(f"bench: round {number + 1} of {rounds}", flush=True)
    return [
        row("HTTP/1.1 request", results["plain"], 0.45),
        row("HTTP/2 request (downstream)", results["http2"], 0.60),
        row("full TLS 1.3 handshake, X25519", results["tls"], 0.65),
        row("full TLS 1.3 handshake, X25519MLKEM768", results["hybrid"], 0.65),
        row("added by one Wasm header filter", results["added"], 0.35),
    ]


def added(pair, seconds):
    """What the filter adds to a request: the small difference of two large figures, so both are taken in slices of a second by
    turns, twice as many as for the others, and what the machine does meanwhile hits both."""
    difference = {kind: 0.0 for kind in pair.gateways}
    slices = 2 * seconds
    for _ in range(slices):
        without, with_filter = (pair.round(listener, lambda port: load.http1(port, 1)) for listener in ("plain", "wasm"))
        for kind in difference:
            difference[kind] += (with_filter[kind] - without[kind]) / slices
    return difference


def row(name, rounds, goal):
    """Medians and their ratio; the spread is that of the ratios of single rounds."""
    median = {kind: statistics.median(r[kind] for r in rounds) for kind in rounds[0]}
    ratios = [r["weir"] / r["envoy"] for r in rounds]
    ratio = median["weir"] / median["envoy"]
    return {"name": name, "unit": "us CPU", "envoy": median["envoy"], "weir": median["weir"],
            "ratio": ratio, "spread": [min(ratios), max(ratios)], "goal": goal, "met": ratio <= goal}
