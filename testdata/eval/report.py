"""Tables from records: per family, both halves, beside simple rules, calibration, effects."""

import math
from collections import defaultdict

WEEK_MINUTES = 7 * 24 * 60
# Nothing seen in n tries is a rate of at most this over n, at 95 %.
RULE_OF_THREE = 3.0
BINS = ((0.0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01))
EFFECTS = ((1.0, 1.1), (1.1, 1.2), (1.2, 1.5), (1.5, 2.0), (2.0, 3.0), (3.0, math.inf))
# An incident counts as detectable from this factor and this many milliseconds on, at the symptom's
# median or 90th percentile.
DETECTABLE_RATIO, DETECTABLE_MS = 1.3, 5.0
# The effect that is found in this share of the cases is the minimal detectable one.
POWER = 0.8


def page(records, without=None):
    done = [record for record in records if "failed" not in record]
    parts = [f"{len(done)} cases" + (f", without {without}" if without else "")]
    for group, half in (("generated", "tuning"), ("generated", "reporting"), ("nezha", "reporting")):
        chosen = [r for r in done if (r["group"], r["half"]) == (group, half)]
        if chosen:
            parts.append(f"## {group}, {half}\n")
            parts.extend(section(chosen))
    failed = [record for record in records if "failed" in record]
    parts.extend(f"FAILED {record['name']}: {record['failed']}" for record in failed)
    return "\n".join(parts)


def section(records):
    yield "Blind: no service is given.\n"
    yield families(records, "blind")
    if any("given" in record for record in records):
        yield "With the symptom's service and operation.\n"
        yield families([r for r in records if "given" in r], "given")
    yield "Beside simple rules, which are told onset and baseline.\n"
    yield rules(records)
    yield overall(records)
    yield reliability(records)
    if any((record["label"].get("effect") or {}) for record in records):
        yield effects(records)
    if any("audits" in record for record in records):
        yield "Audits of every change.\n"
        yield audits(records)
    yield "Not right:\n"
    yield misses(records)


