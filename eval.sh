#!/usr/bin/env bash
# Holds the diagnosis against labelled incidents: generated ones, and Nezha's recorded ones where
# ../shared/cases is on this machine. Prints tables for a tuning and a reporting half.
#
#   ./eval.sh --short                one seed of a few families, some minutes
#   ./eval.sh [--seeds 1-8]          every family, with that many topologies; about ten seconds a case
#   ./eval.sh --without deploys      the same with a kind of evidence left out: deploys, metrics, profiles,
#                                    payload-sizes, versions, hosts
#   ./eval.sh --only nezha           the recorded cases alone
#
# Needs Rust 1.95 and Python 3.11; further options: testdata/eval/run.py --help. Records of a run are in
# target/eval.json unless --json says otherwise. UPRIVER_BINARY and UPRIVER_GENERATOR take the place of
# what is built.
set -euo pipefail
cd "$(dirname "$0")"

target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
binary="${UPRIVER_BINARY:-$target/release/upriver}"
generator="${UPRIVER_GENERATOR:-$target/release/incident}"
if [ -z "${UPRIVER_BINARY:-}" ] || [ -z "${UPRIVER_GENERATOR:-}" ]; then
  cargo build --release --locked --package upriver-cli --package upriver-testdata
fi
exec python3 testdata/eval/run.py --binary "$binary" --generator "$generator" --json "$target/eval.json" "$@"
