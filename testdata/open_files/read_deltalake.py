"""Reads tables with delta-rs from PyPI: as an Arrow table, and by the SQL of its query builder. The
first way also tells what delta-rs makes of the log."""

import datetime
from urllib.parse import unquote, urlparse

import figures
import pyarrow
import pyarrow.parquet
import reader
from deltalake import DeltaTable, QueryBuilder
from pyarrow import compute


def by_arrow(_, table):
    opened = DeltaTable(str(table.folder))
    rows = opened.to_pyarrow_table()
    found = {"rows": rows.num_rows}
    for leaf in figures.leaves(table.columns):
        values = values_of(leaf, rows.column(leaf.column).combine_chunks())
        for figure in figures.FIGURES[leaf.kind]:
            found[f"{leaf.name} {figure}"] = figure_of(figure, leaf.kind, values)
    dataset, unbounded = opened.to_pyarrow_dataset(), without_bounds(opened)
    for question in table.questions:
        same = compute.field(question.column) == pyarrow.scalar(
            question.in_python(), dataset.schema.field(question.column).type
        )
        if question.column in unbounded:
            found[question.figure] = rows.filter(same).num_rows
        else:
            found[question.figure] = dataset.count_rows(filter=same)
    return found | figures.of_rows(rows) | of_log(opened, table)


def without_bounds(opened):
    """Columns that statistics leave without bounds in a file that has values of them: floats with a
    `NaN`. A dataset of delta-rs takes a bound that is not there for null, and finds nothing in the
    file, whoever wrote it; so such columns are asked of rows in memory."""
    actions = pyarrow.table(opened.get_add_actions(flatten=True)).to_pylist()
    columns = {name.partition(".")[2] for action in actions for name in action if "min." in name}
    return {
        column
        for action in actions
        for column in columns
        if action.get(f"min.{column}") is None
        and action.get(f"null_count.{column}") != action["num_records"]
    }


def values_of(leaf, values):
    for step in leaf.steps:
        if step == "{}":
            entry = pyarrow.struct(
                [("key", values.type.key_type), ("value", values.type.item_type)]
            )
            values = compute.list_flatten(values.cast(pyarrow.list_(entry)))
        elif step == "[]":
            values = compute.list_flatten(values)
        else:
            values = compute.struct_field(values, step)
    return values


def figure_of(figure, kind, values):
    values = values.drop_null()
    if kind == "timestamp":
        values = values.cast("int64")
    elif kind == "date":
        values = values.cast("int32").cast("int64")
    if figure == "values":
        return len(values)
    if figure == "distinct":
        return compute.count_distinct(values).as_py()
    if figure == "true":
        return compute.sum(values).as_py() or 0
    if figure == "nans":
        return compute.sum(compute.is_nan(values)).as_py() or 0
    if figure == "chars":
        return compute.sum(compute.utf8_length(values)).as_py() or 0
    if figure == "bytes":
        return compute.sum(compute.binary_length(values)).as_py() or 0
    if figure == "sum":
        return int(compute.sum(values.cast(pyarrow.decimal128(38, 0))).as_py() or 0)
    if kind == "double":
        values = values.filter(compute.invert(compute.is_nan(values)))
    return compute.min_max(values)[figure].as_py()


def of_log(opened, table):
    """Protocol, files and statistics as delta-rs reads them. Statistics are held against the rows
    of each file: a bound that does not hold makes readers leave out what they look for."""
    protocol = opened.protocol()
    actions = pyarrow.table(opened.get_add_actions(flatten=True)).to_pylist()
    files = [unquote(urlparse(uri).path) if "://" in uri else uri for uri in opened.file_uris()]
    wrong, held = [], 0
    for action in actions:
        rows = pyarrow.parquet.read_table(table.folder / action["path"], partitioning=None)
        for name, value in action.items():
            bound, _, column = name.partition(".")
            if value is None or bound not in ("min", "max", "null_count"):
                continue
            held += 1
            if not holds(bound, value, rows.column(column)):
                wrong.append(f"{action['path']}: {bound} of {column} is {value!r}")
        if action["num_records"] != rows.num_rows:
            wrong.append(f"{action['path']}: {action['num_records']} rows, {rows.num_rows} in it")
    return {
        "protocol": [protocol.min_reader_version, protocol.min_writer_version],
        "version": opened.version(),
        "files": sorted(files),
        "numRecords": sum(action["num_records"] for action in actions),
        "statistics that are wrong": wrong,
        "has statistics": held > 0,
    }


def holds(bound, value, column):
    if bound == "null_count":
        return value == column.null_count
    extremes = compute.min_max(column).as_py()
    actual = extremes[bound]
    if isinstance(actual, datetime.datetime) and value.tzinfo is None:
        actual = actual.replace(tzinfo=None)
    return value <= actual if bound == "min" else value >= actual


def by_sql(_, table):
    builder = QueryBuilder().register("rows", DeltaTable(str(table.folder)))

    def rows(query):
        return pyarrow.table(builder.execute(query).read_all())

    def row(query):
        return [column[0].as_py() for column in rows(query).columns]

    found = figures.of_sql(table.columns, figures.DATAFUSION, "rows", row)
    for question in table.questions:
        value = f"X'{question.value}'" if question.kind == "binary" else question.in_sql()
        [found[question.figure]] = row(
            f'SELECT count(*) FROM rows WHERE "{question.column}" = {value}'
        )
    return found | figures.of_rows(rows("SELECT * FROM rows"))


reader.answer({"delta-rs to_pyarrow_table": by_arrow, "delta-rs QueryBuilder": by_sql})
