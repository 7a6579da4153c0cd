"""Replays the JSON entries of a Delta log, as the protocol says and with nothing else: which files
a table consists of, and what is said of them. It reads no checkpoint, so that readers that do are
compared with one that does not; Upriver keeps all entries."""

import json
from typing import NamedTuple


class Table(NamedTuple):
    """A table as its log has it."""

    version: int
    protocol: dict
    # The type of each column by its name, in the protocol's form.
    columns: dict
    # Each file's path below the folder, and what its Add action says.
    files: dict

    def records(self):
        """The rows of all files, by their statistics."""
        return sum(json.loads(add["stats"])["numRecords"] for add in self.files.values())


def entries(folder):
    """The entries of the log by version."""
    found = (folder / "_delta_log").glob("*.json")
    return {int(path.stem): path for path in sorted(found) if path.stem.isdigit()}


def read(folder):
    """The newest version. A gap in the log is an error."""
    versions = entries(folder)
    if not versions or list(versions) != list(range(max(versions) + 1)):
        raise ValueError(f"{folder} has the versions {sorted(versions)} and not all of them")
    protocol, columns, files = {}, {}, {}
    for path in versions.values():
        for line in path.read_text().splitlines():
            action = json.loads(line) if line.strip() else {}
            if "protocol" in action:
                protocol = action["protocol"]
            if "metaData" in action:
                schema = json.loads(action["metaData"]["schemaString"])
                columns = {field["name"]: field["type"] for field in schema["fields"]}
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
            if "add" in action:
                files[action["add"]["path"]] = action["add"]
    return Table(max(versions), protocol, columns, files)


def spoil(folder):
    """Takes the last file that was added out of the log, and says of the one before that it has
    more rows than it has, and only later ones."""
    lines = [(path, line) for path in entries(folder).values() for line in added(path)]
    (path, last), (other, before) = lines[-1], lines[-2]
    rewrite(path, last, "")
    add = json.loads(before)
    statistics = json.loads(add["add"]["stats"])
    statistics["numRecords"] += 1_000_000
    statistics["minValues"]["time"] = "2262-04-11T23:47:16.854775Z"
    add["add"]["stats"] = json.dumps(statistics)
    rewrite(other, before, json.dumps(add) + "\n")


def added(entry):
    return [line for line in entry.read_text().splitlines() if line.startswith('{"add"')]


def rewrite(entry, line, replacement):
    entry.write_text(entry.read_text().replace(line + "\n", replacement))
