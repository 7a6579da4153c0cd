"""The five questions in Upriver's SQL and in the peers', and whether the answers agree."""

import json
from dataclasses import dataclass

# The end of the data set; a question's "now".
NOW = "2026-11-20T12:00:00Z"
# A bucket of the histograms in rollups: a percentile lies in the bucket of the exact one.
BUCKET_RATIO = 2 ** (1 / 32)
# Sums of the same numbers in another order.
SHARE_ERROR = 1e-9


@dataclass
class Question:
    name: str
    key: str
    # At most this share of the best peer's time.
    goal: float
    sql: str
    # What peers answer with it, and Upriver has in another table.
    more_sql: str = ""


def ago(interval):
    return f"TIMESTAMP '{NOW}' - INTERVAL '{interval}'"


def upriver(trace, route):
    """As a person would ask who knows the tables: the first three of the rollups."""
    last_hours = f"time >= {ago('2 hours')} AND time < TIMESTAMP '{NOW}'"
    day_before = f"time >= {ago('26 hours')} AND time < {ago('24 hours')}"
    this_week, last_week = f"time >= {ago('7 days')}", f"time < {ago('7 days')}"
    minutes = f"""
        SELECT service_name, minute, spans, histogram_quantile(duration, 0.5) AS p50,
          histogram_quantile(duration, 0.95) AS p95, histogram_quantile(duration, 0.99) AS p99
        FROM (
          SELECT service_name, time AS minute, sum(span_count) AS spans, hist_merge(duration) AS duration
          FROM operation_minutes WHERE {last_hours} GROUP BY service_name, time
        ) ORDER BY service_name, minute"""
    medians = f"""
        SELECT *, current / baseline AS ratio FROM (
          SELECT service_name, span_name,
            hist_quantile(duration, 0.5) FILTER (WHERE time >= {ago('2 hours')}) AS current,
            hist_quantile(duration, 0.5) FILTER (WHERE time < {ago('24 hours')}) AS baseline
          FROM operation_minutes WHERE ({last_hours}) OR ({day_before})
          GROUP BY service_name, span_name
        ) ORDER BY ratio DESC LIMIT 50"""
    bodies = f"""
        SELECT *, current / baseline AS ratio FROM (
          SELECT client_service, server_service, operation,
            hist_quantile(response_wire_bytes, 0.99) FILTER (WHERE {this_week}) AS current,
            hist_quantile(response_wire_bytes, 0.99) FILTER (WHERE {last_week}) AS baseline
          FROM edge_minutes
          WHERE reporter = 'server' AND client_service <> ''
            AND time >= {ago('14 days')} AND time < TIMESTAMP '{NOW}'
          GROUP BY client_service, server_service, operation
        ) ORDER BY ratio DESC LIMIT 50"""
    shares = f"""
        WITH edges AS (
          SELECT parent_service, parent_name, service_name, span_name, count(*) AS spans, sum(duration_ns) AS total
          FROM spans
          WHERE trace_id IN (
              SELECT trace_id FROM spans
              WHERE span_name = '{route}' AND span_kind = 'SERVER' AND parent_span_id IS NULL AND {last_hours}
            )
            AND time >= {ago('2 hours')} AND time < TIMESTAMP '{NOW}' + INTERVAL '1 minute'
          GROUP BY parent_service, parent_name, service_name, span_name
        )
        SELECT parent_service, parent_name, service_name, span_name, spans, share FROM (
          SELECT *, total * 1.0 / sum(total) FILTER (WHERE parent_name IS NULL) OVER () AS share FROM edges
        ) WHERE parent_name IS NOT NULL ORDER BY share DESC"""
    one_trace = f"SELECT * FROM spans WHERE trace_id = '{trace}' ORDER BY time"
    events = f"SELECT * FROM span_events WHERE trace_id = '{trace}' ORDER BY time"
    return [
        Question("p50/p95/p99 per service and minute, 2 h", "q1", 0.5, minutes),
        Question("median now against before per operation", "q2", 0.5, medians),
        Question("p99 of bodies per edge, week on week", "q3", 0.5, bodies),
        Question("share of time per edge of one route", "q4", 1.0, shares),
        Question("one trace by id", "q5", 1.0, one_trace, events),
    ]


