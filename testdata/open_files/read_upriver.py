"""Reads tables with Upriver's own SQL, over HTTP. It also chooses the questions: of each column
that has an order, and of the trace id, the least and the greatest value."""

import json
import sys
import urllib.parse
import urllib.request

import figures
import pyarrow.ipc

ASKED = ("string", "long", "double", "boolean", "timestamp", "date", "binary")
ANSWER_SECONDS = 60


def ask(query, form):
    body = urllib.parse.urlencode({"q": query, "format": form}).encode()
    with urllib.request.urlopen(f"{address}/api/v1/query", body, ANSWER_SECONDS) as answer:
        return answer.read()


def row(query):
    [found] = json.loads(ask(query, "json"))
    return list(found.values())


def read(name, columns):
    found = figures.of_sql(columns, figures.DATAFUSION, name, row)
    questions = choose(name, columns)
    # No condition on the rows, so no statistics are looked at.
    parts = [f"count(CASE WHEN {condition} THEN 1 END)" for _, condition in questions]
    counts = row(f"SELECT {', '.join(parts)} FROM {name}")
    questions = [question for question, _ in questions]
    rows = pyarrow.ipc.open_stream(ask(f"SELECT * FROM {name}", "arrow")).read_all()
    return {
        "figures": found | figures.of_rows(rows),
        "questions": [
            [*question, count] for question, count in zip(questions, counts, strict=True)
        ],
    }


def choose(name, columns):
    """Questions, each with its condition."""
    asked = [(column, kind) for column, kind in columns.items() if kind in ASKED]
    expressions = [comparable(column, kind) for column, kind in asked]
    extremes = row(
        f"SELECT {', '.join(f'min({one}), max({one})' for one in expressions)} FROM {name}"
    )
    chosen = []
    for place, (column, kind) in enumerate(asked):
        for value in sorted(set(extremes[2 * place : 2 * place + 2]) - {None}):
            chosen.append(((column, kind, value), f"{expressions[place]} = {literal(value)}"))
    return chosen


def comparable(column, kind):
    if kind == "double":
        return f'CASE WHEN isnan("{column}") THEN NULL ELSE "{column}" END'
    form = {"timestamp": figures.DATAFUSION.micros, "date": figures.DATAFUSION.days}.get(kind, "{}")
    return f"encode(\"{column}\", 'hex')" if kind == "binary" else form.format(f'"{column}"')


def literal(value):
    if isinstance(value, str):
        text = value.replace("'", "''")
        return f"'{text}'"
    if isinstance(value, bool):
        return str(value)
    return f"CAST('{value!r}' AS {'DOUBLE' if isinstance(value, float) else 'BIGINT'})"


asked = json.load(sys.stdin)
address = asked["address"]
json.dump({name: read(name, columns) for name, columns in asked["tables"].items()}, sys.stdout)
