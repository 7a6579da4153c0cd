"""Cases: folders with telemetry and a label, generated or recorded, and which half each is in."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Attributes that the generator can leave out of spans, for an ablation.
EVIDENCE_ATTRIBUTES = ("payload-sizes", "versions", "hosts")
# A third of the families is never looked at while the diagnosis is tuned.
HELD_OUT_OF = 3


@dataclass(frozen=True)
class Wanted:
    """A case that is to be run: an existing folder, or a family and a seed to generate."""

    group: str
    family: str
    name: str
    seed: int | None = None
    folder: Path | None = None


def is_held_out(family):
    """Whether a whole family is kept for reporting, by a hash of its name."""
    return hashlib.sha256(family.encode()).digest()[0] % HELD_OUT_OF == 0


def half(wanted):
    """`tuning` or `reporting`. A seed decides the topology, so an odd seed is another topology; families
    that are held out, and recorded cases, report only."""
    if wanted.seed is None or wanted.seed % 2 == 1 or is_held_out(wanted.family):
        return "reporting"
    return "tuning"


def generated(families, seeds):
    """One case for each family and seed, seeds outermost, so that a run cut short has all families."""
    return [
        Wanted("generated", family, f"{family}-{seed}", seed=seed)
        for seed in seeds
        for family in families
    ]


def recorded(folder):
    """The cases of Nezha, sorted by system, kind of fault and name; none where they are missing."""
    systems = {"ob": "online boutique", "tt": "train ticket"}
    found = []
    for label in sorted(Path(folder).glob("*/label.json")):
        case = label.parent
        fault = json.loads(label.read_text())["family"].removeprefix("nezha_")
        system = systems.get(case.name.split("-")[0], case.name.split("-")[0])
        found.append(Wanted("nezha", f"{system}, {fault}", case.name, folder=case))
    return found


def generate(generator, wanted, folder, history_hours=2, scatter=0.0, without=None):
    """Writes a generated case, its senders reporting all but some attributes, and returns its folder."""
    command = [generator, "--family", wanted.family, "--seed", str(wanted.seed)]
    command += ["--history-hours", str(history_hours), "--scatter", str(scatter), "--out", folder]
    if without:
        command += ["--without", without]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def families(generator):
    """The families that the generator knows, in its order."""
    listed = subprocess.run([generator, "--list"], check=True, stdout=subprocess.PIPE, text=True)
    return listed.stdout.split()


def label(folder):
    """What is true in a case."""
    return json.loads((Path(folder) / "label.json").read_text())