def peers(queries, trace, route):
    """The same by peer and key. Of a peer the quickest of its ways counts: exact percentiles or
    sketches, in ClickHouse also the exporter's maps or typed columns."""
    exact = {"quantileTDigestIf(": "quantileExactIf(", "quantilesTDigest(": "quantilesExact("}
    ways = {}
    for shape in ("map", "flat"):
        sketches = queries.ch(shape, trace, route)
        ways["chdb", shape, "t-digest"] = sketches
        ways["chdb", shape, "exact"] = {k: replaced(sql, exact) for k, sql in sketches.items()}
    ways["duckdb", "native", "exact"] = queries.ansi(trace, route)
    ways["duckdb", "native", "t-digest"] = queries.ansi(trace, route, quant="approx_quantile({x}, {q})")
    by_question = {}
    for way, texts in ways.items():
        for name, sql in texts.items():
            # The last two have no percentile.
            if way[2] == "exact" or name[:2] not in ("q4", "q5"):
                by_question.setdefault(name[:2], {})[way] = sql
    return by_question


def replaced(text, changes):
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


class Agreement:
    """Compares the server's answers with DuckDB's of the same rows."""

    def __init__(self, server, duckdb, texts):
        self.server, self.duckdb = server, duckdb
        self.sql = {question.key: question.sql for question in texts}

    def check(self, peers):
        """What was compared by question, or what differs."""
        shares = peers["q4"]["duckdb", "native", "exact"]
        return {
            "rows": self.rows(),
            "q1": self.percentiles("q1", EXACT_MINUTES, ["p50", "p95", "p99"]),
            "q2": self.percentiles("q2", EXACT_MEDIANS, ["current", "baseline"]),
            "q3": self.percentiles("q3", EXACT_BODIES, ["current", "baseline"]),
            "q4": self.shares(shares),
            "q5": self.trace(),
        }

    def rows(self):
        """All rows together: as many, as long, as large, all parents known."""
        ours = [list(self.server.rows(sql)[0].values()) for sql in TOTALS]
        theirs = [self.duckdb.rows(sql)[0] for sql in DUCKDB_TOTALS]
        theirs = [[int(value) for value in row.values()] for row in theirs]
        same = ours == theirs
        return f"{ours[0][0]} spans, the same" if same else f"DIFFERENT: {ours}, not {theirs}"

    def percentiles(self, key, exact, names):
        """Each percentile beside the exact value of its rank."""
        ours = self.server.rows(self.sql[key].replace("LIMIT 50", ""))
        theirs = {tuple(row.values())[:-1]: row["exact"] for row in self.duckdb.rows(exact)}
        keys = {"q1": 3, "q2": 2, "q3": 3}[key]
        worst, compared = 1.0, 0
        for row in ours:
            group = tuple(row.values())[:keys]
            if group not in theirs:
                return f"DIFFERENT: {group} is not with the peers"
            for mine, its in zip((row[name] for name in names), theirs.pop(group)):
                if (mine is None) != (its is None):
                    return f"DIFFERENT: {group}: {mine}, not {its}"
                if mine is not None:
                    worst, compared = max(worst, mine / its, its / mine), compared + 1
        if theirs:
            return f"DIFFERENT: {len(theirs)} groups are missing, such as {next(iter(theirs))}"
        verdict = "" if worst <= BUCKET_RATIO * (1 + SHARE_ERROR) else "DIFFERENT: "
        return f"{verdict}{compared} percentiles of {len(ours)} groups, off by {worst - 1:.2%} at most"

    def shares(self, sql):
        ours = {tuple(row.values())[:4]: row for row in self.server.rows(self.sql["q4"])}
        theirs = {tuple(row.values())[:4]: row for row in self.duckdb.rows(sql)}
        for edge in ours.keys() | theirs.keys():
            mine, its = ours.get(edge), theirs.get(edge)
            if mine is None or its is None or mine["spans"] != its["n"]:
                return f"DIFFERENT: {edge}: {mine}, not {its}"
            if abs(mine["share"] - its["share"]) > SHARE_ERROR * its["share"]:
                return f"DIFFERENT: {edge}: {mine}, not {its}"
        return f"{len(ours)} edges, the same"

    def trace(self):
        """Every span with its attributes."""
        trace = self.sql["q5"].split("'")[1]
        ours = {row["span_id"]: span_of(row) for row in self.server.rows(self.sql["q5"])}
        theirs = self.duckdb.rows(
            "SELECT * REPLACE (CAST(epoch_ns(timestamp) AS BIGINT) AS timestamp) FROM spans "
            f"WHERE trace_id = from_hex('{trace}')"
        )
        if len(ours) != len(theirs):
            return f"DIFFERENT: {len(ours)} spans, not {len(theirs)}"
        for row in theirs:
            mine, its = ours.get(span_number(row["span_id"])), peer_span_of(row)
            if mine is None or any(mine[name] != value for name, value in its.items()):
                return f"DIFFERENT: {mine}, not {its}"
        return f"{len(ours)} spans with their attributes, the same"


