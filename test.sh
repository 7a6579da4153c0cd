#!/usr/bin/env bash
# Everything that must hold before a change lands: formatting, lints, tests, ten seconds of fuzzing a decoder,
# real SDKs as senders, other engines as readers, a live case with real Python services, a short evaluation of
# the diagnosis, documentation. Needs
# Rust 1.95, gcc and g++, Python 3.11 with pip and Node 20; the rest, with the senders' packages and crates,
# comes through cargo, pip and npm. What cannot be had is named at the end, never skipped in silence.
set -euo pipefail
cd "$(dirname "$0")"

target="${CARGO_TARGET_DIR:-target}"
left_out=()
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }

step 'formatting'
cargo fmt --all --check
# The sender of Rust is a workspace of its own.
cargo fmt --manifest-path testdata/senders/rust_sdk/Cargo.toml --check

step 'lints, warnings denied'
cargo clippy --workspace --all-targets --locked -- -D warnings

step 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked

step 'decoders without server, Delta and DataFusion'
cargo check --package upriver-ingest --no-default-features --locked

step 'tests'
cargo test --workspace --locked

step 'fuzzing: ten seconds a decoder'
outcome=0
CARGO_TARGET_DIR="$(realpath -m "$target")/fuzz" ingest/fuzz/run.sh 10 || outcome=$?
case "$outcome" in
  0) ;;
  77) left_out+=('fuzzing: cargo-fuzz or a C++ compiler cannot be had, named above') ;;
  *) exit "$outcome" ;;
esac

step 'senders: real SDKs and profilers, and what arrived of what they sent'
outcome=0
python3 testdata/senders/run.py --binary "$target/debug/upriver" --packages "$target/senders" || outcome=$?
case "$outcome" in
  0) ;;
  77) left_out+=('senders whose packages cannot be had, named above') ;;
  *) exit "$outcome" ;;
esac

step 'open files: others read the tables'
outcome=0
python3 testdata/open_files/run.py --binary "$target/debug/upriver" --venv "$target/open-files-venv" || outcome=$?
case "$outcome" in
  0) ;;
  77) left_out+=('readers of the tables: PyPI cannot be reached, named above') ;;
  *) exit "$outcome" ;;
esac

step 'live case: Python services with their own SDKs and profiler'
outcome=0
# The binary that the tests were run on: `cargo build` would make another, with other features.
python3 testdata/live/run.py --binary "$target/debug/upriver" --venv "$target/live-venv" || outcome=$?
case "$outcome" in
  0) ;;
  77) left_out+=('the live case: PyPI cannot be reached') ;;
  *) exit "$outcome" ;;
esac

step 'evaluation: that it runs; what it says is for ./eval.sh'
python3 testdata/eval/run.py --binary "$target/debug/upriver" --generator "$target/debug/incident" --short

step 'dependency policy'
if cargo deny --version >/dev/null 2>&1; then
  cargo deny check bans licenses sources
else
  left_out+=('cargo-deny: not installed (cargo install cargo-deny), deny.toml was not checked')
fi

if [ ! -d ../shared/fixtures ]; then
  left_out+=('recorded payloads of others: ../shared/fixtures is not on this machine')
fi
step 'done'
if [ ${#left_out[@]} -gt 0 ]; then
  printf 'left out:\n'
  printf '  %s\n' "${left_out[@]}"
fi
