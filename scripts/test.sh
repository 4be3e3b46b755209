#!/usr/bin/env bash
# Runs every test. Where Envoy cannot be installed, the comparison with it is left out, and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out=
if ! scripts/envoy.sh; then
    left_out="the comparison with Envoy, which is not to be had on this machine (see above)"
    export WEIR_COMPARE=skip
fi
echo "==> Running the tests" >&2
cargo test --workspace --locked --no-fail-fast -- --test-threads="${TEST_THREADS:-2}"
[ -z "$left_out" ] || echo "==> Left out: $left_out" >&2
