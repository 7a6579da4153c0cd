"""Requests of a shop as OTLP protobuf, encoded once and given ids of their own each time, so that a
sender costs little beside the server that it measures.

A trace has six spans in three services: a storefront asks a checkout, which asks a stock. Each span has
six attributes.
"""

import random
import struct

SECOND = 1_000_000_000
SPANS_PER_TRACE = 6
SERVICES = ["storefront", "checkout", "stock"]
INTERNAL, SERVER, CLIENT = 1, 2, 3
ROUTES = ["/orders", "/orders/{id}", "/items", "/items/{id}", "/basket", "/quotes"]


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A field of bytes, text, a message (bytes) or an integer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def attribute(key, value):
    kind = 3 if isinstance(value, int) else 1
    return field(1, key) + field(2, field(kind, value))


class Template:
    """A request of about so many spans that start in some seconds after an instant."""

    def __init__(self, seed, spans, start, seconds=1):
        self.chance = random.Random(seed)
        by_service = {service: [] for service in SERVICES}
        traces = max(1, spans // SPANS_PER_TRACE)
        self.spans = traces * SPANS_PER_TRACE
        for number in range(traces):
            at = start + number * seconds * SECOND // traces
            for service, span in self.trace(at):
                by_service[service].append(span)
        self.body = b"".join(
            field(1, resource(service) + field(2, scope(spans)))
            for service, spans in by_service.items()
        )
        self.ids_at = self.places()

    def trace(self, start):
        """Callers before the called, each half a millisecond later and a millisecond shorter."""
        trace, parent = self.chance.randbytes(16), b""
        route = self.chance.choice(ROUTES)
        self.marks = getattr(self, "marks", []) + [trace]
        duration = int(self.chance.lognormvariate(17, 0.6))
        for depth in range(SPANS_PER_TRACE):
            kind = [SERVER, CLIENT][depth % 2]
            span = self.chance.randbytes(8)
            self.marks.append(span)
            begin, end = start + depth * 500_000, start + max(duration - depth * 500_000, 1)
            attributes = [
                ("http.request.method", "GET"),
                ("http.route", route),
                ("http.response.status_code", 200),
                ("http.response.body.size", self.chance.randrange(200, 20_000)),
                ("customer.tier", self.chance.choice(["free", "paid"])),
                ("cache.key", f"item-{self.chance.randrange(10_000)}"),
            ]
            encoded = field(1, trace) + field(2, span) + (field(4, parent) if parent else b"")
            encoded += field(5, f"GET {route}") + field(6, kind)
            encoded += fixed(7, begin) + fixed(8, max(end, begin + 1))
            encoded += b"".join(field(9, attribute(*pair)) for pair in attributes)
            yield SERVICES[depth // 2], encoded
            parent = span

    def places(self):
        """Where ids are, of which eight bytes each are changed."""
        found = []
        for mark in set(self.marks):
            at = self.body.find(mark)
            while at >= 0:
                found.append(at)
                at = self.body.find(mark, at + 1)
        del self.marks
        return found

    def with_ids(self, number):
        """The request with other ids: the same number gives the same ones."""
        mask = random.Random(number).randbytes(8)
        body = bytearray(self.body)
        for at in self.ids_at:
            for place in range(8):
                body[at + place] ^= mask[place]
        return bytes(body)


def resource(service):
    pairs = [
        ("service.name", service),
        ("service.version", "1.4.2"),
        ("service.instance.id", f"{service}-1"),
        ("deployment.environment.name", "production"),
        ("host.name", f"{service}.example"),
    ]
    return field(1, b"".join(field(1, attribute(*pair)) for pair in pairs))


def scope(spans):
    return field(1, field(1, "shop") + field(2, "1.0")) + b"".join(
        field(2, span) for span in spans
    )
