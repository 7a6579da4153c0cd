"""ministack's S3 on a free port of loopback, in this process; run_server.py starts it. All objects
are in memory. Requests are worked off one at a time, so a condition still holds when its write
happens: more than one worker would lose that."""

import asyncio
import http.client
import json
import os
import signal
import stat
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hypercorn.asyncio import serve  # noqa: E402
from hypercorn.config import Config  # noqa: E402
from ministack.app import app  # noqa: E402
from peers import READY_SECONDS, listening_socket, url  # noqa: E402

BUCKET = "upriver"
REGION = "us-east-1"
# What ministack takes unless it is told otherwise.
ACCESS_KEY_ID = SECRET_ACCESS_KEY = "test"
# Far beyond a test: a connection that the server closes just as a client writes to it would fail
# the test for nothing.
IDLE_SECONDS_MAX = 3600
CONNECTION_REQUESTS_MAX = 1_000_000


def stop(port_file):
    """Ends at once: nothing is on disk, and clients may keep their connections for long."""
    port_file.unlink(missing_ok=True)
    os._exit(0)


def stop_with_parent(port_file):
    """Waits until standard input ends."""
    while sys.stdin.buffer.read(4096):
        pass
    stop(port_file)


def create_bucket(address):
    connection = http.client.HTTPConnection(address, timeout=READY_SECONDS)
    connection.request("PUT", f"/{BUCKET}")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise RuntimeError(f"the bucket cannot be created: status {status}")


def write_place(port_file, endpoint):
    """In one step: who sees the file sees all of it."""
    place = {
        "endpoint": endpoint,
        "bucket": BUCKET,
        "region": REGION,
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
    }
    new = port_file.with_name(f"{port_file.name}.new")
    new.write_text(json.dumps(place))
    new.replace(port_file)


async def run(port_file):
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, port_file)
    # Where standard input is no pipe, nobody holds its other end.
    if sys.stdin and stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        threading.Thread(target=stop_with_parent, args=[port_file], daemon=True).start()

    listener = listening_socket()
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "WARNING"
    config.keep_alive_timeout = IDLE_SECONDS_MAX
    config.keep_alive_max_requests = CONNECTION_REQUESTS_MAX
    never = asyncio.Event()
    server = loop.create_task(serve(app, config, shutdown_trigger=never.wait))
    # The socket listens already; it answers once the server has started.
    await loop.run_in_executor(None, create_bucket, url(listener).removeprefix("http://"))
    write_place(port_file, url(listener))
    await server


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
