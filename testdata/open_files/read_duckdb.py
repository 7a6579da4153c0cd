"""Reads tables with DuckDB: the files that the log names by `read_parquet`, and, where its extension
is installed, the table by `delta_scan`."""

import importlib.util
from pathlib import Path

import duckdb
import figures
import reader

EXTENSION = "duckdb_extension_delta"


def by(relation_of):
    def read(_, table):
        relation = relation_of(table)
        found = figures.of_sql(
            table.columns,
            figures.DUCKDB,
            relation,
            lambda query: connection.execute(query).fetchone(),
        )
        rows = connection.execute(f"SELECT * FROM {relation}").to_arrow_table()
        for question in table.questions:
            counted = connection.execute(
                f"SELECT count(*) FROM {relation} WHERE {condition(question)}"
            )
            found[question.figure] = counted.fetchone()[0]
        return found | figures.of_rows(rows)

    return read


def condition(question):
    column = f'"{question.column}"'
    if question.kind != "binary":
        return f"{column} = {question.in_sql()}"
    if duckdb.__version__.startswith("1.5."):
        # It takes the text of a blob for its bytes when it asks a bloom filter, and finds nothing
        # (duckdb/duckdb#23053).
        return f"{column} BETWEEN unhex('{question.value}') AND unhex('{question.value}')"
    return f"{column} = unhex('{question.value}')"


def of_files(table):
    if table.is_export:
        return f"read_parquet({table.paths!r})"
    return f"read_parquet({table.paths!r}, hive_partitioning = true, hive_types = {{'date': DATE}})"


def of_table(table):
    return f"delta_scan('{table.folder}')"


connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'; SET threads = 2")
name = f"DuckDB {duckdb.__version__}"
ways = {f"{name} read_parquet": by(of_files)}
package = importlib.util.find_spec(EXTENSION)
if package:
    [extension] = Path(package.origin).parent.glob("extensions/*/delta.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
    ways[f"{name} delta_scan"] = by(of_table)
reader.answer(ways)
