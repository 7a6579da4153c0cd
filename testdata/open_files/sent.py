"""What is sent before the tables are read: every signal with the values that readers get wrong,
such as text that is not ASCII, nested attributes, the least and the greatest integers, `NaN`, empty
lists and maps. Spans lie around a midnight, so that requests go into two dates, and a few lie at
the ends of time."""

import base64
import json
import urllib.parse
import urllib.request

from peers import Broken

MIDNIGHT = 1_773_187_200_000_000_000  # 2026-03-11 in UTC
SECOND = 1_000_000_000
ENDS_OF_TIME = [0, 9_223_372_036_000_000_000]  # 1970, and 2262-04-11
SERVICES = ["shop", "käse-🧀-店", "a-service-whose-name-is-" + "very-" * 12 + "lông"]
INT64 = [-(2**63), 2**63 - 1]
PER_REQUEST = 24
# The calls of an incident of 90 minutes around midnight.
CALLS, BETWEEN_CALLS = 900, 6 * SECOND
INCIDENT_AT = "2026-03-11T00:44:00Z"
ANSWER_SECONDS = 30


def post(address, path, body, content_type="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data=data, method="POST")
    request.add_header("content-type", content_type)
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        text = answer.read().decode(errors="replace")
    if "rejected" in text:
        raise Broken(f"{path}: a part was refused: {text}")


def send_all(otlp, api, part):
    """A part of the data: its rows are in no other part."""
    first = part * 3
    for number in range(first, first + 3):
        post(otlp, "/v1/traces", traces(number))
    post(otlp, "/v1/traces", ends_of_time(part))
    post(otlp, "/v1/metrics", metrics(part))
    post(otlp, "/v1/logs", logs(part))
    for service in SERVICES[:2]:
        named = urllib.parse.urlencode({"service": service, "version": f"1.{part}"})
        post(api, f"/api/v1/profiles?{named}", profile(part), "application/octet-stream")
    post(api, "/api/v1/deploys", deploys(part))


def traces(number, count=PER_REQUEST):
    """A request of so many spans, each marked with the number of the request."""
    spans = {service: [] for service in SERVICES}
    for place in range(0, count, 2):
        # The first half is before midnight.
        start = MIDNIGHT + (place - count // 2) * SECOND + number * 1_001_001 - place % 3
        trace, client, server = (
            trace_id(number, place),
            span_id(number, place, 0),
            span_id(number, place, 1),
        )
        caller, called = SERVICES[place % 3], SERVICES[(place + 1) % 3]
        spans[caller].append(
            {
                "traceId": trace,
                "spanId": client,
                "name": f"GET /items 'n' \"{place}\"\n\\ – 項目",
                "kind": 3,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + 80_000_000 + place * 999),
                "attributes": attributes(
                    **{
                        "request": number,
                        "http.request.method": "GET",
                        "server.address": called,
                        "http.response.status_code": 200,
                        "http.response.body.size": 1000 + 17 * place,
                    }
                ),
                "links": [
                    {"traceId": trace_id(number, other), "spanId": span_id(number, other, 1)}
                    for other in range(place % 4)
                ],
            }
        )
        spans[called].append(
            {
                "traceId": trace,
                "spanId": server,
                "parentSpanId": client,
                "name": "GET /items",
                "kind": 2,
                "traceState": "vendor=käse" if place % 4 else "",
                "flags": 257,
                "startTimeUnixNano": str(start + 5_000_001),
                "endTimeUnixNano": str(start + 60_000_000 + place * 777),
                "status": {"code": 2, "message": "nicht vorrätig – 在庫切れ"}
                if place % 6 == 0
                else {},
                "attributes": attributes(request=number, **VALUES) + long_text(number, place),
                "events": events(number, place, start + 6_000_000),
            }
        )
    return {
        "resourceSpans": [
            {
                "resource": resource(service, number),
                "scopeSpans": [{"scope": {"name": "läufer", "version": "2.1"}, "spans": of}],
            }
            for service, of in spans.items()
        ]
    }


# One of each kind of value, by name.
VALUES = {
    "http.request.method": "GET",
    "http.route": "/items",
    "http.response.status_code": 503,
    "http.request.body.size": 0,
    "leer": "",
    "größe": "überall 🧀 \t\" \\ ' \u0000 end",
    "least": INT64[0],
    "greatest": INT64[1],
    "half": 0.5,
    "is": True,
    "list": [1, "zwei", [3.5, None], []],
    "tree": {"äste": {"blatt": [1, {"x": "日本"}]}, "leer": {}},
    "bytes": b"\x00\xff\x10",
}


def long_text(number, place):
    """Texts longer than the bounds that statistics keep, with characters beyond the basic plane."""
    return attributes(**{"error.type": "🧀" * (62 + place % 5) + f"{number}-{place}"})


def events(number, place, instant):
    if place % 4:
        return []
    happened = {
        "exception.type": "Fehler",
        "exception.message": f"{number}: 失敗 'x'",
        "exception.stacktrace": "a\n  b\n",
    }
    return [
        {"timeUnixNano": str(instant), "name": "exception", "attributes": attributes(**happened)},
        {"timeUnixNano": str(instant + 1), "name": "ohne"},
    ]


def ends_of_time(part):
    """Spans of senders whose clocks are wrong, without attributes, events and links."""
    spans = [
        {
            "traceId": trace_id(900 + part, place),
            "spanId": span_id(900 + part, place, 0),
            "name": "",
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + part),
        }
        for place, start in enumerate(ENDS_OF_TIME)
    ]
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": spans}]}]}


