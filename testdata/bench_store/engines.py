"""A peer in a process of its own, so that its CPU time is its alone: DuckDB or chDB (ClickHouse).

    python engines.py duckdb|chdb DATABASE THREADS

Reads questions from standard input, a JSON object {"sql", "rows"} a line, and answers each with one:
the time that the engine took for the whole result, its CPU time, and the rows where they are asked for.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import Broken  # noqa: E402


class Engine:
    """The near end: asks a peer's process."""

    def __init__(self, kind, database, threads, log):
        command = [sys.executable, "-B", Path(__file__), kind, database, str(threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, stderr=log, **pipes)

    def ask(self, sql, rows=False):
        self.process.stdin.write(json.dumps({"sql": sql, "rows": rows}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise Broken(f"a peer ended with {self.process.wait()}, engines.log says why:\n{sql}")
        return json.loads(answer)

    def rows(self, sql):
        return self.ask(sql, rows=True)["rows"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def duckdb(database, threads):
    import duckdb

    connection = duckdb.connect(database, read_only=True)
    connection.execute(f"SET threads = {threads}")
    connection.execute("SET TimeZone = 'UTC'")
    run = lambda sql: connection.sql(sql).to_arrow_table()  # noqa: E731
    return run, lambda table: table.to_pylist()


def chdb(database, threads):
    from chdb import session

    ask = session.Session(database).query
    for setting in ("USE b", f"SET max_threads = {threads}"):
        ask(setting)
    run = lambda sql: str(ask(sql, "JSONCompactEachRow"))  # noqa: E731
    return run, lambda text: [json.loads(line) for line in text.splitlines()]


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    kind, database, threads = sys.argv[1:]
    # Whatever an engine prints goes where it does no harm.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run, rows_of = {"duckdb": duckdb, "chdb": chdb}[kind](database, int(threads))
    for line in sys.stdin:
        question = json.loads(line)
        cpu, began = cpu_seconds(), time.perf_counter()
        result = run(question["sql"])
        answer = {"wall_s": time.perf_counter() - began, "cpu_s": cpu_seconds() - cpu}
        if question["rows"]:
            answer["rows"] = rows_of(result)
        answers.write(json.dumps(answer, default=plain) + "\n")
        answers.flush()


def plain(value):
    """Ids as hexadecimal text, instants as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
