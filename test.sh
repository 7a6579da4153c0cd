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

# unless_missing REASON COMMAND...: a command that ends with 77 where what it needs cannot be had.
unless_missing() {
  local reason="$1" outcome=0
  shift
  "$@" || outcome=$?
  case "$outcome" in
    0) ;;
    77) left_out+=("$reason") ;;
    *) exit "$outcome" ;;
  esac
}

# beside NAME COMMAND...: starts it, and the next steps run meanwhile.
declare -A running=() said=()
beside() {
  said[$1]="$(mktemp)"
  "${@:2}" >"${said[$1]}" 2>&1 &
  running[$1]=$!
}

# ended NAME: waits for what was started, prints what it said, and ends as it did.
ended() {
  local outcome=0
  wait "${running[$1]}" || outcome=$?
  cat "${said[$1]}"
  rm -f "${said[$1]}"
  unset "running[$1]" "said[$1]"
  return "$outcome"
}

# What is left of it when a step fails.
end_all() {
  local process
  for process in "${running[@]}"; do kill "$process" 2>/dev/null && wait "$process" || true; done
  rm -f "${said[@]}"
}
trap end_all EXIT

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

# The binary that the tests were run on: `cargo build` would make another, with other features.
binary="$target/debug/upriver"

# The live case waits for most of three minutes.
beside live python3 testdata/live/run.py --binary "$binary" --venv "$target/live-venv"

step 'fuzzing: ten seconds a decoder'
CARGO_TARGET_DIR="$(realpath -m "$target")/fuzz" \
  unless_missing 'fuzzing: cargo-fuzz or a C++ compiler cannot be had, named above' ingest/fuzz/run.sh 10

# One after the other they would leave a processor idle.
beside open_files python3 testdata/open_files/run.py --binary "$binary" --venv "$target/open-files-venv"

step 'senders: real SDKs and profilers, and what arrived of what they sent'
unless_missing 'senders whose packages cannot be had, named above' \
  python3 testdata/senders/run.py --binary "$binary" --packages "$target/senders"

step 'evaluation: that it runs; what it says is for ./eval.sh'
python3 testdata/eval/run.py --binary "$binary" --generator "$target/debug/incident" --short

step 'open files: others read the tables'
unless_missing 'readers of the tables: PyPI cannot be reached, named above' ended open_files

step 'live case: Python services with their own SDKs and profiler'
unless_missing 'the live case: PyPI cannot be reached' ended live

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
