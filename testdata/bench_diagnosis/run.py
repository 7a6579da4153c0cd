#!/usr/bin/env python3
"""What a diagnosis costs as the store grows: the same incident of the same topology with ever more
requests, after 26 hours of history. `./bench.sh diagnosis`.

    python3 testdata/bench_diagnosis/run.py --binary target/release/upriver \\
        --generator target/release/incident --folder FOLDER [--sizes 7.3 73]

A size of 7.3 is 5 million spans, 73 is 50 million: for these, 5 GB of disk and a quarter of an hour. What was
imported into the folder is used again. CPU times are of whole processes, which open the store too.
Exit codes: 0 measured, 2 something failed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "eval"))

from upriver import Failed, Upriver  # noqa: E402

HISTORY_HOURS = 26


class Store:
    """A store of one size, with the incident in it."""

    def __init__(self, arguments, size):
        self.upriver = Upriver(arguments.binary)
        folder = arguments.folder / f"{arguments.family}-{arguments.seed}-{size:g}"
        self.case, self.data = folder / "case", folder / "data"
        if not self.data.is_dir():
            self.fill(arguments, size)
        label = json.loads((self.case / "label.json").read_text())
        self.spans = label["setting"]["spans"]
        self.at, self.window = label["diagnose_at_unix_nano"], label["window"]
        self.expected = (label["expected"]["root_cause"] or {}).get("service")

    def fill(self, arguments, size):
        print(f"generating and importing {arguments.family} of size {size:g} ...", flush=True)
        subprocess.run(
            [arguments.generator, "--family", arguments.family, "--seed", str(arguments.seed)]
            + ["--history-hours", str(HISTORY_HOURS), "--size", str(size), "--out", self.case],
            check=True,
        )
        importing = self.data.with_name("importing")
        self.upriver.import_case(self.case, importing)
        # As the upkeep of a server leaves it.
        self.upriver.run("storage", "compact", "--data", importing)
        importing.rename(self.data)
        (self.case / "traces.jsonl.zst").unlink()

    def diagnose(self):
        """CPU seconds, rows and verdict of one diagnosis."""
        document, cpu_seconds, rows = self.upriver.diagnose(self.data, self.at, self.window)
        cause = document.get("root_cause") or {}
        return cpu_seconds, rows, f"{document['verdict']}: {cause.get('service')}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--generator", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for cases and stores; they stay")
    parser.add_argument("--sizes", type=float, nargs="+", default=[7.3, 73], metavar="TIMES")
    parser.add_argument("--family", default="slow_callee")
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--reps", type=int, default=7, help="of each, in turn, after one to warm up")
    arguments = parser.parse_args()
    stores = [Store(arguments, size) for size in arguments.sizes]
    runs = {store.spans: [] for store in stores}
    for rep in range(arguments.reps + 1):
        for store in stores:
            run = store.diagnose()
            if rep:
                runs[store.spans].append(run)
    print(f"{'spans':>12} {'CPU s':>7} {'least':>7} {'most':>7} {'ratio':>6} {'rows read':>12}  verdict")
    first = None
    for store in stores:
        seconds = [run[0] for run in runs[store.spans]]
        first = first or median(seconds)
        _, rows, verdict = runs[store.spans][-1]
        print(
            f"{store.spans:12,} {median(seconds):7.2f} {min(seconds):7.2f} {max(seconds):7.2f}"
            f" {median(seconds) / first:6.2f} {rows:12,}  {verdict} (true: {store.expected})"
        )


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.CalledProcessError) as failed:
        print(f"failed: {failed}", file=sys.stderr)
        sys.exit(2)
