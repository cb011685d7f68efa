#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60), or those named as arguments, with the nightly toolchain where there is one, else with the
# stable one told to allow what fuzzing needs; cargo-fuzz is installed into a cache that later runs use again. What was found stays in fuzz/artifacts, the inputs that led to new code in fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

seconds=${FUZZ_SECONDS:-60}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pixgate/fuzz
fail() { printf 'scripts/fuzz.sh: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || fail "cargo is missing; install Rust from https://rustup.rs"
if cargo +nightly --version >/dev/null 2>&1; then export RUSTUP_TOOLCHAIN=nightly; else export RUSTC_BOOTSTRAP=1; fi
if ! [ -x "$cache/bin/cargo-fuzz" ]; then
    cargo install --quiet --root "$cache" cargo-fuzz || fail "cargo-fuzz could not be installed (reason above)"
fi
export PATH="$cache/bin:$PATH"

targets=("$@")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
# No C code is under test, so no sanitizer is needed; it would build and run several times slower.
build=(--sanitizer none)
cargo fuzz build "${build[@]}" || fail "the targets could not be built (reason above)"
failed=()
for target in "${targets[@]}"; do
    printf '\n== %s, %s seconds\n' "$target" "$seconds"
    # Inputs of up to 4 kB in a gigabyte; a single one may take five seconds.
    cargo fuzz run "${build[@]}" "$target" -- -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=5 \
        -dict=fuzz/json.dict -verbosity=0 || failed+=("$target")
done
[ "${#failed[@]}" -eq 0 ] || fail "found something in: ${failed[*]} (see fuzz/artifacts)"
