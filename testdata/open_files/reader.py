"""What the readers share: what they are asked, and how they answer.

A reader is a program of its own, run with the packages of `requirements.txt`. On its input is a
JSON document: tables with their folder, columns and files, and questions, which are values of
columns. It prints the figures of each table by each way in which it reads tables, and for each
question the number of rows with that value, asked so that statistics may leave out files, row
groups and pages.
"""

import datetime
import json
import os
import sys
from pathlib import Path

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def answer(ways):
    """Answers with ways by name; each gives the figures of a table."""
    asked = json.load(sys.stdin)
    found = {
        way: {name: of(name, Asked(**table)) for name, table in asked["tables"].items()}
        for way, of in ways.items()
    }
    end_with(found)


def end_with(document):
    """Prints the document and ends. Threads of pyarrow that still read for delta-rs abort the process
    when they outlive the interpreter, so it is not left in order."""
    json.dump(document, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


class Asked:
    """A table that is asked for."""

    def __init__(self, folder, columns, files, questions):
        self.folder, self.columns = Path(folder), columns
        self.paths = [str(self.folder / file) for file in files]
        # Files of an export have their date as a column, and no log beside them.
        self.is_export = not (self.folder / "_delta_log").exists()
        self.questions = [Question(*question) for question in questions]


class Question:
    """A value of a column. Instants are microseconds and dates days since 1970, ids hexadecimal."""

    def __init__(self, column, kind, value):
        self.column, self.kind, self.value = column, kind, value
        self.figure = f"rows where {column} = {value!r}"

    def in_python(self):
        if self.kind == "timestamp":
            return EPOCH + datetime.timedelta(microseconds=self.value)
        if self.kind == "date":
            return EPOCH.date() + datetime.timedelta(days=self.value)
        return bytes.fromhex(self.value) if self.kind == "binary" else self.value

    def in_sql(self):
        """The value as DuckDB, DataFusion and PostgreSQL write it, but for the bytes of an id."""
        if self.kind == "string":
            text = self.value.replace("'", "''")
            return f"'{text}'"
        if self.kind == "long":
            return f"CAST('{self.value}' AS BIGINT)"
        if self.kind == "double":
            return f"CAST('{self.value!r}' AS DOUBLE)"
        if self.kind == "boolean":
            return str(self.value)
        if self.kind == "date":
            return f"DATE '{self.in_python()}'"
        return f"CAST('{self.in_python().isoformat()}' AS TIMESTAMP WITH TIME ZONE)"
