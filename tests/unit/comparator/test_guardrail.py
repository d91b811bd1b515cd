import json
import math

import pytest

from comparator.guardrail import PRECEDENCE, Estimate, GuardrailReport, Verdict, overall

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], INCONCLUSIVE),  # no evidence is never a pass
        ([PASS], PASS),
        ([PASS, PASS], PASS),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE], INCONCLUSIVE),
        ([PASS, FAIL], FAIL),
        ([INCONCLUSIVE, FAIL], FAIL),
        ([FAIL], FAIL),
        ([PASS, INCONCLUSIVE, FAIL], FAIL),
    ],
)
def test_several_verdicts_make_one(verdicts, expected):
    assert overall(verdicts) is expected
    assert overall(reversed(verdicts)) is expected


def test_harm_outranks_what_is_missing_and_that_outranks_a_pass():
    assert PRECEDENCE == {
        (True, True): FAIL,
        (True, False): FAIL,
        (False, True): INCONCLUSIVE,
        (False, False): PASS,
    }


def test_a_report_is_plain_data():
    estimate = Estimate(0.5, 0.1, math.inf, 3)
    report = GuardrailReport("p99_latency", PASS, "why", estimate, None, 0.1, 1.0, 60.0, None, proven=True)
    data = report.as_data()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["champion"] == {"value": 0.5, "lower": 0.1, "upper": None, "count": 3}
