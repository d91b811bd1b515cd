import json
import math

import pytest

from comparator.policy import Gate, Guardrail, Metric, Policy
from comparator.policy_error import PolicyError

EARLIER = {  # digests that the code made before there were metrics other than precision, and before split_alpha
    "9b353fa93ca44db017ae15123e6d8bd4f6169ca32587ac0a19e8111b388ef0df": Policy(
        gate=Gate.OFFLINE, block_requests=8, restart_seconds=600.0
    ),
    "2615d5a2995455d51f44704f8d481a08c2728ba18fe4d41e60b42bb4a4eee64f": Policy(
        guardrails=(Guardrail(Metric.ERROR_RATE, 0.01),),
        gate=Gate.OFF,
        alpha=0.1,
        block_requests=8,
        restart_seconds=600.0,
    ),
}
NEW = Policy(
    guardrails=(
        Guardrail(Metric.MAE, 2.0, range=(0.0, 50.0)),
        Guardrail(Metric.REWARD, 0.1, range=(-1.0, 1.0)),
        Guardrail(Metric.ERROR_RATE, 0.01),
    ),
    split_alpha=0.01,
)


@pytest.mark.parametrize("digest", EARLIER)
def test_the_digest_of_an_earlier_policy_is_what_it_was(digest):
    policy = EARLIER[digest]
    assert policy.digest == digest
    assert Policy.from_canonical(policy.canonical()) == policy
    assert "split_alpha" not in policy.canonical()
    assert "incident_buckets" not in policy.canonical()
    assert "staging" not in policy.canonical()


def test_new_fields_are_written_where_they_say_something():
    data = json.loads(NEW.canonical())
    assert data["split_alpha"] == 0.01
    assert [rail.get("range") for rail in data["guardrails"]] == [[0.0, 50.0], [-1.0, 1.0], None]
    assert "range" not in data["guardrails"][2]
    assert Policy.from_canonical(NEW.canonical()) == NEW
    assert Policy.from_canonical(NEW.canonical()).digest == NEW.digest


@pytest.mark.parametrize(
    ("rail", "where"),
    [
        ({"metric": Metric.MAE, "margin": 1.0}, "mae.range"),
        ({"metric": Metric.RECALL, "margin": 0.1, "range": (0.0, 1.0)}, "recall.range"),
        ({"metric": Metric.MAE, "margin": 1.0, "range": (1.0, 2.0)}, "mae.range"),
        ({"metric": Metric.MAE, "margin": 1.0, "range": (0.0, math.inf)}, "mae.range"),
        ({"metric": Metric.MAE, "margin": 1.0, "range": (0.0, math.nan)}, "mae.range"),
        ({"metric": Metric.MAE, "margin": 3.0, "range": (0.0, 2.0)}, "mae.margin"),
        ({"metric": Metric.REWARD, "margin": 0.1, "range": (1.0, 1.0)}, "reward.range"),
        ({"metric": Metric.REWARD, "margin": 0.1, "range": (0.0, 1.0), "offline_tolerance": 0.1},
         "reward.offline_tolerance"),
        ({"metric": Metric.BRIER, "margin": 1.5}, "brier.margin"),
        ({"metric": Metric.F1, "margin": 0.1, "quantile": 0.9}, "f1.quantile"),
    ],
)  # fmt: skip
def test_an_illegal_guardrail_cannot_be_made(rail, where):
    with pytest.raises(PolicyError) as error:
        Guardrail(**rail)
    assert error.value.where == where


@pytest.mark.parametrize("metric", [Metric.PRECISION, Metric.RECALL, Metric.ACCURACY, Metric.F1, Metric.BRIER])
def test_numbers_and_classes_do_not_go_together(metric):
    with pytest.raises(PolicyError, match=metric.value) as error:
        Policy(guardrails=(Guardrail(metric, 0.1), Guardrail(Metric.MAE, 1.0, range=(0.0, 5.0))))
    assert error.value.where == "guardrails.mae"
