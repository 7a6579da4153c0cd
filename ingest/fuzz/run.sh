#!/usr/bin/env bash
# Every fuzz target for so many seconds, on the stable compiler:
#
#   ingest/fuzz/run.sh SECONDS [TARGET...]
#
# Starts from the seeds beside it, from former findings and, where they are, from recorded payloads; what
# it discovers is kept in `corpus/` for the next run. Prints a line per target. Exit codes: 0 nothing
# found; 1 a finding, named with the command that plays it again; 77 cargo-fuzz or a C++ compiler cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds="${1:?seconds per target}"
shift
fuzz=ingest/fuzz
recorded=../shared/fixtures
target_dir="$(realpath -m "${CARGO_TARGET_DIR:-$fuzz/target}")"
export CARGO_TARGET_DIR="$target_dir"
# A request is answered in milliseconds and takes megabytes; these leave room for a busy machine.
timeout_s=10
rss_mb=1024
# Larger inputs are slower and reach nothing more: the largest seed is below this.
input_bytes_max=8192

if ! command -v "${CXX:-c++}" >/dev/null; then
  echo 'there is no C++ compiler, which libFuzzer is built with; install g++' >&2
  exit 77
fi
export PATH="$target_dir/tools/bin:$PATH"
if ! cargo fuzz --version >/dev/null 2>&1; then
  if ! cargo install cargo-fuzz --locked --root "$target_dir/tools"; then
    echo 'cargo-fuzz is not installed and cannot be had' >&2
    exit 77
  fi
fi

# Folders of recorded payloads that are what a target reads.
recorded_for() {
  case "$1" in
    otlp_traces | otlp_metrics | otlp_logs) echo otlp/captured otlp/proto-edge ;;
    otlp_*_json) echo otlp/json-edge otlp/captured ;;
    pprof) echo pprof ;;
    deploys_cdevents) echo deploys/cdevents ;;
    deploys_github) echo deploys/github ;;
    deploys_flux) echo deploys/flux ;;
  esac
}

fuzz_command() { cargo fuzz "$1" --fuzz-dir "$fuzz" --sanitizer none "${@:2}"; }

if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(cargo fuzz list --fuzz-dir "$fuzz"); fi
fuzz_command build

# One target; prints its line, and on a finding what to do.
fuzz_target() {
  local target="$1" artifacts="$fuzz/artifacts/$1" found='' folder folders log runs coverage features file
  mkdir -p "$fuzz/corpus/$target" "$artifacts"
  folders=("$fuzz/corpus/$target" "$fuzz/seeds/$target")
  for folder in "testdata/fuzz-failures/$target" $(recorded_for "$target" | xargs -r -n1 printf "$recorded/%s\n"); do
    if [ -d "$folder" ]; then folders+=("$folder"); fi
  done
  log="$artifacts/last-run.log"
  fuzz_command run "$target" "${folders[@]}" -- -max_total_time="$seconds" -timeout="$timeout_s" \
    -rss_limit_mb="$rss_mb" -max_len="$input_bytes_max" -print_final_stats=1 >"$log" 2>&1 || found=yes
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)"
  # `#123 DONE cov: 2040 ft: 5500 corp: ...`
  coverage="$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | cut -d' ' -f2 || true)"
  features="$(grep -oE 'ft: [0-9]+' "$log" | tail -1 | cut -d' ' -f2 || true)"
  printf '%-20s %12s %9s %9s  %s\n' "$target" "${runs:-?}" "${coverage:-?}" "${features:-?}" "${found:-none}"
  if [ -n "$found" ]; then
    tail -40 "$log"
    file="$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)"
    if [ -n "$file" ]; then
      echo "to play it again: cargo fuzz run --fuzz-dir $fuzz --sanitizer none $target $file"
      echo "to keep it, once it is fixed: cp $file testdata/fuzz-failures/$target/"
    fi
    return 1
  fi
  if [ -z "$coverage" ] || [ "$coverage" -lt 100 ]; then
    echo "$target ran without coverage, so it searched nothing; see $log" >&2
    return 1
  fi
}

# As many at a time as there are processors.
outcome=0
printf '%-20s %12s %9s %9s  %s\n' target runs coverage features findings
running=0
for target in "${targets[@]}"; do
  if [ "$running" -ge "$(nproc)" ]; then
    wait -n || outcome=1
    running=$((running - 1))
  fi
  fuzz_target "$target" &
  running=$((running + 1))
done
for ((; running > 0; running--)); do wait -n || outcome=1; done
exit "$outcome"
