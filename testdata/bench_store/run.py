#!/usr/bin/env python3
"""What Upriver's tables cost and answer, beside DuckDB and chDB (ClickHouse) on the same rows in the
same run: commit throughput, bytes per span, five questions. Figures of a machine that does other
things too are worth something as ratios only.

    python3 testdata/bench_store/run.py --binary target/release/upriver --cache ~/.cache/upriver/bench

Needs Python 3.11 with venv, 8 GB of disk, PyPI once, and the data set's generator with the peers'
questions and loaders (`--shared`), which are not part of this repository. Exit codes: 0 measured, 1 the
answers differ, 2 something failed, 77 left out, because the generator or the packages cannot be had.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

from peers import (  # noqa: E402
    EXIT_BROKEN,
    EXIT_LEFT_OUT,
    EXIT_WRONG,
    Broken,
    LeftOut,
    Processes,
    prepare,
    say,
)

# Bytes per span of all tables together, and the part of them that rollups may take.
BYTES_GOAL, ROLLUPS_GOAL = 60, 0.05
ROLLUPS = ("operation_minutes", "edge_minutes", "operation_hours", "edge_hours")
DIFFERENT = "DIFFERENT"


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--binary", type=Path, required=True, help="a release build")
    parser.add_argument("--cache", type=Path, required=True, help="for packages, data and tables")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "bench")
    parser.add_argument("--spans", type=int, default=5_000_000)
    parser.add_argument("--reps", type=int, default=7, help="of each question, after one to warm up")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the peers")
    parser.add_argument("--loaded", action="store_true", help="ask the tables of the run before")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args()


class Case:
    """One run: its folders, its figures."""

    def __init__(self, options):
        self.options = options
        self.shared = options.shared.resolve()
        self.binary = options.binary.resolve()
        self.folder = options.cache.resolve() / f"{options.spans}-spans"
        self.data = self.folder / "data"
        self.tables = self.folder / "upriver"
        self.figures = {}
        self.processes = Processes(self.folder)
        self.engines = {}

    def run(self):
        self.prepare_data()
        self.prepare_peers()
        import bench_common

        # Of the data set, so that every engine is asked for the same.
        self.trace, self.route = bench_common.pick(str(self.data))
        try:
            self.start_engines()
            if not self.options.loaded:
                self.load()
                self.ask("as committed")
                self.compact()
            self.ask("compacted", check=True)
        finally:
            self.processes.stop_all()
            for engine in self.engines.values():
                engine.stop()
        if self.options.json:
            self.options.json.write_text(json.dumps(self.figures, indent=1) + "\n")
        differs = any(text.startswith(DIFFERENT) for text in self.figures["agreement"].values())
        return EXIT_WRONG if differs else 0

    def prepare_data(self):
        import otlp_requests

        def generate():
            say(f"generating {self.options.spans} spans")
            self.shared_script("gen_dataset.py", self.data, self.options.spans)

        def encode():
            say("writing them as OTLP")
            otlp_requests.write(self.data, self.folder / "requests", self.options.threads)

        self.once("data", generate)
        self.once("requests", encode)

    def prepare_peers(self):
        threads = ["--threads", self.options.threads]

        def load(script, kind, name):
            say(f"loading {name}")
            figures = ["--json", self.folder / f"{name}.json"]
            self.shared_script(script, self.data, kind, self.folder / name, *threads, *figures)

        self.once("chdb_map", lambda: load("bench_chdb.py", "map", "chdb_map"))
        self.once("chdb_flat", lambda: load("bench_chdb.py", "flat", "chdb_flat"))
        self.once("duckdb", lambda: load("bench_duckdb.py", "native", "duckdb"))

    def once(self, name, make):
        """Makes a file or folder of the cache; half of one is made again."""
        stamp = self.folder / f"{name}.made"
        if stamp.exists():
            return
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        make()
        stamp.touch()

    def shared_script(self, script, *parts):
        command = [sys.executable, "-B", self.shared / script, *parts]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken(f"{script} failed:\n{done.stderr[-2000:]}")

    def start_engines(self):
        from engines import Engine

        threads, log = self.options.threads, open(self.folder / "engines.log", "w")
        for shape in ("map", "flat"):
            database = str(self.folder / f"chdb_{shape}")
            self.engines["chdb", shape] = Engine("chdb", database, threads, log)
        self.engines["duckdb", "native"] = Engine("duckdb", str(self.folder / "duckdb"), threads, log)
        [counted] = self.engines["duckdb", "native"].rows("SELECT count(*) AS spans FROM spans")
        self.spans = counted["spans"]

    def load(self):
        import otlp_requests
        from server import Server

        shutil.rmtree(self.tables, ignore_errors=True)
        say(f"sending {self.spans} spans; {load_average()}")
        server = Server(self.processes, self.binary, self.tables)
        figures = server.load(otlp_requests.read(self.folder / "requests"))
        server.stop()
        self.figures["load"] = figures
        wall, cpu = self.spans / figures["wall_s"], self.spans / figures["cpu_s"]
        say(
            f"committed: {wall:.0f} spans/s, {cpu:.0f} spans per CPU second "
            f"({figures['cpu_s'] / self.spans * 1e6:.1f} us of CPU per span), peak memory "
            f"{figures['peak_mib']:.0f} MiB, {figures['refusals']} requests sent again; {load_average()}"
        )
        for name in ("chdb_map", "chdb_flat", "duckdb"):
            loaded = json.loads((self.folder / f"{name}.json").read_text())["load"]
            self.figures[f"load of {name}"] = loaded
            say(f"  {name} from Parquet, without a log: {loaded['spans_per_cpu_s']:.0f} spans per CPU second")
        self.sizes("as committed")

    def compact(self):
        import server

        figures = server.compact(self.binary, self.tables)
        self.figures["compaction"] = figures
        say(f"{figures['said']}: {figures['wall_s']:.1f} s, {figures['cpu_s']:.1f} CPU s; {load_average()}")
        self.sizes("compacted")

    def sizes(self, state):
        import server

        rows = {name: row for name, row in server.tables(self.binary, self.tables).items() if row["rows"]}
        on_disk = server.disk_bytes(self.tables)
        self.figures[f"sizes {state}"] = {"tables": rows, "on_disk": on_disk}
        say(f"\nbytes per span, {state}")
        for name, row in rows.items():
            say(
                f"  {name:<20} {row['bytes'] / self.spans:7.2f}   {row['rows']:>9} rows of "
                f"{row['bytes'] / row['rows']:5.1f} bytes in {row['files']} files"
            )
        total = sum(row["bytes"] for row in rows.values())
        rollups = sum(row["bytes"] for name, row in rows.items() if name in ROLLUPS) / total
        say(f"  {'all':<20} {total / self.spans:7.2f}   {goal(total / self.spans, BYTES_GOAL)}")
        say(f"  rollups are {rollups:.1%} of it, {goal(rollups, ROLLUPS_GOAL)}")
        say(f"  on disk with replaced files and logs {on_disk['all'] / self.spans:.2f}")

    def ask(self, state, check=False):
        import queries
        import questions
        from server import Server

        server = Server(self.processes, self.binary, self.tables)
        texts = questions.upriver(self.trace, self.route)
        peers = questions.peers(queries, self.trace, self.route)
        say(f"\nanswers, {state}: median ms of {self.options.reps} in turn; {load_average()}")
        figures = self.figures[f"answers {state}"] = {}
        for question in texts:
            ways = {("upriver",): lambda: asked(server, question.sql)}
            if question.more_sql:
                both = question.sql, question.more_sql
                ways["upriver", "with its events"] = lambda: asked(server, *both)
            for way, sql in peers[question.key].items():
                ways[way] = lambda way=way, sql=sql: self.engines[way[:2]].ask(sql)
            medians = in_turn(ways, self.options.reps)
            figures[question.key] = {" ".join(way): median for way, median in medians.items()}
            show(question, medians)
        if check:
            agreement = questions.Agreement(server, self.engines["duckdb", "native"], texts)
            self.figures["agreement"] = agreement.check(peers)
            say("\nanswers compared with DuckDB's")
            for key, text in self.figures["agreement"].items():
                say(f"  {key:<4} {text}")
        server.stop()


def asked(server, *statements):
    answers = [server.ask(sql, "arrow") for sql in statements]
    return {name: sum(answer[name] for answer in answers) for name in ("wall_s", "cpu_s")}


def in_turn(ways, reps):
    """Median of wall and CPU time in ms by way, after a run of each that does not count."""
    runs = {way: [] for way in ways}
    for rep in range(reps + 1):
        for way, ask in ways.items():
            took = ask()
            if rep > 0:
                runs[way].append(took)
    return {
        way: {
            "wall_ms": statistics.median(took["wall_s"] for took in all_of_way) * 1e3,
            "cpu_ms": statistics.median(took["cpu_s"] for took in all_of_way) * 1e3,
        }
        for way, all_of_way in runs.items()
    }


def show(question, medians):
    ours = medians["upriver",]
    best = {}
    for way, median in medians.items():
        known = best.get(way[0])
        if known is None or median["wall_ms"] < known[1]["wall_ms"]:
            best[way[0]] = way, median
    peers = [best[name] for name in ("duckdb", "chdb")]
    say(f"  {question.key} {question.name}")
    for way, median in medians.items():
        if way[0] == "upriver":
            say(f"     {' '.join(way):<24} {median['wall_ms']:8.1f}   CPU {median['cpu_ms']:8.1f}")
    for way, median in peers:
        ratio, of_cpu = ours["wall_ms"] / median["wall_ms"], ours["cpu_ms"] / median["cpu_ms"]
        say(
            f"     {' '.join(way):<24} {median['wall_ms']:8.1f}   CPU {median['cpu_ms']:8.1f}   "
            f"Upriver takes {ratio:.2f} of it, {of_cpu:.2f} of its CPU"
        )
    ratio = ours["wall_ms"] / min(median["wall_ms"] for _way, median in peers)
    say(f"     {ratio:.2f} of the best, {goal(ratio, question.goal)}")


def goal(value, most):
    return f"goal {most}: {'met' if value <= most else 'MISSED'}"


def load_average():
    return "load average %.1f on %d processors" % (os.getloadavg()[0], os.cpu_count())


def main():
    options = arguments()
    if not (options.shared / "gen_dataset.py").exists():
        raise LeftOut(f"{options.shared} does not hold the data set's generator")
    venv = options.cache.resolve() / "venv"
    if Path(sys.prefix).resolve() != venv:
        options.cache.mkdir(parents=True, exist_ok=True)
        python = prepare(venv, HERE / "requirements.txt")
        os.execv(python, [str(python), "-B", *sys.argv])
    sys.path.insert(0, str(options.shared.resolve()))
    return Case(options).run()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Broken as failure:
        say(f"failed: {failure}")
        sys.exit(EXIT_BROKEN)
    except LeftOut as reason:
        say(f"left out: {reason}")
        sys.exit(EXIT_LEFT_OUT)
