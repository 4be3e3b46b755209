#!/usr/bin/env bash
# Says what is missing to build, with the command that gets it; with the argument `lint` also what `make lint` needs.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=0
lacks() { # WHAT, HOW TO GET IT
    echo "toolchain: $1. Get it: $2" >&2
    missing=1
}

rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
c_compiler="apt-get install gcc libc6-dev (Debian, Ubuntu), dnf install gcc glibc-devel (Fedora), apk add gcc musl-dev (Alpine), xcode-select --install (macOS)"

# An old cargo would stop at the first thing in a manifest that it does not know, and not say why.
rust() {
    local how=$rustup wanted version
    command -v cargo >/dev/null || { lacks "Rust's cargo is missing" "$how"; return; }
    command -v rustup >/dev/null && how="rustup update stable && rustup default stable"
    version=$("${RUSTC:-rustc}" --version) || { lacks "rustc does not run" "$how"; return; }
    version=${version#rustc }
    version=${version%%[ -]*}
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    printf '%s\n' "$wanted" "$version" | sort -V -C || lacks "Rust $wanted or newer is needed, and this is $version" "$how"
}

# A compiler without the C library's development files is found as well, and fails at the end of a build.
c() {
    local program
    command -v cc >/dev/null || { lacks "a C compiler is missing" "$c_compiler"; return; }
    program=$(mktemp)
    if ! cc -x c - -o "$program" 2>"$program.errors" <<<$'#include <stdlib.h>\nint main(void) { return 0; }'; then
        head -n 5 "$program.errors" >&2
        lacks "cc cannot compile and link an empty program (see above)" "$c_compiler"
    fi
    rm -f "$program" "$program.errors"
}

rust
c
if [ "${1:-}" = lint ] && [ $missing = 0 ]; then
    # rustup has a stand-in for each, which fails if the component is not there.
    for component in rustfmt clippy; do
        command=cargo-${component/rustfmt/fmt}
        "$command" --version >/dev/null 2>&1 || lacks "$component is missing" "rustup component add $component"
    done
fi
exit $missing
