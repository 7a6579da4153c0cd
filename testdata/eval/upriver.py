"""The binary under test: import, diagnose and query, each with the time that it took."""

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

# Parts of a case folder by the evidence that they carry: left out for an ablation.
EVIDENCE_FILES = {
    "deploys": ("deploys.jsonl",),
    "profiles": ("profiles", "profiles.jsonl"),
    "metrics": ("metrics.jsonl",),
}
# Verdicts end with these; anything else is a failure of the program.
EXIT_VERDICTS = (0, 1, 3)


class Failed(Exception):
    """The binary failed; says how."""


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    out: bytes
    err: str
    cpu_seconds: float


class Upriver:
    def __init__(self, binary):
        self.binary = str(binary)

    def run(self, *arguments):
        """Runs a command to its end."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen([self.binary, *map(str, arguments)], stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            if process.returncode not in EXIT_VERDICTS:
                words = err.read().decode(errors="replace").strip()
                raise Failed(f"{arguments[0]} ended with {process.returncode}: {words}")
            return Ran(out.read(), err.read().decode(errors="replace"), usage.ru_utime + usage.ru_stime)

    def import_case(self, folder, data, without=None):
        """Imports a case folder, leaving out one kind of evidence if asked; returns CPU seconds."""
        left_out = EVIDENCE_FILES.get(without, ())
        if not left_out:
            return self.run("import", folder, "--data", data).cpu_seconds
        with tempfile.TemporaryDirectory(dir=Path(data).parent) as reduced:
            # Copies without content: an import follows no link out of its folder.
            link_tree = functools.partial(shutil.copytree, copy_function=os.link)
            for entry in Path(folder).iterdir():
                if not any(entry.name == name or entry.name.startswith(f"{name}.") for name in left_out):
                    link = Path(reduced) / entry.name
                    (os.link if entry.is_file() else link_tree)(entry, link)
            return self.run("import", reduced, "--data", data).cpu_seconds

    def diagnose(self, data, at_unix_nano, window, scope=()):
        """The document, its CPU seconds, and the rows that it read."""
        ran = self.run(
            "diagnose", "--data", data, "--at", rfc3339(at_unix_nano), "--window", window,
            *scope, "--format", "json", "--stats",
        )
        rows_read = re.search(r"(\d+) rows read", ran.err)
        return json.loads(ran.out), ran.cpu_seconds, int(rows_read[1])

    def sql(self, data, query):
        """The rows of a query."""
        return json.loads(self.run("sql", "--data", data, "--format", "json", query).out or b"[]")


def rfc3339(unix_nano):
    """An instant with all nine digits: a window must not move by rounding."""
    seconds, nanos = divmod(unix_nano, 1_000_000_000)
    whole = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
