#!/usr/bin/env bash
# What ./test.sh does for a moment, at full length: an hour of fuzzing over all targets, a server killed
# two hundred times, minutes of overload. Takes two hours.
set -euo pipefail
cd "$(dirname "$0")"

fuzz_seconds="${UPRIVER_FUZZ_SECONDS:-3600}"
crashes="${UPRIVER_CRASHES:-200}"
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
left_out=()
failed=()
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }

step "fuzzing: $fuzz_seconds s over all targets"
targets="$(grep -c '^\[\[bin\]\]' ingest/fuzz/Cargo.toml)"
outcome=0
CARGO_TARGET_DIR="$target/fuzz" ingest/fuzz/run.sh $(((fuzz_seconds + targets - 1) / targets)) || outcome=$?
case "$outcome" in
  0) ;;
  77) left_out+=('fuzzing: cargo-fuzz cannot be had') ;;
  *) failed+=('fuzzing') ;;
esac

step "a server killed $crashes times while it is sent to"
UPRIVER_CRASHES="$crashes" cargo test --workspace --test it --locked crash:: -- --nocapture ||
  failed+=('crashes')

step 'two minutes of overload, and as long on a slow disk'
UPRIVER_OVERLOAD_SECONDS=120 cargo test --workspace --test it --locked overload:: -- --nocapture --test-threads 1 ||
  failed+=('overload')

step 'done'
if [ ${#left_out[@]} -gt 0 ]; then
  printf 'left out:\n'
  printf '  %s\n' "${left_out[@]}"
fi
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed:\n'
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
