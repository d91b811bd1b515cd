"""Servers that answer only a number: a probability with a threshold, or a regression. Judged on real processes."""

import pytest
from world import QUICK_POLICY, QUICK_ROLLOUT, Traffic, World, wait_for

PRECISION = "      precision:   {margin: 10 points, offline_tolerance: 15 points}\n"


def score(high, low):
    """A score on the right side three times in four."""
    return lambda row: high if (row["truth"] == 1) == (row["noise"] < 0.75) else low


def number(spread):
    return lambda row: 10.0 * row["truth"] + spread * (row["noise"] - 0.5)


BOLD = (
    "    threshold: 0.5\n",
    "      precision: {margin: 20 points}\n      calibration: {margin: 10 points}\n",
    (score(0.7, 0.2), score(0.99, 0.01)),  # the same classes, but much too bold
    lambda row: row["truth"],
    {"calibration": "calibration error 0.2", "precision": "precision 0."},
)
FAR_OFF = (
    "    predicts: number\n",
    "      rmse: {margin: 50%, range: 8}\n",
    (number(4.0), number(12.0)),
    lambda row: 10 * row["truth"],
    {"rmse": "root mean squared error 3."},
)


@pytest.mark.parametrize("case", [BOLD, FAR_OFF], ids=["threshold", "regression"])
def test_a_worse_challenger_is_rolled_back(tmp_path, registry_template, case):
    settings, rails, predict, label, says = case
    world = World(tmp_path, registry_template, {1: predict[0], 3: predict[1]})
    try:
        world.write_settings(settings + QUICK_POLICY.replace(PRECISION, rails) + QUICK_ROLLOUT)
        world.start()
        world.serving(1)
        world.traffic = Traffic(world, label=label)
        world.set_alias("challenger", 3)
        wait_for(lambda: world.phase() == "rolled_back", "version 3 is rolled back", 90)
        (rollback,) = (decision for decision in world.history() if decision["kind"] == "roll_back")
        assert rollback["trigger"] == next(iter(says))
        told = {rail["name"]: rail["reason"] for rail in rollback["evidence"]["guardrails"]}
        for name, words in says.items():
            assert words in told[name]
        assert world.alias("champion") == 1
        world.traffic.stop()
        assert world.traffic.rejected == []
    finally:
        world.close()
        print((tmp_path / "serve.log").read_text())  # noqa: T201 - shown when the test fails
