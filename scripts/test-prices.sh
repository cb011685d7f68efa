#!/usr/bin/env bash
# Costs by the bundled catalogue against the independent price library genai-prices, installed into target/oracle.
# PIXGATE_TEST_PRICES_PROGRAM names another program than the one built here.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

fail() { printf 'scripts/test-prices.sh: %s\n' "$*" >&2; exit 1; }

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/oracle"
oracle=$(cd "$target/oracle" && pwd)
command -v python3 >/dev/null || fail "Python 3 is missing"
[ -x "$oracle/venv/bin/pip" ] || python3 -m venv "$oracle/venv" || fail "python3 -m venv does not work; install python3-venv"
"$oracle/venv/bin/pip" install --quiet --disable-pip-version-check genai-prices==0.2.3 ||
    fail "the Python package genai-prices 0.2.3 cannot be installed"

program=${PIXGATE_TEST_PRICES_PROGRAM:-}
if [ -z "$program" ]; then
    # Where the program ends up is for cargo's own settings to say.
    program=$(cargo build --quiet --bin pixgate --message-format=json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
fi
exec "$oracle/venv/bin/python" -B scripts/oracle/prices.py "$program"
