#!/usr/bin/env python3
"""Evaluates the diagnosis on labelled incidents: generated ones, and Nezha's recorded ones.

    testdata/eval/run.py --binary B --generator G [--short] [--seeds 1-6] [--families F,F] [--json OUT]

Each case is imported into a fresh data folder, diagnosed without a hint and with the label's symptom,
compared with its label, and deleted. Exit codes: 0 done, 2 something failed.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import audits
import cases
import rankers
import report
from judgement import judge, judge_rankings, without_reports
from upriver import EVIDENCE_FILES, Failed, Upriver

REPOSITORY = Path(__file__).resolve().parents[2]
NEZHA = REPOSITORY.parent / "shared" / "cases" / "nezha"
# Families of the short run: one of each kind of answer.
SHORT = ("healthy_day", "payload_growth", "slow_callee", "dependency_slow", "traffic_surge", "coincident_deploy")
SCHEMA = "upriver.evaluation/v1"


def main():
    arguments = parse()
    if arguments.tables:
        document = json.loads(arguments.tables.read_text())
        print(report.page(document["records"], without=document["without"]))
        return 0
    if arguments.ablation:
        print(report.ablation([json.loads(path.read_text()) for path in arguments.ablation]))
        return 0
    if not arguments.binary:
        sys.exit("--binary is missing: the upriver binary")
    upriver = Upriver(arguments.binary)
    wanted = select(arguments)
    say(f"{len(wanted)} cases")
    records = []
    started = time.monotonic()
    for number, case in enumerate(wanted, 1):
        record = evaluate(upriver, case, arguments)
        records.append(record)
        say(f"{number}/{len(wanted)} {time.monotonic() - started:.0f} s  {line(record)}")
        if arguments.json:
            write(arguments, records)
    print(report.page(records, without=arguments.without))
    return 2 if any("failed" in record for record in records) else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, help="the upriver binary")
    parser.add_argument("--tables", type=Path, help="print the tables of an earlier run's file, and end")
    parser.add_argument("--ablation", type=Path, nargs="+", metavar="FILE", help="print what leaving out evidence came to, of runs' files, and end")
    parser.add_argument("--generator", type=Path, help="the generator; without it, recorded cases alone")
    parser.add_argument("--short", action="store_true", help="one seed of a few families, nothing recorded")
    parser.add_argument("--families", help="generated families, by comma")
    parser.add_argument("--seeds", default="1-4", help="seeds of each family: 3 or 1-6 (default: 1-4)")
    parser.add_argument("--history-hours", type=int, default=2, help="hours of healthy traffic before it begins (default: 2)")
    parser.add_argument("--scatter", type=float, default=0.0, help="how much requests differ in the work that they are: sigma of its logarithm (default: 0)")
    parser.add_argument("--only", choices=("generated", "nezha"), help="one group of cases")
    parser.add_argument("--without", choices=sorted([*EVIDENCE_FILES, *cases.EVIDENCE_ATTRIBUTES]), help="leave out a kind of evidence")
    parser.add_argument("--audits", action="store_true", help="audit every change of every case too")
    parser.add_argument("--json", type=Path, help="file for the records, written after each case")
    parser.add_argument("--documents", type=Path, help="folder that keeps every document")
    parser.add_argument("--work", type=Path, help="folder for cases and data while they are worked on")
    return parser.parse_args()


def select(arguments):
    wanted = []
    if arguments.generator and arguments.only != "nezha":
        known = cases.families(arguments.generator)
        chosen = arguments.families.split(",") if arguments.families else known
        if arguments.short:
            chosen = [family for family in SHORT if family in known]
        for family in set(chosen) - set(known):
            sys.exit(f"unknown family {family}: one of {', '.join(known)}")
        seeds = [1] if arguments.short else parse_seeds(arguments.seeds)
        wanted += cases.generated(chosen, seeds)
    if arguments.only != "generated" and not arguments.short:
        found = cases.recorded(NEZHA)
        if not found:
            say(f"left out: the recorded cases, {NEZHA} is not on this machine")
        wanted += found
    return wanted


def parse_seeds(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def evaluate(upriver, wanted, arguments):
    record = {
        "name": wanted.name,
        "group": wanted.group,
        "family": wanted.family,
        "seed": wanted.seed,
        "half": cases.half(wanted),
    }
    work = Path(tempfile.mkdtemp(prefix="upriver-eval-", dir=arguments.work))
    try:
        folder = wanted.folder or generate(wanted, work / "case", arguments)
        measure(upriver, folder, work / "data", (record, arguments))
    except Failed as error:
        record["failed"] = str(error)
    finally:
        shutil.rmtree(work)
    return record


def generate(wanted, folder, arguments):
    without = arguments.without if arguments.without in cases.EVIDENCE_ATTRIBUTES else None
    return cases.generate(
        arguments.generator, wanted, folder, arguments.history_hours, arguments.scatter, without
    )


def measure(upriver, folder, data, output):
    record, arguments = output
    label = cases.label(folder)
    if arguments.without == "deploys":
        label = {**label, "expected": without_reports(label["expected"])}
    record["import_seconds"] = upriver.import_case(folder, data, arguments.without)
    record["spans"] = upriver.sql(data, "SELECT count(*) AS n FROM spans")[0]["n"]
    record["label"] = {
        key: label.get(key) for key in ("effect", "onset_unix_nano", "services", "window_minutes")
    }
    symptom = label.get("symptom")
    at, window = label["diagnose_at_unix_nano"], label["window"]
    record["blind"] = diagnosis(upriver, data, (at, window, ()), (label, record, arguments))
    if symptom:
        scope = ["--service", symptom["service"]]
        scope += ["--operation", symptom["operation"]] if symptom.get("operation") else []
        record["given"] = diagnosis(upriver, data, (at, window, scope), (label, record, arguments))
    record["healthy"] = [
        diagnosis(upriver, data, (instant, window, ()), (label, record, arguments))
        for instant in label.get("healthy_at_unix_nano") or ()
    ]
    if arguments.audits:
        record["audits"] = audits.audits(upriver, data, label)
    if record["blind"]["has_cause"]:
        rules = rankers.rankings(upriver, data, label)
        record["rules"] = judge_rankings(rules, label)


def diagnosis(upriver, data, question, context):
    label, record, arguments = context
    at, window, scope = question
    document, seconds, rows_read = upriver.diagnose(data, at, window, scope)
    if arguments.documents:
        arguments.documents.mkdir(parents=True, exist_ok=True)
        mode = "given" if scope else "blind"
        name = f"{record['name']}.{mode}.{at}.json"
        (arguments.documents / name).write_text(json.dumps(document, indent=1))
    return {**judge(document, label), "cpu_seconds": seconds, "rows_read": rows_read}


def line(record):
    if "failed" in record:
        return f"{record['name']}: FAILED {record['failed']}"
    blind = record["blind"]
    outcome = "right" if blind["right"] else ("wrong" if blind["spoke"] else "silent")
    if not blind["has_cause"]:
        outcome = "as expected" if blind["verdict_ok"] and not blind["blamed_wrongly"] else "not as expected"
    return f"{record['name']}: {outcome}; {blind['verdict']}: {blind['said']}; true: {blind['expected']}"


def write(arguments, records):
    document = {
        "schema": SCHEMA,
        "without": arguments.without,
        "records": records,
        "summary": report.summary(records),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
