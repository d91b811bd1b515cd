"""What a record has of a version that is to go on."""

import pytest

from router.cli.exits import RefusedError
from router.cli.promote_env import passed_by


def decision(kind, version=8, evidence=None, number=1, actor="pipeline", reason="because"):
    return {
        "id": f"m/{number}", "kind": kind, "version": version, "at": 1_767_225_600.0, "actor": actor, "reason": reason,
        "evidence": evidence or {},
    }  # fmt: skip


PASSED, FAILED = ({"verdict": each} for each in ("PASS", "FAIL"))


def test_gate_signers_and_promotion_are_those_of_the_version():
    signed = {
        "sign_off": {"signatures": [{"name": "ann", "at": 1_767_225_600.0}, {"name": "ben", "at": 1_767_225_600.0}]}
    }
    passed = passed_by(
        [
            decision("gated", version=9, evidence=FAILED, number=5),
            decision("promote", evidence=signed, number=4, actor="ben"),
            decision("signed", evidence={"sign_off": {"signatures": [{"name": "cleo", "at": 1.0}]}}, number=3),
            decision("gated", evidence=PASSED, number=2),
            decision("gated", evidence=FAILED, number=1),
        ],
        "m",
        8,
    )
    assert passed.gate.startswith("m/2, 2026-01-01 00:00:00")
    assert passed.gate.endswith(" by pipeline: because")
    assert [each.split()[0] for each in passed.signed.split(", ")] == ["ann", "ben"]
    assert passed.promoted.startswith("m/4, ")


@pytest.mark.parametrize(
    ("decisions", "why"),
    [
        ([], "the ledger has no gate of version 8"),
        ([decision("gated", version=7, evidence=PASSED)], "the ledger has no gate of version 8"),
        ([decision("gated", evidence=FAILED), decision("gated", evidence=PASSED)], "version 8 has not passed: because"),
        ([decision("gated", evidence={"verdict": "INCONCLUSIVE"})], "version 8 has not passed"),
        ([decision("gated")], "version 8 has not passed"),
    ],
)
def test_without_a_latest_pass_it_stays(decisions, why):
    with pytest.raises(RefusedError, match=why):
        passed_by(decisions, "m", 8)
