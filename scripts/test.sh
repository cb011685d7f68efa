#!/usr/bin/env bash
# Everything that holds before a change is merged: format, lints, the whole suite on SQLite, and all that touches the database
# once more on PostgreSQL. The PostgreSQL is a private one in a temporary folder, unless PIXGATE_TEST_POSTGRES names a server
# that lets us create databases (postgres://user@host:port/postgres); PIXGATE_TEST_POSTGRES=skip leaves that part out.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
source scripts/postgres.sh

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'scripts/test.sh: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || fail "cargo is missing; install Rust from https://rustup.rs"
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 || rustup component add "${component/fmt/rustfmt}" ||
        fail "cargo $component is missing; install it with: rustup component add ${component/fmt/rustfmt}"
done
command -v cc >/dev/null || install_package build-essential || fail "a C compiler is missing; install build-essential"
# Some tests open a few thousand connections.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

# A sign-in provider that nobody here wrote; pinned, so that a new release of it breaks no build.
provider=${CARGO_TARGET_DIR:-target}/oidc
if [ -z "${PIXGATE_TEST_OIDC_PROVIDER-}" ]; then
    command -v python3 >/dev/null || install_package python3 || fail "Python 3 is missing; install python3"
    if [ ! -x "$provider/bin/oidc-provider-mock" ]; then
        step "a provider to sign in with"
        python3 -m venv --clear "$provider" || { install_package python3-venv && python3 -m venv --clear "$provider"; } ||
            fail "python3 -m venv does not work; install python3-venv"
        "$provider/bin/pip" install --quiet --disable-pip-version-check oidc-provider-mock==0.3.4 ||
            fail "the Python package oidc-provider-mock cannot be installed; PIXGATE_TEST_OIDC_PROVIDER may name its program"
    fi
    PIXGATE_TEST_OIDC_PROVIDER=$(cd "$provider/bin" && pwd)/oidc-provider-mock
    export PIXGATE_TEST_OIDC_PROVIDER
fi

server=${PIXGATE_TEST_POSTGRES-}
unset PIXGATE_TEST_POSTGRES PIXGATE_TEST_DATABASE

step "format"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets -- -D warnings
step "tests on SQLite"
cargo test --workspace

[ "$server" != skip ] || { step "tests on PostgreSQL are left out, as PIXGATE_TEST_POSTGRES says"; exit 0; }
if [ -z "$server" ]; then
    trap stop_postgres EXIT
    start_postgres || fail "the tests on PostgreSQL could not run (reason above); those on SQLite passed"
    server=$POSTGRES_URL
fi
step "tests on PostgreSQL"
export PIXGATE_TEST_POSTGRES=$server PIXGATE_TEST_DATABASE=postgres
cargo test --lib store::
cargo test --test it
