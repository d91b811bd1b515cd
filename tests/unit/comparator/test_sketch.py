import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.sketch import ACCURACY, LARGEST, SMALLEST, Sketch

values = st.lists(st.floats(SMALLEST * 2, LARGEST / 2), min_size=1, max_size=200)


def sketch_of(numbers):
    sketch = Sketch()
    sketch.add(np.array(numbers))
    return sketch


@given(values, st.floats(0.001, 1.0))
def test_a_quantile_is_within_one_percent(numbers, q):
    exact = sorted(numbers)[math.ceil(q * len(numbers)) - 1]
    assert sketch_of(numbers).quantile(q) == pytest.approx(exact, rel=ACCURACY * 1.0001)


@given(values, values)
def test_a_merged_sketch_is_the_sketch_of_all(one, other):
    merged = sketch_of(one)
    merged.merge(sketch_of(other))
    whole = sketch_of(one + other)
    assert merged.count == whole.count
    assert np.array_equal(merged.counts, whole.counts)


def test_an_empty_sketch_knows_no_quantile():
    assert math.isnan(Sketch().quantile(0.5))


def test_values_out_of_range_count_at_the_ends():
    sketch = sketch_of([0.0, 1e9])
    assert sketch.count == 2
    assert sketch.at_rank(1) == pytest.approx(SMALLEST, rel=0.03)
    assert sketch.at_rank(2) == pytest.approx(LARGEST, rel=0.03)
