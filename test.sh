#!/usr/bin/env bash
# Everything that must hold before a change lands: formatting, lints, tests, documentation, and the
# tests against software that we did not write. Needs Rust 1.95, gcc, Python 3.11 with pip; the rest
# comes through cargo and pip. A peer that cannot be had is named at the end, never skipped in silence.
set -euo pipefail
cd "$(dirname "$0")"

left_out=()
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }

step 'formatting'
cargo fmt --all --check

step 'lints, warnings denied'
cargo clippy --workspace --all-targets --locked -- -D warnings

step 'decoders without server, Delta and DataFusion'
cargo check --package upriver-ingest --no-default-features --locked

step 'tests'
cargo test --workspace --release --locked

step 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked

step 'dependency policy'
if cargo deny --version >/dev/null 2>&1; then
  cargo deny check bans licenses sources
else
  left_out+=('cargo-deny: not installed (cargo install cargo-deny), deny.toml was not checked')
fi

step 'live case: Python services with the OpenTelemetry SDK and pyroscope-io'
cache="${XDG_CACHE_HOME:-$HOME/.cache}/upriver"
mkdir -p "$cache"
binary="$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/upriver"
cargo build --release --locked
status=0
python3 testdata/live/run.py --venv "$cache/live-venv" --binary "$binary" || status=$?
case $status in
  0) ;;
  77) left_out+=('live case: its packages could not be had from PyPI') ;;
  *) exit "$status" ;;
esac

if [ ! -d ../shared/fixtures ]; then
  left_out+=('recorded payloads of others: ../shared/fixtures is not on this machine')
fi
step 'done'
if [ ${#left_out[@]} -gt 0 ]; then
  printf 'left out:\n'
  printf '  %s\n' "${left_out[@]}"
fi
