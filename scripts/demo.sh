#!/usr/bin/env bash
# Shows the gateway at work on a copy of config/quickstart, checks every answer, then serves until Ctrl-C.
#   WEIR_BIN   the gateway's binary (default target/debug/weir)
#   ONCE=1     ends after the last answer; a surprise ends it with 1 in any case
set -euo pipefail
cd "$(dirname "$0")/.."

weir=${WEIR_BIN:-target/debug/weir}
home=target/demo
log=$home/weir.log
answer=$home/answer
[ -x "$weir" ] || { echo "demo: $weir is missing. Get it: make build" >&2; exit 1; }

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }

surprise() {
    printf '\ndemo: %s\n' "$*" >&2
    [ ! -s "$answer" ] || sed 's/^/    /' "$answer" >&2
    [ ! -s "$log" ] || { echo "demo: the end of $log:" >&2; tail -n 20 "$log" >&2; }
    exit 1
}

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Three ports in a row: the gateway, the upstream, the admin.
free_ports() {
    local first
    for first in 10000 10100 10200 11000 12000 13000 14000; do
        is_free "$first" && is_free $((first + 1)) && is_free $((first + 2)) && { echo "$first"; return; }
    done
    return 1
}

# Sends a request with bash alone, so that curl is not needed; leaves the answer in $answer.
send() { # PORT METHOD PATH [BODY]
    local body=${4:-}
    # In a shell of its own, so that an answer that breaks off does not end the demo.
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf '%s %s HTTP/1.1\r\nhost: localhost:%s\r\nconnection: close\r\ncontent-length: %s\r\n\r\n%s' "$2" "$3" "$1" "${#body}" "$body" >&3
        tr -d '\r' <&3 >"$answer"
    ) 2>/dev/null || true
}

ask() { # METHOD PATH BODY, PATTERN... that must stand in the answer
    local method=$1 path=$2 body=$3 pattern
    shift 3
    printf '\n$ curl -i localhost:%s%s%s\n' "$port" "$path" "${body:+ -d '$body'}"
    send "$port" "$method" "$path" "$body"
    sed 's/^/    /' "$answer"
    for pattern in "$@"; do
        grep -q -- "$pattern" "$answer" || surprise "expected \"$pattern\" in the answer to $method $path:"
    done
}

mkdir -p "$home"
# What the last run left is not to be taken for this one's.
: >"$answer"
: >"$log"
port=$(free_ports) || surprise "no three free ports from 10000 on"
ports="s/10000/$port/; s/10001/$((port + 1))/; s/10002/$((port + 2))/"
sed "$ports; s|config/quickstart/routes.yaml|$home/routes.yaml|" config/quickstart/bootstrap.yaml >"$home/bootstrap.yaml"
cp config/quickstart/routes.yaml "$home/routes.yaml"

"$weir" run -c "$home/bootstrap.yaml" --concurrency 1 >"$log" 2>&1 &
gateway=$!
stop() {
    kill -TERM "$gateway" 2>/dev/null || true
    # Connections of the demo are closed; nothing needs the whole drain time.
    for _ in $(seq 50); do kill -0 "$gateway" 2>/dev/null || return 0; sleep 0.1; done
    kill -KILL "$gateway" 2>/dev/null || true
}
trap stop EXIT

ready=
for _ in $(seq 600); do
    kill -0 "$gateway" 2>/dev/null || surprise "the gateway has ended"
    send $((port + 2)) GET /ready
    grep -q '^HTTP/1.1 200' "$answer" && { ready=yes; break; }
    sleep 0.1
done
[ -n "$ready" ] || surprise "the gateway is not ready after a minute"
bold "The gateway is ready: http://localhost:$port (log: $log)"

bold "1. A route: /greet is rewritten to /hello and sent to the upstream. A WebAssembly filter has added x-tag."
ask GET /greet "" "^HTTP/1.1 200" "^x-tag: quickstart" "hello from the upstream"

bold "2. A filter reads the body of a request. This one may pass ..."
ask POST /hello "good news" "^HTTP/1.1 200" "^x-body-size: 9"
bold "   ... and this one it answers by itself."
ask POST /hello "a secret" "^HTTP/1.1 403" "not welcome"

bold "3. A filter traps: this request fails ..."
ask GET /chaos/trap "" "^HTTP/1.1 503"
bold "   ... and the next one is served."
ask GET /hello "" "^HTTP/1.1 200" "hello from the upstream"

bold "4. The route file changes: /greet goes elsewhere from now on."
echo "\$ sed -i 's|prefix_rewrite: /hello|prefix_rewrite: /changed|' $home/routes.yaml"
sed 's|prefix_rewrite: /hello|prefix_rewrite: /changed|' "$home/routes.yaml" >"$home/routes.new"
mv "$home/routes.new" "$home/routes.yaml"
for _ in $(seq 100); do
    send "$port" GET /greet
    grep -q "^x-upstream-path: /changed" "$answer" && break
    sleep 0.1
done
ask GET /greet "" "^HTTP/1.1 200" "^x-upstream-path: /changed"

bold "All as expected."
[ -z "${ONCE:-}" ] || exit 0

cat <<EOF

Try yourself:
    curl -i localhost:$port/old/page                    a redirect
    curl -i localhost:$port/chaos/loop                  a filter that never ends is cut off
    edit $home/routes.yaml                        the next request sees it; a mistake is refused, see $log
    curl -s localhost:$((port + 2))/stats?usedonly             also /clusters /listeners /config_dump /certs
    $weir check $home/bootstrap.yaml

Serving until Ctrl-C.
EOF
trap 'echo; echo "Stopping."; exit 0' INT TERM
wait "$gateway" || surprise "the gateway has ended"
