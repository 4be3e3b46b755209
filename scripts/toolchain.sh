#!/usr/bin/env bash
# Says what is missing to build, with the command that gets it; with the argument `lint` also what `make lint` needs.
set -euo pipefail

missing=0
need() { # COMMAND, WHAT IT IS, HOW TO GET IT
    command -v "$1" >/dev/null && return
    echo "toolchain: $2 is missing. Get it: $3" >&2
    missing=1
}
need cargo "Rust's cargo" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
need cc "a C compiler" "apt-get install gcc libc6-dev (or your system's)"
if [ "${1:-}" = lint ] && [ $missing = 0 ]; then
    # rustup has a stand-in for each, which fails if the component is not there.
    for component in rustfmt clippy; do
        command=cargo-${component/rustfmt/fmt}
        "$command" --version >/dev/null 2>&1 && continue
        echo "toolchain: $component is missing. Get it: rustup component add $component" >&2
        missing=1
    done
fi
exit $missing
