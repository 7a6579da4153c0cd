"""What tests with programs of others share: their packages, their processes, their addresses."""

import contextlib
import fcntl
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_SECONDS = 30
STOP_SECONDS = 15
FAULTS_SHOWN = 30

EXIT_WRONG, EXIT_BROKEN, EXIT_LEFT_OUT = 1, 2, 77
# As a shell calls the end by SIGTERM.
EXIT_ENDED = 143


class Broken(Exception):
    """The case could not be carried out; says what failed and what to look at."""


class LeftOut(Exception):
    """The case cannot be carried out on this machine."""


def say(text):
    print(text, flush=True)


@contextlib.contextmanager
def one_at_a_time(path):
    """Holds a file's lock, which goes with the process that has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare(venv, requirements):
    """A Python with the pinned packages, which are installed unless they are there already. Tests
    that start together may share the folder: one installs, the others wait."""
    with one_at_a_time(venv.with_name(f"{venv.name}.lock")):
        return install_unless_there(venv, requirements)


def install_unless_there(venv, requirements):
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = venv / "requirements.sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return venv / "bin" / "python"
    say(f"installing {requirements.parent.name}/{requirements.name} into {venv}")
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


def serve(processes, binary, data, **options):
    """Starts a server on free ports; gives its addresses for gRPC, OTLP/HTTP and the API."""
    grpc, otlp, api = free_addresses(3)
    command = [binary, "serve", "--data", data]
    command += ["--otlp-grpc", grpc, "--otlp-http", otlp, "--api", api]
    processes.start("upriver", command, **options)
    processes.wait_until("upriver", lambda: answers(f"http://{api}/readyz"))
    return grpc, otlp, api


def end(*_):
    """Ends what was started first, however often that is asked for."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(EXIT_ENDED)


def carry_out(what, arguments, make):
    """Runs the case that `make(folder)` gives in a folder of its own, says what is wrong, and gives the
    exit code. The folder stays where something is wrong or `arguments.keep` is set. A case has
    `processes`, `left_out`, and `run()`, which gives what is wrong."""
    folder = Path(tempfile.mkdtemp(prefix=f"upriver-{what.replace(' ', '-')}-"))
    signal.signal(signal.SIGTERM, end)
    try:
        case = make(folder)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(case.processes.stop_all)
            found = case.run()
        for fault in found[:FAULTS_SHOWN]:
            say(f"WRONG: {fault}")
        if len(found) > FAULTS_SHOWN:
            say(f"WRONG: and {len(found) - FAULTS_SHOWN} more")
        for reason in case.left_out:
            say(f"left out: {reason}")
        arguments.keep |= bool(found)
        if found:
            return EXIT_WRONG
        return EXIT_LEFT_OUT if case.left_out else 0
    except LeftOut as reason:
        say(f"left out: {what}: {reason}")
        return EXIT_LEFT_OUT
    except (Broken, OSError, ValueError, subprocess.SubprocessError) as error:
        say(f"{what} could not be carried out: {error}")
        arguments.keep = True
        return EXIT_BROKEN
    finally:
        if arguments.keep:
            say(f"data and logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