def incident():
    """An hour and a half of two services, one of which answers later in the end: what a diagnosis
    finds something in."""
    spans = {"bestellung": [], "lager": []}
    for call in range(CALLS):
        start = MIDNIGHT + (call - CALLS // 2) * BETWEEN_CALLS
        wait = 400_000_000 if call > CALLS * 5 // 6 else 50_000_000
        wait += call * 7919 % 5_000_000
        ids = {"traceId": trace_id(800, call)}
        caller, called = span_id(800, call, 0), span_id(800, call, 1)
        spans["bestellung"].append(
            {
                **ids,
                "spanId": caller,
                "name": "POST /bestellung",
                "kind": 2,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + wait + 20_000_000),
            }
        )
        spans["lager"].append(
            {
                **ids,
                "spanId": called,
                "parentSpanId": caller,
                "name": "GET /lager",
                "kind": 2,
                "startTimeUnixNano": str(start + 10_000_000),
                "endTimeUnixNano": str(start + 10_000_000 + wait),
            }
        )
    return [
        {
            "resourceSpans": [
                {"resource": resource(service, 0), "scopeSpans": [{"scope": {}, "spans": of}]}
            ]
        }
        for service, of in spans.items()
    ]


def metrics(part):
    now = MIDNIGHT + part * 60 * SECOND

    def point(place, **values):
        attribute = attributes(place=place, **{"größe": "groß"}) if place % 2 else []
        instant = {
            "startTimeUnixNano": str(MIDNIGHT - 7_200 * SECOND),
            "timeUnixNano": str(now - place * 31 * SECOND),
        }
        return {**instant, "attributes": attribute, **values}

    def histogram(place):
        return point(
            place,
            count="7",
            sum=1024.25,
            min=0.5,
            max=800.0,
            explicitBounds=[1.5, 10, 300.125],
            bucketCounts=["1", "2", "3", "1"],
        )

    exemplar = {
        "timeUnixNano": str(now),
        "asInt": "5",
        "traceId": trace_id(part, 0),
        "spanId": span_id(part, 0, 1),
    }
    exponential = {
        "count": "12",
        "sum": -3.75,
        "scale": 3,
        "zeroCount": "2",
        "zeroThreshold": 0.001,
        "positive": {"offset": -4, "bucketCounts": ["1", "0", "4"]},
        "negative": {"offset": 2, "bucketCounts": ["3", "2"]},
    }
    summary = {
        "count": "9",
        "sum": 81.5,
        "quantileValues": [{"quantile": 0.5, "value": 8.25}, {"quantile": 0.99, "value": 20.0}],
    }
    doubles = [0.5 + part, -1e300, "NaN", 3.0, "NaN"]
    of_body = {
        "attributes": attributes(
            **{
                "http.request.method": "GET",
                "http.route": "/items",
                "http.response.status_code": 200,
            }
        )
    }
    metrics = [
        {
            "name": "temperature",
            "unit": "°C",
            "gauge": {"dataPoints": [point(n, asDouble=value) for n, value in enumerate(doubles)]},
        },
        {
            "name": "extremes",
            "gauge": {"dataPoints": [point(n, asInt=str(value)) for n, value in enumerate(INT64)]},
        },
        {
            "name": "käufe",
            "unit": "1",
            "sum": {
                "aggregationTemporality": 2,
                "isMonotonic": True,
                "dataPoints": [point(n, asInt=str(n * 7), exemplars=[exemplar]) for n in range(4)],
            },
        },
        {
            "name": "drift",
            "sum": {"aggregationTemporality": 1, "dataPoints": [point(0, asDouble=-0.25)]},
        },
        {
            "name": "latency",
            "unit": "ms",
            "histogram": {
                "aggregationTemporality": 1,
                "dataPoints": [histogram(n) for n in range(5)],
            },
        },
        {
            "name": "empty",
            "histogram": {
                "aggregationTemporality": 1,
                "dataPoints": [point(0, count="0", explicitBounds=[], bucketCounts=["0"])],
            },
        },
        {
            "name": "spread",
            "exponentialHistogram": {
                "aggregationTemporality": 2,
                "dataPoints": [point(n, **exponential) for n in range(3)],
            },
        },
        {"name": "quantiles", "summary": {"dataPoints": [point(0, **summary)]}},
        {
            "name": "http.server.response.body.size",
            "unit": "By",
            "histogram": {
                "aggregationTemporality": 1,
                "dataPoints": [histogram(n) | of_body for n in range(2)],
            },
        },
    ]
    return {
        "resourceMetrics": [
            {
                "resource": resource(service, part),
                "scopeMetrics": [{"scope": {"name": "mètre"}, "metrics": metrics}],
            }
            for service in SERVICES
        ]
    }


