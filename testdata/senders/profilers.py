"""Profilers as senders. Each value of each sample that one sent is looked for in the tables, with its
stack, labels and span. What was sent is read from the bytes on the wire, or told by the sender
itself; never by Upriver."""

import json
from collections import Counter
from typing import Callable, NamedTuple

import pprof
from peers import Broken

INGEST, PUSH = "/ingest?", "/push.v1.PusherService/Push"


class Profiler(NamedTuple):
    """A profiler, and where the program that it watches spends its time."""

    runtime: str
    # Where OTLP goes; none for Pyroscope's clients.
    form: str
    settings: dict
    # What was sent, from the exchanges on the wire and from what the sender printed.
    sent: Callable
    function: str
    # The values that are the program's time, and what at least they come to in that function.
    times: str
    at_least: int


def of_ingest(exchanges, _):
    return [pprof.read(exchange.body) for exchange in answered(exchanges, INGEST)]


def of_push(exchanges, _):
    pushes = answered(exchanges, PUSH)
    return [pprof.read(raw) for exchange in pushes for raw in pprof.of_push(exchange.body)]


def of_output(_, output):
    return [json.loads(line) for line in output.splitlines()]


def answered(exchanges, path):
    for exchange in exchanges:
        if not exchange.path.startswith(path):
            raise Broken(f"a request to {exchange.path}, which nobody reads here")
        if exchange.status != 200:
            raise Broken(f"a request to {exchange.path} was answered with {exchange.status}")
    return exchanges


CPU = "sample_type = 'cpu'"
MAIN_THREAD = "sample_type = 'samples' AND labels['thread.name'] = 'MainThread'"
GRPC = {"OTEL_EXPORTER_OTLP_PROFILES_PROTOCOL": "grpc"}
HTTP_GZIP = {
    "OTEL_EXPORTER_OTLP_PROFILES_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
}
# By the name of the service.
PROFILERS = {
    "node-pyroscope": Profiler(
        "node_pyroscope", None, {}, of_ingest, "burnTheProcessor", CPU, 500_000_000
    ),
    "python-pyroscope": Profiler(
        "python_pyroscope", None, {}, of_push, "burn_the_processor", CPU, 500_000_000
    ),
    "python-profiler-grpc": Profiler(
        "python_profiler", "grpc", GRPC, of_output, "burn_the_processor", MAIN_THREAD, 50
    ),
    "python-profiler-http": Profiler(
        "python_profiler", "http", HTTP_GZIP, of_output, "burn_the_processor", MAIN_THREAD, 50
    ),
}


def check(rows, service, sent):
    """What is wrong with what `rows` finds of a service's profiles, and what was found."""
    of = f"service_name = '{service}'"
    values = Counter(key(seen) for profile in sent for seen in profile["observations"])
    stored = Counter(key(seen) for seen in stored_observations(rows, of))
    # `sent` minus `stored` and the other way round; both are empty when each value arrived once.
    missing, unexpected = values - stored, stored - values
    found = []
    if missing or unexpected:
        found.append(
            f"{missing.total()} of {values.total()} values are missing, such as "
            f"{next(iter(missing), None)}, and {unexpected.total()} were not sent, such as "
            f"{next(iter(unexpected), None)}"
        )
    totals = totals_of(sent)
    answer = rows(
        "SELECT sample_type, unit, count(*) AS n, sum(value) AS value FROM profile_samples "
        f"WHERE {of} GROUP BY sample_type, unit"
    )
    summed = {(row["sample_type"], row["unit"]): (row["n"], row["value"]) for row in answer}
    if summed != totals:
        found.append(f"sums of {summed} instead of {totals}")
    counted = rows(f"SELECT count(*) AS n, sum(sample_count) AS samples FROM profiles WHERE {of}")
    samples = sum(profile["samples"] for profile in sent)
    if counted != [{"n": len(sent), "samples": samples}]:
        found.append(f"{counted} instead of {len(sent)} profiles with {samples} samples")
    found += check_origin(rows, of) + check_times(rows, of, PROFILERS[service])
    found += check_spans(rows, of, values, PROFILERS[service])
    return found, f"{len(sent)} profiles, {samples} samples, {values.total()} values"


def key(seen):
    """An observation as something that can be counted."""
    return (
        seen["time"],
        seen["type"],
        seen["unit"],
        seen["value"],
        tuple(tuple(frame) for frame in seen["frames"]),
        tuple(sorted(seen["labels"].items())),
        seen.get("trace", ""),
        seen.get("span", ""),
    )


def stored_observations(rows, of):
    frames = {
        row["stack_id"]: [(f["function"], f["file"] or "", f["line"] or 0) for f in row["frames"]]
        for row in rows(
            "SELECT DISTINCT stack_id, frames FROM profile_stacks WHERE stack_id IN "
            f"(SELECT stack_id FROM profile_samples WHERE {of})"
        )
    }
    for row in rows(
        "SELECT time_unix_nano, sample_type, unit, value, stack_id, labels, span_id, "
        f"encode(trace_id, 'hex') AS trace FROM profile_samples WHERE {of}"
    ):
        span = row["span_id"]
        yield {
            "time": row["time_unix_nano"],
            "type": row["sample_type"],
            "unit": row["unit"],
            "value": row["value"],
            "frames": frames[row["stack_id"]],
            "labels": row["labels"],
            "trace": row["trace"] or "",
            "span": "" if span is None else f"{span & (1 << 64) - 1:016x}",
        }


def totals_of(sent):
    """By type and unit: how many values, and their sum."""
    totals = {}
    for profile in sent:
        for seen in profile["observations"]:
            count, value = totals.get((seen["type"], seen["unit"]), (0, 0))
            totals[seen["type"], seen["unit"]] = (count + 1, value + seen["value"])
    return totals


def check_origin(rows, of):
    profiles = rows(
        f"SELECT DISTINCT service_version, labels['region'] AS region FROM profiles WHERE {of}"
    )
    if profiles != [{"service_version": "7.1.0", "region": "north"}]:
        return [f"profiles of {profiles}"]
    return []


def check_times(rows, of, profiler):
    """Time was spent where the program spends it, and nearly nowhere else."""
    times = {row["burning"]: row["value"] for row in rows(
        "SELECT b.stack_id IS NOT NULL AS burning, sum(value) AS value FROM profile_samples s "
        "LEFT JOIN (SELECT DISTINCT stack_id FROM profile_stack_frames "
        f"WHERE function LIKE '%{profiler.function}%') b ON s.stack_id = b.stack_id "
        f"WHERE {of} AND {profiler.times} GROUP BY burning"
    )}
    burning, other = times.get(True, 0), times.get(False, 0)
    if burning < profiler.at_least or burning < other * 4:
        return [f"{burning} of the time where it was spent, {other} elsewhere"]
    return []


def check_spans(rows, of, values, profiler):
    """Each sample that was taken in a span finds the span. Pyroscope's clients know of no spans."""
    linked = sum(count for seen, count in values.items() if seen[-1])
    if profiler.form is not None and linked < profiler.at_least:
        return [f"only {linked} samples were sent with a span"]
    joined = rows(
        "SELECT count(*) AS n FROM profile_samples p JOIN spans s ON p.trace_id = s.trace_id "
        f"AND p.span_id = s.span_id WHERE p.{of} AND s.{of} AND s.span_name LIKE 'order %'"
    )
    if joined != [{"n": linked}]:
        return [f"{joined[0]['n']} samples find their span instead of {linked}"]
    return []
