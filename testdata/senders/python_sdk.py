"""What a Python service sends with the official SDK: orders with their events, metrics and logs."""

import logging
import os
import sys

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode

if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

ORDERS = int(os.environ["ORDERS"])

tracers = TracerProvider()
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = tracers.get_tracer("orders", "1.2.3")
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(), 3_600_000)])
meter = meters.get_meter("orders")
counter = meter.create_counter("orders.placed", unit="{order}")
sizes = meter.create_histogram("orders.size", unit="By")
loggers = LoggerProvider()
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
logger = loggers.get_logger("orders")

first = None
for number in range(ORDERS):
    links = [Link(first)] if first else []
    with tracer.start_as_current_span(f"order {number}", kind=SpanKind.SERVER, links=links) as order:
        first = first or order.get_span_context()
        order.set_attribute("order.number", number)
        order.set_attribute("order.name", f"Bücher & <mehr> {number}")
        order.set_attribute("order.weight", number / 4)
        order.set_attribute("order.gift", number % 2 == 0)
        order.set_attribute("order.items", [f"item {number}", "a \"quoted\" one"])
        order.add_event("packed", {"box": number})
        if number % 10 == 0:
            order.set_status(StatusCode.ERROR, "out of stock")
        with tracer.start_as_current_span("reserve", kind=SpanKind.CLIENT) as call:
            call.set_attribute("http.request.method", "POST")
            call.set_attribute("http.response.body.size", 100 + number)
        counter.add(1, {"shop": "north"})
        sizes.record(100 + number)
        context = trace.set_span_in_context(order)
        logger.emit(
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body=f"order {number} packed",
            attributes={"order.number": number},
            context=context,
        )

for provider in (tracers, loggers):
    if provider.force_flush() is False:
        sys.exit("not everything could be exported")
    provider.shutdown()
# Exports what was measured once; a flush before would be another data point of each series.
meters.shutdown()
logging.shutdown()
