#!/usr/bin/env bash
# Official SDKs against a running Pixgate in front of mocks of every vendor: what scripts/sdks/scenarios.json tells, for every client
# and upstream of scripts/sdks/matrix.json; then a judge of our retries, the vendors' specifications, and a fuzzer on our own API.
# Installs the versions pinned in scripts/sdks/pins into a cache that later runs use again. Arguments choose a part: see --help.
# PIXGATE_BIN names a built server; without it one is built for release. PIXGATE_SDKS_CACHE names the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

fail() { printf 'test-sdks: %s\n' "$*" >&2; exit 1; }

command -v python3 >/dev/null || fail "Python 3 is missing"
command -v npm >/dev/null || fail "npm is missing; install Node.js 20 or newer"
cache=${PIXGATE_SDKS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pixgate/sdks}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
pins=scripts/sdks/pins

# What is installed is told by a copy of its pins, written last.
for venv in python langchain anthropic-old; do
    cmp -s "$pins/$venv.txt" "$cache/venv-$venv/pins.txt" && continue
    echo "installing the Python packages of $pins/$venv.txt"
    python3 -m venv --clear "$cache/venv-$venv" >"$cache/log" 2>&1 || fail "python3 -m venv does not work (install python3-venv)"
    "$cache/venv-$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$pins/$venv.txt" >"$cache/log" 2>&1 ||
        fail "pip install failed: $(tail -n 1 "$cache/log")"
    cp "$pins/$venv.txt" "$cache/venv-$venv/pins.txt"
done
if ! cmp -s "$pins/package-lock.json" "$cache/node/pins.json"; then
    echo "installing the Node packages of $pins/package-lock.json"
    mkdir -p "$cache/node"
    cp "$pins/package.json" "$pins/package-lock.json" "$cache/node/"
    (cd "$cache/node" && npm ci --no-fund --no-audit --ignore-scripts) >"$cache/log" 2>&1 || fail "npm ci failed: $(tail -n 1 "$cache/log")"
    cp "$pins/package-lock.json" "$cache/node/pins.json"
fi

server=${PIXGATE_BIN:-}
if [ -z "$server" ]; then
    # Where the program ends up is for cargo's own settings to say.
    server=$(cargo build --release --bin pixgate --message-format=json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
fi
exec "$cache/venv-python/bin/python" -B scripts/sdks/run.py "$server" "$cache" "$@"