def logs(part):
    bodies = ["Größe 店 🧀", "", {"tree": {"äste": [1, None, "x"]}}, ["a", 2.5], 42, None]
    records = [
        {
            "timeUnixNano": str(MIDNIGHT + (n - 3) * SECOND + part),
            "observedTimeUnixNano": str(MIDNIGHT + n * SECOND),
            "severityNumber": 1 + 4 * n,
            "severityText": "WARNUNG" if n % 2 else "",
            "body": value(body),
            "attributes": attributes(part=part, **VALUES) if n % 2 else [],
            "droppedAttributesCount": n,
            **(
                {"traceId": trace_id(part, 0), "spanId": span_id(part, 0, 1), "flags": 1}
                if n % 3
                else {}
            ),
            **({"eventName": "kauf.beendet"} if n == 4 else {}),
        }
        for n, body in enumerate(bodies)
    ]
    return {
        "resourceLogs": [
            {
                "resource": resource(service, part),
                "scopeLogs": [{"scope": {"name": "log"}, "logRecords": records}],
            }
            for service in SERVICES
        ]
    }


def deploys(part):
    start = MIDNIGHT + (part - 1) * 40_000 * SECOND
    return [
        {
            "service": service,
            "version": f"1.{part}",
            "environment": "prüfung",
            "start_unix_nano": start,
            **(
                {
                    "end_unix_nano": start + 90 * SECOND,
                    "commit": "731f7ea",
                    "description": "größer 🧀",
                }
                if n
                else {}
            ),
            "attributes": {"team": "店", "leer": ""},
        }
        for n, service in enumerate(SERVICES)
    ]


