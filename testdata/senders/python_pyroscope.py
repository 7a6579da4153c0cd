"""What a Python service sends with Pyroscope's client: its CPU time, nearly all of it in one
function, and its memory."""

import os
import time

import pyroscope


def burn_the_processor(until):
    total = 0.0
    while time.monotonic() < until:
        for number in range(1000):
            total += number**0.5
    return total


pyroscope.configure(
    application_name=os.environ["OTEL_SERVICE_NAME"],
    server_address=os.environ["PYROSCOPE_SERVER_ADDRESS"],
    tags={"service_version": "7.1.0", "region": "north"},
    upload_interval=2,
    mem_enabled=True,
)
end = time.monotonic() + 4
kept = []
while time.monotonic() < end:
    with pyroscope.tag_wrapper({"shop": "north"}):
        burn_the_processor(time.monotonic() + 0.2)
        kept.append(bytearray(1 << 20))
pyroscope.shutdown()
