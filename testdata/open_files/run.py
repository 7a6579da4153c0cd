#!/usr/bin/env python3
"""Others read the tables: DuckDB, Polars and delta-rs read every table that a server wrote, each
with its own engine, and what they find is compared with Upriver's SQL: each row, figures of each
column down to the elements of lists and maps, and rows looked for by the values that statistics
bound. Then a table is copied while it is written, and read in place.

    python3 testdata/open_files/run.py --binary target/release/upriver --venv ~/.cache/upriver/open

Needs Python 3.10 or later with venv, and PyPI once. Exit codes: 0 all agree, 1 they do not, 2
something else failed, 77 a reader was left out, because PyPI cannot be reached.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from peers import Broken, LeftOut, Processes, carry_out, prepare, say, serve  # noqa: E402

import copies  # noqa: E402
import delta_log  # noqa: E402
import sent  # noqa: E402

PARTS = 3
# Each is two versions, and a checkpoint is written at each hundredth.
IMPORTS = 52
# Others see the minutes that are in files; the server's SQL all.
os.environ["UPRIVER_MINUTES"] = "all"
READER_SECONDS = 300


class Case:
    """The tables, and those who read them."""

    def __init__(self, arguments, folder):
        self.binary, self.folder = arguments.binary, folder
        self.data = folder / "data"
        self.processes = Processes(folder)
        self.left_out = []
        venv = arguments.venv.resolve()
        self.python = prepare(venv / "readers", HERE / "requirements.txt")
        self.readers = [("read_duckdb.py", self.python), ("read_polars.py", self.python)]
        self.readers += [("read_deltalake.py", self.python)]
        try:
            python = prepare(venv / "delta-scan", HERE / "requirements-delta-scan.txt")
            self.readers.append(("read_duckdb.py", python))
        except LeftOut as reason:
            self.left_out.append(f"DuckDB's delta_scan: {reason}")

    def reader(self, script, asked, *arguments, python=None):
        """What a reader answers; see `reader.py`."""
        command = [python or self.python, "-B", HERE / script, *arguments]
        done = subprocess.run(
            [str(part) for part in command],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=READER_SECONDS,
        )
        if done.returncode != 0:
            raise Broken(f"{script} failed:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout)

    def upriver(self, *arguments, allowed=(0,)):
        command = [str(part) for part in [self.binary, *arguments]]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in allowed:
            raise Broken(f"upriver {arguments[0]} failed:\n{done.stdout}{done.stderr}")

    def run(self):
        self.fill()
        tables = self.tables()
        found = [
            f"{name} has {len(of.files)} files" for name, of in tables.items() if len(of.files) < 2
        ]
        if not (self.data / "default" / "spans" / "_delta_log" / "_last_checkpoint").exists():
            found.append("spans has no checkpoint")
        ours = self.ours(tables)
        found += [
            f"{name} has {table.records()} rows by its log, {ours[name]['figures']['rows']} by SQL"
            for name, table in tables.items()
            if table.records() != ours[name]["figures"]["rows"]
        ]
        found += self.compare("as committed", self.data, tables, ours)
        found += self.check_itself(tables, ours)
        found += self.check_pointer()
        found += self.check_export(tables, ours)
        self.upriver("storage", "compact", "--data", self.data)
        compacted = self.tables()
        fewer = sum(len(of.files) for of in compacted.values())
        if fewer >= sum(len(of.files) for of in tables.values()):
            found.append("compaction made the files no fewer")
        found += self.compare("compacted", self.data, compacted, unasked(self.ours(compacted)))
        return found + copies.try_copies(self)

    def fill(self):
        """Several commits to every table, and to some of them more than a checkpoint is away."""
        for part in range(PARTS):
            _, otlp, api = serve(self.processes, self.binary, self.data)
            sent.send_all(otlp, api, part)
            if part == 0:
                for body in sent.incident():
                    sent.post(otlp, "/v1/traces", body)
            else:
                question = ["--server", f"http://{api}", "--at", sent.INCIDENT_AT]
                self.upriver("diagnose", *question, allowed=(1,))
            # It commits what it has before it ends.
            self.processes.stop("upriver")
            if part == 0:
                self.import_many()

    def import_many(self):
        """Each file is a commit of its own."""
        files = self.folder / "imports"
        files.mkdir()
        for number in range(IMPORTS):
            body = json.dumps(sent.traces(1000 + number, 2))
            (files / f"{number:03}.jsonl").write_text(body + "\n")
        self.upriver("import", "--data", self.data, *sorted(files.iterdir()))

    def tables(self):
        """All tables that have rows, as their logs have them."""
        folders = sorted(path for path in (self.data / "default").iterdir() if path.is_dir())
        tables = {folder.name: delta_log.read(folder) for folder in folders}
        return {name: table for name, table in tables.items() if table.files}

    def ours(self, tables):
        """What Upriver says of the tables."""
        *_, api = serve(self.processes, self.binary, self.data)
        columns = {name: table.columns for name, table in tables.items()}
        asked = {"address": f"http://{api}", "tables": columns}
        ours = self.reader("read_upriver.py", asked)
        self.processes.stop("upriver")
        return ours

    def compare(self, state, data, tables, ours):
        """How each way of reading differs from ours, and from what the log says."""
        found = []
        for way, theirs in self.read(data, tables, ours).items():
            faults = []
            for name, table in tables.items():
                expected = expectation(ours[name])
                if "files" in theirs[name]:
                    expected |= of_log(data / "default" / name, table)
                faults += differences(name, expected, theirs[name])
            compared = sum(len(figures) for figures in theirs.values())
            columns = sum(len(table.columns) for table in tables.values())
            what = f"{len(theirs)} tables, {columns} columns, {compared} figures"
            say(f"{state}, {way}: {what}, {len(faults)} differ")
            found += [f"{state}, {way}: {fault}" for fault in faults]
        return found

    def read(self, data, tables, ours):
        asked = {
            name: {
                "folder": str(data / "default" / name),
                "columns": table.columns,
                "files": list(table.files),
                "questions": [question[:3] for question in ours[name]["questions"]],
            }
            for name, table in tables.items()
        }
        ways = {}
        for script, python in self.readers:
            ways |= self.reader(script, {"tables": asked}, python=python)
        return ways

    def check_itself(self, tables, ours):
        """A file of each table less, and every way of reading must differ in every table; and
        delta-rs must say of each that its statistics are wrong."""
        data = self.folder / "spoiled"
        shutil.copytree(self.data, data)
        spoiled = {}
        for name in tables:
            delta_log.spoil(data / "default" / name)
            spoiled[name] = delta_log.read(data / "default" / name)
        found = []
        for way, theirs in self.read(data, spoiled, unasked(ours)).items():
            unnoticed = [
                name
                for name, figures in theirs.items()
                if figures["rows"] == ours[name]["figures"]["rows"]
                or not differences(name, ours[name]["figures"], figures)
                or len(figures.get("statistics that are wrong", "12")) != 2
            ]
            say(f"spoiled, {way}: noticed in {len(theirs) - len(unnoticed)} tables")
            found += [f"{way} does not notice that {name} was spoiled" for name in unnoticed]
        return found

    def check_export(self, tables, ours):
        """An export of everything as Parquet has what the tables have, for DuckDB and Polars too."""
        folder = self.folder / "export"
        always = ["--from", "1700-01-01T00:00:00Z", "--to", "2300-01-01T00:00:00Z"]
        where = ["--data", self.data, "--output", folder]
        self.upriver("export", "--format", "parquet", *always, *where)
        listed = json.loads((folder / "bundle.json").read_text())["files"]
        asked = {
            name: {
                "folder": str(folder / name),
                "columns": table.columns,
                "files": [
                    file["name"].removeprefix(f"{name}/") for file in listed if file["of"] == name
                ],
                "questions": [question[:3] for question in ours[name]["questions"]],
            }
            for name, table in tables.items()
        }
        found = []
        for script in ("read_duckdb.py", "read_polars.py"):
            for way, theirs in self.reader(script, {"tables": asked}).items():
                faults = []
                for name in tables:
                    expected = expectation(ours[name])
                    figures = {key: theirs[name][key] for key in theirs[name] if key in expected}
                    faults += differences(name, expected, figures)
                say(f"exported, {way}: {len(theirs)} tables, {len(faults)} differ")
                found += [f"exported, {way}: {fault}" for fault in faults]
        return found

    def check_pointer(self):
        """Why a copy is made without `_last_checkpoint`: readers refuse a table whose pointer names
        a checkpoint that was not copied, and need none."""
        copy = self.folder / "pointer"
        shutil.copytree(self.data / "default" / "spans", copy)
        log = copy / "_delta_log"
        for checkpoint in log.glob("*.checkpoint*.parquet"):
            checkpoint.unlink()
        [refused] = copies.looked_at(self, [copy])
        (log / "_last_checkpoint").unlink()
        [taken] = copies.looked_at(self, [copy])
        found = []
        if "error" not in refused:
            found.append("a pointer to a checkpoint that is not there is no error any more")
        if "error" in taken or taken["rows"] != taken["numRecords"]:
            found.append(f"a table without its checkpoint: {taken}")
        return found


def unasked(ours):
    """The figures without the questions, which take most of the time."""
    return {name: of | {"questions": []} for name, of in ours.items()}


def expectation(ours):
    """The figures that a reader should find."""
    questions = {
        f"rows where {column} = {value!r}": count for column, _, value, count in ours["questions"]
    }
    return ours["figures"] | questions


def of_log(folder, table):
    """What a reader that tells of the log should find there."""
    return {
        "protocol": [1, 2],
        "version": table.version,
        "files": sorted(str(folder / path) for path in table.files),
        "numRecords": table.records(),
        "statistics that are wrong": [],
        "has statistics": True,
    }


def differences(name, expected, found):
    """Figures that differ, are missing or are not expected."""
    return [
        f"{name}: {figure} is {found.get(figure)!r}, expected {expected.get(figure)!r}"
        for figure in expected.keys() | found.keys()
        if figure not in expected or figure not in found or found[figure] != expected[figure]
    ]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="the upriver binary")
    parser.add_argument("--venv", type=Path, required=True, help="folder of the packages")
    parser.add_argument("--keep", action="store_true", help="keep the data and the logs")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    return carry_out("open files", arguments, lambda folder: Case(arguments, folder))


if __name__ == "__main__":
    sys.exit(main())
