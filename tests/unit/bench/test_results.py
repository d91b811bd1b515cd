"""The benchmark's figures: ratios within rounds, what does not count, sections that leave one another alone."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
from results import Cell, Run, comparison, harm, replaced

RUN = Run(20.0, 30.0, 1000.0, 100.0, 200.0, 0.0, 0.0, 0, 0.0, 0.5)


def cell(name: str, *cpu: float, base: tuple[Run, ...] = (), **rest) -> Cell:
    return Cell(name, tuple(replace(RUN, cpu_us=each, **rest) for each in cpu), base)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    envoy = cell("envoy", 30.0, 60.0, 40.0)  # a noisy round is noisy for both
    mine = cell("mine", 15.0, 30.0, 40.0, base=envoy.runs)
    assert mine.of("cpu_us") == 30.0
    assert mine.ratio("cpu_us") == 0.5
    assert envoy.ratio("cpu_us") is None


def test_requests_a_second_are_marked_where_the_load_was_the_limit():
    busy = cell("busy", 10.0, load_busy=0.95)
    assert any("load's core full" in line for line in comparison([busy]))
    assert not any("load's core full" in line for line in comparison([cell("idle", 10.0)]))
    assert any("(3 errors)" in line for line in comparison([cell("bad", 10.0, errors=3)]))


@pytest.mark.parametrize(("p99", "verdict"), [(230.0, "within"), (251.0, "over 250")])
def test_harm_is_what_is_beyond_both_runs_without_a_mirror(p99, verdict):
    alone, again = cell("A", 1.0, p99_us=200.0), cell("A again", 1.0, p99_us=250.0)
    lines = harm(alone, again, [cell("hanging", 1.0, p99_us=p99)])
    assert verdict in lines[-1]


def test_a_section_is_replaced_and_the_others_stay():
    text = replaced(replaced("# Results\n", "one", "first"), "two", "second")
    again = replaced(text, "one", "anew")
    assert "first" not in again
    assert "anew" in again
    assert "second" in again
    assert again.startswith("# Results\n")
    assert replaced(again, "one", "anew") == again
