"""What is compared: figures of every column, down to the fields of structs and the elements of
lists and maps. A reader works them out with its own engine, so that they are as it reads the table.

A figure is an exact integer, or a text or a float as it is stored. A sum of 64-bit integers is
worked out in more than 64 bits; floats are not summed, because a sum of them depends on its order.
"""

import hashlib
import json
import math
from typing import NamedTuple

# The figures of each type of the Delta protocol.
FIGURES = {
    "string": ["values", "distinct", "chars", "bytes"],
    "long": ["values", "sum", "min", "max"],
    "double": ["values", "nans", "min", "max"],
    "boolean": ["values", "true"],
    "binary": ["values", "distinct", "bytes"],
    "timestamp": ["values", "sum", "min", "max"],
    "date": ["values", "distinct", "min", "max"],
    "container": ["values"],
}


class Leaf(NamedTuple):
    """A place in the schema: a column, the steps inside of it, and what is there."""

    column: str
    # A field's name, `[]` for the elements of a list, `{}` for the entries of a map.
    steps: tuple
    kind: str

    @property
    def name(self):
        return ".".join([self.column, *self.steps])


def leaves(columns):
    """All places of a schema. A list, map or struct is one itself, and so is all that is in it."""
    return [leaf for column, kind in columns.items() for leaf in inside(column, (), kind)]


def inside(column, steps, kind):
    if isinstance(kind, str):
        return [Leaf(column, steps, kind)]
    found = [Leaf(column, steps, "container")]
    if kind["type"] == "struct":
        for field in kind["fields"]:
            found += inside(column, (*steps, field["name"]), field["type"])
    elif kind["type"] == "array":
        found += inside(column, (*steps, "[]"), kind["elementType"])
    elif kind["type"] == "map":
        for part in ("key", "value"):
            found += inside(column, (*steps, "{}", part), kind[f"{part}Type"])
    return found


class Dialect(NamedTuple):
    """How an engine's SQL says what SQL does not agree on. `{}` is the value."""

    chars: str
    text_bytes: str
    binary_bytes: str
    micros: str
    days: str
    count_true: str = "count(CASE WHEN {} THEN 1 END)"
    entries: str = "unnest(map_entries({}))"


DATAFUSION = Dialect(
    chars="character_length({})",
    text_bytes="octet_length({})",
    binary_bytes="octet_length(encode({}, 'hex')) / 2",
    micros="CAST({} AS BIGINT)",
    days="CAST({} AS INT)",
)
DUCKDB = Dialect(
    chars="length({})",
    text_bytes="strlen({})",
    binary_bytes="octet_length({})",
    micros="epoch_us({})",
    days="date_diff('day', DATE '1970-01-01', {})",
)


def of_sql(columns, dialect, relation, rows_of):
    """The figures by an engine that speaks SQL. `rows_of` runs a query and gives its only row."""
    found = {"rows": rows_of(f"SELECT count(*) FROM {relation}")[0]}
    by_relation = {}
    for leaf in leaves(columns):
        source, expression = unnested(leaf, dialect, relation)
        by_relation.setdefault(source, []).append((leaf, expression))
    for source, members in by_relation.items():
        names, parts = [], []
        for leaf, expression in members:
            for figure in FIGURES[leaf.kind]:
                names.append(f"{leaf.name} {figure}")
                parts.append(sql_of(figure, leaf.kind, expression, dialect))
        row = rows_of(f"SELECT {', '.join(parts)} FROM {source}")
        found |= {name: plain(name, value) for name, value in zip(names, row, strict=True)}
    return found


def unnested(leaf, dialect, relation):
    """A relation with a row for each value, and the expression of the value in it."""
    source, expression = relation, f'"{leaf.column}"'
    for step in leaf.steps:
        if step in ("[]", "{}"):
            each = "unnest({})" if step == "[]" else dialect.entries
            source = f"(SELECT {each.format(expression)} AS v FROM {source}) AS t"
            expression = "v"
        else:
            expression = f"{expression}['{step}']"
    return source, expression


def sql_of(figure, kind, value, dialect):
    number = {"timestamp": dialect.micros, "date": dialect.days}.get(kind, "{}").format(value)
    if kind == "double":
        number = f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END"
    size = dialect.binary_bytes if kind == "binary" else dialect.text_bytes
    return {
        "values": f"count({value})",
        "distinct": f"count(DISTINCT {value})",
        "chars": f"sum({dialect.chars.format(value)})",
        "bytes": f"sum({size.format(value)})",
        "sum": f"CAST(sum(CAST({number} AS DECIMAL(38, 0))) AS VARCHAR)",
        "min": f"min({number})",
        "max": f"max({number})",
        "nans": f"count(CASE WHEN isnan({value}) THEN 1 END)",
        "true": dialect.count_true.format(value),
    }[figure]


def plain(name, value):
    """A figure as JSON has it: sums come as texts or decimals, and one of nothing as null."""
    if isinstance(value, float):
        return value
    if value is None and name.rsplit(" ")[-1] not in ("min", "max"):
        return 0
    return value if value is None else int(value)


def of_rows(table):
    """Digests of an Arrow table's rows and of each column, whatever order the rows are in."""
    columns = {name: canonical_column(table.column(name)) for name in sorted(table.column_names)}
    found = {f"{name} digest": digest(column) for name, column in columns.items()}
    rows = ("\n".join(row) for row in zip(*columns.values()))
    return found | {"rows digest": digest(rows)}


def digest(texts):
    hashes = (hashlib.sha256(text.encode()).digest() for text in texts)
    return sum(int.from_bytes(one[:8], "big") for one in hashes) % 2**64


def canonical_column(column):
    kind = str(column.type)
    if kind.startswith("timestamp[us"):
        column = column.cast("int64")
    elif kind.startswith("date32"):
        column = column.cast("int32")
    return [json.dumps(canonical(value), sort_keys=True) for value in column.to_pylist()]


def canonical(value):
    """A value as JSON. Engines differ in how they hand over bytes and the entries of maps."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return {key: canonical(of) for key, of in value.items()}
    if isinstance(value, list):
        if all(isinstance(one, dict) and one.keys() == {"key", "value"} for one in value):
            value = [(one["key"], one["value"]) for one in value]
        values = [canonical(one) for one in value]
        return sorted(values) if value and isinstance(value[0], tuple) else values
    if isinstance(value, tuple):
        return [canonical(one) for one in value]
    return value