def profile(part):
    """A pprof profile, written by hand: two types, inlined lines, labels of texts and numbers."""
    strings = [
        "",
        "samples",
        "count",
        "cpu",
        "nanoseconds",
        "main",
        "sortiere",
        "json.Marshal",
        "größe.py",
        "span_id",
        span_id(part, 0, 1),
        "stufe",
        "店",
        "kilobytes",
    ]

    def value_type(kind, unit):
        return varint(1, kind) + varint(2, unit)

    def sample(locations, values, labels=b""):
        return message(1, packed(locations)) + message(2, packed(values)) + labels

    of_span, of_text = (
        message(3, varint(1, 9) + varint(2, 10)),
        message(3, varint(1, 11) + varint(2, 12)),
    )
    of_number = message(3, varint(1, 11) + varint(3, 4096) + varint(4, 13))
    samples = [
        sample([1, 2], [3, 30_000_000 + part]),
        sample([2], [1, 10_000_000], of_span + of_text),
        sample([3, 1, 2], [2, 2**62], of_number),
    ]
    lines = {1: [(2, 17), (3, 4)], 2: [(1, 99)], 3: []}
    locations = [
        varint(1, place)
        + varint(2, 1)
        + varint(3, 0x1000 * place)
        + b"".join(message(4, varint(1, function) + varint(2, line)) for function, line in of)
        for place, of in lines.items()
    ]
    functions = [varint(1, n) + varint(2, n + 4) + varint(4, 8) for n in (1, 2, 3)]
    parts = [(1, value_type(1, 2)), (1, value_type(3, 4))]
    parts += [(2, of) for of in samples]
    parts += [(3, varint(1, 1) + varint(2, 0x1000) + varint(3, 0x9000) + varint(5, 5))]
    parts += [(4, of) for of in locations] + [(5, of) for of in functions]
    parts += [(6, text.encode()) for text in strings]
    numbers = (
        varint(9, MIDNIGHT - SECOND + part * 3 * SECOND)
        + varint(10, 10 * SECOND)
        + varint(12, 10_000_000)
    )
    return (
        b"".join(message(number, of) for number, of in parts)
        + numbers
        + message(11, value_type(3, 4))
    )


def varint(field, number):
    return plain(field << 3) + plain(number)


def message(field, of):
    return plain(field << 3 | 2) + plain(len(of)) + of


def packed(numbers):
    return b"".join(map(plain, numbers))


def plain(number):
    number &= (1 << 64) - 1
    encoded = b""
    while number >= 0x80:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def trace_id(number, place):
    return f"{0xF0E1D2C3B4A59687:016x}{number:08x}{place:08x}"


def span_id(number, place, side):
    """Half of them are negative where ids are signed integers."""
    return f"{place % 2 * 8 + 1:x}{side:03x}{number:06x}{place:06x}"


def resource(service, number):
    return {
        "attributes": attributes(
            **{
                "service.name": service,
                "service.version": f"1.{number % 3}",
                "service.instance.id": f"{service}-0",
                "deployment.environment.name": "prüfung",
                "host.tags": ["a", "größe"],
            }
        )
    }


def attributes(**given):
    return [{"key": key, "value": value(of)} for key, of in given.items()]


def value(of):
    """A value as OTLP's JSON has it."""
    if of is None:
        return {}
    if isinstance(of, bool):
        return {"boolValue": of}
    if isinstance(of, int):
        return {"intValue": str(of)}
    if isinstance(of, float):
        return {"doubleValue": of}
    if isinstance(of, bytes):
        return {"bytesValue": base64.b64encode(of).decode()}
    if isinstance(of, list):
        return {"arrayValue": {"values": [value(one) for one in of]}}
    if isinstance(of, dict):
        return {"kvlistValue": {"values": attributes(**of)}}
    return {"stringValue": of}
