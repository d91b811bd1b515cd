"""Reports of the gate in staging, as `titleshot gate` makes them."""

from comparator.gated import expected_checks
from comparator.guardrail import Verdict, overall


def report(policy, version=2, champion=1, without=(), **verdicts):
    """A report with every check that the policy asks for: PASS, unless `verdicts` says otherwise (dots as __)."""
    said = {name.replace("__", "."): verdict for name, verdict in verdicts.items()}
    names = [name for name in dict.fromkeys((*expected_checks(policy), *said)) if name not in without]
    checks = [
        {"name": name, "verdict": said.get(name, "PASS"), "reason": f"{name} was looked at", "numbers": {}}
        for name in names
    ]
    return {
        "schema": 1,
        "model": "late-arrival",
        "version": version,
        "champion": champion,
        "policy_digest": policy.digest,
        "data_hash": "sha256:0",
        "staging": "http://staging:8080",
        "made_by": "titleshot",
        "at": 1000.0,
        "verdict": overall(Verdict[each["verdict"]] for each in checks).name,
        "checks": checks,
    }
