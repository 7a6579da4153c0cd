"""What every service of the live case does at its start: the SDK, the exporters, the profiler.

All of it is configured through the environment, as in a deployment: `OTEL_SERVICE_NAME`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_ENDPOINT` and so on; see `environment` in `run.py`.
"""

import os
import signal
import threading

import pyroscope
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from werkzeug.serving import WSGIRequestHandler, make_server


def start():
    """Starts traces, metrics and CPU profiles of this process."""
    resource = Resource.create()
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))
    RequestsInstrumentor().instrument()
    pyroscope.configure(
        application_name=resource.attributes["service.name"],
        server_address=os.environ["PYROSCOPE_SERVER_ADDRESS"],
        sample_rate=100,
        tags={
            "service_version": resource.attributes["service.version"],
            "service_instance_id": resource.attributes["service.instance.id"],
            "deployment_environment_name": resource.attributes["deployment.environment.name"],
        },
    )


def stop():
    """Sends what is left."""
    pyroscope.shutdown()
    trace.get_tracer_provider().shutdown()
    metrics.get_meter_provider().shutdown()


class Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_request(self, *_):
        pass


def serve(app, socket_fd):
    """Answers requests on a socket that `run.py` opened, until SIGTERM.

    Two processes may share the socket, so a new version can take over without a refused
    connection, as behind a load balancer.
    """
    FlaskInstrumentor().instrument_app(app)
    server = make_server(
        "127.0.0.1", 0, app, threaded=True, request_handler=Quiet, fd=socket_fd
    )
    signal.signal(
        signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start()
    )
    print("ready", flush=True)
    server.serve_forever()
    server.server_close()
    stop()
