"""The inventory service: lists what is in stock.

With `--full-sku-details`, what version 2 turns on, every item carries its description, images and
suppliers: the response grows from 8 KB to 85 KB. The service says nothing about that; its
instrumentation captures `content-length`.
"""

import argparse
import hashlib
import json
import time

from flask import Flask, Response

import telemetry

ITEMS = 40
BODY_BYTES = 8_000
BODY_BYTES_FULL = 85_000
# What the database behind a real one would take, whatever the size of the answer.
LOOKUP_SECONDS = 0.004


def item(number, size):
    """An item of about `size` bytes of JSON; what fills it up looks like text, not like zeros."""
    sku = hashlib.sha256(str(number).encode()).hexdigest()
    fields = {"sku": sku[:12], "name": f"item {number}", "stock": number * 7 % 90, "price": 1999}
    missing = size - len(json.dumps(fields))
    words = " ".join(hashlib.sha256(f"{sku}{i}".encode()).hexdigest()[:9] for i in range(200))
    if missing > 300:
        rows = [words[i : i + 60] for i in range(0, missing - missing // 5, 60)]
        fields["details"] = [{"key": f"k{i}", "text": row[:44]} for i, row in enumerate(rows)]
        missing = size - len(json.dumps(fields))
    fields["note"] = words[: max(0, missing - 12)]
    return fields


def body(size):
    """The whole response."""
    return json.dumps({"items": [item(number, size // ITEMS - 2) for number in range(ITEMS)]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--full-sku-details", action="store_true")
    arguments = parser.parse_args()
    telemetry.start()
    answer = body(BODY_BYTES_FULL if arguments.full_sku_details else BODY_BYTES)
    app = Flask("inventory")

    @app.get("/items")
    def items():
        time.sleep(LOOKUP_SECONDS)
        return Response(answer, mimetype="application/json")

    telemetry.serve(app, arguments.socket_fd)


if __name__ == "__main__":
    main()
