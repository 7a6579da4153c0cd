"""Reads tables with Polars."""

import figures
import polars
import reader


def read(_, table):
    if table.is_export:
        scan = polars.scan_parquet(table.paths)
    else:
        scan = polars.scan_delta(str(table.folder))
    rows = scan.collect()
    found = {"rows": rows.height}
    for leaf in figures.leaves(table.columns):
        values = values_of(leaf, rows[leaf.column])
        for figure in figures.FIGURES[leaf.kind]:
            found[f"{leaf.name} {figure}"] = figure_of(figure, leaf.kind, values)
    for question in table.questions:
        same = polars.col(question.column) == polars.lit(question.in_python())
        found[question.figure] = scan.filter(same).select(polars.len()).collect().item()
    return found | figures.of_rows(rows.to_arrow())


def values_of(leaf, values):
    for step in leaf.steps:
        if step in ("[]", "{}"):
            values = values.map.entries() if step == "{}" else values
            values = values.filter(values.list.len() > 0).explode()
        else:
            values = values.struct.field(step)
    return values


def figure_of(figure, kind, values):
    if kind == "timestamp":
        values = values.dt.epoch("us")
    elif kind == "date":
        values = values.cast(polars.Int32)
    if figure in ("values", "distinct", "true", "nans"):
        values = values.drop_nulls()
        return {
            "values": values.len,
            "distinct": values.n_unique,
            "true": lambda: values.sum(),
            "nans": lambda: values.is_nan().sum(),
        }[figure]()
    if figure == "chars":
        return values.str.len_chars().sum()
    if figure == "bytes":
        return (values.bin.size() if kind == "binary" else values.str.len_bytes()).sum()
    if figure == "sum":
        return int(values.cast(polars.Int128).sum())
    if kind == "double":
        values = values.drop_nans()
    return values.min() if figure == "min" else values.max()


reader.answer({"Polars scan_delta": read})
