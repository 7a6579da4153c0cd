#!/usr/bin/env python3
"""A live case without any fixture: three services with the official OpenTelemetry SDK and the
pyroscope-io profiler export to a running `upriver serve`; inventory restarts as version 2 under
load, and `upriver diagnose` must blame that from what came over the wire. No deploy event is sent.

    python3 testdata/live/run.py --binary target/release/upriver --venv ~/.cache/upriver/live-venv

Needs Python 3.9 or later with venv, and PyPI once. Exit codes: 0 the diagnosis is right, 1 it is
not, 2 something else failed, 77 left out because PyPI cannot be reached.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from peers import (  # noqa: E402
    Broken,
    Processes,
    carry_out,
    listening_socket,
    prepare,
    say,
    serve,
    url,
)

# Orders per second: two cores carry it even with large responses, and it gives 20 requests, the
# least for a point of the median, within two seconds.
RATE = 10.0
# 99 % needs 368 requests for a two-sided 95 % interval from order statistics (n with
# 1 - 0.99^n > 0.975): 75 s give twice that on the incident's side.
INCIDENT_SECONDS = 75
# The onset is held against the first part of the series, so the healthy part is longer.
BASELINE_SECONDS = 90
# Connections, imports and bytecode: not part of the baseline.
WARM_UP_SECONDS = 4
DIAGNOSE_SECONDS = 60


class Case:
    """One run: the server, the services, the phases."""

    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.python = prepare(arguments.venv.resolve(), HERE / "requirements.txt")
        self.processes = Processes(folder)
        self.left_out = []
        self.sockets = {name: listening_socket() for name in ("inventory", "checkout")}

    def environment(self, service, version):
        """What a deployment sets for a service. Sizes of bodies come from the header that the
        instrumentation captures: the services themselves report none."""
        captured = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS"
        return {
            **os.environ,
            "OTEL_SERVICE_NAME": service,
            "OTEL_RESOURCE_ATTRIBUTES": f"service.version={version},"
            f"service.instance.id={service}-{version}-1,deployment.environment.name=live",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.otlp}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
            f"{captured}_SERVER_RESPONSE": "content-length",
            f"{captured}_CLIENT_RESPONSE": "content-length",
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
            "OTEL_METRIC_EXPORT_INTERVAL": "10000",
            "PYROSCOPE_SERVER_ADDRESS": f"http://{self.api}",
            "INVENTORY_URL": url(self.sockets["inventory"]),
            "CHECKOUT_URL": url(self.sockets["checkout"]),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start_server(self):
        data = self.folder / "data"
        _, self.otlp, self.api = serve(self.processes, self.arguments.binary, data)

    def start_service(self, service, version, *flags):
        name = f"{service}-{version}"
        command = [self.python, HERE / f"{service}.py", *flags]
        options = {"env": self.environment(service, version)}
        if service in self.sockets:
            descriptor = self.sockets[service].fileno()
            command += ["--socket-fd", descriptor]
            options["pass_fds"] = [descriptor]
        self.processes.start(name, command, **options)
        self.processes.wait_until(name, lambda: "ready" in self.processes.log(name))

    def phase(self, name, seconds):
        say(f"{name}: {seconds} s at {RATE:g} orders/s")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.processes.check()
            time.sleep(0.5)

    def run(self):
        self.start_server()
        self.start_service("inventory", "1.0.0")
        self.start_service("checkout", "1.0.0")
        self.start_service("frontend", "1.0.0", "--rate", RATE)
        self.phase("warming up", WARM_UP_SECONDS)
        self.phase("inventory 1.0.0 answers 8 KB", self.arguments.baseline_seconds)
        self.start_service("inventory", "2.0.0", "--full-sku-details")
        self.processes.stop("inventory-1.0.0")
        self.phase("inventory 2.0.0 answers 85 KB", self.arguments.incident_seconds)
        started = time.monotonic()
        status, document = self.diagnose()
        say(f"diagnosed in {time.monotonic() - started:.2f} s")
        self.processes.stop("frontend-1.0.0")
        outcomes = json.loads(self.processes.log("frontend-1.0.0").strip().splitlines()[-1])
        say(f"orders: {outcomes}")
        print_verdict(document)
        return faults(status, document, outcomes)

    def diagnose(self):
        command = [self.arguments.binary, "diagnose", "--server", f"http://{self.api}"]
        done = subprocess.run(
            [*command, "--format", "json"],
            capture_output=True,
            text=True,
            timeout=DIAGNOSE_SECONDS,
        )
        if done.returncode == 2:
            raise Broken(f"diagnose failed: {done.stderr}{self.processes.log('upriver')[-2000:]}")
        try:
            return done.returncode, json.loads(done.stdout)
        except json.JSONDecodeError as error:
            raise Broken(f"diagnose printed no JSON ({error}):\n{done.stdout[:2000]}") from error


def faults(status, document, outcomes):
    """What is wrong with the answer; empty if it is right."""
    cause = document.get("root_cause") or {}
    deploy = cause.get("deploy") or {}
    symptom = document.get("symptom") or {}
    expected = [
        ("exit code of diagnose", status, [1]),
        ("schema", document.get("schema"), ["upriver.diagnosis/v1"]),
        ("verdict", document.get("verdict"), ["confirmed", "likely"]),
        ("symptom.service", symptom.get("service"), ["checkout"]),
        ("root_cause.kind", cause.get("kind"), ["deploy"]),
        ("root_cause.service", cause.get("service"), ["inventory"]),
        ("root_cause.mechanism", cause.get("mechanism"), ["response_payload_growth"]),
        ("root_cause.deploy.version", deploy.get("version"), ["2.0.0"]),
        ("root_cause.deploy.source", deploy.get("source"), ["inferred"]),
        ("failed orders", outcomes["failed"], [0]),
    ]
    return [
        f"{name} is {got!r}, expected {' or '.join(map(repr, wanted))}"
        for name, got, wanted in expected
        if got not in wanted
    ]


def print_verdict(document):
    cause = document.get("root_cause")
    say(f"\nverdict: {document.get('verdict')}")
    if cause:
        deploy = cause.get("deploy") or {}
        say(
            f"root cause: {cause['kind']} of {cause['service']} {deploy.get('version')}"
            f" ({deploy.get('source')} at {deploy.get('time')}), {cause['mechanism']},"
            f" confidence {cause['confidence']}"
        )
    for finding in document.get("findings", []):
        say(f"  - {finding.get('statement')}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="the upriver binary")
    parser.add_argument("--venv", type=Path, required=True, help="folder of the packages")
    parser.add_argument("--baseline-seconds", type=int, default=BASELINE_SECONDS)
    parser.add_argument("--incident-seconds", type=int, default=INCIDENT_SECONDS)
    parser.add_argument("--keep", action="store_true", help="keep the data and the logs")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    return carry_out("live case", arguments, lambda folder: Case(arguments, folder))


if __name__ == "__main__":
    sys.exit(main())
