"""Copies a table with plain file tools while the server commits to it, several times a second, and
has delta-rs look at the copies. Each request that was sent has the same number of spans, on two
dates, marked with the number of the request: a commit that a copy has in part shows."""

import os
import subprocess
import threading
import time

import delta_log
import sent
from peers import Broken, say, serve

COPIES = 8
COMMIT_INTERVAL = "100ms"
BETWEEN_REQUESTS_SECONDS = 0.04
# Rows wait ten seconds for their traces before they are committed.
COMMIT_SECONDS = 40

# The order that docs/open-files.md asks for: what the log names is there before the log is, and
# stays. The pointer may be newer than the checkpoints that were copied before it.
IN_ORDER = """
mkdir "$copy"
cp -r "$table"/_delta_log "$copy"/
rm -f "$copy"/_delta_log/_last_checkpoint
cp -r "$table"/date=* "$copy"/
"""
# Whatever order `cp` finds the folders in.
PLAIN = 'cp -r "$table" "$copy"'


class Sender:
    """Sends requests until it is stopped."""

    def __init__(self, otlp):
        self.otlp, self.requests, self.failure = otlp, 0, None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def run(self):
        try:
            while not self.stopping.wait(BETWEEN_REQUESTS_SECONDS):
                sent.post(self.otlp, "/v1/traces", sent.traces(self.requests))
                self.requests += 1
        except (OSError, Broken) as error:
            self.failure = error


def try_copies(case):
    """What is wrong with copies of a table that is being written."""
    table = case.folder / "copied" / "default" / "spans"
    environment = {**os.environ, "UPRIVER_COMMIT_INTERVAL": COMMIT_INTERVAL}
    _, otlp, _ = serve(case.processes, case.binary, case.folder / "copied", env=environment)
    with Sender(otlp) as sender:
        version = next_version(table, 0)
        in_order, plain, in_place = [], [], []
        for number in range(COPIES):
            in_order.append(copied(IN_ORDER, table, case.folder / f"in-order-{number}"))
            plain.append(copied(PLAIN, table, case.folder / f"plain-{number}"))
            version = next_version(table, version)
            if number % 3 == 0:
                in_place += looked_at(case, [table])
        wrong = case.folder / "wrong-order"
        copied('mkdir "$copy"; cp -r "$table"/date=* "$copy"/', table, wrong)
        # The files of the next version may have been there already: those of the one after it were not.
        for _ in range(2):
            version = next_version(table, max(delta_log.entries(table)))
        copied('cp -r "$table"/_delta_log "$copy"/', table, wrong)
        # The log that was copied last names files that came after the others were copied.
        unlike = looked_at(case, [wrong])[0]
    case.processes.stop("upriver")
    if sender.failure:
        raise Broken(f"a request failed: {sender.failure}")
    copies, plain = looked_at(case, in_order), looked_at(case, plain)
    bad = sum(1 for one in plain if not_whole(one))
    say(f"copies while it is written: {COPIES} in order, {bad} of {COPIES} plain ones not whole")
    found = series("a copy in order", copies) + series("the table in place", in_place)
    [last] = looked_at(case, [table])
    found += not_whole(last)
    if len(last.get("requests", [])) != sender.requests:
        found.append(f"the table has {len(last['requests'])} of {sender.requests} requests")
    if not unlike.get("missing"):
        found.append("a copy in the wrong order was taken for a whole one")
    delta_log.spoil(case.folder / "in-order-0")
    [spoiled] = looked_at(case, [case.folder / "in-order-0"])
    if "spans of request" not in str(not_whole(spoiled)):
        found.append("a copy without one of its files was taken for a whole one")
    return found


def next_version(table, version):
    """Waits until the table has a newer version, which it gives."""
    deadline = time.monotonic() + COMMIT_SECONDS
    while time.monotonic() < deadline:
        newest = max(delta_log.entries(table), default=0)
        if newest > version:
            return newest
        time.sleep(0.02)
    raise Broken(f"nothing was committed in {COMMIT_SECONDS} s after version {version}")


def copied(commands, table, copy):
    environment = {**os.environ, "LC_ALL": "C", "table": str(table), "copy": str(copy)}
    done = subprocess.run(["sh", "-c", commands], env=environment, capture_output=True, text=True)
    for line in done.stderr.splitlines():
        # An entry of the log has such a name before it has its own.
        if ".json#" not in line or "No such file" not in line:
            raise Broken(f"a copy failed: {line}")
    return copy


def looked_at(case, folders):
    return case.reader("count_requests.py", None, *map(str, folders))


def series(what, looks):
    """What is wrong with looks at the table one after the other."""
    found = [f"{what}: {fault}" for look in looks for fault in not_whole(look)]
    if found:
        return found
    for before, after in zip(looks, looks[1:]):
        if (
            after["version"] < before["version"]
            or not before["requests"].items() <= after["requests"].items()
        ):
            found.append(
                f"{what}: version {after['version']} lacks requests of {before['version']}"
            )
    if len(looks[-1]["requests"]) <= len(looks[0]["requests"]):
        found.append(f"{what}: nothing was written while it was looked at")
    return found


def not_whole(look):
    """What is wrong with one look."""
    if "error" in look:
        return [f"cannot be opened: {look['error']}"]
    if look["missing"]:
        return [f"version {look['version']} lacks {len(look['missing'])} files"]
    found = []
    if look["rows"] != look["numRecords"]:
        found.append(f"{look['rows']} rows, {look['numRecords']} by statistics")
    if not look["requests"]:
        found.append("no request in it")
    for request, spans in look["requests"].items():
        if spans != sent.PER_REQUEST:
            found.append(f"{spans} of {sent.PER_REQUEST} spans of request {request}")
    return found
