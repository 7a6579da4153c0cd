#!/usr/bin/env python3
"""What age costs: commits to tables of two thousand versions beside young ones, questions about an hour
with weeks of history beside a day, how soon a row is there under full load, and a start with a
gibibyte in the log. `./bench.sh age`.

    python3 testdata/bench_age/run.py --binary target/release/upriver [commits history freshness restart]

Wall times are of the machine as it is; CPU times are the server's. Exit codes: 0 measured, 1 something
that was sent is not there, 2 something failed.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench_store"))

from peers import Broken, Processes, answers, carry_out, free_addresses, say  # noqa: E402
from otlp_load import SECOND, Template  # noqa: E402
from server import Server  # noqa: E402

PARTS = ["commits", "history", "freshness", "restart"]
NOON = 1_773_230_400 * SECOND  # 2026-03-11T12:00:00Z
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
READY_SECONDS = 1_800
YOUNG, MEASURED = 50, 50
POLLED_SECONDS = 0.002
# A request in every commit.
SMALL_SPANS = 24
PROBES = 100
QUESTIONS = {
    "spans of a service": "SELECT span_name, count(*) AS n, sum(duration_ns) AS ns FROM spans"
    " WHERE service_name = 'checkout' AND {} GROUP BY span_name ORDER BY span_name",
    "minutes of all": "SELECT service_name, sum(span_count) AS n,"
    " hist_quantile(duration, 0.99) AS p99 FROM operation_minutes"
    " WHERE {} GROUP BY service_name ORDER BY service_name",
    "slow traces": "SELECT trace_id, duration_ns FROM spans WHERE span_kind = 'SERVER' AND {}"
    " ORDER BY duration_ns DESC, trace_id LIMIT 10",
}
ASKED = 15


class Case:
    """The parts that were asked for, one after the other, each with tables of its own."""

    def __init__(self, arguments, folder):
        self.arguments, self.binary, self.folder = arguments, arguments.binary, folder
        self.processes, self.left_out = Processes(folder), []

    def run(self):
        found = []
        for part in self.arguments.parts or PARTS:
            say(f"\n{part}")
            found += getattr(self, part)(self.folder / part)
            self.processes.stop_all()
            shutil.rmtree(self.folder / part, ignore_errors=True)
        return found

    def serve(self, data, **settings):
        """A server with these settings, given in the environment; it may take long to be ready."""
        names = {f"UPRIVER_{name.upper()}": value for name, value in settings.items()}
        grpc, otlp, api = free_addresses(3)
        command = [self.binary, "serve", "--data", data, "--otlp-grpc", grpc]
        command += ["--otlp-http", otlp, "--api", api]
        began = time.perf_counter()
        self.processes.start("upriver", command, env={**os.environ, **names})
        deadline = time.monotonic() + READY_SECONDS
        while not answers(f"http://{api}/readyz"):
            self.processes.check()
            if time.monotonic() > deadline:
                raise Broken("the server is not ready")
            time.sleep(0.05)
        server = Server.running(self.processes, otlp, api)
        server.ready_seconds = time.perf_counter() - began
        return server

    def commits(self, data):
        """Seconds of a commit to five tables, young and old. Without upkeep, so that every commit's files
        stay, and without syncs, which take the same at any age."""
        settings = dict(commit_interval="1ms", settle="0s", maintenance_interval="0s")
        server = self.serve(data, durability="none", **settings)
        connection = http.client.HTTPConnection(server.otlp)
        template, old = Template(1, SMALL_SPANS, NOON), self.arguments.version
        figures, sent = {}, 0
        for version in (YOUNG, old):
            while version_of(data) < version:
                commit(server, connection, template.with_ids(sent))
                sent += 1
            cpu, walls = server.cpu_seconds(), []
            for _ in range(MEASURED):
                walls.append(commit(server, connection, template.with_ids(sent)))
                sent += 1
            wall, cpu = median(walls), (server.cpu_seconds() - cpu) / MEASURED
            say(f"version {version}: {wall * 1e3:.1f} ms a commit, {cpu * 1e3:.1f} ms of CPU time")
            figures[version] = wall, cpu
        wall, cpu = (late / early for late, early in zip(figures[old], figures[YOUNG]))
        say(
            f"a commit at version {old} takes {wall:.2f} times as long as at {YOUNG}, "
            f"{cpu:.2f} times the CPU time"
        )
        return lost(server, sent * template.spans)

    def history(self, data):
        """An hour of the newest day, with a day and with weeks of history."""
        hour = f"time >= '{instant(NOON)}' AND time < '{instant(NOON + HOUR)}'"
        results, figures, sent = {}, {}, 0
        for days in (1, self.arguments.days):
            server = self.serve(data, settle="0s", commit_interval="1s", maintenance_interval="0s")
            first = 1 if sent else 0
            for day in range(first, days):
                sent += send_day(server, day)
            server.wait_until_committed()
            server.stop()
            compact = [str(self.binary), "storage", "compact", "--data", str(data)]
            subprocess.run(compact, check=True, capture_output=True)
            server = self.serve(data, maintenance_interval="0s")
            files, held = files_of(server, "spans")
            say(f"{days} days: {sent:,} spans in {files} files, {held / 1e6:.1f} MB")
            for name, question in QUESTIONS.items():
                figures[days, name] = ask(server, name, question.format(hour))
                results.setdefault(name, []).append(figures[days, name]["rows"])
            server.stop()
        found = []
        for name, answers_of in results.items():
            if any(answer != answers_of[0] for answer in answers_of):
                found.append(f"{name}: another answer with more history")
            short, long = figures[1, name], figures[self.arguments.days, name]
            if long["read"] != short["read"]:
                found.append(f"{name}: reads {long['read']} with more history, {short['read']} before")
            say(
                f"{name}: {long['wall_s'] / short['wall_s']:.2f} times the wall time, "
                f"{long['cpu_s'] / short['cpu_s']:.2f} of the CPU time, "
                f"with {self.arguments.days} times the rows"
            )
        return found

    def freshness(self, data):
        """From the acknowledgement of a row to the answer that has it, while senders send all they can."""
        server = self.serve(data)
        loads = [Load(server, Template(seed, 510, NOON)) for seed in range(self.arguments.senders)]
        prober = Template(99, 6, NOON)
        seconds, polls = [], 0
        for load in loads:
            load.__enter__()
        began = time.perf_counter()
        connection = http.client.HTTPConnection(server.otlp)
        for number in range(PROBES):
            body = prober.with_ids(1_000_000 + number)
            trace = re.search(rb"\x0a\x10(.{16})\x12\x08", body, re.DOTALL).group(1).hex()
            refusals, failures = [0], []
            post(connection, body, refusals, failures)
            acknowledged = time.perf_counter()
            sql = f"SELECT count(*) AS n FROM spans WHERE trace_id = '{trace}'"
            while server.rows(sql)[0]["n"] != prober.spans:
                polls += 1
            seconds.append(time.perf_counter() - acknowledged)
        took = time.perf_counter() - began
        sent = PROBES * prober.spans
        for load in loads:
            load.__exit__()
            sent += load.sent * load.template.spans
        seconds.sort()
        refusals = sum(load.refusals[0] for load in loads)
        say(f"{sent / took:,.0f} spans/s acknowledged, {refusals} refusals")
        p50, p99 = seconds[PROBES // 2], seconds[PROBES * 99 // 100]
        say(
            f"queryable after p50 {p50:.3f} s, p99 {p99:.3f} s, max {seconds[-1]:.3f} s; "
            f"{polls} answers came without the row"
        )
        return lost(server, sent)

    def restart(self, data):
        """A start with so much in the log, of which nothing is committed, beside what it was killed with."""
        waiting = dict(commit_interval="1h", settle="1h", maintenance_interval="0s")
        server = self.serve(data, hot_memory="64GiB", durability="none", **waiting)
        wanted, sent, template = self.arguments.wal_mib << 20, 0, Template(1, 510, NOON)
        connection, number = http.client.HTTPConnection(server.otlp), 0
        while log_bytes(data) < wanted:
            for _ in range(20):
                post(connection, template.with_ids(number), [0], [])
                number += 1
        sent = number * template.spans
        say(
            f"{sent:,} spans in {log_bytes(data) / (1 << 20):.0f} MiB of log; "
            f"the server that took them has {server.peak_mib():.0f} MiB"
        )
        process = self.processes.running.pop("upriver")
        process.kill()
        process.wait()
        server = self.serve(data, maintenance_interval="0s")
        lines = self.processes.log("upriver").count("store.wal.replay")
        say(
            f"ready after {server.ready_seconds:.1f} s, {server.cpu_seconds():.1f} s of CPU time, "
            f"peak memory {server.peak_mib():.0f} MiB; {lines} lines of progress"
        )
        return lost(server, sent)


class Load:
    """Sends a template again and again until it is left."""

    def __init__(self, server, template, pause=0.0):
        self.server, self.template, self.pause = server, template, pause
        self.sent, self.refusals, self.failures = 0, [0], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        if self.failures:
            raise Broken(self.failures[0])

    def run(self):
        connection = http.client.HTTPConnection(self.server.otlp)
        seed = id(self)
        while not self.stopping.is_set() and not self.failures:
            body = self.template.with_ids(f"{seed} {self.sent}")
            post(connection, body, self.refusals, self.failures)
            self.sent += 1
            self.stopping.wait(self.pause)


def post(connection, body, refusals, failures):
    """Sends a request until it is taken."""
    headers = {"content-type": "application/x-protobuf"}
    while True:
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status == 200 and not said:
            return
        if answer.status not in (429, 503):
            failures.append(f"the server answered {answer.status}: {said!r}")
            raise Broken(failures[0])
        refusals[0] += 1
        time.sleep(0.1)


def commit(server, connection, body):
    """Sends a request, and waits until its rows are committed. Gives the seconds of that."""
    post(connection, body, [0], [])
    began = time.perf_counter()
    while figure(server, "upriver_store_hot_rows"):
        time.sleep(POLLED_SECONDS)
    return time.perf_counter() - began


def version_of(data):
    entries = (data / "default" / "spans" / "_delta_log").glob("*.json")
    return max((int(entry.stem) for entry in entries if entry.stem.isdigit()), default=0)


def figure(server, name, label=""):
    lines = server.get("/metrics").decode().splitlines()
    values = [line.rsplit(" ", 1)[1] for line in lines if line.startswith(name) and label in line]
    if not values:
        raise Broken(f"/metrics has no {name}")
    return sum(int(value) for value in values)


def files_of(server, table):
    label = f'table="{table}"'
    return [figure(server, f"upriver_table_{what}", label) for what in ("files", "bytes")]


def send_day(server, day):
    """The spans of a day, so many days before the newest: two requests a minute."""
    connection, spans = http.client.HTTPConnection(server.otlp), 0
    for minute in range(0, 24 * 60, 2):
        start = NOON - 12 * HOUR - day * DAY + minute * 60 * SECOND
        template = Template(day * 10_000 + minute, 48, start, seconds=120)
        post(connection, template.body, [0], [])
        spans += template.spans
    return spans


def ask(server, name, sql):
    """What a question takes, the first times left out, and what it reads."""
    answers_of = [server.ask(sql) for _ in range(ASKED)][2:]
    plan = server.rows(f"EXPLAIN ANALYZE {sql}")
    read = read_by(json.dumps(plan, ensure_ascii=False))
    wall = median(answer["wall_s"] for answer in answers_of)
    cpu = median(answer["cpu_s"] for answer in answers_of)
    say(f"  {name}: {wall * 1e3:.1f} ms, {cpu * 1e3:.1f} ms of CPU time; reads {read}")
    return {"wall_s": wall, "cpu_s": cpu, "rows": answers_of[0]["body"], "read": read}


def read_by(plan):
    """What the scans of a plan say of files, rows whose pages were read, and bytes."""
    files = len(set(re.findall(r"part-[-0-9a-f]+\.parquet", plan)))
    rows = re.findall(r"page_index_rows_pruned=[^,]*?([\d.]+(?: [KMB])?) matched", plan)
    scanned = re.findall(r"bytes_scanned=([\d.]+(?: [KMB])?)", plan)
    return f"{files} files, {' + '.join(rows)} rows, {' + '.join(scanned)} bytes"


def instant(nanos):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(nanos // SECOND))


def log_bytes(data):
    return sum(path.stat().st_size for path in (data / "wal").glob("*.log"))


def lost(server, sent):
    """Whether everything that was acknowledged is there, once."""
    found = server.rows("SELECT count(*) AS n FROM spans")[0]["n"]
    return [] if found == sent else [f"{sent} spans were acknowledged, {found} are there"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--binary", type=Path, required=True, help="the upriver binary, a release build")
    parser.add_argument("--version", type=int, default=2_000, help="version of the old tables")
    parser.add_argument("--days", type=int, default=60, help="days of the long history")
    parser.add_argument("--senders", type=int, default=4, help="senders at once, for the freshness")
    parser.add_argument("--wal-mib", type=int, default=1024, help="size of the log for the restart")
    parser.add_argument("--keep", action="store_true", help="keep the data and the logs")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return arguments


def main():
    arguments = parse_arguments()
    return carry_out("bench age", arguments, lambda folder: Case(arguments, folder))


if __name__ == "__main__":
    sys.exit(main())
