#!/usr/bin/env python3
"""Measures Weir beside Envoy and alone; prints a table and writes target/bench.json.

make bench                         everything
make bench BENCH="--rounds 7"      more rounds
make bench BENCH="--only alone"    a part: side-by-side or alone

The gateways run on processor 0, the load and the backend (nginx) on processor 1. Rounds are interleaved, so that a busy machine
hits both; the figure to trust is the ratio, taken round by round. WEIR_BIN and ENVOY_BIN name other binaries.
"""

import argparse
import json
import os
import subprocess
import tempfile

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import machine
import side_by_side
import weir_alone

BACKEND = 19000
NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 1000000000;
server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello\\n"; }} }} }}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", choices=["side-by-side", "alone"])
    options = parser.parse_args()
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    weir = os.path.abspath(os.environ.get("WEIR_BIN", f"{target}/release/weir"))
    envoy = os.path.abspath(os.environ.get("ENVOY_BIN", "target/envoy/bin/envoy"))
    handshakes = os.path.abspath(os.environ.get("HANDSHAKES_BIN", f"{target}/release/handshakes"))
    machine.need(["wrk", "h2load", "nginx", "valgrind", "taskset"])
    for path, command in [(weir, "make release"), (envoy, "make envoy"), (handshakes, "cargo build --release -p weir-tests --bins")]:
        if not os.path.exists(path):
            raise SystemExit(f"bench: {path} is missing. Get it: {command}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        with open(f"{folder}/nginx.conf", "w") as f:
            f.write(NGINX.format(folder=folder, port=BACKEND))
        backend = machine.pinned(1, ["nginx", "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            if options.only != "alone":
                subprocess.run([handshakes, "certificate", folder], check=True)
                pair = side_by_side.Pair({"envoy": envoy, "weir": weir}, BACKEND, "target/plugins/header_tag.wasm", folder)
                try:
                    rows += side_by_side.measure(pair, options.rounds, options.seconds, handshakes)
                finally:
                    pair.stop()
            if options.only != "side-by-side":
                rows += weir_alone.measure(weir, BACKEND)
        finally:
            backend.terminate()
            backend.wait()
    report(rows, options)


def report(rows, options):
    os.makedirs("target", exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    with open("target/bench.json", "w") as f:
        json.dump({"machine": machine.describe(), "commit": commit, "rounds": options.rounds, "rows": rows}, f, indent=1)
    print(f"\n{machine.describe()}; medians of {options.rounds} interleaved rounds\n")
    print("| | Envoy | Weir | ratio (min-max) | goal | |\n|---|---|---|---|---|---|")
    for r in rows:
        envoy = f"{r['envoy']:.2f} {r['unit']}" if "envoy" in r else ""
        ratio = f"{r['ratio']:.2f} ({r['spread'][0]:.2f}-{r['spread'][1]:.2f})" if "ratio" in r else ""
        value = f"{r['weir']:,.0f}" if r["weir"] >= 1000 else f"{r['weir']:.2f}"
        goal = f"<= {r['goal']:,}" if "goal" in r else ""
        met = "" if "met" not in r else "yes" if r["met"] else "NO"
        print(f"| {r['name']} | {envoy} | {value} {r['unit']} | {ratio} | {goal} | {met} |")
    print("\nwritten: target/bench.json")


main()
