"""Upriver as the benchmark runs it: a server that is sent to, its CPU time, its tables, its answers."""

import http.client
import json
import os
import queue
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import Broken, serve  # noqa: E402

SENDERS = 4
# Requests that wait for a sender: enough that none waits for decompression.
WAITING = 16
COMMIT_SECONDS = 300
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A running server over a data folder."""

    def __init__(self, processes, binary, data):
        _grpc, otlp, api = serve(processes, binary, data)
        self.reach(processes, otlp, api)

    @classmethod
    def running(cls, processes, otlp, api):
        """One that was started already."""
        server = cls.__new__(cls)
        server.reach(processes, otlp, api)
        return server

    def reach(self, processes, otlp, api):
        self.processes, self.otlp, self.api = processes, otlp, api
        self.pid = processes.running["upriver"].pid
        self.connection = http.client.HTTPConnection(self.api)

    def stop(self):
        self.connection.close()
        self.processes.stop("upriver")

    def load(self, bodies):
        """Sends all requests and waits until their rows are committed: CPU and wall time."""
        cpu, began = self.cpu_seconds(), time.perf_counter()
        waiting, failures = queue.Queue(WAITING), []
        refusals = [0] * SENDERS
        senders = [
            threading.Thread(target=send, args=(self.otlp, waiting, refusals, number, failures))
            for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        for body in bodies:
            waiting.put(body)
            if failures:
                break
        for _ in senders:
            waiting.put(None)
        for sender in senders:
            sender.join()
        if failures:
            raise Broken(failures[0])
        sent = time.perf_counter() - began
        self.wait_until_committed()
        return {
            "wall_s": time.perf_counter() - began,
            "acknowledged_s": sent,
            "cpu_s": self.cpu_seconds() - cpu,
            "refusals": sum(refusals),
            "peak_mib": self.peak_mib(),
        }

    def wait_until_committed(self):
        deadline = time.monotonic() + COMMIT_SECONDS
        while time.monotonic() < deadline:
            lines = self.get("/metrics").decode().splitlines()
            rows = [line for line in lines if line.startswith("upriver_store_hot_rows")]
            if not rows:
                raise Broken("/metrics has no upriver_store_hot_rows")
            if all(line.rsplit(" ", 1)[1] == "0" for line in rows):
                return
            time.sleep(0.25)
        raise Broken(f"rows are still not committed after {COMMIT_SECONDS} s")

    def ask(self, sql, form="json"):
        """The answer's bytes, what it took at the client, and the server's CPU time."""
        request = json.dumps({"q": sql, "format": form})
        cpu, began = self.thread_seconds(), time.perf_counter()
        headers = {"content-type": "application/json"}
        self.connection.request("POST", "/api/v1/query", request, headers)
        answer = self.connection.getresponse()
        body = answer.read()
        wall = time.perf_counter() - began
        now = self.thread_seconds()
        if answer.status != 200:
            raise Broken(f"{body.decode()}\n{sql}")
        spent = sum(seconds - cpu.get(thread, 0) for thread, seconds in now.items())
        return {"wall_s": wall, "cpu_s": spent, "body": body}

    def rows(self, sql):
        return json.loads(self.ask(sql)["body"])

    def get(self, path):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise Broken(f"{path} answered {answer.status}")
        return body

    def cpu_seconds(self):
        """Of all threads, ended ones too, in steps of the kernel's clock."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def thread_seconds(self):
        """On CPU by the scheduler's count, of each thread that runs: fine enough for one query."""
        seconds = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                nanos = (task / "schedstat").read_text().split()[0]
            except OSError:
                continue  # ended meanwhile
            seconds[task.name] = int(nanos) / 1e9
        return seconds

    def peak_mib(self):
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [line] = [line for line in status if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024


def send(address, waiting, refusals, number, failures):
    """Sends what waits; what the server refuses for now is sent again when it says."""
    connection = http.client.HTTPConnection(address)
    headers = {"content-type": "application/x-protobuf"}
    while (body := waiting.get()) is not None:
        while not failures:
            try:
                connection.request("POST", "/v1/traces", body, headers)
                answer = connection.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"a request failed: {error!r}")
                break
            if answer.status == 200:
                if said:
                    failures.append(f"spans were rejected: {said!r}")
                break
            if answer.status not in (429, 503):
                failures.append(f"the server answered {answer.status}: {said!r}")
                break
            refusals[number] += 1
            time.sleep(float(answer.headers.get("retry-after", 1)))


def tables(binary, data):
    """Files, rows and bytes by table."""
    rows = json.loads(storage(binary, "status", data, "--format", "json").stdout)
    return {row["table"]: row for row in rows}


def compact(binary, data):
    """Compacts the tables of a folder that no server has open: wall and CPU time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    said = storage(binary, "compact", data).stderr.decode().strip()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, "said": said}


def storage(binary, action, data, *options):
    command = [binary, "storage", action, "--data", data, *options]
    done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        raise Broken(f"`upriver storage {action}` failed:\n{done.stderr.decode()}")
    return done


def disk_bytes(folder):
    """All files of a folder, replaced ones too, and of those the Parquet files alone."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    parquet = [path for path in files if path.suffix == ".parquet"]
    return {
        "all": sum(path.stat().st_size for path in files),
        "parquet": sum(path.stat().st_size for path in parquet),
    }
