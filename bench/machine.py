"""What the benchmark asks of the machine: programs, processor time, memory."""

import os
import re
import resource
import shutil
import subprocess
import sys

DEBIAN = {"wrk": "wrk", "h2load": "nghttp2-client", "nginx": "nginx", "valgrind": "valgrind", "taskset": "util-linux"}


def need(programs):
    """Ends with what is missing and the command that gets it."""
    missing = [p for p in programs if not shutil.which(p) and not os.path.exists(f"/usr/sbin/{p}")]
    if missing:
        packages = " ".join(DEBIAN[p] for p in missing)
        sys.exit(f"bench: {', '.join(missing)} missing. Get it: apt-get install {packages}")


def children(pid):
    pids = [pid]
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) in pids:
                    pids.append(int(entry))
        except (OSError, IndexError):
            pass
    return pids


def cpu_seconds(pid):
    """Run time of all threads, as the scheduler counts it: not a sample."""
    total = 0
    for p in children(pid):
        for task in os.listdir(f"/proc/{p}/task"):
            try:
                with open(f"/proc/{p}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
            except OSError:
                pass
    return total / 1e9


def allow_descriptors(count):
    """For this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        sys.exit(f"bench: {count} open files are needed and {hard} allowed. Allow them: ulimit -Hn {count}")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def rss_bytes(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024


def pinned(cpu, command, **kw):
    """A process on one processor: the gateway on 0, its load and backend on 1."""
    return subprocess.Popen(["taskset", "-c", str(cpu)] + command, **kw)


def describe():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*:\s*(.*)", f.read())
    return f"{model[1] if model else 'unknown processor'}, {os.cpu_count()} processors, Linux {os.uname().release}"
