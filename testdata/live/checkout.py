"""The checkout service: asks inventory, prices every item, and writes the documents of an order.

The work is real and grows with inventory's response: the response is parsed, and for each sales
region the whole of it is priced, serialised for the outbox and read back to check it. One pass of
`json` over 85 KB takes about a millisecond, less than the noise of a loaded machine; an order that
is written for every region makes the growth visible in latency and in the CPU profile, by the same
kind of work.
"""

import argparse
import json
import os

import requests
from flask import Flask, jsonify
from opentelemetry import trace

import telemetry

# (region, tax in percent)
REGIONS = [("de", 19), ("fr", 20), ("it", 22), ("es", 21), ("pl", 23), ("nl", 21)]
INVENTORY_TIMEOUT_SECONDS = 10


def order_document(stock, region, tax):
    """The order as it goes to one region's outbox: indented and sorted, so that people can read it
    and its signature is stable."""
    items = [{**item, "gross": item["price"] * (100 + tax) // 100} for item in stock["items"]]
    text = json.dumps({"region": region, "items": items}, indent=1, sort_keys=True)
    if len(json.loads(text)["items"]) != len(items):
        raise ValueError(f"the document of {region} does not read back")
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket-fd", type=int, required=True)
    arguments = parser.parse_args()
    telemetry.start()
    tracer = trace.get_tracer("checkout")
    inventory = os.environ["INVENTORY_URL"]
    app = Flask("checkout")

    @app.post("/checkout")
    def checkout():
        answer = requests.get(f"{inventory}/items", timeout=INVENTORY_TIMEOUT_SECONDS)
        answer.raise_for_status()
        stock = answer.json()
        with tracer.start_as_current_span("serialise_response"):
            documents = [order_document(stock, region, tax) for region, tax in REGIONS]
        return jsonify(status="accepted", documents=len(documents))

    telemetry.serve(app, arguments.socket_fd)


if __name__ == "__main__":
    main()
