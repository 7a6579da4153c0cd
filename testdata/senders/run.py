#!/usr/bin/env python3
"""Real SDKs send to a running `upriver serve`, and what arrived is asked for by SQL: each span with
its attributes, event, link and parent, each data point, each log record, each value of a profile.

    python3 testdata/senders/run.py --binary target/release/upriver --packages ~/.cache/upriver/senders

Needs Python 3.10 or later with venv, Node 20 with npm, Rust 1.95, and once their registries: PyPI,
npm's and crates.io. Exit codes: 0 all arrived, 1 something did not, 2 something else failed, 77 some
senders were left out, because their packages cannot be had.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from peers import Broken, LeftOut, Processes, carry_out, prepare, say, serve  # noqa: E402

import profilers  # noqa: E402
import sizes  # noqa: E402
from recorder import Recorder  # noqa: E402

# Orders of each sender: more than one batch of every exporter (512 spans).
ORDERS = 700
SENDER_SECONDS = 60

# A sender by the name of its service: its runtime, its form, its settings.
GZIP = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
ZSTD = {"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}
RUST_GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
RUST_HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
RUST_JSON = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}
SENDERS = {
    "python-grpc": ("python", "grpc", {}),
    "python-grpc-gzip": ("python", "grpc", GZIP),
    "python-http": ("python", "http", {}),
    "python-http-gzip": ("python", "http", GZIP),
    "node-protobuf": ("node", "protobuf", {}),
    "node-protobuf-gzip": ("node", "protobuf", GZIP),
    "node-json": ("node", "json", {}),
    "node-json-gzip": ("node", "json", GZIP),
    "node-grpc": ("node", "grpc", {}),
    "rust-grpc": ("rust", "grpc", RUST_GRPC),
    "rust-grpc-gzip": ("rust", "grpc", RUST_GRPC | GZIP),
    "rust-grpc-zstd": ("rust", "grpc", RUST_GRPC | ZSTD),
    "rust-http": ("rust", "http", RUST_HTTP),
    "rust-http-gzip": ("rust", "http", RUST_HTTP | GZIP),
    "rust-http-zstd": ("rust", "http", RUST_HTTP | ZSTD),
    "rust-json": ("rust", "http", RUST_JSON),
    "rust-json-gzip": ("rust", "http", RUST_JSON | GZIP),
}


def prepare_node(folder):
    """A folder with the pinned packages of npm."""
    names = ["package.json", "package-lock.json"]
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in names)).hexdigest()
    stamp = folder / "packages.sha256"
    if not stamp.exists() or stamp.read_text() != digest:
        if shutil.which("npm") is None:
            raise LeftOut("npm is not installed")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in names:
            shutil.copy(HERE / name, folder)
        say(f"installing senders/package.json into {folder}")
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        install = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if install.returncode != 0:
            last = "\n".join(install.stderr.strip().splitlines()[-3:])
            raise LeftOut(f"npm's registry cannot be reached:\n{last}")
        stamp.write_text(digest)
    return folder


def prepare_rust(target):
    """The sender of Rust, built with the crates of its lock file."""
    if shutil.which("cargo") is None:
        raise LeftOut("cargo is not installed")
    manifest = HERE / "rust_sdk" / "Cargo.toml"
    fetch = ["cargo", "fetch", "--quiet", "--locked", "--manifest-path", manifest]
    fetched = subprocess.run(fetch, capture_output=True, text=True)
    if fetched.returncode != 0:
        last = "\n".join(fetched.stderr.strip().splitlines()[-3:])
        # A lock file that does not fit is our mistake; a registry that does not answer is not.
        if "lock file" in fetched.stderr:
            raise Broken(f"{manifest} cannot be built:\n{last}")
        raise LeftOut(f"crates.io cannot be reached:\n{last}")
    binary = target / "debug" / "rust-sdk-sender"
    if not binary.exists():
        say(f"building senders/rust_sdk in {target}")
    build = ["cargo", "build", "--quiet", "--locked", "--offline"]
    build += ["--manifest-path", manifest, "--target-dir", target]
    built = subprocess.run(build, capture_output=True, text=True)
    if built.returncode != 0:
        raise Broken(f"{manifest} cannot be built:\n{built.stderr[-2000:]}")
    return binary


class Case:
    """The server, the senders, and the questions."""

    def __init__(self, arguments, folder):
        self.binary, self.folder = arguments.binary, folder
        self.packages = arguments.packages.resolve()
        self.processes = Processes(folder)
        self.commands, self.left_out = {}, []
        with self.leaving_out("Python"):
            python = prepare(self.packages / "python", HERE / "requirements.txt")
            self.commands["python"] = [python, HERE / "python_sdk.py"]
            self.commands["python_pyroscope"] = [python, HERE / "python_pyroscope.py"]
            requirements = HERE / "requirements-profiler.txt"
            python = prepare(self.packages / "python-profiler", requirements)
            self.commands["python_profiler"] = [python, HERE / "python_profiler.py"]
        with self.leaving_out("Node"):
            modules = prepare_node(self.packages / "node")
            # Node looks for packages beside the script.
            for name in ["node_sdk", "node_pyroscope"]:
                script = shutil.copy(HERE / f"{name}.js", modules)
                self.commands[name.replace("_sdk", "")] = ["node", script]
        with self.leaving_out("Rust"):
            self.commands["rust"] = [prepare_rust(self.packages / "rust")]

    @contextlib.contextmanager
    def leaving_out(self, what):
        try:
            yield
        except LeftOut as reason:
            self.left_out.append(f"the senders of {what}: {reason}")

    def run(self):
        data = self.folder / "data"
        self.grpc, self.otlp, self.api = serve(self.processes, self.binary, data)
        faults = []
        for service, (runtime, form, settings) in SENDERS.items():
            if runtime in self.commands:
                self.send(service, self.commands[runtime], form, settings)
                found = self.check(service)
                say(f"{service}: {'; '.join(found) or 'all arrived'}")
                faults += [f"{service}: {fault}" for fault in found]
        for service, profiler in profilers.PROFILERS.items():
            if profiler.runtime in self.commands:
                found, what = self.profile(service, profiler)
                say(f"{service}: {'; '.join(found) or 'all arrived'} ({what})")
                faults += [f"{service}: {fault}" for fault in found]
        with self.leaving_out("the sizes of bodies"):
            faults += sizes.try_recipes(self)
        return faults

    def profile(self, service, profiler):
        with Recorder(self.api) as recorder:
            address = {"PYROSCOPE_SERVER_ADDRESS": f"http://{recorder.address}"}
            command = self.commands[profiler.runtime]
            output = self.send(service, command, profiler.form, profiler.settings | address)
        return profilers.check(self.rows, service, profiler.sent(recorder.exchanges, output))

    def send(self, service, command, form, settings):
        address = self.grpc if form == "grpc" else self.otlp
        environment = {
            **os.environ,
            "OTEL_SERVICE_NAME": service,
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=7.1.0,region=north",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}",
            "OTEL_BSP_MAX_QUEUE_SIZE": "10000",
            "OTEL_BLRP_MAX_QUEUE_SIZE": "10000",
            "ORDERS": str(ORDERS),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **settings,
        }
        command = [str(part) for part in [*command, *([form] if form else [])]]
        sent = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SENDER_SECONDS
        )
        if sent.returncode != 0 or "rror" in sent.stderr:
            raise Broken(f"{service} could not send:\n{sent.stderr[-2000:]}{sent.stdout[-2000:]}")
        return sent.stdout

    def rows(self, query):
        command = [self.binary, "sql", "--server", f"http://{self.api}", "--format", "json", query]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken(f"{query} failed: {done.stderr}")
        return json.loads(done.stdout)

    def check(self, service):
        """What is wrong with the rows of a sender."""
        of = f"service_name = '{service}'"
        found = []

        def expect(what, query, *expected):
            rows = [tuple(row.values()) for row in self.rows(query)]
            if rows != list(expected):
                shown = [row for row in rows if row not in expected][:3] or rows[:3]
                found.append(f"{what}: {len(rows)} rows instead of {len(expected)}, such as {shown}")

        def number(n):
            return str(n // 4) + {0: ".0", 1: ".25", 2: ".5", 3: ".75"}[n % 4]

        expect(
            "orders",
            "SELECT span_name, service_version, status_code, status_message, event_count, "
            "cardinality(links) AS links, scope_name, scope_version, "
            "attributes['order.number'] AS n, attributes['order.name'] AS name, "
            "attributes['order.gift'] AS gift, attributes['order.items'] AS items "
            f"FROM spans WHERE {of} AND span_kind = 'SERVER' "
            "ORDER BY CAST(attributes['order.number'] AS BIGINT)",
            *[
                (
                    f"order {n}",
                    "7.1.0",
                    "ERROR" if n % 10 == 0 else "UNSET",
                    "out of stock" if n % 10 == 0 else None,
                    1,
                    1 if n > 0 else 0,
                    "orders",
                    "1.2.3",
                    str(n),
                    f"Bücher & <mehr> {n}",
                    "true" if n % 2 == 0 else "false",
                    json.dumps([f"item {n}", 'a "quoted" one'], separators=(",", ":")),
                )
                for n in range(ORDERS)
            ],
        )
        # JSON of JavaScript does not tell 1.0 from 1.
        weights = [row["w"] for row in self.rows(
            f"SELECT attributes['order.weight'] AS w FROM spans WHERE {of} "
            "AND span_kind = 'SERVER' ORDER BY CAST(attributes['order.number'] AS BIGINT)"
        )]
        wrong = [w for n, w in enumerate(weights) if float(w) != n / 4 or (n % 4 and w != number(n))]
        if wrong:
            found.append(f"weights: {wrong[:3]}")
        expect(
            "calls, each with its parent in its trace",
            "SELECT c.span_name, c.http_request_method, p.span_name AS parent "
            "FROM spans c JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id "
            f"WHERE c.{of} AND c.span_kind = 'CLIENT' "
            "ORDER BY CAST(p.attributes['order.number'] AS BIGINT)",
            *[("reserve", "POST", f"order {n}") for n in range(ORDERS)],
        )
        expect(
            "events",
            "SELECT event_name, attributes['box'] AS box FROM span_events "
            f"WHERE {of} ORDER BY CAST(attributes['box'] AS BIGINT)",
            *[("packed", str(n)) for n in range(ORDERS)],
        )
        expect(
            "sizes of bodies",
            "SELECT wire_bytes, direction, reporter FROM payload_sizes "
            f"WHERE client_service = '{service}' ORDER BY wire_bytes",
            *[(100 + n, "response", "client") for n in range(ORDERS)],
        )
        total = sum(100 + n for n in range(ORDERS))
        expect(
            "the counter",
            "SELECT CAST(coalesce(value_int, value_double) AS BIGINT) AS value, unit, attributes['shop'] AS shop FROM metrics "
            f"WHERE {of} AND metric_name = 'orders.placed'",
            (ORDERS, "{order}", "north"),
        )
        expect(
            "the histogram",
            "SELECT count, CAST(sum AS BIGINT) AS sum, CAST(min AS BIGINT) AS min, "
            "CAST(max AS BIGINT) AS max, unit FROM metric_histograms "
            f"WHERE {of} AND metric_name = 'orders.size'",
            (ORDERS, total, 100, 99 + ORDERS, "By"),
        )
        expect(
            "logs, each with its span",
            "SELECT l.body, l.severity_text, l.severity_number, s.span_name AS span "
            "FROM logs l JOIN spans s ON l.trace_id = s.trace_id AND l.span_id = s.span_id "
            f"WHERE l.{of} ORDER BY CAST(l.attributes['order.number'] AS BIGINT)",
            *[(f"order {n} packed", "WARN", 13, f"order {n}") for n in range(ORDERS)],
        )
        return found


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="the upriver binary")
    parser.add_argument("--packages", type=Path, required=True, help="folder of the packages")
    parser.add_argument("--keep", action="store_true", help="keep the data and the logs")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    return carry_out("senders", arguments, lambda folder: Case(arguments, folder))


if __name__ == "__main__":
    sys.exit(main())
