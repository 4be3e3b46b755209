"""Loads. Each returns how many requests or handshakes were done; a failure ends the benchmark."""

import re
import socket
import subprocess


def run(command):
    result = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"bench: {' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def http1(port, seconds, connections=32):
    out = run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: (.*)", out)
    if refused or broken:
        raise SystemExit(f"bench: requests failed on port {port}:\n{out}")
    return int(re.search(r"(\d+) requests in", out)[1])


def http2(port, seconds, connections=10, streams=10):
    out = run(["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"http://127.0.0.1:{port}/"])
    done, failed, errored = (int(re.search(rf"(\d+) {word}", out)[1]) for word in ("succeeded", "failed", "errored"))
    if failed or errored or not done:
        raise SystemExit(f"bench: streams failed on port {port}:\n{out}")
    return done


def exactly(port, requests, connections=8):
    """HTTP/1 requests, counted."""
    out = run(["h2load", "--h1", "-t1", f"-c{connections}", f"-n{requests}", f"http://127.0.0.1:{port}/"])
    if f"{requests} succeeded" not in out:
        raise SystemExit(f"bench: requests failed on port {port}:\n{out}")


def handshakes(binary, port, seconds, group, concurrency=8):
    out = run([binary, "run", f"127.0.0.1:{port}", str(seconds), str(concurrency), group])
    done, failed = (int(n) for n in re.findall(r"(\d+) (?:done|failed)", out))
    if failed or not done:
        raise SystemExit(f"bench: {failed} handshakes failed on port {port}")
    return done


def idle_connections(port, count):
    """Keep-alive connections that have had one answer each."""
    held = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", port), 5)
        s.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        got = b""
        while not got.endswith(b"hello\n"):
            part = s.recv(4096)
            if not part:
                raise SystemExit("bench: an idle connection was closed")
            got += part
        held.append(s)
    return held
