"""The spans of the data set as OTLP requests, in the order of time and as collectors send them.

A request is of one collector: about 500 spans of the ten instances that send through it, grouped by
resource. The spans of a trace share a request, but where a slice of time ends.
"""

import struct
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

# Spans that are cut into the requests of all collectors: 500 for each of the data set's six.
SLICE_SPANS = 3_000
LENGTH = struct.Struct("<I")


def write(data, folder, threads):
    """Writes the requests of `data`, one compressed file per file of spans."""
    folder.mkdir(parents=True)
    with ProcessPoolExecutor(threads) as pool:
        parts = [pool.submit(write_part, path, folder) for path in (data / "flat").glob("*.parquet")]
        for part in parts:
            part.result()


def write_part(flat, folder):
    keys = attribute_keys(flat.parent.parent / "map" / flat.name)
    rows = pq.read_table(flat)
    with pa.CompressedOutputStream(str(folder / f"{flat.stem}.zst"), "zstd") as out:
        for start in range(0, rows.num_rows, SLICE_SPANS):
            for body in requests_of(rows.slice(start, SLICE_SPANS), keys):
                out.write(LENGTH.pack(len(body)) + body)


def read(folder):
    """The requests, as they were written."""
    for path in sorted(folder.glob("*.zst")):
        with pa.CompressedInputStream(str(path), "zstd") as frames:
            while length := frames.read(LENGTH.size):
                yield frames.read(LENGTH.unpack(length)[0])


def attribute_keys(path):
    """Attribute by column: the columns are the attributes with underscores for dots."""
    rows = pq.read_table(path, columns=["span_attributes"])
    keys = pa.compute.unique(rows["span_attributes"].combine_chunks().keys)
    return {key.replace(".", "_"): key for key in keys.to_pylist()}


def requests_of(rows, keys):
    """The requests of a slice. Written with the property of protobuf that fields which are repeated
    may be concatenated, so that each attribute is encoded once."""
    spans = [
        field(ScopeSpans.SPANS_FIELD_NUMBER, head + attributes + events)
        for head, attributes, events in zip(heads(rows), attributes_of(rows, keys), events_of(rows))
    ]
    by_instance = {}
    for row, instance in enumerate(rows["service_instance_id"].to_pylist()):
        by_instance.setdefault(instance, []).append(row)
    by_collector = {}
    for instance, numbers in by_instance.items():
        # The last part of an instance's id is its number in its service.
        collector = instance.rsplit("-", 1)[-1]
        chunk = resource_of(rows, numbers[0]) + field(
            ResourceSpans.SCOPE_SPANS_FIELD_NUMBER,
            scope_of(rows, numbers[0]) + b"".join(spans[number] for number in numbers),
        )
        by_collector.setdefault(collector, []).append(
            field(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, chunk)
        )
    return [b"".join(chunks) for chunks in by_collector.values()]


def heads(rows):
    """Spans without attributes and events."""
    start = rows["timestamp"].cast(pa.int64()).to_pylist()
    columns = ["trace_id", "span_id", "parent_span_id", "span_name", "span_kind", "duration_ns"]
    columns += ["status_code", "status_message"]
    values = [rows[column].to_pylist() for column in columns]
    for start, trace, span, parent, name, kind, duration, code, message in zip(start, *values):
        yield Span(
            trace_id=trace,
            span_id=span,
            parent_span_id=parent or b"",
            name=name,
            kind=kind,
            start_time_unix_nano=start,
            end_time_unix_nano=start + duration,
            status=Status(code=code, message=message) if code or message else None,
        ).SerializeToString()


def attributes_of(rows, keys):
    columns = [
        [b"" if value is None else attribute(key, value) for value in rows[column].to_pylist()]
        for column, key in keys.items()
    ]
    return (b"".join(attributes) for attributes in zip(*columns))


@lru_cache(maxsize=100_000)
def attribute(key, value):
    return Span(attributes=[key_value(key, value)]).SerializeToString()


def key_value(key, value):
    kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
    return KeyValue(key=key, value=AnyValue(**{kind: value}))


def events_of(rows):
    times = rows["event_time"].cast(pa.list_(pa.int64())).to_pylist()
    names, attributes = rows["event_name"].to_pylist(), rows["event_attributes"].to_pylist()
    for span in zip(times, names, attributes):
        yield b"".join(event(*of_one) for of_one in zip(*span))


def event(time, name, attributes):
    # Numbers are numbers on the wire; the data set has them as text.
    values = ((key, int(value) if value.isdigit() else value) for key, value in attributes)
    attributes = [key_value(key, value) for key, value in values]
    event = Span.Event(time_unix_nano=time, name=name, attributes=attributes)
    return Span(events=[event]).SerializeToString()


def resource_of(rows, row):
    attributes = rows["resource_attributes"][row].as_py()
    resource = Resource(attributes=[key_value(key, value) for key, value in attributes])
    return ResourceSpans(resource=resource).SerializeToString()


def scope_of(rows, row):
    name, version = rows["scope_name"][row].as_py(), rows["scope_version"][row].as_py()
    return ScopeSpans(scope=InstrumentationScope(name=name, version=version)).SerializeToString()


def field(number, payload):
    """A field that holds a message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
