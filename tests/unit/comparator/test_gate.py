import pytest

from comparator.events import VersionFacts
from comparator.gate import judge, offline_figure
from comparator.guardrail import Verdict
from comparator.policy import Gate, Guardrail, Metric, Policy

POLICY = Policy(gate=Gate.OFFLINE, guardrails=(Guardrail(Metric.PRECISION, 0.05),))
CHAMPION = VersionFacts(1, {"precision": 0.70}, "abc", "def")


def facts(**changes):
    return VersionFacts(
        **{"version": 2, "offline": {"precision": 0.72}, "git_sha": "abc", "data_hash": "def", **changes}
    )


@pytest.mark.parametrize(
    ("challenger", "champion", "verdict", "says"),
    [
        (facts(), CHAMPION, Verdict.PASS, "0.720"),
        (facts(offline={"eval_precision": 0.66}), CHAMPION, Verdict.PASS, "0.660"),
        (facts(offline={"precision": 0.64}), CHAMPION, Verdict.FAIL, "worse by more than 5 points"),
        (facts(git_sha=None), CHAMPION, Verdict.INCONCLUSIVE, "no git SHA"),
        (facts(data_hash=""), CHAMPION, Verdict.INCONCLUSIVE, "no data hash"),
        (facts(offline={}), CHAMPION, Verdict.INCONCLUSIVE, "no offline precision"),
        (facts(offline={"precision": float("nan")}), CHAMPION, Verdict.INCONCLUSIVE, "no offline precision"),
        (facts(), VersionFacts(1), Verdict.INCONCLUSIVE, "champion, version 1"),
        (facts(git_sha=None, offline={"precision": 0.1}), CHAMPION, Verdict.FAIL, "worse"),
    ],
)
def test_the_offline_gate(challenger, champion, verdict, says):
    report = judge(POLICY, challenger, champion)
    assert report.verdict is verdict
    assert says in report.reason
    assert len(report.checks) == 3


def test_a_gate_that_is_off_says_so():
    report = judge(Policy(gate=Gate.OFF), VersionFacts(2), VersionFacts(1))
    assert report.verdict is Verdict.PASS
    assert "gate is off" in report.reason


def test_without_a_guardrail_on_precision_a_figure_is_enough():
    policy = Policy(gate=Gate.OFFLINE, guardrails=(Guardrail(Metric.ERROR_RATE, 0.05),))
    assert judge(policy, facts(), VersionFacts(1)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ({"precision": 0.5, "eval_precision": 0.6}, 0.5),
        ({"precision": 7.0, "test_precision": 0.6}, 0.6),
        ({"precision_score": 1.0}, 1.0),
        ({"val_precision": 0.0}, 0.0),
        ({"recall": 0.5}, None),
    ],
)
def test_the_names_of_an_offline_precision(metrics, found):
    assert offline_figure(Metric.PRECISION, metrics) == found


@pytest.mark.parametrize(
    ("rail", "offline", "verdict", "says"),
    [
        (Guardrail(Metric.RECALL, 0.05), {"recall_score": 0.58}, Verdict.PASS, "offline recall 0.580"),
        (Guardrail(Metric.F1, 0.05), {"test_f1": 0.5}, Verdict.FAIL, "offline F1 0.500 against the champion's 0.600"),
        (Guardrail(Metric.BRIER, 0.05), {"brier_score": 0.3}, Verdict.FAIL, "worse by more than 5 points"),
        (Guardrail(Metric.BRIER, 0.05), {"brier": 0.1}, Verdict.PASS, "Brier score 0.100"),
        (Guardrail(Metric.MAE, 1.0, range=(0.0, 9.0)), {"mae": 4.5}, Verdict.FAIL, "worse by more than 1"),
        (Guardrail(Metric.ACCURACY, 0.05), {"recall": 0.9}, Verdict.INCONCLUSIVE, "no offline accuracy"),
        (Guardrail(Metric.REWARD, 0.05, range=(0.0, 1.0)), {}, Verdict.PASS, "data hash"),
    ],
)
def test_each_metric_from_labels_is_checked_by_its_own_names(rail, offline, verdict, says):
    champion = VersionFacts(1, {"recall": 0.6, "f1": 0.6, "brier": 0.2, "mean_absolute_error": 3.0, "accuracy": 0.7})
    report = judge(Policy(gate=Gate.OFFLINE, guardrails=(rail,)), facts(offline=offline), champion)
    assert report.verdict is verdict
    assert says in report.reason
