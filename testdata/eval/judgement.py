"""A document beside its label: one flat record, from which every table is made."""


def judge(document, label):
    """What is right and what is wrong in a diagnosis."""
    expected = label["expected"]
    causes = acceptable_causes(expected)
    named = document.get("root_cause")
    ranked = document.get("hypotheses") or []
    blamed = (named or {}).get("deploy")
    record = {
        "verdict": document["verdict"],
        "verdict_ok": document["verdict"] in expected["verdict"],
        "has_cause": bool(causes),
        "spoke": named is not None,
        "symptom_found": document.get("symptom") is not None,
        "other_symptoms": len(document.get("other_symptoms") or []),
        "said": describe(named),
        "expected": describe(expected["root_cause"]),
        "blamed_wrongly": blames_wrongly(blamed, expected),
        "findings": len(document.get("findings") or []),
    }
    record["named_right"] = named is not None and any(is_service(named, cause) for cause in causes)
    record["top1"] = any(is_service(h, cause) for h in ranked[:1] for cause in causes)
    record["top3"] = any(is_service(h, cause) for h in first_services(ranked, 3) for cause in causes)
    match = nearest(named, causes)
    cause = match or (causes[0] if causes else None)
    # A kind or mechanism that may be any is right where the service is.
    record["kind_ok"] = bool(match and match["kind"] in ("any", named["kind"]))
    mechanisms = (match or {}).get("mechanism") or []
    record["mechanism_ok"] = bool(match and ("any" in mechanisms or named["mechanism"] in mechanisms))
    # Labels name the most precise one first, and others that the evidence may not tell from it.
    precise = ((expected.get("root_cause") or {}).get("mechanism") or ["any"])[0]
    record["mechanism_precise"] = record["mechanism_ok"] and precise in ("any", named["mechanism"])
    record["deploy_expected"] = bool(cause and cause.get("deploy_version"))
    record["deploy_ok"] = bool(match and is_deploy(blamed, match))
    first = ranked[0].get("deploy") if ranked else None
    record["deploy_first"] = any(is_deploy(first, cause) for cause in causes)
    record["right"] = is_right(named, match, record)
    record["confidence"], record["first_right"] = first_confidence(ranked, causes, expected)
    return record


def acceptable_causes(expected):
    """The cause and others that may be named as well, none where nothing can be known."""
    main = expected.get("root_cause")
    return ([main] if main else []) + list(expected.get("also_acceptable") or [])


def nearest(named, causes):
    """Of the causes with the service that is named, the one that agrees with it in kind and mechanism too."""
    if not named:
        return None
    matching = [cause for cause in causes if is_service(named, cause)]
    agrees = lambda cause: (cause["kind"] == named["kind"], named["mechanism"] in (cause.get("mechanism") or []))
    return max(matching, key=agrees, default=None)


def is_service(named, cause):
    return bool(cause) and named.get("service") is not None and named["service"] == cause["service"]


def is_deploy(blamed, cause):
    """By id, or by version where no pipeline reported the change and its id is therefore not known."""
    if not blamed or not cause.get("deploy_version"):
        return False
    if cause.get("deploy_id"):
        return blamed["id"] == cause["deploy_id"]
    return blamed["version"] == cause["deploy_version"]


def first_services(ranked, count):
    """Hypotheses until so many different services were named: two deploys of one service are one answer."""
    seen = []
    for hypothesis in ranked:
        if hypothesis.get("service") not in seen:
            if len(seen) == count:
                break
            seen.append(hypothesis.get("service"))
        yield hypothesis


def without_reports(expected):
    """What is expected where no pipeline reported a change: it is known by its version."""
    unreported = lambda cause: cause and {**cause, "deploy_id": None}
    others = [unreported(cause) for cause in expected.get("also_acceptable") or []]
    return {**expected, "root_cause": unreported(expected.get("root_cause")), "also_acceptable": others, "reported": False}


def blames_wrongly(blamed, expected):
    """Whether a change is blamed that must not be."""
    if not blamed:
        return False
    if not expected.get("reported", True):
        return not any(is_deploy(blamed, cause) for cause in acceptable_causes(expected))
    return bool(expected.get("no_deploy_blame")) or blamed["id"] in expected.get("must_not_blame", ())


def is_right(named, match, record):
    """What is said is true: the service, and the change if one did it; no change if none did."""
    if named is None or record["blamed_wrongly"]:
        return False
    return record["named_right"] and record["deploy_ok"] == bool(match and match.get("deploy_version"))


def first_confidence(ranked, causes, expected):
    """Confidence of the first hypothesis that names something, and whether it is true."""
    for hypothesis in ranked:
        if hypothesis["kind"] == "unknown":
            continue
        deploy = hypothesis.get("deploy")
        matches = [cause for cause in causes if is_service(hypothesis, cause)]
        right = any(not deploy or is_deploy(deploy, cause) for cause in matches)
        return hypothesis["confidence"], right and not blames_wrongly(deploy, expected)
    return None, None


def describe(cause):
    if not cause:
        return None
    deploy = cause.get("deploy")
    version = f"@{deploy['version']}" if deploy else ""
    mechanism = cause["mechanism"]
    mechanism = mechanism if isinstance(mechanism, str) else "|".join(mechanism)
    return f"{cause['kind']} {cause['service']}{version} {mechanism}"


def judge_rankings(rankings, label):
    """The simple rules beside the label."""
    causes = acceptable_causes(label["expected"])
    names = {cause["service"] for cause in causes}
    deploys = {cause.get("deploy_id") for cause in causes} - {None}
    known = rankings["services"]
    record = {"random": {"top1": share(names, known, 1), "top3": share(names, known, 3)}}
    for rule in ("nearest_deploy", "duration_ratio", "robust_z", "delta_budget"):
        first = rankings[rule]
        record[rule] = {
            "top1": float(bool(names & set(first[:1]))),
            "top3": float(bool(names & set(first[:3]))),
        }
    record["nearest_deploy"]["deploy"] = rankings["nearest_deploy_id"] in deploys
    return record


def share(names, known, count):
    """Chance that one of so many services drawn at random is meant."""
    return min(1.0, count * len(names & set(known)) / max(1, len(known)))
