"""How far two distributions of scores lie apart, beside chance."""

import numpy as np
import pytest

from comparator.score_shift import CELLS, cells_of, shift


def drawn(chance, rows, a=2.0, b=5.0):
    return cells_of(chance.beta(a, b, rows))


@pytest.mark.parametrize("rows", [50, 500, 5000])
def test_chance_alone_seldom_exceeds_the_threshold_however_many_rows_there_are(rows):
    chance = np.random.default_rng(rows)
    found = [shift(drawn(chance, rows), drawn(chance, rows)) for _ in range(1000)]
    assert sum(each.psi > each.threshold for each in found) <= 5  # one in a thousand
    mean = np.mean([each.psi for each in found])
    assert mean == pytest.approx(np.mean([each.by_chance for each in found]), rel=0.35)


@pytest.mark.parametrize(("rows", "moved"), [(500, (2.0, 3.0)), (5000, (2.0, 4.2))])
def test_what_has_moved_is_found(rows, moved):
    chance = np.random.default_rng(7)
    found = [shift(drawn(chance, rows), drawn(chance, rows, *moved)) for _ in range(200)]
    assert sum(each.psi > each.threshold for each in found) >= 190


def test_the_edges_have_their_cells():
    cells = cells_of(np.array([0.0, 0.049, 0.05, 0.999, 1.0]))
    assert (cells[0], cells[1], cells[CELLS - 1]) == (2, 1, 2)


def test_nothing_to_compare_is_nothing():
    none, one = np.zeros(CELLS, dtype=np.int64), cells_of(np.full(9, 0.3))
    assert shift(none, one) is shift(one, none) is shift(one, one) is None
