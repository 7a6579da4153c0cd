"""Audits of every change of a case: those that did it, and those that did nothing."""

import json

from judgement import acceptable_causes, is_deploy
from upriver import rfc3339


def audits(upriver, data, label):
    """What `upriver deploy audit` says of each change, as of the instant in question."""
    at = rfc3339(label["diagnose_at_unix_nano"])
    changes = json.loads(upriver.run("deploy", "list", "--data", data, "--format", "json").out)
    return [audit(upriver, data, change, (label, at)) for change in changes if rfc3339_before(change["time"], at)]


def audit(upriver, data, change, question):
    label, at = question
    ran = upriver.run("deploy", "audit", change["id"], "--data", data, "--at", at, "--format", "json")
    causes = acceptable_causes(label["expected"])
    return {
        "change": f"{change['service']}@{change['version']}",
        "is_cause": any(is_deploy(change, cause) and change["service"] == cause["service"] for cause in causes),
        "outcome": json.loads(ran.out)["outcome"],
    }


def rfc3339_before(one, other):
    """Whether an instant is before another, both in UTC; fractions have any number of digits."""
    return one.rstrip("Z") < other.rstrip("Z")
