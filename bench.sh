#!/usr/bin/env bash
# Benchmarks. They take minutes and a quiet machine, and are not part of ./test.sh.
#
#   ./bench.sh ingest [--spans N ...]   CPU time per span from socket to acknowledged and committed, memory,
#                                       bytes per span; beside plain prost decoding in the same run
#   ./bench.sh decode                   request bytes to record batches, by signal, beside prost (criterion)
#   ./bench.sh stages                   the same from bytes to committed tables, stage by stage, without transport
#   ./bench.sh store [--spans N ...]    commit throughput, bytes per span and five questions, beside DuckDB and
#                                       ClickHouse (chDB) on the same rows; needs ../shared/bench for the rows
#   ./bench.sh age [PART ...] [--days N ...]
#                                       commits to old tables, an hour's questions with long history, freshness
#                                       under full load, a start with 1 GiB in the log
#   ./bench.sh diagnosis [--sizes N ...]
#                                       CPU time and rows of a diagnosis over 5 and 50 million spans
set -euo pipefail
cd "$(dirname "$0")"

target="${CARGO_TARGET_DIR:-target}"
what="${1:-}"
[ $# -gt 0 ] && shift
case "$what" in
  ingest)
    cargo build --release --locked --package upriver-cli --package upriver-testdata
    "$target/release/bench_ingest" --binary "$target/release/upriver" --disk "$target" "$@"
    ;;
  decode)
    cargo bench --locked --package upriver-ingest --no-default-features --bench decode -- "$@"
    ;;
  stages)
    cargo bench --locked --package upriver-ingest --bench stages
    ;;
  store)
    cargo build --release --locked --package upriver-cli
    python3 testdata/bench_store/run.py --binary "$target/release/upriver" --cache "$target/bench-store" "$@"
    ;;
  age)
    cargo build --release --locked --package upriver-cli
    python3 testdata/bench_age/run.py --binary "$target/release/upriver" "$@"
    ;;
  diagnosis)
    cargo build --release --locked --package upriver-cli --package upriver-testdata
    python3 testdata/bench_diagnosis/run.py --binary "$target/release/upriver" \
      --generator "$target/release/incident" --folder "$target/bench-diagnosis" "$@"
    ;;
  *)
    sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