def table(header, rows):
    """A Markdown table with padded cells."""
    cells = [header, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def part(values):
    """Right of all, as a fraction: percentages of three cases mislead."""
    values = list(values)
    return f"{sum(map(bool, values))}/{len(values)}" if values else "-"


def families(records, mode):
    header = ["family", *FIGURES]
    groups = defaultdict(list)
    for record in records:
        groups[record["family"]].append(record[mode])
    rows = [[family, *figures(group)] for family, group in sorted(groups.items())]
    everything = [record[mode] for record in records]
    if len(rows) > 1:
        rows.append(["all", *figures(everything)])
    return table(header, rows)


def ablation(documents):
    """What runs on the same cases came to, each without a kind of evidence."""
    header = ["without", "n", "named", "top 1", "kind", "mechanism", "the most precise one", "deploy", "must not blame", "silent", "right when it speaks"]
    rows = []
    for document in documents:
        group = [record["blind"] for record in document["records"] if "failed" not in record]
        of = dict(zip(FIGURES, figures(group)))
        precise = part(r["mechanism_precise"] for r in group if r["has_cause"])
        columns = [of[name] for name in ("n", "named", "top 1", "kind", "mechanism")]
        columns += [precise, *(of[name] for name in ("deploy", "must not blame", "silent", "right when it speaks"))]
        rows.append([document["without"] or "nothing", *columns])
    return table(header, rows)


FIGURES = ("n", "named", "top 1", "top 3", "kind", "mechanism", "deploy first", "deploy", "verdict", "must not blame", "silent", "right when it speaks", "CPU s", "rows read")


def figures(group):
    caused = [r for r in group if r["has_cause"]]
    return [
        len(group),
        part(r["named_right"] for r in caused),
        part(r["top1"] for r in caused),
        part(r["top3"] for r in caused),
        part(r["kind_ok"] for r in caused),
        part(r["mechanism_ok"] for r in caused),
        part(r["deploy_first"] for r in caused if r["deploy_expected"]),
        part(r["deploy_ok"] for r in caused if r["deploy_expected"]),
        part(r["verdict_ok"] for r in group),
        sum(r["blamed_wrongly"] for r in group),
        part(not r["spoke"] for r in caused),
        part(r["right"] for r in group if r["spoke"]),
        f"{sum(r['cpu_seconds'] for r in group) / len(group):.2f}",
        f"{sum(r['rows_read'] for r in group) / len(group):,.0f}",
    ]


def rules(records):
    names = ("random", "nearest_deploy", "duration_ratio", "robust_z", "delta_budget")
    groups = defaultdict(list)
    for record in records:
        if "rules" in record:
            groups[record["family"]].append(record)
            groups["all"].append(record)
    order = sorted(name for name in groups if name != "all") + (["all"] if "all" in groups else [])
    rows = []
    for family in order:
        group = groups[family]
        row = [family, len(group), part(r["blind"]["top1"] for r in group)]
        row += [average(r["rules"][name]["top1"] for r in group if name in r["rules"]) for name in names]
        row.append(part(r["rules"]["nearest_deploy"]["deploy"] for r in group if r["blind"]["deploy_expected"]))
        rows.append(row)
    header = ["family", "n", "upriver top 1", "random", "nearest deploy", "duration ratio", "max robust z", "delta budget", "nearest deploy: the deploy"]
    return table(header, rows)


def average(values):
    values = list(values)
    return f"{sum(values) / len(values):.2f}" if values else "-"


def overall(records):
    """Detection on healthy data, and calibration."""
    lines = []
    summary = figures_of(records)
    if summary["healthy_service_weeks"]:
        bound = f", at most {summary['false_alarms_upper']:.2f} at 95 %" if summary["false_alarms"] == 0 else ""
        lines.append(
            f"Healthy data: {summary['false_alarms']} false alarms in {summary['healthy_service_weeks']:.2f} "
            f"service-weeks, {summary['false_alarms_per_service_week']:.2f} per service-week{bound}."
        )
    confirmed = [r["blind"] for r in records if r["blind"]["verdict"] == "confirmed"]
    lines.append(f"Confirmed: {part(r['right'] for r in confirmed)} right.")
    if summary["brier"] is not None:
        lines.append(f"Brier score of the first named hypothesis: {summary['brier']:.3f}.")
    return "\n".join(lines) + "\n"


def audits(records):
    """What audits said of changes that did something and of those that did nothing."""
    known = [(record, audit) for record in records for audit in record.get("audits") or ()]
    rows, wrong = [], []
    for what, is_cause in (("did it", True), ("did nothing", False)):
        chosen = [audit for _, audit in known if audit["is_cause"] == is_cause]
        count = lambda outcome: sum(audit["outcome"] == outcome for audit in chosen)  # noqa: E731
        if chosen:
            rows.append([what, len(chosen), count("regression"), count("inconclusive"), count("pass")])
    for record, audit in known:
        if (audit["outcome"], audit["is_cause"]) in (("regression", False), ("pass", True)):
            wrong.append(f"- {record['name']}: {audit['outcome']} of {audit['change']}\n")
    if not rows:
        return ""
    return table(["a change that", "n", "regression", "inconclusive", "pass"], rows) + "\n" + "".join(wrong)


def figures_of(records):
    """Numbers over all records, for comparing runs."""
    blind = [record["blind"] for record in records]
    caused = [r for r in blind if r["has_cause"]]
    spoken = [r for r in blind if r["spoke"]]
    alarms, weeks = false_alarms(records)
    squares = [(r["confidence"] - r["first_right"]) ** 2 for r in blind if r["confidence"] is not None]
    share = lambda values: sum(map(bool, values)) / len(values) if values else None  # noqa: E731
    return {
        "cases": len(records),
        "top1": share([r["top1"] for r in caused]),
        "top3": share([r["top3"] for r in caused]),
        "named": share([r["named_right"] for r in caused]),
        "deploy_first": share([r["deploy_first"] for r in caused if r["deploy_expected"]]),
        "deploy": share([r["deploy_ok"] for r in caused if r["deploy_expected"]]),
        "verdict": share([r["verdict_ok"] for r in blind]),
        "must_not_blame": sum(r["blamed_wrongly"] for r in blind),
        "silent": share([not r["spoke"] for r in caused]),
        "precision": share([r["right"] for r in spoken]),
        "brier": sum(squares) / len(squares) if squares else None,
        "false_alarms": alarms,
        "healthy_service_weeks": weeks,
        "false_alarms_per_service_week": alarms / weeks if weeks else None,
        "false_alarms_upper": RULE_OF_THREE / weeks if weeks and not alarms else None,
    }


def false_alarms(records):
    """Symptoms reported where there is none, and the service-weeks that were looked at."""
    alarms, weeks = 0, 0.0
    for record in records:
        label = record["label"]
        looked = list(record["healthy"])
        if label["onset_unix_nano"] is None and not record["blind"]["has_cause"]:
            looked.append(record["blind"])
        alarms += sum(r["symptom_found"] + r["other_symptoms"] for r in looked)
        weeks += len(looked) * (label.get("services") or 0) * label["window_minutes"] / WEEK_MINUTES
    return alarms, weeks


def reliability(records):
    rows = []
    stated = [r["blind"] for r in records if r["blind"]["confidence"] is not None]
    for low, high in BINS:
        chosen = [r for r in stated if low <= r["confidence"] < high]
        if chosen:
            mean = sum(r["confidence"] for r in chosen) / len(chosen)
            rows.append([f"{low:.1f}-{min(high, 1):.1f}", len(chosen), f"{mean:.2f}", part(r["first_right"] for r in chosen)])
    return table(["confidence", "n", "mean stated", "right"], rows) if rows else ""


def effects(records):
    """How large an effect must be to be found, by the true factor at the symptom."""
    incidents = [r for r in records if r["label"].get("effect") and "given" in r]
    rows, found = [], None
    for low, high in EFFECTS:
        chosen = [r for r in incidents if low <= r["label"]["effect"]["ratio"] < high]
        if not chosen:
            continue
        seen = [r["blind"]["symptom_found"] for r in chosen]
        name = f"{low:.1f}-{high:.1f}x" if high < math.inf else f"{low:.1f}x and more"
        rows.append([name, len(chosen), part(seen), part(r["given"]["symptom_found"] for r in chosen), part(r["blind"]["top1"] for r in chosen)])
        if sum(seen) < POWER * len(seen):
            found = None
        elif found is None:
            found = low
    words = f"Minimal detectable effect (found in {POWER:.0%} and above it always): "
    words += f"{found:.1f}x.\n" if found else "none of these.\n"
    causes = [r["blind"] for r in incidents if is_detectable(r) and r["blind"]["has_cause"]]
    words += f"Detectable incidents ({DETECTABLE_RATIO}x and {DETECTABLE_MS:.0f} ms at the symptom): top 1 {part(r['top1'] for r in causes)}, top 3 {part(r['top3'] for r in causes)}.\n"
    return table(["true effect at the symptom", "n", "symptom found, blind", "given", "top 1, blind"], rows) + "\n" + words


def is_detectable(record):
    effect = record["label"].get("effect")
    return bool(effect) and effect["ratio"] >= DETECTABLE_RATIO and effect["delta_ms"] >= DETECTABLE_MS


def misses(records):
    lines = []
    for record in records:
        blind = record["blind"]
        right = blind["right"] if blind["has_cause"] else blind["verdict_ok"] and not blind["blamed_wrongly"]
        if not right:
            effect = (record["label"].get("effect") or {}).get("ratio")
            factor = f" ({effect:.2f}x)" if effect else ""
            lines.append(f"- {record['name']}{factor}: {blind['verdict']}: {blind['said']}; true: {blind['expected']}")
    return "\n".join(lines) + "\n" if lines else "none\n"


def summary(records):
    """The numbers of each half, for the JSON file."""
    done = [record for record in records if "failed" not in record]
    keys = sorted({(r["group"], r["half"]) for r in done})
    return {
        f"{group}.{half}": figures_of([r for r in done if (r["group"], r["half"]) == (group, half)])
        for group, half in keys
    }
