"""The recipes of docs/payload-sizes.md for Python, with the official instrumentations: what they send
of the sizes of bodies, set up through the environment as in a deployment.

The first argument is the form: `asgi` (FastAPI called by urllib3) or `wsgi` (Flask called by requests).
"""

import os
import socket
import sys
import threading
import time

import requests
import urllib3
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

READY_SECONDS = 10
# Calls before the first export of metrics, and between it and the second.
FIRST, SECOND = 3, 5
BYTES = 20_000

tracers = TracerProvider()
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(tracers)
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(), 3_600_000)])
metrics.set_meter_provider(meters)


def asgi():
    """Gives the server's address, a function that calls it, and one that stops it."""
    import fastapi
    import uvicorn
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

    app = fastapi.FastAPI()

    @app.post("/items/{number}")
    async def item(number: int, request: fastapi.Request):
        await request.body()
        return fastapi.Response(b"x" * (BYTES + number))

    FastAPIInstrumentor.instrument_app(app)
    URLLib3Instrumentor().instrument()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + READY_SECONDS
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    pool = urllib3.PoolManager()

    def stop():
        server.should_exit = True
        thread.join()

    def call(address, number):
        pool.request("POST", f"{address}/items/{number}", body=b"y" * 500)

    return listener, call, stop


def wsgi():
    import flask
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_):
            pass

    app = flask.Flask("items")

    @app.post("/items/<int:number>")
    def item(number):
        # What the instrumentation does not capture can be set by hand.
        span = trace.get_current_span()
        span.set_attribute("http.request.body.size", len(flask.request.get_data()))
        return b"x" * (BYTES + number)

    FlaskInstrumentor().instrument_app(app)
    RequestsInstrumentor().instrument()
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def stop():
        server.shutdown()
        thread.join()
        server.server_close()

    def call(address, number):
        requests.post(f"{address}/items/{number}", data=b"y" * 500, timeout=READY_SECONDS)

    return server.socket, call, stop


listener, call, stop = {"asgi": asgi, "wsgi": wsgi}[sys.argv[1]]()
address = "http://127.0.0.1:%d" % listener.getsockname()[1]
for number in range(FIRST):
    call(address, number)
if os.environ.get("EXPORTS") == "2":
    meters.force_flush()
for number in range(FIRST, FIRST + SECOND):
    call(address, number)
stop()
tracers.shutdown()
meters.shutdown()