def span_number(text):
    return int.from_bytes(bytes.fromhex(text), signed=True) if text else None


def span_of(row):
    """A span of ours in plain terms: columns, and the other attributes; numbers among them as numbers."""
    kinds = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
    attributes = row["attributes"]
    attributes = json.loads(attributes) if isinstance(attributes, str) else attributes
    span = {name: number_of(value) for name, value in row.items()}
    span |= {key.replace(".", "_"): number_of(value) for key, value in attributes.items()}
    for body in ("request", "response"):
        # The attribute that said a body's size is a column of the size.
        if attribute := row[f"{body}_size_attribute"]:
            wire, uncompressed = row[f"{body}_wire_bytes"], row[f"{body}_uncompressed_bytes"]
            size = wire if wire is not None else uncompressed
            span[attribute.replace(".", "_")] = number_of(size)
    span["timestamp"] = row["start_unix_nano"]
    span["span_kind"] = kinds.index(row["span_kind"])
    span["status_code"] = ["UNSET", "OK", "ERROR"].index(row["status_code"])
    return span


def peer_span_of(row):
    """A span of DuckDB's, columns without a value and nested ones left out."""
    left_out = {"trace_id", "span_id", "status_message", "scope_name", "scope_version"}
    left_out |= {"service_version", "service_instance_id", "k8s_pod_name", "parent_span_id"}
    span = {
        name: number_of(value)
        for name, value in row.items()
        if name not in left_out and value is not None and not isinstance(value, (list, dict))
    }
    span["parent_span_id"] = span_number(row["parent_span_id"])
    return span


def number_of(value):
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def of_rank(column, fraction, where="true"):
    """The exact percentile as the histograms define it: the smallest value whose rank is at least the
    fraction of the count."""
    matching = f"FILTER (WHERE {where} AND {column} IS NOT NULL)"
    rank = f"greatest(1, ceil({fraction}::DOUBLE * count(*) {matching}))::BIGINT"
    return f"list_sort(list({column}) {matching})[{rank}]"


END = "TIMESTAMP '2026-11-20 12:00:00'"
LAST_HOURS = f"timestamp >= {END} - INTERVAL 2 HOUR AND timestamp < {END}"
DAY_BEFORE = f"timestamp >= {END} - INTERVAL 26 HOUR AND timestamp < {END} - INTERVAL 24 HOUR"

EXACT_MINUTES = f"""
    SELECT service_name, strftime(timestamp, '%Y-%m-%dT%H:%M:00Z') AS minute, count(*) AS spans,
      [{", ".join(of_rank("duration_ns", q) for q in (0.5, 0.95, 0.99))}] AS exact
    FROM spans WHERE {LAST_HOURS} GROUP BY ALL"""
EXACT_MEDIANS = f"""
    SELECT service_name, span_name,
      [{of_rank("duration_ns", 0.5, LAST_HOURS)}, {of_rank("duration_ns", 0.5, DAY_BEFORE)}] AS exact
    FROM spans WHERE ({LAST_HOURS}) OR ({DAY_BEFORE}) GROUP BY ALL"""
SIZE, WEEK_AGO = "s.http_response_body_size", f"{END} - INTERVAL 7 DAY"
EXACT_BODIES = f"""
    SELECT c.service_name AS client, s.service_name AS server,
      s.http_request_method || ' ' || s.http_route AS operation,
      [{of_rank(SIZE, 0.99, f"s.timestamp >= {WEEK_AGO}")},
       {of_rank(SIZE, 0.99, f"s.timestamp < {WEEK_AGO}")}] AS exact
    FROM spans s JOIN spans c ON s.trace_id = c.trace_id AND s.parent_span_id = c.span_id
    WHERE s.span_kind = 2 AND c.span_kind = 3
      AND s.timestamp >= {END} - INTERVAL 14 DAY AND s.timestamp < {END} GROUP BY ALL"""

TOTALS = [
    """SELECT count(*) AS spans, sum(duration_ns) AS durations, min(start_unix_nano) AS first,
         max(start_unix_nano) AS last, count(parent_name) AS parents, sum(event_count) AS events
       FROM spans""",
    "SELECT sum(wire_bytes) AS bytes FROM payload_sizes",
]
DUCKDB_TOTALS = [
    """SELECT count(*) AS spans, sum(duration_ns)::HUGEINT AS durations, min(epoch_ns(timestamp)) AS first,
         max(epoch_ns(timestamp)) AS last, count(parent_span_id) AS parents,
         sum(len(event_time))::HUGEINT AS events
       FROM spans""",
    "SELECT sum(http_response_body_size)::HUGEINT AS bytes FROM spans",
]
