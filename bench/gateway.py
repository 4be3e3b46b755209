"""Gateways under measurement: the same bootstrap for Envoy and Weir, but for the ports."""

import json
import os
import socket
import subprocess
import tempfile
import time

import machine

TYPE = "type.googleapis.com/"
LISTENERS = {"plain": 0, "wasm": 1, "tls": 2}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def typed(name, **fields):
    return {"@type": TYPE + name, **fields}


def wasm_filter(module):
    code = {"local": {"filename": os.path.abspath(module)}}
    return {"name": "header-tag", "typed_config": typed(
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        config={"name": "header-tag", "vm_config": {"vm_id": "bench", "runtime": "envoy.wasm.runtime.v8", "code": code}})}


def listener(name, port, filters=(), transport=None):
    hcm = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        access_log=[{"name": "envoy.access_loggers.file", "typed_config": typed(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog", path="/dev/null")}],
        http_filters=[*filters, {"name": "envoy.filters.http.router", "typed_config": typed(
            "envoy.extensions.filters.http.router.v3.Router")}],
        route_config={"name": "r", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "backend"}}]}]})
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}
    if transport:
        chain["transport_socket"] = transport
    return {"name": name, "address": address(port), "filter_chains": [chain]}


def tls(folder):
    certificate = {"certificate_chain": {"filename": f"{folder}/server.crt"}, "private_key": {"filename": f"{folder}/server.key"}}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={"tls_certificates": [certificate]})}


def cluster(name, port):
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}


def bootstrap(first_port, backend, listeners, clusters=()):
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": address(first_port + 9)},
        "static_resources": {"listeners": listeners, "clusters": [cluster("backend", backend), *clusters]},
    }


class Gateway:
    """A running gateway; `before` goes in front of its command, such as valgrind."""

    def __init__(self, kind, binary, config, before=(), env=None):
        self.admin = config["admin"]["address"]["socket_address"]["port_value"]
        self.folder = tempfile.TemporaryDirectory(prefix="weir-bench-")
        file = os.path.join(self.folder.name, "bootstrap.json")
        with open(file, "w") as f:
            json.dump(config, f)
        if kind == "envoy":
            command = [binary, "-c", file, "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
        else:
            command = [binary, "run", "-c", file, "--concurrency", "1", "--log-level", "error"]
        self.log = open(os.path.join(self.folder.name, "log"), "w+")
        self.started = time.monotonic()
        self.process = machine.pinned(0, [*before, *command], stdout=self.log, stderr=subprocess.STDOUT,
                                      env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    def wait_ready(self, limit=120):
        """Seconds from the start until /ready says 200."""
        while time.monotonic() - self.started < limit:
            if self.process.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"bench: the gateway has ended with {self.process.returncode}:\n{self.log.read()[-3000:]}")
            try:
                with socket.create_connection(("127.0.0.1", self.admin), 1) as s:
                    s.sendall(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                    if s.recv(100).split(b" ")[1:2] == [b"200"]:
                        return time.monotonic() - self.started
            except OSError:
                pass
            time.sleep(0.002)
        raise SystemExit("bench: the gateway is not ready in time")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
