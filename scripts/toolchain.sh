#!/usr/bin/env bash
# Says what is missing to build, with the command that gets it.
set -euo pipefail

missing=0
need() { # COMMAND, WHAT IT IS, HOW TO GET IT
    command -v "$1" >/dev/null && return
    echo "toolchain: $2 is missing. Get it: $3" >&2
    missing=1
}
need cargo "Rust's cargo" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
need cc "a C compiler" "apt-get install gcc libc6-dev (or your system's)"
exit $missing
