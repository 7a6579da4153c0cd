#!/usr/bin/env python3
"""A live case without any fixture: three services with the official OpenTelemetry SDK and the
pyroscope-io profiler export to a running `upriver serve`; inventory restarts as version 2 under
load, and `upriver diagnose` must blame that from what came over the wire. No deploy event is sent.

    python3 testdata/live/run.py --binary target/release/upriver --venv ~/.cache/upriver/live-venv

Needs Python 3.9 or later with venv, and PyPI once. Exit codes: 0 the diagnosis is right, 1 it is
not, 2 something else failed, 77 left out because PyPI cannot be reached.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent

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
READY_SECONDS = 30
STOP_SECONDS = 15
DIAGNOSE_SECONDS = 60

EXIT_WRONG, EXIT_BROKEN, EXIT_LEFT_OUT = 1, 2, 77


class Broken(Exception):
    """The case could not be carried out; says what failed and what to look at."""


class LeftOut(Exception):
    """The case cannot be carried out on this machine."""


def say(text):
    print(text, flush=True)


def prepare(venv):
    """Installs the pinned packages, unless they are there already."""
    requirements = HERE / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = venv / "requirements.sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return venv / "bin" / "python"
    say(f"installing {requirements.name} into {venv}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    install = subprocess.run(
        [*pip, "install", "--quiet", "--requirement", requirements],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if install.returncode != 0:
        # A pin that does not exist is our mistake; an index that does not answer is not.
        with tempfile.TemporaryDirectory() as folder:
            probe = [*pip, "download", "--quiet", "--no-deps", "--dest", folder, "pip"]
            reachable = subprocess.run(probe, capture_output=True).returncode == 0
        last = "\n".join(install.stdout.strip().splitlines()[-3:])
        if reachable:
            raise Broken(f"pip cannot install {requirements}:\n{last}")
        raise LeftOut(f"PyPI cannot be reached:\n{last}")
    stamp.write_text(digest)
    return venv / "bin" / "python"


def listening_socket():
    """A socket on a free port that child processes can share."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    listener.set_inheritable(True)
    return listener


def url(listener):
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def free_addresses(count):
    """Addresses that were free a moment ago."""
    listeners = [listening_socket() for _ in range(count)]
    addresses = ["127.0.0.1:%d" % listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return addresses


class Processes:
    """The processes of the case; ends those, and no others."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}

    def start(self, name, command, **options):
        log = open(self.folder / f"{name}.log", "w")
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            **options,
        )
        log.close()
        self.running[name] = process
        return process

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_until(self, name, is_ready):
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            if self.running[name].poll() is not None:
                raise Broken(f"{name} ended at its start:\n{self.log(name)}")
            if time.monotonic() > deadline:
                raise Broken(f"{name} was not ready in {READY_SECONDS} s:\n{self.log(name)}")
            time.sleep(0.05)

    def stop(self, name):
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check(self):
        for name, process in self.running.items():
            if process.poll() is not None:
                raise Broken(f"{name} ended with {process.returncode}:\n{self.log(name)}")

    def stop_all(self):
        for name in reversed(list(self.running)):
            self.stop(name)


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Case:
    """One run: the server, the services, the phases."""

    def __init__(self, arguments, python, folder):
        self.arguments, self.python, self.folder = arguments, python, folder
        self.processes = Processes(folder)
        self.grpc, self.otlp, self.api = free_addresses(3)
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
        command = [self.arguments.binary, "serve", "--data", self.folder / "data"]
        command += ["--otlp-grpc", self.grpc, "--otlp-http", self.otlp, "--api", self.api]
        self.processes.start("upriver", command)
        self.processes.wait_until("upriver", lambda: answers(f"http://{self.api}/readyz"))

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
        return status, document, outcomes

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
    folder = Path(tempfile.mkdtemp(prefix="upriver-live-"))
    try:
        python = prepare(arguments.venv.resolve())
        case = Case(arguments, python, folder)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(case.processes.stop_all)
            status, document, outcomes = case.run()
        print_verdict(document)
        found = faults(status, document, outcomes)
        for fault in found:
            say(f"WRONG: {fault}")
        arguments.keep |= bool(found)
        return EXIT_WRONG if found else 0
    except LeftOut as reason:
        say(f"the live case was left out: {reason}")
        return EXIT_LEFT_OUT
    except (Broken, OSError, subprocess.SubprocessError) as error:
        say(f"the live case could not be carried out: {error}")
        arguments.keep = True
        return EXIT_BROKEN
    finally:
        if arguments.keep:
            say(f"data and logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
