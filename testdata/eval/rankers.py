"""Simple rules to be better than. They are told where the incident is and what healthy time before it
is, which the diagnosis has to find by itself; the figures they rank come from the imported data."""

import math
import statistics
from collections import defaultdict

from upriver import rfc3339

# Bins of a series: as many on the incident's side, none shorter than a few seconds.
BINS = 15
BIN_SECONDS_MIN = 5
# Observations of a bin below which it is no point.
COUNT_MIN = 3
# A series that does not scatter still has a scale: this share of its median.
SCALE_MIN = 0.02
NANOS = 1_000_000_000
# A part became slower by so many milliseconds and standard errors of the rank sum (two-sided 5 %).
DELTA_MS_MIN = 2.0
RANK_Z_MIN = 2.0
# Observations on each side of a rank-sum test.
RANKED_MIN = 4
# Calls to so many callees, and to this share of them, became slower outside of them: it is the caller.
CALLEES_MIN, CALLEES_SHARE = 3, 0.5


class Windows:
    def __init__(self, label):
        at = label["diagnose_at_unix_nano"]
        onset = label.get("onset_unix_nano") or 0
        self.now = (max(onset, at - label["window_minutes"] * 60 * NANOS), at)
        self.before = tuple(label["baseline_window_unix_nano"])
        self.onset = onset or self.now[0]
        seconds = (self.now[1] - self.now[0]) // NANOS
        self.bin_seconds = max(BIN_SECONDS_MIN, seconds // BINS)

    def sides(self, column="time"):
        """A condition that selects both windows, and an expression that says which."""
        def within(window):
            start, end = map(rfc3339, window)
            return f"({column} >= TIMESTAMP '{start}' AND {column} < TIMESTAMP '{end}')"

        return f"({within(self.now)} OR {within(self.before)})", within(self.now)


def rankings(upriver, data, label):
    """Services by each rule, the first being blamed; and the deploy that nearness blames."""
    windows = Windows(label)
    deploy = nearest_deploy(upriver, data, windows)
    return {
        "services": services(upriver, data),
        "nearest_deploy": [deploy["service_name"]] if deploy else [],
        "nearest_deploy_id": deploy["id"] if deploy else None,
        "duration_ratio": largest_ratio(upriver, data, windows),
        "robust_z": robust_z(upriver, data, windows),
        "delta_budget": delta_budget(upriver, data, label, windows),
    }


def services(upriver, data):
    return [row["s"] for row in upriver.sql(data, "SELECT DISTINCT service_name AS s FROM spans ORDER BY 1")]


def nearest_deploy(upriver, data, windows):
    onset = rfc3339(windows.onset)
    rows = upriver.sql(
        data,
        "SELECT id, service_name FROM changes WHERE kind <> 'rollback' AND "
        f"time <= TIMESTAMP '{onset}' ORDER BY time DESC, id LIMIT 1",
    )
    return rows[0] if rows else None


def largest_ratio(upriver, data, windows):
    """By the mean duration of a service's server spans, now over before: whole time, not self time."""
    both, is_now = windows.sides()
    rows = upriver.sql(
        data,
        f"SELECT service_name AS s, avg(CASE WHEN {is_now} THEN duration_ns END) AS now_ns, "
        f"avg(CASE WHEN NOT {is_now} THEN duration_ns END) AS before_ns FROM spans "
        f"WHERE span_kind IN ('SERVER', 'CONSUMER') AND {both} GROUP BY 1",
    )
    ratios = {r["s"]: r["now_ns"] / r["before_ns"] for r in rows if r["now_ns"] and r["before_ns"]}
    return ordered(ratios)


def robust_z(upriver, data, windows):
    """By the largest distance of a series' median from its healthy median, in healthy median absolute
    deviations. Series are self times of operations, and of each call the client's time that the
    server does not know of, which counts for the callee."""
    scores = defaultdict(float)
    for key, sides in series(upriver, data, windows).items():
        before, now = sides["before"], sides["now"]
        if len(before) < COUNT_MIN or not now:
            continue
        middle = statistics.median(before)
        scatter = 1.4826 * statistics.median(abs(value - middle) for value in before)
        scale = max(scatter, SCALE_MIN * abs(middle), 1.0)
        service = key[0]
        scores[service] = max(scores[service], (statistics.median(now) - middle) / scale)
    return ordered(scores)


def series(upriver, data, windows):
    both, is_now = windows.sides("c.time")
    width = f"date_bin(INTERVAL '{windows.bin_seconds} seconds', c.time)"
    own = upriver.sql(
        data,
        f"SELECT c.service_name AS s, c.span_name AS o, c.span_kind AS k, {width} AS t, {is_now} AS now, "
        "avg(c.self_time_ns) AS v FROM spans AS c "
        f"WHERE c.span_kind <> 'CLIENT' AND c.self_time_ns IS NOT NULL AND {both} "
        f"GROUP BY 1, 2, 3, 4, 5 HAVING count(*) >= {COUNT_MIN}",
    )
    gaps = upriver.sql(
        data,
        "SELECT coalesce(s.service_name, c.server_address, c.peer_service) AS s, "
        f"c.service_name || ' ' || c.span_name AS o, 'GAP' AS k, {width} AS t, {is_now} AS now, "
        "avg(c.duration_ns - coalesce(s.duration_ns, 0)) AS v FROM spans AS c "
        "LEFT JOIN spans AS s ON s.trace_id = c.trace_id AND s.parent_span_id = c.span_id "
        "AND s.span_kind = 'SERVER' "
        f"WHERE c.span_kind = 'CLIENT' AND {both} GROUP BY 1, 2, 3, 4, 5 HAVING count(*) >= {COUNT_MIN}",
    )
    found = defaultdict(lambda: {"now": [], "before": []})
    for row in own + gaps:
        if row["s"]:
            side = "now" if row["now"] else "before"
            found[row["s"], row["o"], row["k"]][side].append(row["v"])
    return found


def delta_budget(upriver, data, label, windows):
    """By the milliseconds that a service adds to a mean request: its self times, and for its calls what
    the client waits longer than the server works, where a rank-sum test shows it. A gap is credited to
    the callee; where the gaps to most callees of a caller rose, to the caller, whose processor is busy."""
    entry = (label.get("symptom") or {}).get("service")
    requests, groups = parts(upriver, data, entry, windows)
    risen, callees = defaultdict(set), defaultdict(set)
    added = {}
    for (service, caller, name), sides in groups.items():
        now, before = sides["now"], sides["before"]
        if min(len(now), len(before)) < RANKED_MIN:
            continue
        delta = statistics.fmean(now) - statistics.fmean(before)
        is_slower = delta > DELTA_MS_MIN and rank_z(now, before) > RANK_Z_MIN
        if caller:
            callees[caller].add(service)
        if is_slower:
            added[service, caller, name] = delta * len(now) / max(1, requests)
            if caller:
                risen[caller].add(service)
    scores = defaultdict(float)
    for (service, caller, _), ms in added.items():
        busy = len(risen[caller]) >= max(CALLEES_MIN, CALLEES_SHARE * len(callees[caller])) if caller else False
        scores[caller if busy else service] += ms
    return ordered(scores)


def parts(upriver, data, entry, windows):
    """Requests at the entry now, and milliseconds of each span: `(service, caller, name)` to both sides;
    the caller of a self time is none."""
    both, is_now = windows.sides("c.time")
    own = upriver.sql(
        data,
        f"SELECT c.service_name AS s, c.span_name || c.span_kind AS o, {is_now} AS now, "
        "c.self_time_ns / 1e6 AS v FROM spans AS c "
        f"WHERE c.span_kind <> 'CLIENT' AND c.self_time_ns IS NOT NULL AND {both}",
    )
    gaps = upriver.sql(
        data,
        "SELECT coalesce(s.service_name, c.server_address, c.peer_service) AS s, c.service_name AS c, "
        f"c.span_name AS o, {is_now} AS now, (c.duration_ns - coalesce(s.duration_ns, 0)) / 1e6 AS v "
        "FROM spans AS c LEFT JOIN spans AS s ON s.trace_id = c.trace_id "
        "AND s.parent_span_id = c.span_id AND s.span_kind = 'SERVER' "
        f"WHERE c.span_kind = 'CLIENT' AND {both}",
    )
    start, end = map(rfc3339, windows.now)
    of_entry = f"service_name = '{entry}' AND " if entry else ""
    count = upriver.sql(
        data,
        f"SELECT count(*) AS n FROM spans WHERE {of_entry}span_kind = 'SERVER' "
        f"AND time >= TIMESTAMP '{start}' AND time < TIMESTAMP '{end}'",
    )
    groups = defaultdict(lambda: {"now": [], "before": []})
    for row in own + gaps:
        if row["s"]:
            groups[row["s"], row.get("c"), row["o"]]["now" if row["now"] else "before"].append(row["v"])
    return count[0]["n"], groups


def rank_z(now, before):
    """Standard errors by which the rank sum of the first exceeds what chance gives."""
    ranked = sorted([(value, True) for value in now] + [(value, False) for value in before])
    ranks = sum(rank for rank, (_, is_now) in enumerate(ranked, 1) if is_now)
    n, m = len(now), len(before)
    return (ranks - n * (n + 1) / 2 - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def ordered(scores):
    return [name for name, _ in sorted(scores.items(), key=lambda item: (-item[1], item[0]))]
