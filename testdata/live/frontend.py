"""The shop's front end, as its load: places orders at a constant rate, however long they take."""

import argparse
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

import telemetry

ORDERS_AT_ONCE_MAX = 32
TIMEOUT_SECONDS = 10


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, required=True, help="orders per second")
    arguments = parser.parse_args()
    telemetry.start()
    checkout = os.environ["CHECKOUT_URL"]
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    outcomes = {"accepted": 0, "failed": 0}
    lock = threading.Lock()

    def order():
        try:
            answer = requests.post(f"{checkout}/checkout", timeout=TIMEOUT_SECONDS)
            outcome = "accepted" if answer.ok else "failed"
        except requests.RequestException:
            outcome = "failed"
        with lock:
            outcomes[outcome] += 1

    print("ready", flush=True)
    with ThreadPoolExecutor(ORDERS_AT_ONCE_MAX) as pool:
        due = time.monotonic()
        while not stopping.wait(max(0.0, due - time.monotonic())):
            pool.submit(order)
            due += 1.0 / arguments.rate
    telemetry.stop()
    print(json.dumps(outcomes), flush=True)


if __name__ == "__main__":
    main()
