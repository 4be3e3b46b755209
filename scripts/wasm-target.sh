#!/usr/bin/env bash
# Builds the example plugins for wasm32-wasip1 into target/plugins/*.wasm, by the first way that works on this machine:
#   1. the toolchain has the target,
#   2. rustup can add it (one minute at most, so that it never hangs without a network),
#   3. Debian's rustc-web, rust-web-src, wasi-libc and a linker: the standard library is built from source.
# If none works it says what is missing, and the command that gets it.
#
# Usage: scripts/wasm-target.sh [DIRECTORY FOR THE .wasm FILES]
#        scripts/wasm-target.sh --probe    builds nothing: makes sure that there is a way, before anybody waits for another build
# WEIR_WASM_WAY=installed|rustup|debian takes this way and no other.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-target/plugins}
[ "$out" = --probe ] && probe=yes || probe=
target=wasm32-wasip1
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/wasm
only=${WEIR_WASM_WAY:-any}

say() { echo "wasm-target: $*" >&2; }

wanted() { [ "$only" = any ] || [ "$only" = "$1" ]; }

sysroot() { "${RUSTC:-rustc}" --print sysroot; }

installed() { [ -d "$(sysroot)/lib/rustlib/$target/lib" ]; }

add_by_rustup() {
    command -v rustup >/dev/null || { say "rustup is not installed"; return 1; }
    say "asking rustup for the target $target"
    local limit=()
    command -v timeout >/dev/null && limit=(timeout 60)
    "${limit[@]}" rustup target add "$target" >&2 && installed
}

build() {
    local started=$SECONDS
    mkdir -p "$out"
    CARGO_TARGET_DIR=$target_dir cargo build --manifest-path plugins/Cargo.toml --release --locked --target "$target" "$@"
    local module
    for module in "$target_dir/$target"/release/*.wasm; do
        # By a rename: a gateway that watches the file sees the old or the new one, never a half.
        cp "$module" "$out/.new.$$" && mv "$out/.new.$$" "$out/$(basename "$module")"
    done
    say "$(find "$out" -maxdepth 1 -name '*.wasm' | wc -l) plugins in $out ($((SECONDS - started)) s)"
}

find_linker() {
    local linker
    for linker in "$(sysroot)"/lib/rustlib/*/bin/rust-lld /usr/bin/rust-lld "$(command -v wasm-ld || true)"; do
        [ -x "$linker" ] && { echo "$linker"; return 0; }
    done
    return 1
}

# Prints what is missing for the way by Debian's packages; nothing if it is complete.
missing_of_debian() {
    [ -x /usr/bin/rustc ] || echo rustc-web
    [ -d /usr/lib/rustlib/src/rust/library ] || echo rust-web-src
    [ -d /usr/lib/wasm32-wasi ] || echo wasi-libc
    find_linker >/dev/null || echo lld
}

build_by_debian() {
    say "building the standard library for $target from Debian's sources (about a minute)"
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-L native=/usr/lib/wasm32-wasi" \
        CARGO_TARGET_WASM32_WASIP1_LINKER=$(find_linker) build -Zbuild-std=std,panic_abort
}

command -v cargo >/dev/null || {
    say "cargo is missing. Get it: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    exit 1
}
debian_is_complete() { [ -z "$(missing_of_debian)" ]; }

if wanted installed && installed; then
    [ -n "$probe" ] || build
# A probe does not ask rustup, which may take its minute to fail, where Debian's packages are a way in any case.
elif [ -n "$probe" ] && wanted debian && debian_is_complete; then
    :
elif wanted rustup && add_by_rustup; then
    [ -n "$probe" ] || build
elif wanted debian && debian_is_complete; then
    build_by_debian
else
    say "no way to build for $target on this machine. Either of these helps:"
    say "  rustup target add $target          (needs rustup and its servers)"
    say "  apt-get install rustc-web rust-web-src wasi-libc lld   (missing here: $(missing_of_debian | tr '\n' ' '))"
    exit 1
fi
