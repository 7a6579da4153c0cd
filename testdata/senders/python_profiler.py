"""What a Python service sends with an exporter of OTLP profiles: where its time goes, nearly all of
it in one function and within spans. Prints what was exported, a profile a line, read from the request
with the exporter's own classes."""

import json
import sys
import time

from opentelemetry import trace
from opentelemetry.sdk.extension.profiling import Profiler
from opentelemetry.sdk.extension.profiling.export import create_otlp_profile_exporter
from opentelemetry.sdk.extension.profiling.export.result import ProfileExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

ORDERS = 20


class Telling:
    """The exporter, which tells what it exports."""

    def __init__(self):
        self.exporter = create_otlp_profile_exporter()

    def export(self, request):
        for profile in profiles(request):
            print(json.dumps(profile))
        result = self.exporter.export(request)
        if result is not ProfileExportResult.SUCCESS:
            print("error: not everything could be exported", file=sys.stderr)
        return result

    def shutdown(self):
        self.exporter.shutdown()


def profiles(request):
    """Each profile: how many samples it has, and what was observed."""
    tables = request.dictionary
    text = tables.string_table
    for resource in request.resource_profiles:
        for scope in resource.scope_profiles:
            for profile in scope.profiles:
                what = {
                    "type": text[profile.sample_type.type_strindex],
                    "unit": text[profile.sample_type.unit_strindex],
                }
                observed = [
                    {**what, **told, **one}
                    for sample in profile.samples
                    for told in [told_of(sample, tables)]
                    for one in instants(sample)
                ]
                yield {"samples": len(profile.samples), "observations": observed}


def instants(sample):
    if len(sample.values) != len(sample.timestamps_unix_nano):
        raise ValueError("values and timestamps differ in number")
    for value, instant in zip(sample.values, sample.timestamps_unix_nano):
        yield {"value": value, "time": instant}


def told_of(sample, tables):
    text = tables.string_table
    places = tables.stack_table[sample.stack_index].location_indices
    lines = [line for place in places for line in tables.location_table[place].lines]
    attributes = [tables.attribute_table[index] for index in sample.attribute_indices]
    link = tables.link_table[sample.link_index]
    return {
        "frames": [frame(line, tables) for line in lines],
        "labels": {text[of.key_strindex]: shown(of.value) for of in attributes},
        "span": link.span_id.hex(),
        "trace": link.trace_id.hex(),
    }


def frame(line, tables):
    function = tables.function_table[line.function_index]
    text = tables.string_table
    return [text[function.name_strindex], text[function.filename_strindex], line.line]


def shown(value):
    return str(getattr(value, value.WhichOneof("value")))


def burn_the_processor(until):
    total = 0.0
    while time.monotonic() < until:
        for number in range(1000):
            total += number**0.5
    return total


def main():
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    tracer = trace.get_tracer("orders")
    profiler = Profiler(exporter=Telling(), export_interval=1.0)
    profiler.start()
    for number in range(ORDERS):
        with tracer.start_as_current_span(f"order {number}"):
            burn_the_processor(time.monotonic() + 0.15)
    profiler.stop()
    tracers.shutdown()


main()
