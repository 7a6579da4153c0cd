"""The recipes of docs/payload-sizes.md for Python, tried: sizes of bodies from spans and from metrics."""

import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from peers import Broken, prepare, say

HERE = Path(__file__).resolve().parent
SENDER_SECONDS = 60
# As in python_sizes.py: calls before the first export of metrics and after it, sizes of bodies.
FIRST, SECOND, BYTES, REQUEST_BYTES = 3, 5, 20_000, 500
CALLS = FIRST + SECOND

CAPTURED = {
    f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{side}": "content-length"
    for side in ["SERVER_RESPONSE", "CLIENT_REQUEST", "CLIENT_RESPONSE"]
}
DELTA = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
EXPONENTIAL = {
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"
}

# A sender by the name of its service: its form, the names it uses, its settings.
SENDERS = {
    "sizes-captured-older": ("wsgi", "", CAPTURED),
    "sizes-captured": ("wsgi", "http", CAPTURED),
    "sizes-metrics-older": ("asgi", "", {}),
    "sizes-metrics": ("asgi", "http", {}),
    "sizes-metrics-both": ("asgi", "http/dup", {}),
    "sizes-metrics-delta": ("asgi", "http", DELTA),
    "sizes-metrics-exponential": ("asgi", "http", EXPONENTIAL),
}


def try_recipes(case):
    """What is wrong with the rows of each. The server has been receiving for some seconds, so that
    the first point of a cumulative series is known to be all new."""
    python = prepare(case.packages / "python-sizes", HERE / "requirements-sizes.txt")
    faults = []
    for service, (form, names, settings) in SENDERS.items():
        send(case, python, service, form, {"OTEL_SEMCONV_STABILITY_OPT_IN": names, **settings})
        found = check_spans(case, service) if form == "wsgi" else check_metrics(case, service)
        say(f"{service}: {'; '.join(found) or 'all arrived'}")
        faults += [f"{service}: {fault}" for fault in found]
    return faults


def send(case, python, service, form, settings):
    environment = {
        **os.environ,
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{case.otlp}",
        "EXPORTS": "2",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **settings,
    }
    sent = subprocess.run(
        [str(python), str(HERE / "python_sizes.py"), form],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SENDER_SECONDS,
    )
    if sent.returncode != 0 or "rror" in sent.stderr:
        raise Broken(f"{service} could not send:\n{sent.stderr[-2000:]}{sent.stdout[-2000:]}")


def difference(found, expected):
    missing = [row for row in expected if row not in found]
    surplus = [row for row in found if row not in expected]
    wrong = [f"no row {row}" for row in missing] + [f"a row {row} too many" for row in surplus]
    return wrong


def check_spans(case, service):
    rows = case.rows(
        "SELECT reporter, direction, source_attribute, count(*) AS n, min(wire_bytes) AS least, "
        f"max(wire_bytes) AS most FROM payload_sizes WHERE server_service = '{service}' GROUP BY 1, 2, 3"
    )
    request, response = (REQUEST_BYTES, REQUEST_BYTES), (BYTES, BYTES + CALLS - 1)
    header = "http.{}.header.content_length"
    return difference(
        [tuple(row.values()) for row in rows],
        [
            ("client", "request", header.format("request"), CALLS, *request),
            ("client", "response", header.format("response"), CALLS, *response),
            ("server", "request", "http.request.body.size", CALLS, *request),
            ("server", "response", header.format("response"), CALLS, *response),
        ],
    )


def check_metrics(case, service):
    edge = "client_service, server_service, operation, reporter"
    mine = f"(client_service = '{service}' OR server_service = '{service}')"
    of = "source = 'metrics' AND " + mine
    sums = ", ".join(
        f"sum({direction}_wire_bytes['{figure}']) AS {direction}_{figure}"
        for direction in ["request", "response"]
        for figure in ["count", "sum"]
    )
    rows = case.rows(f"SELECT {edge}, {sums} FROM edge_minutes WHERE {of} GROUP BY {edge}")
    total = sum(BYTES + number for number in range(CALLS))
    sizes = (CALLS, CALLS * REQUEST_BYTES, CALLS, total)
    wrong = difference(
        [tuple(row.values()) for row in rows],
        [
            ("", service, "POST /items/{number}", "server", *sizes),
            (service, "127.0.0.1", "POST", "client", *sizes),
        ],
    )
    # The minute that is not over yet, too.
    end = datetime.now(timezone.utc) + timedelta(minutes=1)
    grown = case.rows(
        "SELECT reporter, direction, n_now, p50_now, source FROM payload_growth("
        f"TIMESTAMP '{end:%Y-%m-%dT%H:%M:%SZ}', INTERVAL '30 minutes', INTERVAL '7 days') "
        f"WHERE {mine}"
    )
    seen = sorted((row["reporter"], row["direction"], row["n_now"], row["source"]) for row in grown)
    sides = [(side, direction) for side in ["client", "server"] for direction in ["request", "response"]]
    if seen != [(*side, CALLS, "metrics") for side in sides]:
        wrong.append(f"payload_growth gives {seen}")
    # Between the smallest and the largest, in spite of bounds that end at 10,000.
    medians = [row["p50_now"] for row in grown if row["direction"] == "response"]
    if not all(BYTES * 0.97 <= median <= BYTES + CALLS for median in medians):
        wrong.append(f"responses of {medians} bytes in payload_growth")
    return wrong
